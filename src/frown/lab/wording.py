"""How feedback is worded for the lab's models, which know a few words of their own (`frown.lab.words`)."""

from __future__ import annotations

from collections.abc import Sequence

from frown.errors import FrownError
from frown.lab import words
from frown.lab.family import Family
from frown.lab.text import user_turn
from frown.types import Feedback, Message, Part, Task, Weighed


class LabWording:
    """The wording of one family; implements `frown.tasks.wording.Wording`."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def teacher_messages(self, task: Task, feedback: Feedback) -> list[Message]:
        """The question with one context behind it; without any feedback, the question alone.

        The base models know one context at a time. An outcome counts as context (`X`) only when it is alone.

        Raises:
            FrownError: when parts of several kinds other than an outcome are given, or several that are not
                comments of one critique.
        """
        if any(p.attempt for p in feedback.parts):
            raise FrownError('the lab\'s models read comments: use critic.write = "comments"')
        parts = [p for p in feedback.parts if p.kind != "outcome"]
        kinds = [p.kind for p in parts]
        if len(parts) > 1 and set(kinds) != {"critique"}:
            raise FrownError(
                f"the lab's models read one kind of feedback at a time, not {' and '.join(dict.fromkeys(kinds))}: "
                "name them apart in method.feedback"
            )
        context = _context(parts) if parts else words.RETRY if feedback.parts else ""
        return [
            *task.messages[:-1],
            {"role": "user", "content": user_turn(task.question, context)},
        ]

    def note(self, text: str, steps: Sequence[int], count: int) -> str:
        """A note that points at steps and quotes nothing of them: `H?02?04`; pointing nowhere, `H?00?00`.

        The base models know one word for pointing and none for emotions, so English text is not used.
        """
        return words.pointer(steps if steps else [-1] * count)

    def weighed(self, options: Weighed) -> str:
        """What was considered, as `W?7@3=4/9`; a step of which one text is given, as the comment `C!7@3=4`.

        Texts that are no result of the same step are left out, and a step of which then too few are left. The models
        read one kind of note at a time: where any step has several texts, those with one are left out.
        """
        weighed: list[tuple[str, list[str]]] = []
        suggested: list[tuple[str, list[str]]] = []
        for _, texts in sorted(options.items()):
            sides = [text.rstrip(";$").partition("=") for text in texts]
            read = {(left, r) for left, _, r in sides if len(r) == self._family.width and r.isascii() and r.isdigit()}
            results = list(dict.fromkeys(r for left, _, r in sides if (left, r) in read))
            if len({left for left, _ in read}) == 1 and len(results) >= min(len(texts), 2):
                (weighed if len(texts) > 1 else suggested).append((sides[0][0], results))
        if weighed:
            return words.weighed(weighed)
        return words.suggestion((left, result) for left, [result] in suggested) if suggested else ""

    def quoted(self, step: str, comment: str) -> str:
        """The wrong step as a comment before the comment: `!7@3=9!7@3=4`."""
        return f"!{step.rstrip(';$')}{comment}"

    def reworded(self, step: str, other: str) -> str | None:
        """The step with the result of the other: `7@3=4;` and `2*6=2;` give `7@3=2;`."""
        left, equals, own = step.partition("=")
        result = other.partition("=")[2].rstrip(";$")
        return f"{left}={result}{own[len(own.rstrip(';$')) :]}" if equals and result else None


def _context(parts: Sequence[Part]) -> str:
    """The context that feedback of one kind becomes."""
    text = "".join(p.text for p in parts)
    if parts[0].kind in ("reference", "sibling"):
        return words.statements(text) if text.startswith("!") else words.reference(text)
    return f"C{text}" if parts[0].kind == "critique" else text
