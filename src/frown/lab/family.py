"""What both task families share: problems, the prior over conventions, answers, the check of one step,
splits.

A problem is a row of *items* worked from left to right. Each step takes the *state* left by the step before
it and writes a *result*; the next state is a function of that result alone. Ordinary operators follow
arithmetic; "@" follows a *convention*, a table that cannot be derived and about which people differ. The
environment's convention is one draw from the same prior that the base model was trained on, so the base has
an honest prior and lacks the environment's facts.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from frown.errors import FrownError

Item = tuple[str | int, ...]
Pair = tuple[int, int]

MIN_STEPS, MAX_STEPS = 2, 15
SPLITS: dict[str, range] = {
    "base": range(0, 50),
    "train": range(50, 75),
    "dev": range(75, 83),
    "test": range(83, 92),
    "heldout": range(92, 100),
}
"""Which hash buckets (of 100) belong to which split. A problem's text decides its bucket, hence its split."""
SHIFTS = (1, 3, 7)
"""Where a convention differs from the common value, it is this much higher (modulo the number of values)."""


@dataclass(frozen=True)
class Problem:
    """A question: the first state and the items to work through."""

    start: int
    items: tuple[Item, ...]


class Check(NamedTuple):
    """A step held against the rules, given the state the answer itself was in."""

    state: int
    item: Item
    expected: int
    right: bool


class Answer(NamedTuple):
    """What could be read of an answer: results of its well-formed beginning, and whether that is all."""

    results: tuple[int, ...]
    well_formed: bool


@dataclass(frozen=True)
class Prior:
    """What is commonly held about "@", and how contested each entry is."""

    common: Mapping[Pair, int]
    contested: Mapping[Pair, float]
    """Probability that a convention differs from the common value."""
    values: int
    """A convention's values are 0 .. values - 1."""

    @classmethod
    def make(cls, pairs: Sequence[Pair], values: int, seed: int) -> Prior:
        """45 % of the entries hardly contested (.04), 30 % contested (.40), 25 % strongly (.75)."""
        rng = random.Random(seed)
        common = {pair: rng.randrange(values) for pair in pairs}
        contested = {pair: rng.choices([0.04, 0.40, 0.75], [0.45, 0.30, 0.25])[0] for pair in pairs}
        return cls(common, contested, values)

    def draw(self, pair: Pair, rng: random.Random) -> int:
        """What one convention says about one pair."""
        if rng.random() < self.contested[pair]:
            return (self.common[pair] + rng.choice(SHIFTS)) % self.values
        return self.common[pair]

    def weights(self, pair: Pair) -> dict[int, float]:
        """Each possible value and its probability under the prior."""
        c = self.contested[pair]
        weights = {self.common[pair]: 1.0 - c}
        for shift in SHIFTS:
            weights[(self.common[pair] + shift) % self.values] = c / len(SHIFTS)
        return weights


class Convention(dict[Pair, int]):
    """One convention, drawn entry by entry when first asked: from the prior, or (foreign) any value at all."""

    def __init__(self, prior: Prior, rng: random.Random, foreign: bool = False) -> None:
        super().__init__()
        self._prior, self._rng, self._foreign = prior, rng, foreign

    def __missing__(self, pair: Pair) -> int:
        if self._foreign:
            value = self._rng.randrange(self._prior.values)
        else:
            value = self._prior.draw(pair, self._rng)
        self[pair] = value
        return value


