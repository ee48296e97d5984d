"""What a model card reports: how well a base answers, and what each kind of context does for it as a teacher.

The teacher's side is measured where it is used: on the model's OWN failed answers. At every written-out step
we ask how probable the right result (given the answer's own state) is under each context. Contexts that
carry content must help where they speak; an off-target or empty critique must not help at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frown.lab import words
from frown.lab.corpus import weighed_entry
from frown.lab.environment import LabEnvironment
from frown.lab.family import Check, Family, Problem, get_family
from frown.lab.text import EOS, IDS, PAD, VOCABULARY, encode, prompt_ids

if TYPE_CHECKING:
    import torch

PLACES = ("first_wrong", "later_wrong", "right_before", "right_after")
"""Steps of a failed answer: the first wrong one, later wrong ones, right ones before and after it."""


@dataclass(frozen=True)
class FailedAnswer:
    """One failed, well-formed answer."""

    group: int
    problem: Problem
    results: tuple[int, ...]
    checks: tuple[Check, ...]

    @property
    def wrong(self) -> list[int]:
        """The wrong steps."""
        return [i for i, c in enumerate(self.checks) if not c.right]


Contexts = dict[str, Callable[[Family, FailedAnswer, random.Random], str]]


def _off_target(family: Family, answer: FailedAnswer, rng: random.Random) -> str:
    right = [i for i, c in enumerate(answer.checks) if c.right]
    chosen = sorted(rng.sample(right, min(len(right), len(answer.wrong))))
    return words.critique(family, [answer.checks[i] for i in chosen])


def _alternative(family: Family, answer: FailedAnswer, rng: random.Random) -> str:
    checks = family.check(answer.problem, family.solve(answer.problem))
    rng.shuffle(checks)
    return words.alternative(family, checks)


def _weighed(family: Family, answer: FailedAnswer, rng: random.Random) -> str:
    first = answer.wrong[0]
    options = [answer.checks[first].expected, answer.results[first]]
    rng.shuffle(options)
    return words.weighed([weighed_entry(family, answer.checks[first], options)])


def _random_pointer(family: Family, answer: FailedAnswer, rng: random.Random) -> str:
    return words.pointer(sorted(rng.sample(range(len(answer.checks)), len(answer.wrong))))


CONTEXTS: Contexts = {
    "none": lambda f, a, r: "",
    "reference": lambda f, a, r: words.reference(f.solution(a.problem, f.solve(a.problem))),
    "critique, every step": lambda f, a, r: words.critique(f, a.checks),
    "critique, errors only": lambda f, a, r: words.critique(f, [a.checks[i] for i in a.wrong]),
    "one comment, first wrong step": lambda f, a, r: words.critique(f, [a.checks[a.wrong[0]]]),
    "alternative reference": _alternative,
    "weighed note, first wrong step": _weighed,
    "control: off-target critique": _off_target,
    "control: empty critique": lambda f, a, r: "C",
    "control: retry": lambda f, a, r: words.RETRY,
    "pointer, wrong steps": lambda f, a, r: words.pointer(a.wrong),
    "pointer, random steps": _random_pointer,
}
"""Name of each context, and how it is made for a failed answer."""


def accuracy(
    model: Any,
    family_name: str,
    steps: int = 5,
    problems: int = 100,
    samples: int = 8,
    split: str = "test",
    seed: int = 0,
    greedy: bool = False,
) -> dict[str, float]:
    """How often answers are right.

    Returns: `accuracy`, `well_formed`, `step_accuracy` (well-formed answers only), shares in [0, 1];
    `accuracy_se`, its standard error with answers to one problem taken as one cluster; `n`, the number of
    answers.
    """
    env = LabEnvironment(family_name, steps)
    tasks = env.test_tasks(split, problems)
    texts = _sample(model, env.family, [t.question for t in tasks], steps, 1 if greedy else samples, seed, greedy)
    groups = np.repeat(np.arange(problems), 1 if greedy else samples)
    verdicts = env.verify([tasks[g] for g in groups], texts)
    right = np.array([v.right for v in verdicts], float)
    formed = [v for v in verdicts if v.well_formed]
    step_right = [r for v in formed for r in v.step_right or ()]
    return {
        "accuracy": float(right.mean()),
        "accuracy_se": _cluster_se(right, groups),
        "well_formed": len(formed) / len(verdicts),
        "step_accuracy": float(np.mean(step_right)) if step_right else float("nan"),
        "n": len(verdicts),
    }


def teacher_quality(
    model: Any,
    family_name: str,
    steps: int = 5,
    problems: int = 80,
    samples: int = 8,
    seed: int = 0,
    contexts: Contexts | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """What each context does to P(right result) on the model's own failed answers.

    Args:
        model: a base of the family, or what became of one.
        family_name: "chains" or "columns".
        steps: steps a problem.
        problems: dev problems.
        samples: answers sampled a problem at temperature 1; the well-formed, failed ones are used.
        seed: of the sampling and of the random choices in contexts.
        contexts: as `CONTEXTS` (the default); "none" must be among them.

    Returns: context -> place (see `PLACES`) -> `p` (mean probability of the right result, the product over
    its digits), `se`, `gain` (mean difference to "none", step by step), `gain_se`, `n` (steps). Standard
    errors take answers to one problem as one cluster.
    """
    family = get_family(family_name)
    failed = failed_answers(model, family_name, steps, problems, samples, seed)
    contexts = CONTEXTS if contexts is None else contexts
    places = [_place(a, i) for a in failed for i in range(steps)]
    groups = np.repeat([a.group for a in failed], steps)
    probability = {
        name: _right_probability(
            model,
            family,
            failed,
            [make(family, a, random.Random(f"{seed}/{name}/{i}")) for i, a in enumerate(failed)],
        )
        for name, make in contexts.items()
    }
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, p in probability.items():
        table[name] = {}
        for place in PLACES:
            here = np.array([q == place for q in places], dtype=bool)
            gain = p[here] - probability["none"][here]
            table[name][place] = {
                "p": float(p[here].mean()) if here.any() else float("nan"),
                "se": _cluster_se(p[here], groups[here]),
                "gain": float(gain.mean()) if here.any() else float("nan"),
                "gain_se": _cluster_se(gain, groups[here]),
                "n": int(here.sum()),
            }
    return table


def failed_answers(
    model: Any, family_name: str, steps: int, problems: int, samples: int, seed: int
) -> list[FailedAnswer]:
    """The well-formed answers to dev problems that come out wrong, as sampled at temperature 1."""
    env = LabEnvironment(family_name, steps)
    tasks = env.test_tasks("dev", problems)
    texts = _sample(model, env.family, [t.question for t in tasks], steps, samples, seed, greedy=False)
    out = []
    for i, text in enumerate(texts):
        task = tasks[i // samples]
        problem = env.family.read_question(task.question)
        results, well_formed = env.family.read_answer(problem, text)
        if well_formed and env.family.final(results) != task.answer:
            checks = tuple(env.family.check(problem, results))
            out.append(FailedAnswer(i // samples, problem, results, checks))
    return out


def _place(answer: FailedAnswer, step: int) -> str:
    first = answer.wrong[0]
    if not answer.checks[step].right:
        return "first_wrong" if step == first else "later_wrong"
    return "right_before" if step < first else "right_after"


def _sample(
    model: Any,
    family: Family,
    questions: Sequence[str],
    steps: int,
    samples: int,
    seed: int,
    greedy: bool,
) -> list[str]:
    """Answers as text, `samples` a question in order; questions of one length."""
    import torch

    prompts = torch.tensor([prompt_ids(q) for q in questions])
    row = len(family.quote(0, family.read_question(questions[0]).items[0])) + 1 + family.width + 1
    how: dict[str, Any] = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        ids = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=row * steps + 2,
            num_return_sequences=samples,
            pad_token_id=IDS[PAD],
            eos_token_id=IDS[EOS],
            **how,
        )
    answers = ["".join(VOCABULARY[i] for i in row) for row in ids[:, prompts.shape[1] :].tolist()]
    return [a.split(EOS)[0] if EOS in a else a + "?" for a in answers]


def _right_probability(
    model: Any, family: Family, failed: Sequence[FailedAnswer], contexts: Sequence[str]
) -> np.ndarray:
    """P(right result) at each step of each answer, float64[answers * steps], the answer's own text before it.

    Where the answer's own first digit differs from the right one, the second digit is read after the right
    one: a row of its own, cut there.
    """
    rows: list[list[int]] = []
    wanted: list[tuple[int, int, int, int]] = []  # row, position, token, step overall
    for number, (answer, context) in enumerate(zip(failed, contexts, strict=True)):
        prompt = prompt_ids(family.question(answer.problem), context)
        text = family.solution(answer.problem, answer.results)
        own = len(rows)
        rows.append(prompt + encode(text))
        at = 0
        for i, check in enumerate(answer.checks):
            at += len(family.quote(check.state, check.item)) + 1
            right, written = family.result_text(check.expected), text[at : at + family.width]
            slot = number * len(answer.checks) + i
            for d, digit in enumerate(right):
                row = own
                if right[:d] != written[:d]:
                    row = len(rows)
                    rows.append(prompt + encode(text[:at] + right[:d]))
                wanted.append((row, len(prompt) + at + d - 1, IDS[digit], slot))
            at += family.width + 1
    logp = _log_probabilities(model, rows, [w[:3] for w in wanted])
    total = np.zeros(sum(len(a.checks) for a in failed))
    np.add.at(total, [w[3] for w in wanted], logp)
    return np.exp(total)


def _log_probabilities(
    model: Any, rows: Sequence[list[int]], wanted: Sequence[tuple[int, int, int]], chunk: int = 64
) -> np.ndarray:
    """Log-probability (nats) of a token after a position of a row, for each (row, position, token) wanted."""
    import torch

    out = np.zeros(len(wanted))
    by_row: dict[int, list[int]] = {}
    for i, (row, _, _) in enumerate(wanted):
        by_row.setdefault(row, []).append(i)
    order = sorted(by_row, key=lambda r: len(rows[r]))
    for begin in range(0, len(order), chunk):
        some = order[begin : begin + chunk]
        ids: torch.Tensor = torch.full((len(some), max(len(rows[r]) for r in some)), IDS[PAD])
        for line, r in enumerate(some):
            ids[line, : len(rows[r])] = torch.tensor(rows[r])
        picks = [(line, i) for line, r in enumerate(some) for i in by_row[r]]
        with torch.no_grad():  # right padding and causal attention: no mask is needed
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[[line for line, _ in picks], [wanted[i][1] for _, i in picks]])
            logp = torch.log_softmax(logits.double(), -1)
            chosen = logp[range(len(picks)), [wanted[i][2] for _, i in picks]]
        out[[i for _, i in picks]] = chosen.numpy()
    return out


def _cluster_se(values: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of a mean when values of one group are not independent (sandwich estimate)."""
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return float("nan")
    sums = np.bincount(index, values - values.mean())
    return float(np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values))
