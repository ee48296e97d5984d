"""What a model's own distribution says at each token of a text: `frown read`.

The prompt is a user turn under the model's chat template, the completion stands where the answer would: one
forward pass, nothing sampled, no end-of-sequence token added.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from frown.errors import FrownError
from frown.types import Ints, Rollout, Signals, Step, Task

if TYPE_CHECKING:
    from torch import Tensor


def read(
    model_path: str, prompt: str, completion: str, *, temperature: float = 1.0, steps: str = "auto"
) -> dict[str, Any]:
    """Signals and labelled spans of a completion under a local causal language model; plain data, as JSON takes it.

    Returns, with T the number of completion tokens:
        tokens: T strings, each token as it reads (a fragment of a character reads as U+FFFD).
        ids: T token ids. context_ids: the prompt's ids under the chat template.
        signals: name -> T numbers: `surprisal`, `entropy`, `self_certainty` (nats), `varentropy` (nats squared),
            `top_probability`, `margin` (probabilities), `effective_choices` (tokens); definitions in
            `frown.signals.token`, all at `temperature`.
        spans: what the appraisal makes of them, each with start and end (tokens), label, intensity, evidence,
            step, valence, arousal and dominance. unread: the rules that one text alone cannot answer, and why.
        steps: [start, end) token ranges of the written-out steps. temperature: as given.

    Args:
        model_path: a local Hugging Face folder with a chat template, or "lab:NAME".
        prompt: the user's turn.
        completion: the text to read, at least one token of it.
        temperature: > 0, divides the logits: give the one the text was sampled at.
        steps: how the completion is split into steps: auto, tagged, numbered, lines or sentences.

    Raises:
        FrownError: no completion, text that is not Unicode, a model that cannot be loaded, a text too long for
            it, a setting out of range, or logits that are not finite.
    """
    from frown.tasks.steps import SPLITTERS, Splitter, split_steps

    if steps not in SPLITTERS:
        raise FrownError(f"steps = {steps!r}: use one of {', '.join(get_args(Splitter))}")
    if not 0.0 < temperature < float("inf"):
        raise FrownError(f"temperature = {temperature}: use a number above 0")
    if not completion:
        raise FrownError("the completion is empty: there is no token to read")
    for name, text in (("prompt", prompt), ("completion", completion)):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise FrownError(f"the {name} is not Unicode text at character {error.start}; save it as UTF-8") from None

    from frown.affect.appraisal import appraise
    from frown.config import ModelConfig
    from frown.policy import load as models
    from frown.policy.text import completion_text, prompt_ids, token_steps, token_texts
    from frown.runtime.threads import settle

    model, tokenizer, *_ = models.load(ModelConfig(path=model_path))
    model.eval()
    settle(model)
    context = prompt_ids(tokenizer, [{"role": "user", "content": prompt}])
    ids = np.asarray(tokenizer(completion, add_special_tokens=False)["input_ids"], dtype=np.int64)
    if not len(ids):
        raise FrownError("the completion has no tokens under this model's tokenizer")
    limit = models.context_length(model)
    if limit is not None and len(context) + len(ids) > limit:
        raise FrownError(
            f"a prompt of {len(context)} tokens and a completion of {len(ids)} do not fit the model's context "
            f"of {limit}; shorten them"
        )
    signals = {name: t.cpu().numpy() for name, t in _signals(model, context, ids, temperature).items()}
    bad = ~np.isfinite(np.stack(list(signals.values()))).all(0)
    if bad.any():
        raise FrownError(f"model {model_path} has logits that are not finite at token {int(bad.argmax())}")

    written = completion_text(tokenizer, ids)
    ranges = token_steps(tokenizer, ids, written, split_steps(written, steps))  # type: ignore[arg-type]
    appraisal = appraise(_as_rollout(prompt, context, ids, written, signals, ranges, temperature))
    return {
        "tokens": token_texts(tokenizer, ids.tolist()),
        "ids": ids.tolist(),
        "context_ids": context.tolist(),
        "signals": {name: values.astype(float).tolist() for name, values in signals.items()},
        "spans": [{**asdict(span), "evidence": dict(span.evidence)} for span in appraisal.spans],
        "unread": list(appraisal.unread),
        "steps": [list(step) for step in ranges],
        "temperature": temperature,
    }


def _signals(model: Any, context: Ints, ids: Ints, temperature: float) -> dict[str, Tensor]:
    """Name -> [T]."""
    import torch

    from frown.losses.head import read_signals
    from frown.policy.head import head_of
    from frown.policy.load import backbone
    from frown.signals.token import effective_choices

    device = next(model.parameters()).device
    whole = torch.as_tensor(np.concatenate([context, ids[:-1]])[None], device=device)
    targets = torch.as_tensor(ids, device=device)
    with torch.no_grad():
        hidden = backbone(model)(input_ids=whole, use_cache=False).last_hidden_state[0, -len(ids) :]
        out = read_signals(hidden, head_of(model), targets, temperature)
    return {**out, "effective_choices": effective_choices(out["entropy"])}


def _as_rollout(
    prompt: str,
    context: Ints,
    ids: Ints,
    text: str,
    signals: dict[str, np.ndarray],
    steps: tuple[Step, ...],
    temperature: float,
) -> Rollout:
    """The text as if it had been sampled and cut off, which is what an appraisal takes."""
    return Rollout(
        task=Task(id="read", messages=({"role": "user", "content": prompt},), answer=""),
        group=0,
        prompt_ids=context,
        ids=ids,
        logp=-signals["surprisal"],
        temperature=temperature,
        stop="length",
        text=text,
        steps=steps,
        signals=Signals(signals),
    )
