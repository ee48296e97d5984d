"""Exact match after normalisation: Unicode in one form, case folded, white space one space, none at the ends.

What is compared is the content of the last `<answer>...</answer>`, else the whole visible text (no thoughts, no byte
order mark, nothing behind an end token). Nothing else is removed: punctuation, accents and raised figures count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from frown.tasks.grading.characters import plain_characters
from frown.tasks.grading.completion import visible_text
from frown.tasks.grading.marks import answer_tags
from frown.types import Verdict


def normalise(text: str) -> str:
    """Plain characters, case-folded, with every run of white space one space and none at the ends."""
    return unicodedata.normalize("NFC", " ".join(plain_characters(text).casefold().split()))


class ExactGrader:
    """Judges completions by exact match. Never raises for a bad completion."""

    def gold(self, raw: str) -> str:
        """The reference answer as it stands. Raises ValueError when it is blank."""
        if not raw.strip():
            raise ValueError("the answer is blank")
        return raw

    def grade(self, golds: Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order; unscored where the reference is blank."""
        return [_judge(gold, text) for gold, text in zip(golds, texts, strict=True)]

    def close(self) -> None:
        """Nothing to release."""


def _judge(gold: str, text: str) -> Verdict:
    expected = normalise(gold)
    if not expected:
        return Verdict.unscored("the reference answer is blank")
    rest = visible_text(text)
    tags = answer_tags(rest)
    rule, stated = (tags[-1].rule, tags[-1].text) if tags else ("whole text", rest)
    answer = normalise(stated)
    shown = " ".join(stated.split())[:200]
    if not answer:
        return Verdict(score=0.0, message="no answer found", well_formed=False)
    right = answer == expected
    return Verdict(float(right), message="" if right else "the answer is wrong", answer=answer, rule=rule, stated=shown)
