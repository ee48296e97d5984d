"""Policy and learner against plain forward passes: what is sampled, what the loss sees, whose weights a teacher has."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from frown.errors import FrownError, NotFinite
from frown.learner.learner import Learner
from frown.learner.rows import training_rows
from frown.policy.load import backbone
from frown.policy.rows import Row, micro_batches
from frown.policy.text import prompt_ids, token_steps
from frown.types import Rollout, Step, Task, TeacherView
from learning import parsed
from tiny import byte_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


def learner(folder, **changes) -> Learner:
    values = {
        "model": {"path": str(folder), **changes.pop("model", {})},
        "sampling": {"max_new_tokens": 12, **changes.pop("sampling", {})},
        "task": {"kind": "exact"},
        **changes,
    }
    return parsed(values)


def task(text: str) -> Task:
    return Task(id=text, messages=({"role": "user", "content": text},), answer="")


TASKS = [task("Hi"), task("How many apples are there?"), task("x" * 40)]


def full_logp(model, rollout: Rollout) -> torch.Tensor:
    """[T, V] next-token log-probabilities from one plain forward pass."""
    ids = torch.tensor(np.concatenate([rollout.prompt_ids, rollout.ids]))[None]
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].double()
    return (logits / rollout.temperature).log_softmax(-1)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampling_reports_the_log_probabilities_and_signals_of_a_plain_forward_pass(folder, temperature):
    e = learner(folder, sampling={"max_new_tokens": 40})
    e.policy.eos_ids = list(range(0, 250, 10))  # likely enough that answers end at different times and are dropped
    rollouts = e.policy.sample(TASKS, 5, seed=1, temperature=temperature)
    assert len({len(r.ids) for r in rollouts}) > 3
    for r in rollouts:
        logp = full_logp(e.policy.model, r)
        taken = logp.gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        np.testing.assert_allclose(r.logp, taken, atol=2e-5)
        np.testing.assert_allclose(r.signals["entropy"], -(logp.exp() * logp).sum(1), atol=2e-5)
        assert (r.stop == "eos") == (r.ids[-1] in e.policy.eos_ids)
        assert not set(e.policy.eos_ids) & set(r.ids[:-1].tolist())
        assert r.truncated == (len(r.ids) == 40 and r.stop == "length")


@pytest.mark.slow
def test_sampling_draws_from_the_policy(folder):
    """The first token's frequencies against its probabilities: chi-square within six standard deviations."""
    e = learner(folder, sampling={"max_new_tokens": 1})
    rollouts = e.policy.sample([TASKS[0]], 4000, seed=3, temperature=1.0)
    p = full_logp(e.policy.model, rollouts[0])[0].exp().numpy()
    counts = np.bincount([r.ids[0] for r in rollouts], minlength=len(p))
    chi = ((counts - 4000 * p) ** 2 / (4000 * p)).sum()
    dof = len(p) - 1
    assert abs(chi - dof) < 6 * np.sqrt(2 * dof)


def test_sampling_repeats_for_a_seed_and_not_for_another(folder):
    e = learner(folder)
    first, again, other = (e.policy.sample(TASKS, 3, seed=s, temperature=1.0) for s in (5, 5, 6))
    assert [r.text for r in first] == [r.text for r in again] != [r.text for r in other]


def test_a_prompt_that_leaves_no_room_is_refused(folder):
    e = learner(folder)
    with pytest.raises(FrownError, match=r"do not fit the model's context of 2048"):
        e.policy.sample([task("y" * 2100)], 1, seed=0, temperature=1.0)


# -- the loss ------------------------------------------------------------------------------------------------------


def batch(e: Learner, n: int = 3):
    """Rollouts, views behind a longer context, and advantages, with uneven weights."""
    rollouts = e.policy.sample(TASKS, n, seed=2, temperature=e.config.sampling.temperature)
    rng = np.random.default_rng(0)
    views = [
        TeacherView(
            i,
            prompt_ids(
                e.policy.tokenizer, [{"role": "user", "content": r.task.question + " The answer is 42." * (i % 3)}]
            ),
            (rng.random(len(r.ids)) * (rng.random(len(r.ids)) > 0.4)).astype(np.float32),
        )
        for i, r in enumerate(rollouts)
        if i % 4 != 3
    ]
    advantages = [rng.normal(size=len(r.ids)).astype(np.float32) for r in rollouts]
    return rollouts, views, advantages


