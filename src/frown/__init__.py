"""frown: emotion-augmented self-distillation of language models.

What is named in `__all__` is the promise of this package; everything else may move. Each is imported when it is first
used: `import frown` brings no torch.

    config = frown.load(frown.RunConfig, None, ["method=aimed", "model.path=DIR", "task.kind=math", "task.data=FILE"])
    frown.train(config, "runs/mine")
    frown.evaluate("runs/mine", against="DIR", out="runs/mine-eval")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frown.comparison.compare import compare
    from frown.config import CompareConfig, EvaluationConfig, Method, RunConfig, load
    from frown.critics.base import Comment, Critic, Request, Review
    from frown.errors import FrownError
    from frown.feedback.aim import SignalFunction
    from frown.feedback.compose import FeedbackFunction
    from frown.inspect.evaluate import evaluate
    from frown.inspect.probe import probe
    from frown.inspect.read import read
    from frown.learner.objective import ObjectiveFunction
    from frown.methods.base import Classroom, Lesson, Teaching
    from frown.store.run_directory import RunDirectory
    from frown.tasks.base import Environment
    from frown.training.run import train
    from frown.types import (
        Appraisal,
        Feedback,
        Message,
        Part,
        Rollout,
        Signals,
        Span,
        Step,
        Task,
        TeacherView,
        Verdict,
    )

__version__ = "0.1.0"

__all__ = [
    "Appraisal",
    "Classroom",
    "Comment",
    "CompareConfig",
    "Critic",
    "Environment",
    "EvaluationConfig",
    "Feedback",
    "FeedbackFunction",
    "FrownError",
    "Lesson",
    "Message",
    "Method",
    "ObjectiveFunction",
    "Part",
    "Request",
    "Review",
    "Rollout",
    "RunConfig",
    "RunDirectory",
    "SignalFunction",
    "Signals",
    "Span",
    "Step",
    "Task",
    "TeacherView",
    "Teaching",
    "Verdict",
    "compare",
    "evaluate",
    "load",
    "probe",
    "read",
    "train",
]

_PLACES = {
    "comparison.compare": ("compare",),
    "config": ("CompareConfig", "EvaluationConfig", "Method", "RunConfig", "load"),
    "critics.base": ("Comment", "Critic", "Request", "Review"),
    "errors": ("FrownError",),
    "feedback.aim": ("SignalFunction",),
    "feedback.compose": ("FeedbackFunction",),
    "inspect.evaluate": ("evaluate",),
    "inspect.probe": ("probe",),
    "inspect.read": ("read",),
    "learner.objective": ("ObjectiveFunction",),
    "methods.base": ("Classroom", "Lesson", "Teaching"),
    "store.run_directory": ("RunDirectory",),
    "tasks.base": ("Environment",),
    "training.run": ("train",),
    "types": (
        "Appraisal",
        "Feedback",
        "Message",
        "Part",
        "Rollout",
        "Signals",
        "Span",
        "Step",
        "Task",
        "TeacherView",
        "Verdict",
    ),
}
"""Which module has which names."""
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACE_OF[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
