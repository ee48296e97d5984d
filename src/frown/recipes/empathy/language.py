"""A language small enough for a model of the lab's size: dialogue acts, needs, topics and moods as words.

A tiny model cannot converse, but it can learn whole conversations in which every word means something: the person says
how it is, what is needed (where it tells) and what it is about; the assistant says an act and a topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frown.recipes.empathy import act_policy
from frown.recipes.empathy.acts import ACTS, NEEDS
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import TOPICS, Profile
from frown.recipes.empathy.user import Manner
from frown.recipes.empathy.wording import LAB, Wording
from frown.recipes.word_model import END, PAD, word_model, word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PERSON, ASSISTANT = "<user>", "<assistant>"
WORDS: tuple[str, ...] = (PAD, END, PERSON, ASSISTANT, *ACTS, *NEEDS, *TOPICS, "low", "middle", "high")
ASTRAY = 0.2
"""How often the assistant of the first model's dialogues speaks about something else."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word a token."""
    from tokenizers import pre_tokenizers

    return word_tokenizer(WORDS, (PERSON, ASSISTANT), pre_tokenizer=pre_tokenizers.WhitespaceSplit())


def documents(
    people: Sequence[Profile], manner: Manner, preset: Preset, seed: int
) -> list[tuple[list[int], list[bool]]]:
    """Conversations of three policies by rules (one helps, one soothes, one does anything) in tokens, and which of them
    are the assistant's."""
    ids = {w: i for i, w in enumerate(WORDS)}
    uniform = act_policy.learnt(np.zeros((act_policy.FEATURES, len(ACTS))))
    rng = np.random.default_rng(seed)
    out = []
    for policy in (act_policy.helper, act_policy.soother, uniform):
        for d in act_policy.talk(policy, people, 1, manner, preset, rng):
            said = [PERSON, "low", d.person.topic, END]
            own = [False] * len(said)
            for act, _, heard in d.exchanges:
                topic = TOPICS[int(rng.integers(len(TOPICS)))] if rng.random() < ASTRAY else d.person.topic
                said += [ASSISTANT, str(act), topic, END, PERSON, *heard.split(), END]
                own += [False, True, True, True, False, *[False] * (len(heard.split()) + 1)]
            out.append(([ids[w] for w in said], own))
    return out


def base_model(folder: Path, people: Sequence[Profile], manner: Manner, preset: Preset, steps: int, seed: int) -> float:
    """Make a model that has read such conversations, as an ordinary Hugging Face folder.

    The loss is on the assistant's tokens. Returns its running mean at the end, in nats a token.
    """
    import torch

    conversations = documents(people, manner, preset, seed)
    tokenizer = make_tokenizer()
    model = word_model(tokenizer, seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng, running = np.random.default_rng(seed), float("nan")
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20) * (1.0 - 0.9 * step / steps)
        some = [conversations[i] for i in rng.integers(len(conversations), size=32)]
        width = max(len(ids) for ids, _ in some)
        ids, own = torch.zeros(32, width, dtype=torch.long), torch.zeros(32, width, dtype=torch.bool)
        for row, (said, mask) in enumerate(some):  # padded on the right, where causal attention does not look
            ids[row, : len(said)], own[row, : len(said)] = torch.tensor(said), torch.tensor(mask)
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits[own[:, 1:]], ids[:, 1:][own[:, 1:]])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        value = float(loss.detach())
        running = value if step == 0 else 0.95 * running + 0.05 * value
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return running


def in_words(profile: Profile, wording: Wording = LAB) -> Profile:
    """A person whose first words are a wording's."""
    return replace(profile, opening=wording.opening(profile))
