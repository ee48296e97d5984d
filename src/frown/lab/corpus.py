"""The pretraining corpus: documents by writers who hold different conventions, make slips, and get feedback.

Each document draws two conventions from the prior: the writer's belief and the document's truth, which
feedback speaks from. A revision is a REWRITE: away from the places that its context speaks about it has the
same knowledge and the same slip rate as a plain attempt. This is what stops the context's tag from being a
switch into a careful mode: an empty critique, or one about other steps, must not help, and a base trained on
this corpus shows that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from frown.lab import words
from frown.lab.family import Check, Convention, Family, Problem
from frown.lab.text import EOS, encode, prompt_ids

K = TypeVar("K")

KINDS: dict[str, float] = {
    "none": 0.30,
    "reference": 0.12,
    "critique": 0.36,
    "alternative": 0.06,
    "pointer": 0.06,
    "weighed": 0.05,
    "retry": 0.05,
}
"""Kinds of context and their shares."""
CRITIQUES: dict[str, float] = {"all": 0.50, "errors": 0.25, "some": 0.25}
"""Which steps a critique speaks about: all, the wrong ones, or a random non-empty choice."""
LENGTHS: dict[int, float] = {2: 0.17, 3: 0.17, 4: 0.17, 5: 0.17, 6: 0.32}
"""Steps a document, and their shares. Short ones first: reading a context is learnt on them far sooner."""
LATE_LENGTHS: dict[int, float] = {2: 0.06, 3: 0.08, 4: 0.08, 5: 0.18, 6: 0.20, 8: 0.15, 10: 0.13, 15: 0.12}
"""The same late in the first leg of training."""
STRETCH_LENGTHS: dict[int, float] = {
    **{2: 0.05, 3: 0.05, 4: 0.05, 5: 0.15, 6: 0.08, 7: 0.08, 8: 0.08},
    **{9: 0.07, 10: 0.10, 11: 0.06, 12: 0.06, 13: 0.05, 14: 0.05, 15: 0.07},
}
"""The same in the second leg, which stretches what is there to long problems. Every length must be among them: so
small a model cannot write an answer of a length that it did not see late in training."""
FOREIGN = 0.35
"""Share of contexts with content that speak from a foreign convention, any value at all. What they say cannot be
guessed, only read: this is what teaches a small model to read its context in so few documents."""
SPEAKING = ("reference", "alternative", "critique", "weighed")
"""Kinds of context that say what is right somewhere."""
HEED = 0.95
"""Probability that a writer takes over what the context says about a step."""
TRUTH_WEIGHED = 0.85
"""Probability that the truth is among the values of a weighed note."""
CARELESSNESS = (0.2, 0.5, 0.8, 1.1)
DRAFT_CARELESSNESS = (0.5, 1.0, 1.6)


@dataclass(frozen=True)
class Document:
    """One training document: a problem, a context, and what the writer wrote."""

    kind: str
    problem: Problem
    context: str
    results: tuple[int, ...]
    spoken_of: tuple[bool, ...]
    """Per step: whether the context spoke about that very step in the state that the writer was in."""
    belief: Convention
    """The writer's own convention."""


def draw_document(
    family: Family, rng: random.Random, kind: str | None = None, lengths: dict[int, float] = LENGTHS
) -> Document:
    """Draw one document, of a random kind or of the given one."""
    problem = family.draw(rng, _pick(rng, lengths), "base")
    kind = kind or _pick(rng, KINDS)
    care = rng.choice(CARELESSNESS)
    foreign = kind in SPEAKING and rng.random() < FOREIGN
    belief, truth = Convention(family.prior, rng), Convention(family.prior, rng, foreign)

    def draft() -> list[Check]:
        results = _write(family, problem, rng, rng.choice(DRAFT_CARELESSNESS), Convention(family.prior, rng))[0]
        return family.check(problem, results, truth)

    facts: dict[tuple[int, object], int] = {}
    careful: frozenset[int] = frozenset()
    if kind == "none":
        context = ""
    elif kind == "retry":
        context = words.RETRY
    elif kind == "reference":
        right = family.solve(problem, truth)
        context = words.reference(family.solution(problem, right))
        facts = _facts(family.check(problem, right, truth), by_step=True)
    elif kind == "alternative":
        checks = family.check(problem, family.solve(problem, truth), truth)
        rng.shuffle(checks)
        context, facts = words.alternative(family, checks), _facts(checks)
    elif kind == "critique":
        checks = _choose(draft(), rng)
        context, facts = words.critique(family, checks), _facts(checks)
    elif kind == "pointer":
        steps = [i for i, c in enumerate(draft()) if rng.random() < (0.15 if c.right else 0.75)]
        context, careful = words.pointer(steps), frozenset(steps)
    elif kind == "weighed":
        checks = _doubtful(family, draft(), rng)
        context = words.weighed(weighed_entry(family, c, _options(family, c, rng, foreign)) for c in checks)
        facts = _facts(checks)
    else:
        raise ValueError(f"no kind of document {kind!r}")

    def heeds(step: int, state: int) -> int | None:
        item = problem.items[step]
        key: tuple[int, object] = (state, (step, item) if kind == "reference" else item)
        return facts.get(key)

    results, spoken_of = _write(family, problem, rng, care, belief, heeds, careful)
    return Document(kind, problem, context, results, spoken_of, belief)


