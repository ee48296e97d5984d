"""The method of a run. Which one is decided by its `type`; `frown.methods` has one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from frown.config.base import AnyClass, Variant

if TYPE_CHECKING:
    from frown.config.run import RunConfig
    from frown.methods.base import Classroom, Lesson
    from frown.types import Floats, Kind, Rollout


class Method(Variant):
    """How a policy learns from its answers: the settings of a method, and its three hooks.

    `select` says which answers are taught from, `teach` what their teacher is told and where the loss lies, `credit`
    what each token gets from the policy gradient. A method of one's own is a subclass of this, named by an entry point
    of the group "frown.methods".
    """

    group: ClassVar[str] = "frown.methods"
    summary: ClassVar[str] = ""
    """What it does, in a line."""
    paper: ClassVar[str] = ""
    """Where it was published."""
    cost: ClassVar[str] = ""
    """What it spends besides sampling: comments, tokens that a teacher reads."""
    result: ClassVar[str] = ""
    """The measured result that stands behind its defaults, and where it is written."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """What it recommends for other sections, as nested keys; what is given there goes before it."""

    lr_factor: ClassVar[float] = 1.0
    """How many times the learning rate of reinforcement learning it takes."""

    @classmethod
    def builtin(cls) -> Mapping[str, AnyClass]:
        """frown's own methods."""
        from frown.methods import BUILTIN

        return BUILTIN

    @property
    def share(self) -> float:
        """Share of self-distillation in the loss, in [0, 1]; the rest is the policy gradient."""
        return 0.0

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind of feedback that a teacher may be given."""
        return ()

    @property
    def demonstrated(self) -> bool:
        """Whether the answers are the tasks' worked solutions, instead of samples of the policy."""
        return False

    @property
    def noisy_copies(self) -> int:
        """Copies of the policy with noisy weights whose disagreement `teach` reads (`Classroom.variance`)."""
        return 0

    def scaled(self, factor: float) -> Method:
        """The same method with so many times the share of self-distillation, as the guard's "cut" asks for."""
        return self

    def with_feedback(self, kind: Kind) -> Method:
        """The same method with a teacher that is given one kind of feedback alone, as `frown probe` asks for; of a
        method without a teacher, SDPO."""
        from frown.methods.sdpo import SDPO

        return SDPO(feedback=(kind,))

    def check(self, run: RunConfig) -> None:
        """Raise ValueError, with the mend, where the other settings of a run do not go with this method."""

    def select(self, answers: Sequence[Rollout]) -> list[int]:
        """Which answers are taught from, by index; by default none."""
        return []

    def teach(self, answers: Sequence[Rollout], room: Classroom) -> Lesson:
        """What the teacher of each selected answer is told, and on which of its tokens the loss lies."""
        return room.without_teacher(answers)

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """The advantage of each token for the policy gradient, float32[T] an answer."""
        raise NotImplementedError
