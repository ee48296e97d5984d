"""SFT: the likelihood of worked solutions is raised: no sampling, no reward, no teacher.

    loss = - sum over solutions i and their tokens t of log pi(y_it) / their number of tokens

The baseline that everyone asks for first, and the warm start of a model that solves nothing: what samples no right
answer learns nothing from its own. The end token is learnt with the solution. Loss on the answer alone, not on the
prompt, as is usual for chat models.

Deviation from trainers of their own for this: no epochs; prompts are drawn as for every other method, so that a
comparison gives all of them the same. A prompt without a worked solution is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from frown.config.method import Method
from frown.methods.base import Classroom, Lesson, likelihood_credit
from frown.types import Floats, Rollout

if TYPE_CHECKING:
    from frown.config.run import RunConfig


class SFT(Method):
    """Supervised fine-tuning on worked solutions."""

    type: Literal["sft"] = "sft"
    summary: ClassVar[str] = "supervised: the likelihood of worked solutions is raised, nothing is sampled"
    paper: ClassVar[str] = "standard; as a warm start before RL, e.g. DeepSeek-R1, arXiv 2501.12948"
    cost: ClassVar[str] = "worked solutions; no sampling, no comments, no teacher"
    result: ClassVar[str] = "a baseline; not measured yet"
    lr_factor: ClassVar[float] = 10.0
    settings: ClassVar[Mapping[str, Any]] = {"sampling": {"responses_per_prompt": 1}}

    @property
    def demonstrated(self) -> bool:
        """The answers are worked solutions."""
        return True

    def check(self, run: RunConfig) -> None:
        """Raise ValueError for settings that only sampled answers have a use for."""
        if run.sampling.responses_per_prompt != 1:
            raise ValueError("method.type = sft: a prompt has one worked solution; sampling.responses_per_prompt = 1")
        if run.practice.candidates != 1:
            raise ValueError("method.type = sft samples no answers to choose prompts by; practice.candidates = 1")
        if run.sampling.temperature != 1:
            raise ValueError("method.type = sft learns at temperature 1; leave sampling.temperature out")
        if run.loss.importance_cap is not None:
            raise ValueError("method.type = sft has no sampler to correct for; leave loss.importance_cap out")

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """The same for every token of every solution."""
        return likelihood_credit(answers, range(len(answers)))
