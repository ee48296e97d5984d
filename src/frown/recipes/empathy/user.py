"""The sentient user by rules: how a turn moves mood and emotion score, and what the person then says.

Mood is valence, arousal and dominance; what a turn does to it goes through the personality as in PELD (Wen et al.,
Findings of ACL 2021): E_r = E_i + P * D, elementwise, with P from the five factors (Mehrabian 1996). D, and the points
that a change of valence is worth, are ours: RLVER asks a language model for both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from frown.dialogue.partner import PartnerTurn, Reply
from frown.recipes.empathy.acts import MEETS, NEEDS, RATIONAL, Act, Need, read
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile, Temper
from frown.recipes.empathy.wording import LAB, Level, Wording
from frown.types import Task, Verdict

POINTS = 30.0
"""Points of emotion for a whole unit of valence."""
DECAY = 0.8
"""What is left of a mood after a turn."""
HELPED = 3
"""Times that a need has to be met, once it is known, for the person to be helped."""

ANCHORS: dict[str, tuple[float, float, float]] = {
    "anger": (-0.51, 0.59, 0.25),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.62, 0.82, -0.43),
    "joy": (0.81, 0.51, 0.46),
    "neutral": (0.0, 0.0, 0.0),
    "sadness": (-0.63, -0.27, -0.33),
    "surprise": (0.40, 0.67, -0.13),
}
"""Valence, arousal and dominance of the emotions, as PELD places them."""

REVEALS: dict[Temper, float] = {"negative": 0.8, "passive": 0.6, "avoidant": 0.4}
"""How likely a person is to say what is needed when asked, in no mood."""


class Mood(NamedTuple):
    """Valence, arousal and dominance, each in [-1, 1]."""

    valence: float
    arousal: float
    dominance: float

    @property
    def label(self) -> str:
        """The nearest emotion."""
        return min(ANCHORS, key=lambda name: sum((a - b) ** 2 for a, b in zip(self, ANCHORS[name], strict=True)))


@dataclass(frozen=True)
class Manner:
    """How one simulator takes what is said: units of valence. Two simulators differ here and nowhere else."""

    name: str
    help: float = 1.0
    """The need is met, and was known."""
    blind: float = 0.25
    """The need is met by chance."""
    miss: float = -0.35
    """Another need is met."""
    premature: float = -0.6
    """Advice and analysis before the need is known."""
    asked: float = -0.05
    """A question, while the need is not known; afterwards it costs `miss`."""
    soothe: float = 0.25
    """Comfort without help."""
    worn: float = 0.6
    """What each further comfort is worth of the one before."""
    repeat: float = -0.25
    """The same act twice running, beside what the act does."""
    relief: float = 0.5
    """The need has been met often enough."""
    noise: float = 0.15
    """Standard deviation of what nobody can tell."""
    candour: float = 0.9
    """How likely what a person says of the need is true."""


PLAIN = Manner("plain")
SOOTHABLE = Manner("soothable", soothe=0.5, worn=0.9)
"""Likes to be comforted, and does not tire of it: the simulator that can be gamed."""
SCEPTIC = Manner("sceptic", soothe=-0.1, worn=1.0, repeat=-0.4, candour=0.8)
"""Takes comfort amiss. Nothing is trained on it."""
MANNERS = {m.name: m for m in (PLAIN, SOOTHABLE, SCEPTIC)}


@dataclass(frozen=True)
class State:
    """How it stands with a person after some turns."""

    score: int
    mood: Mood
    hint: Need | None = None
    """What the person last said is needed; not always true."""
    known: bool = False
    """Whether the person has said truly what is needed."""
    helped: int = 0
    """Times the need was met while it was known."""
    comforts: int = 0
    last: Act | None = None
    over: str = ""
    """"helped", "content" (at the cap), "left" or ""."""


def begin(preset: Preset) -> State:
    """Before the first turn."""
    return State(preset.start, Mood(*ANCHORS["sadness"]))


def sensitivity(ocean: Sequence[float]) -> Mood:
    """How far a personality lets valence, arousal and dominance be moved: P of PELD."""
    o, c, e, a, n = ocean
    return Mood(
        0.21 * e + 0.59 * a + 0.19 * n, 0.15 * o + 0.30 * a - 0.57 * n, 0.25 * o + 0.17 * c + 0.60 * e - 0.32 * a
    )


def feel(
    person: Profile, manner: Manner, preset: Preset, state: State, act: Act | None, specific: bool, seed: int
) -> State:
    """How a person is after a turn. `specific`: whether it spoke about what the person spoke about.

    A turn that is no act, or not specific where it would help, is a miss.
    """
    draw = random.Random(seed)
    said, noise = draw.random(), draw.gauss(0.0, manner.noise)
    true, other = draw.random() < manner.candour, NEEDS[draw.randrange(len(NEEDS))]
    asks = {"ask": 1.0, "follow_up": 0.5}.get(act or "", 0.0)
    reveals = asks > 0 and not state.known and said < asks * (REVEALS[person.temper] + 0.2 * state.mood.valence)
    hint = (person.need if true else other) if reveals else state.hint
    known = state.known or (reveals and hint == person.need)
    meets = act == MEETS[person.need] and specific
    helped = state.helped + (meets and state.known)

    if asks:
        valence = manner.miss if state.known and act == "ask" else manner.asked
    elif act == "assure":
        valence = manner.soothe * manner.worn**state.comforts
    elif meets:
        valence = manner.help if state.known else manner.blind
    elif act in RATIONAL and not state.known:
        valence = manner.premature
    else:
        valence = manner.miss
    if act == state.last and act is not None:
        valence += manner.repeat
    if helped == HELPED > state.helped:
        valence += manner.relief
    valence += noise
    # Help calms and gives the reins back; what misses the need stirs up and takes them.
    push = Mood(valence, -0.3 * valence, 0.4 * valence if meets else 0.1 * valence)
    by = sensitivity(person.ocean)
    mood = Mood(*(max(-1.0, min(1.0, DECAY * m + p * d)) for m, p, d in zip(state.mood, by, push, strict=True)))
    score = preset.after(state.score, round(POINTS * by.valence * valence))
    over = "helped" if helped >= HELPED else "content" if score >= preset.cap else ""
    over = "left" if score <= preset.leave_at else over
    return State(score, mood, hint, known, helped, state.comforts + (act == "assure"), act, over)


class SentientUser:
    """A person by rules; implements `frown.dialogue.partner.Partner`. Tasks come from `profile.task_of`.

    A turn's reward is the change of the score, in points; `notes` hold the score and the mood after it.
    """

    def __init__(self, manner: Manner, preset: Preset, wording: Wording = LAB) -> None:
        self.manner, self.preset, self.wording = manner, preset, wording

    @property
    def identity(self) -> str:
        """Its rules."""
        return f"{self.manner} {self.preset}"

    def reply(self, hearings: Sequence[PartnerTurn]) -> list[Reply]:
        """What each person answers."""
        return [self._reply(h) for h in hearings]

    def verify(self, task: Task, replies: Sequence[Reply]) -> Verdict:
        """RLVER's terminal reward: the last score, in [0, 1]."""
        return emotion_verdict(replies[-1].state.score)

    def _reply(self, heard: PartnerTurn) -> Reply:
        person: Profile = heard.task.data["profile"]
        before = begin(self.preset) if heard.state is None else heard.state
        words = heard.messages[-1]["content"]
        specific = self.wording.specific(person, words)
        after = feel(person, self.manner, self.preset, before, read(words), specific, heard.seed)
        return answer(person, before, after, self.wording)


def answer(person: Profile, before: State, after: State, wording: Wording = LAB) -> Reply:
    """A person's reply: how it is, what is needed where that was just said, and what it is about."""
    named = after.hint if after.hint is not None and after.hint != before.hint else None
    return Reply(
        wording.line(person, level(after.score), named),
        after.score - before.score,
        after,
        after.over,
        notes={"score": after.score, **after.mood._asdict()},
    )


def level(score: float) -> Level:
    """What a person lets be seen of a score: low below 40, middle below 70, high."""
    return "low" if score < 40 else "middle" if score < 70 else "high"


def emotion_verdict(score: float) -> Verdict:
    """max(e, 0) / 100."""
    return Verdict(min(1.0, max(0.0, score / 100.0)))
