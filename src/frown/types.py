"""The nouns that flow between the rooms: frozen data, numpy only, no effects.

Arrays are per rollout. T is the number of completion tokens (the end-of-sequence token included), P the
number of prompt tokens. Log-probabilities and entropies are in nats, probabilities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Message(TypedDict):
    """One turn of a conversation, as chat templates take it."""

    role: Literal["system", "user", "assistant"]
    content: str


class Step(NamedTuple):
    """A written-out step of an answer as a half-open range: characters of a text, or tokens of a completion."""

    start: int
    end: int


@dataclass(frozen=True)
class Task:
    """What is asked. How an answer is judged is the environment's business: `Environment.verify(tasks, texts)`.

    `id` is a content hash; `answer` the reference answer; `solution` a worked reference solution in the form
    the policy would write it, or None; `data` what the environment needs to judge and criticise, and nobody else reads.
    """

    id: str
    messages: tuple[Message, ...]
    answer: str
    solution: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    expert_steps: tuple[int, ...] | None = None
    """The written-out steps (0-based) that an expert would look at first, whatever the answer; None where no rule of
    thumb is known."""

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return next(m["content"] for m in reversed(self.messages) if m["role"] == "user")


@dataclass(frozen=True)
class Verdict:
    """How an answer was judged. An answer that could not be judged is `scored=False`, never 0."""

    score: float
    """In [0, 1]; 1 is right. NaN if and only if `scored` is False."""
    scored: bool = True
    message: str = ""
    """Why: what was found wrong, or why it could not be scored."""
    answer: str | None = None
    """The final answer found in the text, in a canonical form in which equal answers are equal strings."""
    well_formed: bool = True
    """Whether the text has the form that was asked for."""
    rule: str = ""
    """By which rule the final answer was taken from the text: "box", "answer is", "last line"; "" where none was."""
    stated: str = ""
    """The words it was taken from, shortened. Never shown to a teacher: a wrong answer that is shown is taught."""
    step_right: tuple[bool, ...] | None = None
    """For each written-out step, whether it is right given the steps before it; None where nobody can tell."""
    step_state: tuple[str, ...] | None = None
    """For each written-out step, the state it starts from, where the environment knows states: the same step of
    the same task in an equal state is the same small problem. "?" after a step that cannot be read."""

    def __post_init__(self) -> None:
        if self.scored != (0.0 <= self.score <= 1.0):
            raise ValueError(f"a scored verdict has a score in [0, 1], an unscored one NaN; got {self.score}")

    @property
    def right(self) -> bool:
        """Scored and fully right."""
        return self.scored and self.score >= 1.0

    @property
    def strictly_right(self) -> bool:
        """Right, and in the form that was asked for."""
        return self.right and self.well_formed

    @property
    def process_right(self) -> bool | None:
        """Whether the answer has the right form and every step in it is right; None where nobody can tell."""
        return None if self.step_right is None else self.well_formed and all(self.step_right)

    @classmethod
    def unscored(cls, why: str) -> Verdict:
        """An answer that nobody could judge, and why."""
        return cls(score=float("nan"), scored=False, message=why, well_formed=False)


@dataclass(frozen=True, eq=False)
class Signals:
    """What the model's next-token distribution said at each completion token.

    `values` maps a name to float32[T]: `surprisal`, `entropy`, `self_certainty` (nats), `varentropy` (nats squared),
    `top_probability`, `margin` (probabilities). `source` is "full" when the whole vocabulary was read, else
    "topk:K": an entropy from the top K alone is a bound and is never mixed with exact ones.
    """

    values: Mapping[str, Floats]
    source: str = "full"

    def __post_init__(self) -> None:
        lengths = {name: len(v) for name, v in self.values.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"signals of one rollout have one value a token each, got lengths {lengths}")

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]


@dataclass(frozen=True, eq=False)
class Rollout:
    """One sampled answer, with the log-probability of each token under the policy that sampled it."""

    task: Task
    group: int
    """Answers to the same prompt in the same step share a group number."""
    prompt_ids: Ints
    ids: Ints
    """[T], the end-of-sequence token included when there is one."""
    logp: Floats
    """[T] nats, at `temperature`; NaN where the policy did not sample it (`demonstrated`)."""
    temperature: float
    stop: Literal["eos", "length"]
    """"length": the answer was cut at the token limit."""
    text: str
    """The completion without special tokens."""
    steps: tuple[Step, ...] = ()
    """Token ranges of the written-out steps within `ids`."""
    signals: Signals | None = None
    verdict: Verdict | None = None
    policy_step: int = 0
    alternative: Ints | None = None
    """[T] the likeliest token other than the sampled one, where the sampler kept it."""
    sampled: NDArray[np.bool_] | None = None
    """[T] which tokens the policy sampled, in a conversation; the others were said to it and are read, never trained.
    Where False, `logp` is 0 (nothing was chosen there) and every signal NaN. None: all of them."""
    earned: tuple[float, ...] | None = None
    """What each of the steps earned by itself, in the unit of whoever says so; None where nobody does."""
    episode: int | None = None
    """The conversation that this rollout is one turn of, where a conversation is several rollouts: its turns share this
    number within a batch, stand together and in order, and share the verdict. None: the rollout is all of it."""

    def __post_init__(self) -> None:
        if len(self.logp) != len(self.ids):
            raise ValueError(f"a rollout has one log-probability a token: {len(self.logp)} for {len(self.ids)}")
        if self.sampled is not None and len(self.sampled) != len(self.ids):
            raise ValueError(f"a rollout's mask has one entry a token: {len(self.sampled)} for {len(self.ids)}")

    @property
    def own(self) -> NDArray[np.bool_]:
        """[T] which tokens the policy sampled."""
        return np.ones(len(self.ids), np.bool_) if self.sampled is None else self.sampled

    @property
    def demonstrated(self) -> bool:
        """Whether the policy did not sample it: a worked solution, of which no log-probability is known."""
        return bool(np.isnan(self.logp).any())

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut at the token limit."""
        return self.stop == "length"