def naive_loss(e: Learner, teacher, rollouts, views, advantages, d, alpha):
    """The documented loss, row by row with full logits in float64."""
    total = torch.zeros((), dtype=torch.float64)
    distilled = sum(float(v.weight.sum()) for v in views)
    for v in views:
        r = rollouts[v.rollout]

        def logp(model, before, r=r):
            ids = torch.tensor(np.concatenate([before, r.ids]))[None]
            return (model(input_ids=ids).logits[0, len(before) - 1 : -1].double() / r.temperature).log_softmax(-1)

        s, q = logp(e.policy.model, r.prompt_ids), logp(teacher, v.context_ids).detach()
        q = (q / e.config.teacher.temperature).log_softmax(-1)
        if alpha == 0:
            div = (q.exp() * (q - s)).sum(-1)
        elif alpha == 1:
            div = (s.exp() * (s - q)).sum(-1)
        else:
            m = ((1 - alpha) * s.exp() + alpha * q.exp()).log()
            div = (1 - alpha) * (s.exp() * (s - m)).sum(-1) + alpha * (q.exp() * (q - m)).sum(-1)
        total = total + d * (torch.tensor(v.weight).double() * div).sum() / distilled
    tokens = sum(len(r.ids) for r in rollouts)
    for r, a in zip(rollouts, advantages, strict=True):
        ids = torch.tensor(np.concatenate([r.prompt_ids, r.ids]))[None]
        s = (e.policy.model(input_ids=ids).logits[0, len(r.prompt_ids) - 1 : -1].double() / r.temperature).log_softmax(
            -1
        )
        taken = s.gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        ratio = (taken - taken.detach()).exp()
        total = total - (1 - d) * (ratio * torch.tensor(a)).sum() / tokens
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "alpha", "sharpened"),
    [(1.0, 0.5, 1.0), (1.0, 0.0, 1.0), (0.0, 0.5, 1.0), (0.6, 1.0, 1.0), (0.3, 0.25, 1.0), (1.0, 0.5, 0.5)],
)
def test_loss_and_gradient_are_those_of_the_documented_formula(folder, d, alpha, sharpened):
    e = learner(
        folder,
        teacher={"temperature": sharpened},
        method="opsd",
        loss={"alpha": alpha},
        sampling={"temperature": 0.9},
        micro_batch_tokens=200,  # several micro-batches
    )
    with torch.no_grad():
        for p in e.parameters:  # the teacher (a copy made before) and the student must differ
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    rollouts, views, advantages = batch(e)
    seen = e.backward(rollouts, views if d else [], advantages, distillation=d)
    mine = [p.grad.clone() for p in e.parameters]
    e.optimiser.zero_grad()
    with e.teacher.model() as teacher:
        expected = naive_loss(e, teacher, rollouts, views if d else [], advantages, d, alpha)
    expected.backward()
    if d == 1.0:
        assert seen.averages["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    for got, p in zip(mine, e.parameters, strict=True):
        torch.testing.assert_close(got, p.grad, rtol=2e-4, atol=2e-7)


def test_micro_batches_change_nothing(folder):
    grads = []
    for most in (100, 100_000):
        e = learner(folder, micro_batch_tokens=most)
        rollouts, views, advantages = batch(e)
        e.backward(rollouts, views, advantages, distillation=1.0)
        grads.append([p.grad.clone() for p in e.parameters])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("temperature", "alpha", "most"), [(1.0, 0.5, 200), (0.7, 0.0, 100_000)])
def test_score_is_what_two_plain_forward_passes_say(folder, temperature, alpha, most):
    e = learner(
        folder,
        loss={"alpha": alpha},
        sampling={"temperature": temperature, "max_new_tokens": 12},
        micro_batch_tokens=most,
    )
    rollouts, views, _ = batch(e)
    with torch.no_grad():  # the teacher keeps the weights that the student had
        for p in e.parameters:
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    found = e.score(rollouts, views)
    assert len(found) == len(views)
    with e.teacher.model() as teacher, torch.no_grad():
        for view, got in zip(views, found, strict=True):
            r = rollouts[view.rollout]
            ids = torch.tensor(r.ids)

            def logp(model, before, r=r):
                whole = torch.tensor(np.concatenate([before, r.ids]))[None]
                logits = model(input_ids=whole).logits[0, len(before) - 1 : -1].double()
                return (logits / temperature).log_softmax(-1)

            s, q = logp(e.policy.model, r.prompt_ids), logp(teacher, view.context_ids)
            taken = [x.gather(1, ids[:, None])[:, 0] for x in (s, q)]
            m = ((s.exp() + q.exp()) / 2).log()
            jsd = ((s.exp() * (s - m)).sum(-1) + (q.exp() * (q - m)).sum(-1)) / 2
            expected = {
                "teacher_logp": taken[1],
                "log_ratio": taken[1] - taken[0],
                "teacher_entropy": -(q.exp() * q).sum(-1),
                "divergence": jsd if alpha else (q.exp() * (q - s)).sum(-1),
            }
            assert set(got) == set(expected)
            for name, value in expected.items():
                assert got[name].dtype == np.float32
                np.testing.assert_allclose(got[name], value, atol=2e-5, err_msg=name)
    assert all(p.grad is None for p in e.parameters)


