"""A model of the lab's size that speaks the language of `speech`: a word a token, two layers, made in about a minute.

It has read turns of speakers of mixed skill and speaks like them, so there is something to improve, and how much is
known. Any chat model can take its place (`speaker_model.make_learner`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frown.recipes.negotiation import speaker_model, speech
from frown.recipes.negotiation.emotions import Card
from frown.recipes.negotiation.partner import STEPS
from frown.recipes.negotiation.scenarios import Scenario
from frown.recipes.negotiation.speech import Moment, amount
from frown.recipes.word_model import END, PAD, word_model, word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNKNOWN = "<unk>"
ROLES = ("<system>", "<user>", "<assistant>")
_TOKEN = r"\d+:\d\d|\w+|[^\w\s]"


def moments(scenarios: Sequence[Scenario], emotions: Sequence[Card] | None, count: int, seed: int) -> list[Moment]:
    """Turns as they might come up in scenarios like these: the same units and range of numbers, other targets.

    `emotions`: of which the card is drawn; None: no card.
    """
    rng = np.random.default_rng(seed)
    numbers = _numbers(scenarios)
    out = []
    for _ in range(count):
        unit = scenarios[int(rng.integers(len(scenarios)))].unit
        card = emotions[int(rng.integers(len(emotions)))] if emotions is not None else None
        points = np.sort(rng.choice(numbers, 5, replace=False)).tolist()
        ours, last, offer, theirs, first = points if rng.random() < 0.5 else points[::-1]
        if rng.random() < 0.3:
            last = ours
        if rng.random() < 0.3:
            offer = last
        before = None if rng.random() < 0.1 else first if rng.random() < 0.6 else theirs
        partner_text = speech.partner_line(theirs, before, unit)
        own_text = ""
        if before is not None:
            earlier = Moment(unit, (ours,), (first,), last, card, "", "")
            if emotions is not None:
                earlier = earlier._replace(card=emotions[int(rng.integers(len(emotions)))])
            own_text = speech.mixed([earlier], int(rng.integers(2**31)))[0]
        out.append(
            Moment(
                unit,
                (float(ours), float(last)),
                (float(first), float(theirs)),
                float(offer),
                card,
                own_text,
                partner_text,
            )
        )
    return out


def make_tokenizer(scenarios: Sequence[Scenario], emotions: Sequence[Card]) -> PreTrainedTokenizerFast:
    """A word a token: the language's words, and the whole numbers that these scenarios may come to."""
    from tokenizers import Regex, decoders, pre_tokenizers

    units = list(dict.fromkeys(s.unit for s in scenarios))
    low, *rest = map(float, _numbers(scenarios))
    turns = [
        Moment(unit, (ours,), (theirs,), ours, card, own_text, "")
        for unit, card, own_text in product(units, (None, *emotions), ("", "Let us see."))
        for ours, theirs in ((low, rest[-1]), (rest[-1], low))
    ]
    texts = [m["content"] for turn in turns for m in speech.messages(turn)]
    texts += [*(s.replace("{}", "") for s in speech.sentences())]
    texts += [amount(n, unit) for unit in units for n in (low, *rest)]
    words = dict.fromkeys(w for text in dict.fromkeys(texts) for w in re.findall(_TOKEN, text))
    return word_tokenizer(
        (PAD, END, UNKNOWN, *ROLES, *words),
        ROLES,
        pre_tokenizer=pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True),
        decoder=decoders.WordPiece(prefix="##", cleanup=True),  # for its spaces: none before a full stop
        unknown=UNKNOWN,
    )


def base_model(
    folder: Path, scenarios: Sequence[Scenario], emotions: Sequence[Card], steps: int, seed: int, *, cards: bool = True
) -> float:
    """Make the first model, as an ordinary Hugging Face folder. Returns its loss at the end, in nats a token.

    `cards`: whether the turns that it reads come with the emotion's card, and show emotions.
    """
    tokenizer = make_tokenizer(scenarios, emotions)
    model = word_model(tokenizer, seed, spread=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    learner = speaker_model.make_learner(str(folder), None, 3e-3, steps, seed)
    rng, loss = np.random.default_rng(seed), None
    for _ in range(steps):
        some = moments(scenarios, emotions if cards else None, 32, int(rng.integers(2**31)))
        texts = speech.mixed(some, int(rng.integers(2**31)))
        value = speaker_model.supervised_step(learner, speaker_model.encode_lines(learner.policy, some, texts))
        loss = value if loss is None else 0.95 * loss + 0.05 * value
    learner.save(folder)
    assert loss is not None
    return loss


def _numbers(scenarios: Sequence[Scenario]) -> list[int]:
    """The whole numbers that are offers on the lattice of one of the scenarios, ascending."""
    return sorted({round(s.ours + k / STEPS * (s.theirs - s.ours)) for s in scenarios for k in range(STEPS + 1)})
