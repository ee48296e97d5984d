"""A policy that says what it is told to, and chat templates of several kinds."""

from __future__ import annotations

import numpy as np

from frown.policy.text import completion_text, prompt_ids
from frown.types import Message, Rollout, Signals, Task

CHATML = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
PLAIN = (  # no special token but the end: [INST] is written out, as in Mistral's
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + '<|end|>' }}{% endif %}{% endfor %}"
)
TRIMS = CHATML.replace("m.content", "(m.content | trim)")
FORGETS = (  # takes the thoughts out of all but the last answer, as reasoning models' templates do
    "{% for m in messages %}<|{{ m.role }}|>"
    "{{ m.content.split('</think>')[-1] if m.role == 'assistant' and not loop.last else m.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TASK = Task("t", (Message(role="user", content="Hello?"),), "")


def merging_tokenizer():
    """Bytes, with the one merge a + b: "ab" can be sampled as one token or as two."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate([*alphabet, "ab"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|system|>"],
        clean_up_tokenization_spaces=False,
    )


class Puppet:
    """A policy that says given ids, whatever it is asked; every token of turn t has log-probability -(t + 1)."""

    def __init__(self, tokenizer, template, says, room=10_000):
        self.tokenizer, self.says, self.room = tokenizer, [np.asarray(s, np.int64) for s in says], room
        self.tokenizer.chat_template = template
        self.eos_ids = [tokenizer.eos_token_id]
        self.turn = 0

    def prompt(self, messages):
        return prompt_ids(self.tokenizer, messages)

    def fits(self, context):
        return len(context) <= self.room

    def sample(self, tasks, n, *, seed, temperature, contexts=None):
        prompts = contexts if contexts is not None else [self.prompt(t.messages) for t in tasks]
        ids, t = self.says[self.turn], self.turn
        self.turn += 1
        ended = int(ids[-1]) in self.eos_ids
        logp = np.full(len(ids), -(t + 1.0), np.float32)
        text = completion_text(self.tokenizer, ids[:-1] if ended else ids)
        signals = Signals({"surprisal": -logp, "entropy": -logp})
        stop = "eos" if ended else "length"
        one = [Rollout(task, g, p, ids, logp, 1.0, stop, text, signals=signals)
               for g, (task, p) in enumerate(zip(tasks, prompts, strict=True))]  # fmt: skip
        return [r for r in one for _ in range(n)]


def ids_of(tokenizer, text, *, ended=True):
    return tokenizer(text, add_special_tokens=False)["input_ids"] + ([tokenizer.eos_token_id] if ended else [])
