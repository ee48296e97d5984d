"""The environment of a script that names none: free text, judged by its rewards, worded by TRL's templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from frown.tasks.environment import DataEnvironment
from frown.tasks.wording import English
from frown.types import Feedback, Message, Task, Verdict


class Templates(NamedTuple):
    """The three templates of TRL's `SDPOConfig`."""

    reprompt: str
    """With {prompt}, {solution} and {feedback}."""
    solution: str
    """With {successful_previous_attempt}."""
    feedback: str
    """With {feedback_raw}."""


class _RewardsJudge:
    """A grader that leaves judging to the reward functions."""

    def gold(self, raw: str) -> str:
        return raw

    def grade(self, golds: Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict.unscored("the reward functions judge")] * len(texts)

    def close(self) -> None:
        """Nothing to release."""


class FreeText(DataEnvironment):
    """Free-text answers whose steps are found in the text; implements `frown.tasks.base.Environment`."""

    def __init__(self, templates: Templates) -> None:
        super().__init__("trl", (), {}, _RewardsJudge())
        self.wording = TemplateWording(templates)


class TemplateWording(English):
    """English in TRL's templates; implements `frown.tasks.wording.Wording`."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    def teacher_messages(self, task: Task, feedback: Feedback) -> list[Message]:
        """The task with the feedback worked into the last user turn, in TRL's own templates.

        Siblings and references stand where TRL puts a successful attempt, all other parts where it puts feedback.
        """
        messages: list[Message] = [Message(role=m["role"], content=m["content"]) for m in task.messages]
        if not feedback.parts:
            return messages
        shown = feedback.only("sibling", "reference").parts
        others = [p for p in feedback.parts if p not in shown]
        form = self._templates
        solution = form.solution.format(successful_previous_attempt="\n\n".join(p.text for p in shown)) if shown else ""
        words = form.feedback.format(feedback_raw="\n".join(p.text for p in others)) if others else ""
        text = form.reprompt.format(prompt=task.question, solution=solution, feedback=words)
        last = max(i for i, m in enumerate(messages) if m["role"] == "user")
        messages[last] = Message(role="user", content=text)
        return messages