def test_score_of_no_views(folder):
    assert learner(folder).score([], []) == []


def test_rows_that_carry_nothing_are_not_computed():
    def rollout(n):
        return Rollout(TASKS[0], 0, np.arange(3), np.arange(n), np.zeros(n, np.float32), 1.0, "eos", "")

    rollouts = [rollout(4), rollout(5), rollout(6)]
    views = [
        TeacherView(0, np.arange(9), np.zeros(4, np.float32)),
        TeacherView(1, np.arange(9), np.eye(5, dtype=np.float32)[2]),
    ]

    def per_token(*values):
        return [np.full(len(r.ids), v, np.float32) for r, v in zip(rollouts, values, strict=True)]

    assert [len(r.ids) for r in training_rows(rollouts, views, per_token(1, 1, 1), 1.0)] == [5]
    rows = training_rows(rollouts, views, per_token(0, 1, 1), 0.5)
    assert [(r.context_ids is None, r.view) for r in rows] == [(False, 1), (True, None)]
    assert [len(r.ids) for r in training_rows(rollouts, views, per_token(0, 0, 2), 0.0)] == [6]


def test_micro_batches_keep_order_and_never_mix_rows_with_and_without_a_teacher():
    def row(n, teacher):
        context = np.arange(n) if teacher else None
        return Row(np.arange(2), np.arange(5), context)

    rows = [row(30, True), row(10, True), row(9, True), row(0, False), row(0, False)]
    batches = micro_batches(rows, 36)
    assert [r for b in batches for r in b] == rows
    assert [len(b) for b in batches] == [1, 2, 2]


def test_a_gradient_that_is_not_finite_stops_and_leaves_the_weights(folder):
    e = learner(folder)
    before = copy.deepcopy(e.policy.model.state_dict())
    e.parameters[0].grad = torch.full_like(e.parameters[0], float("nan"))
    with pytest.raises(NotFinite, match="the gradient is not finite"):
        e.step()
    assert all(torch.equal(v, before[k]) for k, v in e.policy.model.state_dict().items())


def test_a_policy_that_has_diverged_is_said_so_when_it_samples(folder):
    e = learner(folder)
    with torch.no_grad():
        e.parameters[0].fill_(float("nan"))
    with pytest.raises(NotFinite, match="output is not finite"):
        e.policy.sample(TASKS, 1, seed=0, temperature=1.0)


def test_sampling_in_small_batches_answers_every_prompt(folder):
    e = learner(folder, sampling_batch_tokens=1)
    rollouts = e.policy.sample(TASKS, 2, seed=0, temperature=1.0)
    assert [r.group for r in rollouts] == [0, 0, 1, 1, 2, 2]
    for r in rollouts:
        taken = full_logp(e.policy.model, r).gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        np.testing.assert_allclose(r.logp, taken, atol=2e-5)


# -- the teacher ---------------------------------------------------------------------------------------------------


def moved(e: Learner, scale: float = 0.05) -> None:
    with torch.no_grad():
        for i, p in enumerate(e.parameters):
            p.add_(scale * torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_teachers(folder, lora):
    if lora:
        pytest.importorskip("peft")
    for weights in ("live", "frozen", "ema"):
        e = learner(folder, model={"lora": lora}, teacher={"weights": weights, "ema_rate": 0.25})
        start = logits(e.policy.model)
        moved(e)
        e.teacher.update()
        student = logits(e.policy.model)
        with e.teacher.model() as teacher:
            seen = logits(teacher)
        assert not torch.allclose(start, student)
        torch.testing.assert_close(logits(e.policy.model), student)  # looking as the teacher leaves the student alone
        if weights != "ema":
            torch.testing.assert_close(seen, start if weights == "frozen" else student)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["frozen", "ema", "live"])
