"""How feedback is worded for a self-teacher: the contract, and English.

English is the template of SDPO (arXiv 2601.20802, Table 2; the reference code's defaults up to blank lines): the
question with the feedback worked into the last user turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from frown.types import Feedback, Kind, Message, Task, Weighed

SOLUTION = "Correct solution:"
ATTEMPT = "Your earlier attempt, put right where it went wrong:"
FEEDBACK = "The following is feedback from your unsuccessful earlier attempt:"
CLOSING = "Correctly solve the original question."

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SOLUTION_KINDS: tuple[Kind, ...] = ("sibling", "reference")
_FEEDBACK_KINDS: tuple[Kind, ...] = ("outcome", "critique", "affect")


class Wording(Protocol):
    """How feedback reads to a self-teacher, in the words that an environment's models know."""

    def teacher_messages(self, task: Task, feedback: Feedback) -> list[Message]:
        """The conversation shown to the self-teacher: the task with the feedback worked in."""
        ...

    def note(self, text: str, steps: Sequence[int], count: int) -> str:
        """How an affect note reads.

        `text`: the note in English. Models with words of their own read it in those, from the steps it points at
        (counted from 0; none where it points nowhere) and the `count` of its sentences.
        """
        ...

    def weighed(self, options: Weighed) -> str:
        """How a note of what was considered at some steps reads: step -> texts of that step; "" where nothing is left
        to say."""
        ...

    def quoted(self, step: str, comment: str) -> str:
        """How a comment reads that quotes the wrong step which it corrects."""
        ...

    def reworded(self, step: str, other: str) -> str | None:
        """The text of a step with the result of another step in its place; None where that cannot be told."""
        ...


class English:
    """The wording of models that read English: SDPO's template; implements `Wording`."""

    def teacher_messages(self, task: Task, feedback: Feedback) -> list[Message]:
        """The task's messages, the last user turn extended by the feedback; unchanged where there is none.

        Sibling and reference parts are the correct solution, the other kinds the feedback, but for an attempt that was
        put right, which has a section of its own; a section without parts is left out. Texts are joined, never
        formatted: braces and percent signs in them stay as they are.
        """
        solutions = [p.text for p in feedback.only(*_SOLUTION_KINDS).parts]
        attempts = [p.text for p in feedback.parts if p.attempt]
        remarks = [p.text for p in feedback.only(*_FEEDBACK_KINDS).parts if not p.attempt]
        messages: list[Message] = [Message(role=m["role"], content=m["content"]) for m in task.messages]
        if not feedback.parts:
            return messages
        content = task.question
        if solutions:
            content += "\n" + "\n\n".join([SOLUTION, *solutions]) + "\n"
        if attempts:
            content += "\n" + "\n\n".join([ATTEMPT, *attempts]) + "\n"
        if remarks:
            content += "\n" + FEEDBACK + "\n\n" + "\n".join(remarks) + "\n"
        content += "\n" + CLOSING
        last = max(i for i, m in enumerate(messages) if m["role"] == "user")
        messages[last] = Message(role="user", content=content)
        return messages

    def note(self, text: str, steps: Sequence[int], count: int) -> str:
        """The note in English, as it is."""
        return text

    def weighed(self, options: Weighed) -> str:
        """What was considered at some steps; the texts are quoted as they are, and any may be wrong."""
        return " ".join(
            f"At step {step + 1} you weighed {', '.join(map(_quoted, texts[:-1]))} and {_quoted(texts[-1])}."
            if len(texts) > 1
            else f"Step {step + 1} may well read {_quoted(texts[0])}."
            for step, texts in sorted(options.items())
        )

    def quoted(self, step: str, comment: str) -> str:
        """The comment behind a quotation of the wrong step."""
        return f"You wrote {_quoted(step)}. {comment}"

    def reworded(self, step: str, other: str) -> str | None:
        """The step with the last number of the other one in place of its own; None where either has none."""
        own, theirs = list(_NUMBER.finditer(step)), _NUMBER.findall(other)
        if not own or not theirs:
            return None
        return step[: own[-1].start()] + theirs[-1] + step[own[-1].end() :]


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()) + '"'
