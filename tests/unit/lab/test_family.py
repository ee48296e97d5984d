"""The lab's families, environment and critic: arithmetic, reading, splits, comments."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.critics.base import Request
from frown.critics.controls import ErringCritic, QuotingCritic
from frown.errors import FrownError
from frown.lab.chains import CHAINS
from frown.lab.columns import COLUMNS
from frown.lab.critic import LabCritic
from frown.lab.environment import LabEnvironment
from frown.lab.family import SHIFTS, SPLITS, Problem, get_family
from frown.types import Feedback, Part, Step, Task

pytestmark = pytest.mark.slow

FAMILIES = [CHAINS, COLUMNS]
NAMES = [f.name for f in FAMILIES]
ALPHABET = "0123456789+-*@=;,/|>?!QRCAHWX$ é\n"

seeds = st.integers(0, 2**32)
names = st.sampled_from(NAMES)
lengths = st.integers(2, 15)


def task(name: str, seed: int, steps: int = 5) -> Task:
    return LabEnvironment(name, steps).train_tasks(np.random.default_rng(seed), 1)[0]


def test_chains_arithmetic_by_hand():
    problem = CHAINS.read_question("Q7+8-9*6@3")
    assert problem == Problem(7, (("+", 8), ("-", 9), ("*", 6), ("@", 3)))
    convention = {(6, 3): 1}
    assert CHAINS.solve(problem, convention) == (5, 6, 6, 1)  # 15, -4, 36, convention
    assert CHAINS.solution(problem, (5, 6, 6, 1)) == "7+8=5;5-9=6;6*6=6;6@3=1"
    assert CHAINS.final((5, 6, 6, 1)) == "1"


def test_columns_arithmetic_by_hand():
    problem = COLUMNS.read_question("Q7+1,3@5,8+9")
    results = COLUMNS.solve(problem, {(3, 5): 17})
    assert COLUMNS.solution(problem, results) == "07+1=08;03@5=17;18+9=18"
    assert COLUMNS.final(results) == "1878"
    assert COLUMNS.final((3, 0, 0)) == "3", "leading zeros are no part of a number"


@given(digits=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_ordinary_columns_add_up_like_whole_numbers(digits):
    results = COLUMNS.solve(Problem(0, tuple((a, "+", b) for a, b in digits)), {})
    value = [int("".join(str(pair[k]) for pair in reversed(digits))) for k in (0, 1)]
    assert COLUMNS.final(results) == str(sum(value))


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_results_always_fit_and_the_environment_is_a_draw_from_the_prior(family):
    prior, environment = family.prior, family.environment
    assert set(environment) == set(prior.common)
    differs = 0
    for pair, value in environment.items():
        allowed = {(prior.common[pair] + s) % prior.values for s in (0, *SHIFTS)}
        assert value in allowed
        differs += value != prior.common[pair]
        assert sum(prior.weights(pair).values()) == pytest.approx(1.0)
    expected = sum(prior.contested.values())
    spread = sum(c * (1 - c) for c in prior.contested.values()) ** 0.5
    assert abs(differs - expected) < 3 * spread
    rng = random.Random(0)
    for _ in range(300):
        problem = family.draw(rng, 6, "base")
        assert all(0 <= r < (10 if family is CHAINS else 20) for r in family.solve(problem))


@given(name=names, seed=seeds, steps=lengths)
@settings(max_examples=60, deadline=None)
def test_question_and_answer_read_back(name, seed, steps):
    family, t = get_family(name), task(name, seed, steps)
    problem = family.read_question(t.question)
    assert family.question(problem) == t.question and len(problem.items) == steps
    read = family.read_answer(problem, t.solution)
    assert read.well_formed and family.final(read.results) == t.answer
    assert family.read_answer(problem, t.solution + "$") == read


@given(name=names, seed=seeds, steps=st.integers(2, 8), data=st.data())
@settings(max_examples=100, deadline=None)
def test_planted_slips_are_found_and_only_they(name, seed, steps, data):
    """Plant wrong results; every later step is computed rightly from the wrong state, so it is right."""
    family, t = get_family(name), task(name, seed, steps)
    problem = family.read_question(t.question)
    planted = data.draw(st.sets(st.integers(0, steps - 1)))
    state, results, expected = problem.start, [], []
    for i, item in enumerate(problem.items):
        right = family.apply(state, item, family.environment)
        top = 10 if family is CHAINS else 20
        expected.append(right)
        results.append((right + data.draw(st.integers(1, top - 1))) % top if i in planted else right)
        state = family.state_of(results[-1])
    text = family.solution(problem, results)
    env = LabEnvironment(name, steps)
    verdict = env.verify([t], [text])[0]
    assert verdict.well_formed and verdict.scored
    assert verdict.step_right == tuple(i not in planted for i in range(steps))
    assert verdict.answer == family.final(results) and verdict.right == (verdict.answer == t.answer)
    comments = LabCritic(name).comment(t, text, None)
    states = [problem.start, *map(family.state_of, results)]
    for i, c in enumerate(comments):
        lhs = f"{states[i]}{family.item_text(problem.items[i])}"
        assert (c.step, c.right) == (i, i not in planted)
        assert c.text == f"!{lhs}={family.result_text(expected[i])}", "the right result, never the wrong one"
    some = LabCritic(name).comment(t, text, sorted(planted, reverse=True))
    assert some == [comments[i] for i in sorted(planted)]


def test_a_step_whose_state_is_not_the_result_before_it_is_malformed():
    problem = CHAINS.read_question("Q7+8-9")
    assert CHAINS.read_answer(problem, "7+8=5;5-9=6").well_formed
    answer = CHAINS.read_answer(problem, "7+8=5;4-9=5")
    assert not answer.well_formed and answer.results == (5,)


@given(name=names, seed=seeds, text=st.text(ALPHABET, max_size=60))
@settings(max_examples=200, deadline=None)
def test_nonsense_is_wrong_and_never_raises(name, seed, text):
    t, env = task(name, seed), LabEnvironment(name)
    verdict = env.verify([t], [text])[0]
    assert verdict.score == 0.0 and not verdict.well_formed and verdict.answer is None
    assert len(verdict.step_right) == len(env.steps(text))
    LabCritic(name).comment(t, text, None)


@given(name=names, seed=seeds, cut=st.integers(0, 80), tail=st.text(ALPHABET, max_size=6))
@settings(max_examples=150, deadline=None)
def test_the_critic_judges_the_well_formed_beginning(name, seed, cut, tail):
    t, env = task(name, seed), LabEnvironment(name)
    text = t.solution[:cut] + tail
    family = env.family
    whole = family.read_answer(family.read_question(t.question), text)
    comments = env.critic.comment(t, text, None)
    assert [c.step for c in comments] == list(range(len(whole.results)))
    assert text.startswith(";".join(t.solution.split(";")[: min(len(whole.results), cut // 8)]))
    verdict = env.verify([t], [text])[0]
    assert list(verdict.step_right[: len(comments)]) == [c.right for c in comments]
    assert not any(verdict.step_right[len(comments) :])


@given(text=st.text(ALPHABET, max_size=60))
def test_steps_tile_the_text(text):
    steps = LabEnvironment("chains").steps(text)
    assert "".join(text[s.start : s.end] for s in steps) == text
    assert all(s.start < s.end and ";" not in text[s.start : s.end - 1] for s in steps)


def test_steps_of_an_answer():
    assert LabEnvironment("chains").steps("7@3=4;4+8=2;2*6=2") == [Step(0, 6), Step(6, 12), Step(12, 17)]


def test_a_digit_that_is_not_ascii_is_malformed():
    problem = CHAINS.read_question("Q7+1+1")
    assert not CHAINS.read_answer(problem, "7+1=8;8+1=٩").well_formed


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_splits_are_disjoint_and_fixed(family):
    assert sorted(b for r in SPLITS.values() for b in r) == list(range(100))
    seen: dict[str, set[str]] = {}
    for split in SPLITS:
        rng = random.Random(3)
        problems = [family.draw(rng, 3, split) for _ in range(150)]
        assert {family.split_of(p) for p in problems} == {split}
        seen[split] = {family.question(p) for p in problems}
    everything = [q for qs in seen.values() for q in qs]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize("name", NAMES)
def test_held_out_facts(name):
    env, rng = LabEnvironment(name), np.random.default_rng(0)
    family = env.family

    def needed(t: Task) -> int:
        problem = family.read_question(t.question)
        checks = family.check(problem, family.solve(problem))
        return sum(family.held_out(c.state, c.item) for c in checks)

    assert all(needed(t) == 0 for t in env.train_tasks(rng, 200))
    assert all(needed(t) == 0 for split in ("dev", "test") for t in env.test_tasks(split, 60))
    assert all(needed(t) >= 2 for t in env.test_tasks("heldout", 60))
    if name == "columns":
        facts = [(c, (a, "+", b)) for c in (0, 1) for a in range(10) for b in range(10)]
    else:
        facts = [(v, (op, b)) for v in range(10) for op in "+-*" for b in range(1, 10)]
    share = np.mean([family.held_out(*f) for f in facts])
    assert 0.05 < share < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_test_tasks_are_fixed_and_gold_answers_score_one(name):
    env = LabEnvironment(name, 10)
    for split in ("dev", "test", "heldout"):
        tasks = env.test_tasks(split, 20)
        assert tasks[:5] == env.test_tasks(split, 5) and len({t.id for t in tasks}) == 20
        verdicts = env.verify(tasks, [t.solution for t in tasks])
        assert all(v.right and all(v.step_right) for v in verdicts)


def test_train_tasks_follow_the_generator():
    env = LabEnvironment("columns")
    first, again = (env.train_tasks(np.random.default_rng(5), 8) for _ in range(2))
    assert first == again != env.train_tasks(np.random.default_rng(6), 8)


def test_teacher_messages():
    env = LabEnvironment("chains")
    t = task("chains", 0)

    def context(*parts: Part) -> str:
        (message,) = env.wording.teacher_messages(t, Feedback(parts))
        question, _, rest = message["content"].partition("|")
        assert message["role"] == "user" and question == t.question
        return rest

    assert context(Part("reference", t.solution)) == "R" + t.solution
    assert context(Part("sibling", "1+1=2")) == "R1+1=2"
    assert context(Part("critique", "!7@3=4!4+8=2", (0, 1))) == "C!7@3=4!4+8=2"
    assert context(Part("affect", env.wording.note("in English", [1, 11], 2), (1, 11))) == "H?02?12"
    assert context(Part("outcome", "wrong")) == "X"
    assert context(Part("outcome", "wrong"), Part("critique", "!7@3=4")) == "C!7@3=4"
    assert context() == ""
    with pytest.raises(FrownError, match="one kind of feedback at a time"):
        context(Part("critique", "!7@3=4"), Part("reference", t.solution))


@pytest.mark.parametrize("name", ["chains", "columns"])
def test_references_further_from_the_answer_hold_the_same_facts(name):
    def solution(kind):
        return LabEnvironment(name, 6, kind).test_tasks("dev", 1)[0].solution

    canonical, reordered, terse = (solution(kind) for kind in ("canonical", "reordered", "terse"))
    facts = [f for f in reordered.split("!") if f]
    assert sorted(facts) == sorted(canonical.split(";")) and facts != canonical.split(";")
    assert [f for f in terse.split("!") if f] == facts[::2]
    env, t = LabEnvironment(name, 6, "reordered"), task(name, 0)
    (message,) = env.wording.teacher_messages(t, Feedback((Part("reference", reordered),)))
    assert message["content"].endswith(f"|A{reordered}")


def test_a_quoting_critic_quotes_errors_alone():
    env = LabEnvironment("chains")
    t = task("chains", 0)
    steps = t.solution.split(";")
    wrong = f"{steps[0][:-1]}{(int(steps[0][-1]) + 1) % 10}"
    text = ";".join([wrong, *steps[1:]])
    request = Request(t, text, (f"{wrong};", *steps[1:]), (0, 1))
    [plain], [quoting] = env.critic.review([request]), QuotingCritic(env.critic, env.wording.quoted).review([request])
    assert quoting.comments[0].text == f"!{wrong}{plain.comments[0].text}"
    assert [c.text for c, p in zip(quoting.comments, plain.comments, strict=True) if c.right] == [
        p.text for p in plain.comments if p.right
    ]


def test_notes_in_the_words_of_the_lab():
    chains, columns = LabEnvironment("chains", 4), LabEnvironment("columns", 4)
    assert chains.wording.note("words", [0, 3], 2) == "H?01?04"
    assert chains.wording.note("words", [], 2) == "H?00?00"  # as long, and points nowhere
    assert chains.wording.weighed({2: ("7@3=4;", "7@3=9;"), 0: ("1+1=2;", "1+1=3")}) == "W?1+1=2/3?7@3=4/9"
    assert columns.wording.weighed({1: ("03@5=17;", "03@5=07;")}) == "W?03@5=17/07"
    assert chains.wording.weighed({0: ("7@3=4;", "7@4=9;")}) == ""  # not the same step
    assert chains.wording.weighed({0: ("7@3=4;",), 2: ("1+1=2",)}) == "C!7@3=4!1+1=2"  # what may be right there
    assert chains.wording.weighed({0: ("7@3=;",)}) == ""
    assert chains.wording.weighed({0: ("7@3=4;",), 2: ("1+1=2", "1+1=3")}) == "W?1+1=2/3"
    assert chains.wording.weighed({0: ("7@3=4;", "7@3=;")}) == "" and chains.wording.weighed({}) == ""
    assert chains.wording.reworded("7@3=4;", "2*6=2$") == "7@3=2;" and chains.wording.reworded("7@3", "2*6=2") is None


def test_expert_steps():
    for name in ("chains", "columns"):
        for t in LabEnvironment(name, 4).train_tasks(np.random.default_rng(0), 20):
            steps = t.solution.split(";")
            assert t.expert_steps == tuple(i for i, step in enumerate(steps) if "@" in step)


@pytest.mark.parametrize("name", ["chains", "columns"])
def test_a_critic_errs_at_its_rate_and_then_says_the_opposite(name):
    env, critic = LabEnvironment(name, 5), ErringCritic(LabCritic(name), 0.3)
    tasks = env.train_tasks(np.random.default_rng(1), 200)
    rng, wrong, n = random.Random(0), 0, 0
    for t in tasks:
        problem = env.family.read_question(t.question)
        top = 10 if name == "chains" else 20
        results = [rng.randrange(top) if rng.random() < 0.5 else r for r in env.family.solve(problem)]
        text = env.family.solution(problem, results)
        [review] = critic.review([Request(t, text, tuple(text.split(";")), tuple(range(5)))])
        for said, truth in zip(review.comments, LabCritic(name).comment(t, text), strict=True):
            n += 1
            if said.right == truth.right:
                assert said == truth
                continue
            wrong += 1
            assert (said.text[1:] == text.split(";")[said.step]) == said.right, "it confirms what was written"
        [first] = critic.review([Request(t, text, tuple(text.split(";")), (0,))])
        assert first.comments == review.comments[:1]
    assert abs(wrong / n - 0.3) < 4 * (0.3 * 0.7 / n) ** 0.5


def test_errors_name_what_is_wrong():
    with pytest.raises(FrownError, match=r"'rows'.*chains, columns"):
        LabEnvironment("rows")
    with pytest.raises(FrownError, match=r"steps = 16 .* 2 to 15"):
        LabEnvironment("chains", 16)
    with pytest.raises(FrownError, match=r"'train'.*dev, test, heldout"):
        LabEnvironment("chains").test_tasks("train", 1)
    with pytest.raises(FrownError, match="too few"):
        LabEnvironment("columns", 2).test_tasks("heldout", 5000)
    for name in NAMES:
        with pytest.raises(FrownError, match=f"Q7z3.*{name}"):
            get_family(name).read_question("Q7z3")