def test_an_adapter_on_the_head_trains_and_the_teacher_has_its_own(folder, weights):
    pytest.importorskip("peft")
    lora = {"rank": 4, "targets": ["q_proj", "lm_head"]}
    e = learner(folder, model={"lora": lora}, teacher={"weights": weights})
    assert any("carries an adapter" in line for line in e.policy.notes)
    before = logits(e.policy.model.get_base_model() if weights == "live" else copy.deepcopy(e.policy.model).unload())
    moved(e)
    with torch.no_grad(), e.policy.model.disable_adapter():
        torch.testing.assert_close(logits(e.policy.model), before)
    [r] = e.policy.sample(TASKS[:1], 1, seed=0, temperature=1.0)
    view = TeacherView(0, r.prompt_ids, np.ones(len(r.ids), np.float32))
    [found] = e.score([r], [view])
    if weights == "live":
        np.testing.assert_allclose(found["divergence"], 0.0, atol=1e-9)
    else:
        with e.policy.model.disable_adapter():
            expected = full_logp(e.policy.model, r).gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        np.testing.assert_allclose(found["teacher_logp"], expected, atol=1e-5)
        assert found["divergence"].max() > 1e-6
    e.backward(
        [r],
        [TeacherView(0, np.concatenate([r.prompt_ids, r.prompt_ids]), view.weight)],
        [view.weight],
        distillation=1.0,
    )
    learnt = [name for name, p in e.policy.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert any("lm_head" in name for name in learnt) and all("lora_" in name for name in learnt)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_the_ema_teacher_is_the_running_mean_of_the_merged_weights(folder, lora):
    if lora:
        pytest.importorskip("peft")
    e = learner(folder, model={"lora": lora}, teacher={"weights": "ema", "ema_rate": 0.25})
    start = {k: v.clone() for k, v in learner(folder).policy.model.named_parameters()}
    expected = start
    for _ in range(3):
        moved(e)
        e.teacher.update()
        student = copy.deepcopy(e.policy.model)
        merged = dict((student.merge_and_unload() if lora else student).named_parameters())
        expected = {k: 0.75 * v + 0.25 * merged[k] for k, v in expected.items()}
    with e.teacher.model() as teacher:
        for name, parameter in teacher.named_parameters():
            torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("targets", [["q_proj", "lm_head"], ["embed_tokens"], ["embed_tokens", "lm_head"]])
def test_a_running_mean_follows_adapters_on_a_head_and_an_embedding_that_share_a_weight(folder, targets):
    pytest.importorskip("peft")
    lora = {"rank": 4, "targets": targets}
    e = learner(folder, model={"lora": lora}, teacher={"weights": "ema", "ema_rate": 1.0})
    moved(e)
    e.teacher.update()
    with e.teacher.model() as teacher:
        torch.testing.assert_close(logits(teacher), logits(e.policy.model), rtol=1e-4, atol=1e-5)


def test_lora_trains_the_adapters_alone_and_saves_them(folder, tmp_path):
    pytest.importorskip("peft")
    e = learner(folder, model={"lora": {"rank": 4}}, method="opsd")
    base = backbone(e.policy.model).layers[0].self_attn.q_proj.base_layer.weight.clone()
    rollouts, views, advantages = batch(e)
    e.backward(rollouts, views, advantages, distillation=1.0)
    assert e.step() > 0
    assert torch.equal(backbone(e.policy.model).layers[0].self_attn.q_proj.base_layer.weight, base)
    e.save(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_a_bfloat16_base_with_adapters_has_a_teacher_that_moves(folder):
    pytest.importorskip("peft")
    e = learner(folder, model={"lora": {"rank": 4}, "dtype": "bfloat16"}, method="opsd")
    start = logits(e.policy.model).float()
    for _ in range(20):
        moved(e, 0.02)
        e.teacher.update()
    with e.teacher.model() as teacher:
        assert float((logits(teacher).float() - start).abs().max()) > 1e-3
    rollouts, views, advantages = batch(e)
    assert np.isfinite(e.backward(rollouts, views, advantages, distillation=1.0).averages["loss"]) and e.step() > 0


def test_bfloat16_without_adapters_is_refused(folder):
    with pytest.raises(FrownError, match="loses most updates"):
        learner(folder, model={"dtype": "bfloat16"})


def test_a_checkpoint_with_tensors_missing_is_refused(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    tensors = load_file(broken / "model.safetensors")
    kept = {k: v for k, v in tensors.items() if "layers.1" not in k}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FrownError, match=f"{len(tensors) - len(kept)} tensors are missing"):
        learner(broken)


# -- text ----------------------------------------------------------------------------------------------------------


def test_steps_in_characters_become_steps_in_tokens(folder):
    e = learner(folder)
    text = "Ann: 2+2=4\nBéa: 4+4=8\n"
    ids = [*e.policy.tokenizer(text, add_special_tokens=False)["input_ids"], e.policy.tokenizer.eos_token_id]
    cut = text.index("B")
    steps = token_steps(e.policy.tokenizer, ids, text, [Step(0, cut), Step(cut, len(text))])
    assert steps == (Step(0, cut), Step(cut, len(ids)))
    assert e.policy.tokenizer.decode(ids[: steps[0].end]) == text[:cut]


def test_steps_are_found_where_the_text_does_not_tokenise_back(folder):
    """Sampled bytes that are no UTF-8 decode to a replacement character."""
    e = learner(folder)
    ids = [*e.policy.tokenizer("ab", add_special_tokens=False)["input_ids"], 200, *e.policy.tokenizer("c")["input_ids"]]
    text = e.policy.tokenizer.decode(ids)
    steps = token_steps(e.policy.tokenizer, ids, text, [Step(0, 2), Step(2, len(text))])
    assert steps == (Step(0, 2), Step(2, 4))