def episodes(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """The rollouts (by index) of each episode, in order of appearance: the turns of a conversation that is several
    rollouts, or one rollout by itself."""
    members: dict[tuple[str, int], list[int]] = {}
    for i, rollout in enumerate(rollouts):
        key = ("alone", i) if rollout.episode is None else ("episode", rollout.episode)
        members.setdefault(key, []).append(i)
    return list(members.values())


Label = Literal["frustration", "doubt", "confusion", "ambivalence", "overconfidence", "confidence"]


@dataclass(frozen=True)
class Span:
    """A labelled stretch of an answer, with the evidence that made it. A label without evidence cannot be built.

    `start`, `end`: token range in the completion. `step`: index of the written-out step it lies in, or None.
    `intensity` in [0, 1]; `valence`, `arousal` and `dominance` in [-1, 1].
    """

    start: int
    end: int
    label: Label
    intensity: float
    evidence: Mapping[str, float]
    step: int | None = None
    valence: float = 0.0
    arousal: float = 0.0
    dominance: float = 0.0

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"a span labelled {self.label!r} needs the evidence that made it")
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span covers at least one token, got [{self.start}, {self.end})")
        if not 0.0 <= self.intensity <= 1.0:
            raise ValueError(f"intensity lies in [0, 1], got {self.intensity}")


@dataclass(frozen=True)
class Appraisal:
    """The labelled spans of one rollout, in order, and how doubtful each written-out step was."""

    spans: tuple[Span, ...] = ()
    step_doubt: tuple[float, ...] = ()
    """Per step: the largest surprisal (nats) of a sampled token in it."""
    unread: tuple[str, ...] = ()
    """Rules that could not be read in this rollout, each with its reason: "confusion: no signal 'disagreement'"."""


Weighed = Mapping[int, tuple[str, ...]]
"""Step (0-based) -> texts of that step that were considered, of which any may be wrong."""

Kind = Literal["outcome", "sibling", "reference", "critique", "affect"]


class Part(NamedTuple):
    """A piece of feedback, with where it came from, and which written-out steps it speaks about (all: None)."""

    kind: Kind
    text: str
    steps: tuple[int, ...] | None = None
    verdict: bool = False
    """Of an affect note: whether it was made with what the verifier said of the answer."""
    attempt: bool = False
    """Whether the text is the student's own answer, put right, rather than a remark on it."""


@dataclass(frozen=True)
class Feedback:
    """What the self-teacher will be told about one rollout. Provenance is kept, so an ablation is a filter."""

    parts: tuple[Part, ...] = ()

    def only(self, *kinds: Kind) -> Feedback:
        """The parts of these kinds."""
        return Feedback(tuple(p for p in self.parts if p.kind in kinds))

    @property
    def steps(self) -> tuple[int, ...] | None:
        """The steps commented on, or None when some part speaks about the whole answer."""
        if any(p.steps is None for p in self.parts):
            return None
        return tuple(sorted({s for p in self.parts for s in p.steps or ()}))


@dataclass(frozen=True, eq=False)
class TeacherView:
    """How the self-teacher sees a rollout: another context before the very same answer ids.

    The answer ids are the rollout's own, never re-tokenised. `weight` is float32[T], one weight a completion
    token in the distillation loss; 0 leaves a token out.
    """

    rollout: int
    """Index of the rollout in its batch."""
    context_ids: Ints
    weight: Floats
