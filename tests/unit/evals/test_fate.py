"""What became of each doubt: every case of the table, a slow oracle, Parquet, and its way into the summary."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.evals.fate import DOUBT, FATES, spike_fate
from frown.evals.samples import GradedSamples, StepRecord
from frown.evals.summary import RunResult, summarise, to_json
from frown.evals.weights import ratio
from paths import ROOT

pytestmark = pytest.mark.slow

DOUBTFUL, CONFIDENT = 2.0, 0.1


def samples(records, step=0, **changes):
    """Graded samples [N, k] around records of steps."""
    shape = (len(records), len(records[0]))
    steps = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        steps[at] = records[at[0]][at[1]]
    ones = np.ones(shape)
    right = np.array([[float(bool(r and r.right and all(r.right))) for r in row] for row in records])
    values = {"step": step, "split": "test", "task_ids": tuple(map(str, range(shape[0]))), "steps": steps}
    values |= {"score": right, "process_right": right, "well_formed": ones > 0, "truncated": ones < 0}
    values |= {"answer": np.full(shape, "7", dtype=object), "tokens": ones, "entropy": ones, "surprisal": ones}
    values |= {"min_probability": ones / 2, "mean_probability": ones / 2}
    return GradedSamples(**values | changes)


def answer(*steps, states=None):
    """Steps written "D+": doubtful and right, "c-": confident and wrong, ..."""
    return StepRecord(
        tuple(DOUBTFUL if s[0] == "D" else CONFIDENT for s in steps), tuple(s[1] == "+" for s in steps), states
    )


def shares(fates):
    return dict(zip(FATES, (fates.shares.sum(0) / fates.followed.sum()).tolist(), strict=True))


@pytest.mark.parametrize(
    ("before", "after", "fate"),
    [
        ("D-", "c+", "corrected"),
        ("D+", "c+", "settled"),
        ("D-", "c-", "suppressed"),
        ("D+", "c-", "suppressed"),
        ("D-", "D-", "persisted"),
        ("D-", "D+", "persisted"),
        ("D+", "D+", "persisted"),
        ("D+", "D-", "persisted"),
        ("D-", None, "avoided"),
        ("D+", None, "avoided"),
    ],
)
def test_every_row_of_the_table(before, after, fate):
    base = samples([[answer("c+", before)] * 2])
    trained = samples([[answer("c+", after) if after else answer("c+")] * 2], step=9)
    found = spike_fate(base, trained)
    assert shares(found) == {name: float(name == fate) for name in FATES}
    assert found.followed.tolist() == [2.0]
    wrong = before == "D-"
    assert tuple(x.sum() for x in found.suppression[::-1]) == (2.0 * wrong, 2.0 * (wrong and after == "c-"))


@pytest.mark.parametrize(
    ("before", "after", "counts"), [("c+", "D-", (2, 0, 2)), (None, "D+", (0, 2, 2)), ("D+", "D+", (0, 0, 2))]
)
def test_newly_risen_and_elsewhere(before, after, counts):
    base = samples([[answer("c+", before) if before else answer("c+")] * 2])
    found = spike_fate(base, samples([[answer("c+", after)] * 2], step=9))
    assert (found.risen.sum(), found.elsewhere.sum(), found.doubtful.sum()) == counts


def test_a_place_is_the_same_step_from_the_same_state():
    base = samples([[answer("c+", "D-", states=("7", "3"))] * 2])
    same = samples([[answer("c+", "c+", states=("7", "3"))] * 2], step=1)
    other = samples([[answer("c+", "c+", states=("7", "4"))] * 2], step=1)
    unknown = samples([[answer("c+", "c+")] * 2], step=1)
    assert shares(spike_fate(base, same))["corrected"] == 1
    assert shares(spike_fate(base, other))["avoided"] == 1
    assert spike_fate(base, same).states and not spike_fate(base, unknown).states
    assert shares(spike_fate(base, unknown))["corrected"] == 1


def test_a_doubt_counts_one_whatever_it_is_followed_to_and_never_to_its_own_twin():
    a, b, c = answer("D-"), answer("c+"), answer("c-")
    base = samples([[a, b, b]])
    found = spike_fate(base, samples([[a, b, c]], step=1))  # followed to b and c, not to a
    assert shares(found) == {"corrected": 0.5, "settled": 0, "suppressed": 0.5, "persisted": 0, "avoided": 0}
    assert found.followed.sum() == 1 and ratio(*found.suppression) == 0.5
    unchanged = spike_fate(base, base)
    assert shares(unchanged)["corrected"] == 1


def test_an_answer_without_steps_goes_to_no_place():
    silent = StepRecord((), (), ())
    found = spike_fate(samples([[answer("D-")] * 2]), samples([[silent] * 2], step=1))
    assert shares(found)["avoided"] == 1 and found.unjudged == 0
    both = samples([[silent] * 2])
    assert spike_fate(both, both).followed.sum() == 0
    run = RunResult("silent", 0, (both, replace(both, step=5)))
    fate = summarise([run], baseline="silent")["arms"]["silent"]["fate"]
    assert fate["corrected"] is None and fate["suppression"] is None


def test_answers_that_nobody_could_judge_are_left_out_and_counted():
    a, unknown = answer("D-"), StepRecord((DOUBTFUL,))
    base = samples([[a, a, None]])
    found = spike_fate(base, samples([[unknown, answer("c+"), unknown]], step=1))
    assert found.unjudged == 3 and found.followed.sum() == 1 and shares(found)["corrected"] == 1
    assert found.spikes.sum() == 2 and found.steps.sum() == 2 and found.steps_after.sum() == 1
    assert spike_fate(base, samples([[unknown] * 3])) is None
    assert spike_fate(base, samples([[None] * 3], steps=None)) is None
    assert spike_fate(samples([[a]]), samples([[a]])) is None  # one answer a prompt has only its own twin
    with pytest.raises(ValueError, match="same prompts"):
        spike_fate(base, samples([[a, a, a], [a, a, a]]))


def random_samples(rng, n=5, k=4, step=0, states=True):
    def one():
        s = int(rng.integers(0, 5))
        if s == 0 or rng.random() < 0.1:
            return None
        doubt = tuple(rng.exponential(0.8, s).astype(np.float32).tolist())
        right = tuple((rng.random(s) < 0.6).tolist()) if rng.random() < 0.9 else None
        return StepRecord(doubt, right, tuple(rng.choice(["1", "2"], s).tolist()) if states else None)

    return samples([[one() for _ in range(k)] for _ in range(n)], step)


def slow(base, trained, n, states):
    """The counts of one prompt, pair by pair in plain loops."""
    k = base.k
    count = dict.fromkeys([*FATES, "suppressed_wrong", "followed_wrong", "risen", "elsewhere", "doubtful"], 0.0)

    def judged(r):
        return r is not None and r.right is not None

    def place(r, j, state):
        return j < len(r.surprisal) and (not states or r.state[j] == state)

    for i in range(k):
        a = base.steps[n, i]
        partners = [trained.steps[n, x] for x in range(k) if x != i and judged(trained.steps[n, x])]
        for j, b in itertools.product(range(len(a.surprisal)) if judged(a) else (), partners):
            if a.surprisal[j] <= DOUBT:
                continue
            part = 1 / len(partners)
            if not place(b, j, a.state and a.state[j]):
                fate = "avoided"
            elif b.surprisal[j] > DOUBT:
                fate = "persisted"
            elif not b.right[j]:
                fate = "suppressed"
            else:
                fate = "settled" if a.right[j] else "corrected"
            count[fate] += part
            count["followed_wrong"] += part * (not a.right[j])
            count["suppressed_wrong"] += part * (not a.right[j] and fate == "suppressed")
        b = trained.steps[n, i]
        partners = [base.steps[n, x] for x in range(k) if x != i and judged(base.steps[n, x])]
        for j, a in itertools.product(range(len(b.surprisal)) if judged(b) else (), partners):
            if b.surprisal[j] > DOUBT:
                part = 1 / len(partners)
                count["doubtful"] += part
                there = place(a, j, b.state and b.state[j])
                count["elsewhere"] += part * (not there)
                count["risen"] += part * (there and a.surprisal[j] <= DOUBT)
    return count


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_counts_are_those_of_plain_loops(seed, states, itself):
    rng = np.random.default_rng(seed)
    base = random_samples(rng, states=states)
    trained = base if itself else random_samples(rng, step=5, states=states)
    found = spike_fate(base, trained)
    assert found is not None
    for n in range(base.prompts):
        expected = slow(base, trained, n, states)
        np.testing.assert_allclose(found.shares[n], [expected[f] for f in FATES], atol=1e-12)
        for name, values in zip(("suppressed_wrong", "followed_wrong"), found.suppression, strict=True):
            assert values[n] == pytest.approx(expected[name], abs=1e-12), name
        for name in ("risen", "elsewhere", "doubtful"):
            assert getattr(found, name)[n] == pytest.approx(expected[name], abs=1e-12), name
    np.testing.assert_allclose(found.followed, found.shares.sum(1))


def test_a_policy_that_does_not_change_has_no_difference_from_its_reference():
    """Two independent evaluations of one policy: the fate lies on the reference, though many doubts look resolved."""
    rng = np.random.default_rng(0)
    n, k, s = 150, 8, 5
    hard = rng.beta(0.5, 2, (n, 1, s))  # chance that a step is wrong and doubtful

    def draw(step):
        wrong = rng.random((n, k, s)) < hard
        doubt = np.where(wrong, 1.5, 0.2) * rng.exponential(1, (n, k, s))
        return samples([[StepRecord(tuple(d), tuple(~w)) for d, w in zip(*x, strict=True)] for x in zip(
            doubt.tolist(), wrong, strict=True)], step)  # fmt: skip

    run = RunResult("same", 0, (draw(0), draw(10)))
    found = summarise([run], baseline="same")["arms"]["same"]
    assert found["fate"]["corrected"]["mean"] > 0.3
    for name in (*FATES, "suppression", "risen"):
        gap = found["fate"][name]["difference"]
        assert gap["ci95"][0] <= 0 <= gap["ci95"][1] and abs(gap["mean"]) < 0.04, name
    assert found["suppression"]["mean"] == found["fate"]["suppression"]["mean"]


def test_parquet_keeps_steps_and_old_files_read(tmp_path):
    import pyarrow.parquet as pq

    before = random_samples(np.random.default_rng(3), n=20)
    pq.write_table(before.to_table(), tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    after = GradedSamples.from_table(table.take(np.random.default_rng(0).permutation(len(table))))
    assert after.steps.tolist() == before.steps.tolist()
    assert any(r is None for r in before.steps.flat) and any(r and r.right is None for r in before.steps.flat)
    old = table.drop_columns(["step_surprisal", "step_right", "step_state"])
    assert GradedSamples.from_table(old).steps is None
    assert GradedSamples.from_table(replace(before, steps=None).to_table()).steps is None
    with pytest.raises(ValueError, match="each step has one"):
        StepRecord((1.0, 2.0), (True,))
    with pytest.raises(ValueError, match="steps are"):
        replace(before, steps=before.steps[:2])


def results():
    """Two arms from one base, three seeds: "sure" grows confident of its errors, "taught" corrects them."""
    out = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        base = samples([[answer(*rng.choice(["D-", "D+", "c+"], 4)) for _ in range(4)] for _ in range(20)])
        for arm, kinds in (("taught", ["c+", "c+", "D+"]), ("sure", ["c-", "c+", "c+"])):
            after = samples([[answer(*rng.choice(kinds, 4)) for _ in range(4)] for _ in range(20)], step=10)
            out.append(RunResult(arm, seed, (base, after)))
    return out


def test_the_summary_holds_fate_and_compares_suppression():
    found = summarise(results(), baseline="sure")
    assert to_json(found) == to_json(summarise(results(), baseline="sure"))
    sure, taught = found["arms"]["sure"], found["arms"]["taught"]
    assert sure["suppression"]["ci95"][0] > 0.25 > taught["suppression"]["mean"] == 0
    assert sure["fate"]["suppression"]["reference"] == 0 and sure["fate"]["aligned_by"] == "step"
    assert sum(sure["fate"][f]["mean"] for f in FATES) == pytest.approx(1, abs=1e-5)
    assert sure["fate"]["spikes"] == sum(
        r.surprisal[j] > DOUBT
        for run in results()[::2] for r in run.evals[0].steps.flat for j in range(4)
    )  # fmt: skip
    assert sure["fate"]["doubt_after"]["mean"] == 0 < taught["fate"]["doubt_after"]["mean"] < 0.5
    assert sure["runs"][0]["suppression"] == pytest.approx(sure["suppression"]["mean"], abs=0.1)
    pair = next(p for p in found["pairs"] if p["metric"] == "suppression")
    assert pair["shown"] and pair["difference"]["mean"] < 0
    assert "taught is better (lower is better)" in pair["sentence"]


def test_without_steps_or_without_a_beginning_there_is_no_fate():
    plain = [RunResult(r.arm, r.seed, tuple(replace(e, steps=None) for e in r.evals)) for r in results()]
    late = [RunResult(r.arm, r.seed, r.evals[1:]) for r in results()]
    mixed = [*results()[:-1], plain[-1]]
    for runs, arms in ((plain, ("sure", "taught")), (late, ("sure", "taught")), (mixed, ("sure",))):
        found = summarise(runs, baseline="sure")
        for arm in arms:
            assert found["arms"][arm]["fate"] is None and found["arms"][arm]["suppression"] is None
        assert all(p["metric"] != "suppression" for p in found["pairs"])


def test_answers_left_out_of_the_fate_are_a_warning():
    runs = results()
    steps = runs[0].evals[1].steps.copy()
    steps[0, 0] = None
    runs[0] = replace(runs[0], evals=(runs[0].evals[0], replace(runs[0].evals[1], steps=steps)))
    warned = summarise(runs, baseline="sure")["warnings"]
    assert any("taught: in 1 of 480 answers" in w and "fate of doubts" in w for w in warned)


def test_the_page_tells_of_suppression(tmp_path):
    from frown.report.html import write_report

    def page(found):
        (tmp_path / "summary.json").write_text(to_json(found))
        return " ".join(write_report(tmp_path).read_text().split())

    told = page(summarise(results(), baseline="sure"))
    assert "sure: of the steps that were doubtful and wrong before training" in told
    assert "without training it would be .00: training suppressed doubt." in told
    assert "taught: of the steps" in told and told.count('class="flow') >= 2 and ", untrained " in told
    bare = summarise([RunResult("sure", 0, tuple(replace(e, steps=None) for e in results()[1].evals))], baseline="sure")
    told = page(bare)
    assert "of the steps that were doubtful" not in told and "steps that somebody can judge" in told


def test_every_key_of_a_fate_is_documented():

    text = (ROOT / "docs" / "summary.md").read_text()
    fate = summarise(results(), baseline="sure")["arms"]["sure"]["fate"]
    assert {k for k in {*fate, *fate["suppression"]} if f"`{k}`" not in text and k not in ("mean", "ci95")} == set()


def test_an_evaluation_keeps_the_doubt_of_each_step(tmp_path):
    """On the lab, with an untrained model: every character is a token, so steps can be cut out by hand."""
    from frown.config import RunConfig, parse
    from frown.lab.base import new_model, save
    from frown.policy.policy import policy_of
    from frown.tasks.load import load_environment
    from frown.tasks.rollouts import judge
    from frown.training.evaluation import EVAL_SEED, Cost, evaluate, step_record
    from frown.types import Verdict

    save(new_model(0), tmp_path)
    values = {"model": {"path": str(tmp_path)}, "task": {"kind": "lab:chains"}, "eval": {"samples": 3}}
    config = parse(RunConfig, values | {"sampling": {"max_new_tokens": 30}}, "test")
    policy = policy_of(config)
    environment = load_environment(config.task)
    tasks = environment.test_tasks("test", 4)
    found = evaluate(policy, environment, tasks, config.eval, step=0, split="test", cost=Cost())
    rollouts = policy.sample(tasks, 3, seed=EVAL_SEED, temperature=1.0)
    kept = 0
    for record, r in zip(found.steps.flat, rollouts, strict=True):
        pieces = environment.steps(r.text)
        kept += record.right is not None
        starts = np.cumsum([0, *(len(policy.tokenizer.decode([i])) for i in r.ids)])[:-1]  # tokens write themselves
        for j, (a, b) in enumerate(pieces[:-1] if record.right is not None else ()):
            assert record.surprisal[j] == pytest.approx(float(-r.logp[(starts >= a) & (starts < b)].min()))
    assert kept >= 4
    assert all(r.state is not None for r in found.steps.flat if r and r.right)
    assert spike_fate(found, found) is not None

    judged = next(r for r in judge(rollouts, environment, policy) if len(r.steps) > 1)
    short = replace(judged, verdict=Verdict(0.0, step_right=(True,)))
    assert step_record([short]).right is None and len(step_record([short]).surprisal) == len(judged.steps)
    assert step_record([replace(judged, steps=())]) is None
    silent = replace(judged, steps=(), verdict=Verdict(0.0, step_right=(), step_state=()))
    assert step_record([silent]) == StepRecord((), (), ())