def weighed_entry(family: Family, check: Check, results: Sequence[int]) -> tuple[str, list[str]]:
    """A step and the results that were considered at it, as a weighed note takes them."""
    return family.quote(check.state, check.item), [family.result_text(r) for r in results]


def training_ids(family: Family, document: Document) -> tuple[list[int], int]:
    """Token ids of a document, and how many of them are prompt (the loss is on the rest)."""
    prompt = prompt_ids(family.question(document.problem), document.context)
    return prompt + encode(family.solution(document.problem, document.results) + EOS), len(prompt)


def batches(
    family: Family, rng: random.Random, size: int, lengths: dict[int, float] = LENGTHS, pool: int = 32
) -> Iterator[list[tuple[list[int], int]]]:
    """Endless batches of `size` documents of like length, out of pools of `size * pool` documents."""
    while True:
        documents = [training_ids(family, draw_document(family, rng, lengths=lengths)) for _ in range(size * pool)]
        documents.sort(key=lambda d: len(d[0]))
        groups = [documents[i : i + size] for i in range(0, len(documents), size)]
        rng.shuffle(groups)
        yield from groups


def _write(
    family: Family,
    problem: Problem,
    rng: random.Random,
    care: float,
    belief: Convention,
    fact_at: Callable[[int, int], int | None] = lambda step, state: None,
    careful: frozenset[int] = frozenset(),
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Write an answer: take over what one was told, else believe and slip as ever."""
    state, results, spoken_of = problem.start, [], []
    for step, item in enumerate(problem.items):
        word = fact_at(step, state)
        if word is not None and rng.random() < HEED:
            result = word
        else:
            result = family.attempt_step(state, item, rng, 0.05 if step in careful else care, belief)
        results.append(result)
        spoken_of.append(word is not None or step in careful)
        state = family.state_of(result)
    return tuple(results), tuple(spoken_of)


def _facts(checks: Sequence[Check], by_step: bool = False) -> dict[tuple[int, object], int]:
    """What was said: (state, item) -> result; a worked solution speaks of each step by its place, too."""
    return {(c.state, (i, c.item) if by_step else c.item): c.expected for i, c in enumerate(checks)}


def _choose(checks: list[Check], rng: random.Random) -> list[Check]:
    """The steps a critic speaks about, in order."""
    scope = _pick(rng, CRITIQUES)
    if scope == "all":
        return checks
    if scope == "errors":
        return [c for c in checks if not c.right]
    chosen = set(rng.sample(range(len(checks)), rng.randint(1, len(checks))))
    return [c for i, c in enumerate(checks) if i in chosen]


def _doubtful(family: Family, checks: list[Check], rng: random.Random) -> list[Check]:
    """One to three steps at which a writer hesitated, in order: house-rule steps three times as often."""
    weights = {i: 3.0 if family.pair(c.state, c.item) else 1.0 for i, c in enumerate(checks)}
    chosen = []
    for _ in range(min(len(checks), rng.choice((1, 1, 2, 3)))):
        chosen.append(_pick(rng, weights))
        del weights[chosen[-1]]
    return [checks[i] for i in sorted(chosen)]


def _options(family: Family, check: Check, rng: random.Random, foreign: bool) -> list[int]:
    """Two values a writer hesitates between; the truth is one of them with probability `TRUTH_WEIGHED`."""
    weights = family.plausible(check.state, check.item)
    pair = family.pair(check.state, check.item)
    if foreign and pair:
        weights = {family.apply(check.state, check.item, {pair: v}): 1.0 for v in range(family.prior.values)}
    weights.pop(check.expected, None)
    options = [check.expected] if rng.random() < TRUTH_WEIGHED else []
    while len(options) < 2:
        options.append(_pick(rng, weights))
        del weights[options[-1]]
    rng.shuffle(options)
    return options


def _pick(rng: random.Random, weights: dict[K, float]) -> K:
    """One key, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]
