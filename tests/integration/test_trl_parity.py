"""Loss and gradients of `FrownSDPOTrainer` against TRL's own `SDPOTrainer`, on the same batch and over whole runs."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from tiny import byte_model

pytest.importorskip("trl")
from trl.experimental.sdpo import SDPOTrainer

from frown.trl import FrownSDPOTrainer
from frown.trl.context import WEIGHT
from trl_setup import batch, train_quietly, trainer

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny Qwen3 with opinions: at its initial scale all divergences would be rounding."""
    folder = byte_model(tmp_path_factory.mktemp("model"))
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        loaded.get_input_embeddings().weight.mul_(10.0)
    loaded.save_pretrained(folder)
    return folder


def measured(kind, model, tmp_path, inputs, double=False, **changes):
    """Loss and flat gradient of one batch."""
    made = trainer(kind, model, tmp_path, teacher_model_kind="live", **changes)
    made.current_gradient_accumulation_steps = changes.get("gradient_accumulation_steps", 1)
    if double:
        made.model.double()
        inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    made.model.train()
    loss = made.compute_loss(made.model, dict(inputs))
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in made.model.parameters()])


def off(found, exact):
    """Relative errors of a loss (the policy loss may cancel to nearly nothing: of at least .1) and of a gradient."""
    return abs(found[0] - exact[0]) / max(abs(exact[0]), 0.1), float((found[1] - exact[1]).norm() / exact[1].norm())


FULL = {"distillation_mode": "full_logits"}
TAIL = {"distillation_mode": "topk_logits", "distillation_topk": 5, "distillation_add_tail": True}


@pytest.mark.parametrize("ragged", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize(
    "changes",
    [
        *({**FULL, "distillation_alpha": alpha} for alpha in (0.0, 0.5, 1.0)),
        {**FULL, "distillation_alpha": 0.5, "temperature": 0.7, "gradient_accumulation_steps": 2},
        {**FULL, "distillation_alpha": 0.0, "distillation_is_clip": None, "temperature": 1.3},
        {"distillation_mode": "sampled_token"},
        {"distillation_mode": "sampled_token", "temperature": 0.7, "distillation_is_clip": None},
        {**FULL, "distillation_weight": 0.3, "loss_type": "grpo", "temperature": 0.8},
        {**FULL, "distillation_weight": 0.6, "importance_sampling_level": "sequence", "loss_type": "grpo"},
        {"distillation_weight": 0.0},
        *({**TAIL, "distillation_alpha": alpha} for alpha in (0.0, 0.5, 1.0)),
        {"distillation_mode": "topk_logits", "distillation_topk": 5},
    ],
    ids=lambda c: ",".join(f"{k.removeprefix('distillation_')}={v}" for k, v in c.items()),
)
def test_loss_and_gradient_are_trls_to_float32_rounding(model, tmp_path, changes, ragged):
    inputs = batch(200, ragged=ragged)
    exact = measured(SDPOTrainer, model, tmp_path, inputs, double=True, **changes)
    theirs = off(measured(SDPOTrainer, model, tmp_path, inputs, **changes), exact)
    ours = off(measured(FrownSDPOTrainer, model, tmp_path, inputs, **changes), exact)
    assert max(ours) < 2e-5, f"ours {ours}, TRL's {theirs}"


def test_a_row_without_old_log_probabilities_is_on_policy(model, tmp_path):
    inputs = batch(200)
    del inputs["old_per_token_logps"]
    exact = measured(SDPOTrainer, model, tmp_path, inputs, double=True, distillation_weight=0.5)
    assert max(off(measured(FrownSDPOTrainer, model, tmp_path, inputs, distillation_weight=0.5), exact)) < 2e-5


def test_a_batch_in_which_nobody_is_taught_has_gradients_of_zero(model, tmp_path):
    inputs = batch(200) | {"self_distillation_mask": torch.zeros(4)}
    loss, gradient = measured(FrownSDPOTrainer, model, tmp_path, inputs, **FULL)
    assert loss == 0 and not gradient.any()


def test_under_bfloat16_the_loss_is_nearer_the_truth_than_trls(model, tmp_path):
    """Both against float64 on hidden states of bfloat16 precision: what is left is what the loss itself adds."""
    inputs = batch(200, ragged=False)
    # A teacher that differs little from the student: the same prompt but for one token, as self-distillation has it.
    near = inputs["teacher_input_ids"].clone()
    near[:, 2:5] = inputs["prompt_ids"]
    inputs["teacher_input_ids"] = near
    from frown.losses.objectives import divergence
    from frown.signals.token import log_probabilities

    changes = {**FULL, "distillation_alpha": 1.0, "bf16": True, "distillation_is_clip": None}
    made = trainer(FrownSDPOTrainer, model, tmp_path, teacher_model_kind="live", **changes)
    made.current_gradient_accumulation_steps = 1
    made.model = made.accelerator.prepare_model(made.model, evaluation_mode=True)
    pair = made._compute_teacher_student_logits(made.model, made.model, inputs)
    head = made._head(made.model).weight.double()
    exact = divergence(
        *(log_probabilities(h.double().flatten(0, 1) @ head.T) for h in (pair.student.hidden, pair.teacher_hidden)), 1.0
    ).mean()
    ours = made._compute_self_distillation_loss(made.model, inputs, pair)
    theirs = SDPOTrainer._compute_self_distillation_loss(
        made, made.model, inputs, SDPOTrainer._compute_teacher_student_logits(made, made.model, made.model, inputs)
    )
    error = abs(ours - exact) / exact, abs(theirs - exact) / exact
    assert error[0] < 1e-4 < 1e-2 < error[1], error


def test_what_cannot_teach_is_not_computed(model, tmp_path):
    """Neither rows without a teacher, nor what stands behind the last token that counts."""
    made = trainer(FrownSDPOTrainer, model, tmp_path, teacher_model_kind="live")
    inputs = batch(200)
    inputs[WEIGHT] = torch.zeros(4, 6)
    inputs[WEIGHT][0, 1] = inputs[WEIGHT][2, 5] = inputs[WEIGHT][1, 2] = 1.0  # row 2 has no teacher
    assert made._compute_teacher_student_logits(made.model, made.model, inputs).student.hidden.shape[:2] == (2, 3)
    inputs[WEIGHT] *= 0
    assert made._compute_teacher_student_logits(made.model, made.model, inputs).student.hidden.shape[:2] == (1, 1)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_whole_runs_end_at_the_same_weights(model, tmp_path, accumulate):
    """Generation, rewards, contexts, an EMA teacher, several micro-batches: everything but the loss is TRL's."""
    changes = {**FULL, "distillation_alpha": 0.5, "optim": "sgd", "learning_rate": 0.05, "teacher_update_rate": 0.5}
    changes |= {"gradient_accumulation_steps": accumulate, "success_reward_threshold": 0.5, "max_steps": 3}
    ends = []
    for kind in (SDPOTrainer, FrownSDPOTrainer):
        made = trainer(kind, model, tmp_path, **changes)
        start = copy.deepcopy(dict(made.model.named_parameters()))
        lines = train_quietly(made)
        moved = torch.cat([(p - start[n]).flatten() for n, p in made.model.named_parameters()])
        ends.append(([line["loss"] for line in lines], moved.detach()))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4) and len(ends[0][0]) == 3
    assert ends[0][1].norm() > 0 and (ends[0][1] - ends[1][1]).norm() < 1e-3 * ends[0][1].norm()
