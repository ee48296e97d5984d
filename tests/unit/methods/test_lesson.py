"""From judged answers to what the teacher sees: notes, budgets, weights and controls, on an embedded lab model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.feedback.notes import own_choices
from frown.methods.base import Classroom
from frown.policy.policy import policy_of
from frown.policy.text import completion_text
from frown.signals.variance import mutual_information, weight_noise
from frown.tasks.load import load_environment
from frown.tasks.rollouts import judge
from learning import learner_of

GROUPS = {"sampling": {"prompts_per_step": 6, "responses_per_prompt": 4, "max_new_tokens": 48}}


def settings(**changes) -> RunConfig:
    values = {
        "model": {"path": "lab:chains-0"},
        "task": {"kind": "lab:chains"},
        "sampling": {"prompts_per_step": 6, "responses_per_prompt": 4, "max_new_tokens": 48},
        "method": "critique",
    }
    return parse(RunConfig, values | changes, "test")


@pytest.fixture(scope="module")
def lab():
    config = settings()
    policy, environment = policy_of(config), load_environment(config.task)
    tasks = environment.train_tasks(np.random.default_rng(0), 6)
    return policy, environment, judge(policy.sample(tasks, 4, seed=1, temperature=1.0), environment, policy)


def lesson(lab, seed=0, **changes):
    policy, environment, rollouts = lab
    config, rng = settings(**changes), np.random.default_rng(seed)
    copies, variance = config.method.noisy_copies, None
    if copies:
        variance = policy.prediction_variance(rollouts, copies=copies, seed=int(rng.integers(2**31)))
    room = Classroom(config, environment, policy, rng, environment.critic, variance=variance)
    return config.method.teach(rollouts, room)


def texts(lesson):
    return [p.text for f in lesson.feedback for p in f.parts]


def test_a_budget_of_tokens_is_kept_and_what_it_leaves_out_is_counted(lab):
    rollouts = lab[2]
    free = lesson(lab, method={"type": "aimed", "loss_on": "answer"}, **GROUPS)
    asked = sum(len(f.parts) for f in free.feedback)
    assert free.counts["steps_unasked"] == 0 and asked > 6
    budget = 150
    tight = lesson(lab, method={"type": "aimed", "loss_on": "answer"}, critic={"tokens_per_step": budget}, **GROUPS)
    spent = sum(
        len(r.prompt_ids) + r.steps[s].end for r, f in zip(rollouts, tight.feedback, strict=True) for s in f.steps or ()
    )
    kept = sum(len(f.parts) for f in tight.feedback)
    assert 0 < spent <= budget and kept + tight.counts["steps_unasked"] == asked


def test_the_variance_of_a_prediction_is_that_of_copies_with_noisy_weights(lab):
    policy, _, rollouts = lab
    some = rollouts[:3]
    got = policy.prediction_variance(some, copies=2, seed=5)
    for r, values in zip(some, got, strict=True):
        ids = torch.tensor(np.concatenate([r.prompt_ids, r.ids]))[None]

        def logp(ids=ids, r=r):
            with torch.no_grad():
                return policy.model(input_ids=ids).logits[0, len(r.prompt_ids) - 1 : -1].double().log_softmax(-1)

        copies = [logp()]
        for k in range(2):
            with weight_noise(policy.model, scale=0.02, seed=5 + k):
                copies.append(logp())
        np.testing.assert_allclose(values, mutual_information(torch.stack(copies)), atol=1e-5)
    asked = lesson(lab, method={"type": "aimed", "aim": "variance"}, **GROUPS)
    assert all(len(f.parts) == 1 for f in asked.feedback if f.parts) and asked.views


def test_what_the_student_considered_is_its_step_with_one_token_changed(lab):
    policy, _, rollouts = lab
    differ = 0
    for r in rollouts:
        for (a, b), (wrote, *other) in zip(r.steps, own_choices(r, policy), strict=True):
            assert wrote == completion_text(policy.tokenizer, r.ids[a:b])
            assert len(other) == 1 and sum(x != y for x, y in zip(wrote, other[0], strict=True)) == 1
            differ += wrote[:4] == other[0][:4]  # the same left-hand side: a result is what was weighed
    assert differ > 0.8 * sum(len(r.steps) for r in rollouts)


def test_notes_and_their_controls_spend_the_same_tokens(lab):
    def tokens(**note):
        affect = {"note": note, "control": note.pop("control", "off")}
        return [len(t) for t in texts(lesson(lab, method={"type": "sdpo", "feedback": ["affect"]}, affect=affect))]

    plain = tokens(mode="plain")
    assert plain and tokens(mode="emotion") == tokens(mode="content_free") == plain
    assert sum(tokens(mode="plain", control="shuffled_spans")) == sum(plain)
    weighed = texts(lesson(lab, method={"type": "sdpo", "feedback": ["affect"]}, affect={"note": {"mode": "weighed"}}))
    assert weighed and all(t.startswith("W?") and t.count("/") == t.count("?") for t in weighed)
    considered = set(weighed)
    random = texts(
        lesson(
            lab,
            method={"type": "sdpo", "feedback": ["affect"]},
            affect={"note": {"mode": "weighed", "options": "random"}},
        )
    )
    assert not considered & set(random) and abs(len(random) - len(weighed)) < 0.3 * len(weighed)
    assert all(t.startswith("W?") and t.count("/") == t.count("?") for t in random)


def test_a_resolved_note_confirms_right_answers_and_never_says_what_a_wrong_one_wrote(lab):
    rollouts = lab[2]

    def said(**note):
        found = lesson(
            lab, method={"type": "sdpo", "feedback": ["affect"]}, affect={"note": {"mode": "resolved", **note}}
        ).feedback
        return {i: p.text for i, f in enumerate(found) for p in f.parts}

    kept, seen = said(), {True: 0, False: 0}
    for i, text in kept.items():
        r = rollouts[i]
        wrote = {step.rstrip(";") for step in r.text.split(";")}
        for comment in text.removeprefix("C!").split("!"):
            assert (comment in wrote) == r.verdict.right
            seen[r.verdict.right] += 1
    assert min(seen.values()) > 1
    none = said(options="none")
    assert none == {i: text for i, text in kept.items() if rollouts[i].verdict.right}
    random = said(options="random")
    assert {i: t for i, t in random.items() if rollouts[i].verdict.right} == none
    assert any(random[i] != kept[i] for i in random if i in kept and not rollouts[i].verdict.right)


def test_no_appraisal_leaves_nothing_to_note(lab):
    assert texts(lesson(lab, method={"type": "sdpo", "feedback": ["affect"]}, affect={"control": "none"})) == []


@pytest.mark.parametrize(
    "weight",
    [
        {"by": "signal"},
        {"by": "signal", "signal": "surprisal", "strength": 3.0},
        {"by": "top_share"},
        {"by": "quadrant"},
    ],
)
def test_weights_have_mean_one_and_a_control_keeps_them_within_each_answer(lab, weight):
    plain = lesson(lab)
    weighted = lesson(lab, affect={"weight": weight})
    assert len(plain.views) == len(weighted.views)
    flat = np.concatenate([v.weight for v in weighted.views])
    assert flat.mean() == pytest.approx(1.0, abs=1e-4) and flat.std() > 0.05
    if weight["by"] != "quadrant":  # spans stay where they are, or the quadrants themselves would change
        scrambled = lesson(lab, affect={"weight": weight, "control": "shuffled_labels"})
        for a, b in zip(weighted.views, scrambled.views, strict=True):
            np.testing.assert_allclose(np.sort(a.weight), np.sort(b.weight), rtol=1e-6)
        assert any((a.weight != b.weight).any() for a, b in zip(weighted.views, scrambled.views, strict=True))


def test_an_unknown_signal_to_weigh_by_is_named(lab):
    with pytest.raises(FrownError, match="'entropi': no such signal"):
        lesson(lab, affect={"weight": {"by": "signal", "signal": "entropi"}})


def test_the_teachers_doubt_takes_weight_away_and_the_mean_stays_one(lab):
    _, environment, rollouts = lab
    config = settings(affect={"weight": {"teacher_beta": 2.0}})
    learner = learner_of(config)
    room = Classroom(config, environment, learner.policy, np.random.default_rng(0), environment.critic)
    made = config.method.teach(rollouts, room)
    update = learner.backward(rollouts, made.views, [], distillation=1.0)
    gradient = learner.parameters[0].grad.clone()
    seen = learner.score(rollouts, made.views)
    w = np.concatenate([v.weight * np.exp(-2.0 * s["teacher_entropy"]) for v, s in zip(made.views, seen, strict=True)])
    d = np.concatenate([s["divergence"] for s in seen])
    assert update.averages["loss"] == pytest.approx(float((w * d).sum() / w.sum()), rel=1e-4)
    # The same weights, given from the start, lead the same way.
    given = np.split(w, np.cumsum([len(v.weight) for v in made.views])[:-1])
    other = learner_of(settings())
    views = [
        v.__class__(v.rollout, v.context_ids, g.astype(np.float32)) for v, g in zip(made.views, given, strict=True)
    ]
    other.backward(rollouts, views, [], distillation=1.0)
    torch.testing.assert_close(gradient, other.parameters[0].grad, rtol=1e-3, atol=1e-6)


def test_what_the_pass_read_of_each_view_is_what_score_says(lab):
    _, _, rollouts = lab
    learner = learner_of(settings())
    made = lesson(lab, method={"type": "aimed", "anchor": 0.0}, **GROUPS)
    update = learner.backward(rollouts, made.views, [], distillation=1.0)
    learner.optimiser.zero_grad()
    for view, got, score in zip(made.views, update.views, learner.score(rollouts, made.views), strict=True):
        assert (np.isfinite(got["log_ratio"]) == (view.weight != 0)).all() and view.weight.any()
        at = view.weight != 0
        np.testing.assert_allclose(got["log_ratio"][at], score["log_ratio"][at], atol=2e-5)