class Family(ABC):
    """A task family. Pure: nothing here holds state but tables that are drawn once from fixed seeds."""

    name: str
    prior: Prior
    separator: str
    """Between the items of a question."""
    width: int
    """Characters of a result."""
    environment_seed = 777

    # -- what each family says for itself --------------------------------------------------------------------
    @abstractmethod
    def draw_start(self, rng: random.Random) -> int:
        """A first state."""

    @abstractmethod
    def draw_item(self, rng: random.Random) -> Item:
        """One item."""

    @abstractmethod
    def start_text(self, start: int) -> str:
        """How the first state stands in the question ("" when it is always the same)."""

    @abstractmethod
    def read_item(self, text: str) -> Item | None:
        """The item that a text stands for."""

    @abstractmethod
    def state_of(self, result: int) -> int:
        """The state that a result leaves behind."""

    @abstractmethod
    def pair(self, state: int, item: Item) -> Pair | None:
        """The entry of the convention that a step needs; None for an ordinary step."""

    @abstractmethod
    def apply(self, state: int, item: Item, convention: Mapping[Pair, int]) -> int:
        """The right result of a step."""

    @abstractmethod
    def usual_slip(self, state: int, item: Item) -> tuple[float, int]:
        """The slip people make here: its probability at average care, and the result it gives."""

    @abstractmethod
    def read_question(self, question: str) -> Problem:
        """The problem that a question stands for.

        Raises:
            FrownError: when it is no question of this family.
        """

    @abstractmethod
    def final(self, results: Sequence[int]) -> str:
        """The final answer of a complete row of results, in canonical form."""

    # -- shared ----------------------------------------------------------------------------------------------
    def item_text(self, item: Item) -> str:
        """How an item stands in questions and answers."""
        return "".join(map(str, item))

    def quote(self, state: int, item: Item) -> str:
        """A step's left-hand side, beginning with the state it starts from.

        Answers, references and critics all write it so: what a comment says about a step is found by the very words
        the step begins with, which a small model learns to look up.
        """
        return f"{state}{self.item_text(item)}"

    def result_text(self, result: int) -> str:
        """A result, in its fixed number of digits."""
        return f"{result:0{self.width}d}"

    @cached_property
    def environment(self) -> dict[Pair, int]:
        """The environment's convention: one more draw from the prior, never singled out in the corpus."""
        rng = random.Random(self.environment_seed)
        return {pair: self.prior.draw(pair, rng) for pair in self.prior.common}

    def question(self, problem: Problem) -> str:
        """The question's text."""
        rows = self.separator.join(map(self.item_text, problem.items))
        return f"Q{self.start_text(problem.start)}{rows}"

    def solution(self, problem: Problem, results: Sequence[int]) -> str:
        """The written-out answer with these results (without the end-of-answer mark)."""
        states = [problem.start, *map(self.state_of, results)]
        rows = zip(states, problem.items, results, strict=False)
        return ";".join(f"{self.quote(state, item)}={self.result_text(r)}" for state, item, r in rows)

    def solve(self, problem: Problem, convention: Mapping[Pair, int] | None = None) -> tuple[int, ...]:
        """The right results, by default under the environment's convention."""
        table = self.environment if convention is None else convention
        state, out = problem.start, []
        for item in problem.items:
            out.append(self.apply(state, item, table))
            state = self.state_of(out[-1])
        return tuple(out)

    def read_answer(self, problem: Problem, text: str) -> Answer:
        """Read an answer; nonsense is read as far as it goes and never raises.

        A step that starts from another state than the step before it left is malformed.
        """
        rows = text.removesuffix("$").split(";")
        state, results = problem.start, list[int]()
        for item, row in zip(problem.items, rows, strict=False):
            digits = row.removeprefix(f"{self.quote(state, item)}=")
            if row == digits or len(digits) != self.width or not (digits.isascii() and digits.isdigit()):
                return Answer(tuple(results), False)
            results.append(int(digits))
            state = self.state_of(results[-1])
        return Answer(tuple(results), len(rows) == len(problem.items))

    def check(
        self, problem: Problem, results: Sequence[int], convention: Mapping[Pair, int] | None = None
    ) -> list[Check]:
        """Hold each result against the rules, given the state that the results before it left behind."""
        table = self.environment if convention is None else convention
        state, out = problem.start, []
        for item, result in zip(problem.items, results, strict=False):
            expected = self.apply(state, item, table)
            out.append(Check(state, item, expected, result == expected))
            state = self.state_of(result)
        return out

    def attempt_step(
        self,
        state: int,
        item: Item,
        rng: random.Random,
        carelessness: float,
        convention: Mapping[Pair, int],
    ) -> int:
        """A step as a person of this carelessness (0 none, 1 average) and these beliefs would write it."""
        probability, slip = self.usual_slip(state, item)
        if probability and rng.random() < min(0.95, probability * carelessness):
            return slip
        right = self.apply(state, item, convention)
        if rng.random() < 0.02 * carelessness:
            return self.nudge(right, rng.choice((1, -1)))
        return right

    def nudge(self, result: int, by: int) -> int:
        """A result that is off by a little, within what can be written."""
        top = 10 if self.width == 1 else 20
        return (result + by) % top

    def plausible(self, state: int, item: Item) -> dict[int, float]:
        """Results that people hold possible at a step, with weights."""
        pair = self.pair(state, item)
        if pair is not None:
            weights: dict[int, float] = {}
            for value, weight in self.prior.weights(pair).items():
                result = self.apply(state, item, {pair: value})
                weights[result] = weights.get(result, 0.0) + weight
            return weights
        right = self.apply(state, item, {})
        probability, slip = self.usual_slip(state, item)
        weights = {right: 1.0, self.nudge(right, 1): 0.05, self.nudge(right, -1): 0.05}
        if probability and slip != right:
            weights[slip] = weights.get(slip, 0.0) + probability
        return weights

    def held_out(self, state: int, item: Item) -> bool:
        """Whether a step is one of the 10 % of ordinary facts that training problems never need."""
        if self.pair(state, item) is not None:
            return False
        return _bucket(f"fact:{self.name}:{self.quote(state, item)}") < 10

    def split_of(self, problem: Problem) -> str:
        """The split that a problem belongs to, decided by a hash of its text."""
        bucket = _bucket(f"{self.name}:{self.question(problem)}")
        return next(split for split, buckets in SPLITS.items() if bucket in buckets)

    def draw(self, rng: random.Random, steps: int, split: str) -> Problem:
        """Draw a problem of a split.

        "base" problems need any fact; "train", "dev" and "test" ones never a held-out fact; "heldout" ones at
        least two.

        Raises:
            FrownError: for an unknown split or a number of steps outside [2, 15].
        """
        if split not in SPLITS:
            raise FrownError(f"lab: no split {split!r}; there are {', '.join(SPLITS)}")
        if not MIN_STEPS <= steps <= MAX_STEPS:
            raise FrownError(f"lab: steps = {steps} lies outside {MIN_STEPS} to {MAX_STEPS}")
        while True:
            problem = self._draw_any(rng, steps, split)
            if problem is not None and self.split_of(problem) == split:
                return problem

    def _draw_any(self, rng: random.Random, steps: int, split: str) -> Problem | None:
        start = self.draw_start(rng)
        if split == "base":
            return Problem(start, tuple(self.draw_item(rng) for _ in range(steps)))
        state, items, needed = start, [], 0
        for _ in range(steps):
            item = self.draw_item(rng)
            for _attempt in range(40):
                held_out = self.held_out(state, item)
                if not held_out and (split != "heldout" or rng.random() < 0.4):
                    break
                if held_out and split == "heldout":
                    break
                item = self.draw_item(rng)
            needed += self.held_out(state, item)
            items.append(item)
            state = self.state_of(self.apply(state, item, self.environment))
        fits = needed >= 2 if split == "heldout" else needed == 0
        return Problem(start, tuple(items)) if fits else None


def _bucket(text: str) -> int:
    """A number in 0 .. 99 that a text always gets."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % 100


def get_family(name: str) -> Family:
    """The family of this name.

    Raises:
        FrownError: when there is none.
    """
    from frown.lab.chains import CHAINS
    from frown.lab.columns import COLUMNS

    families: dict[str, Family] = {CHAINS.name: CHAINS, COLUMNS.name: COLUMNS}
    if name not in families:
        raise FrownError(f"lab: no task family {name!r}; there are {', '.join(families)}")
    return families[name]
