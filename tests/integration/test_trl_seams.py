"""One contract test for each place at which `FrownSDPOTrainer` leans on TRL: each fails when TRL changes there."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import fields

import pytest
import torch

from tiny import byte_model

pytest.importorskip("trl")
pytest.importorskip("peft")
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.experimental.sdpo import SDPOTrainer
from trl.experimental.sdpo.loss_utils import apply_importance_sampling_clipping
from trl.experimental.sdpo.sdpo_trainer import DistillationLogits, SuccessfulRolloutTeacherContextBuilder
from trl.experimental.sdpo.teacher_sync import is_pure_lora_training

from frown.config import FeedbackConfig
from frown.errors import FrownError
from frown.methods import SDPO
from frown.trl import FrownSDPOTrainer
from frown.trl.context import WEIGHT
from frown.trl.rollouts import verdicts_of
from trl_setup import PROMPTS, batch, every_other, settings, trainer

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


def takes(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def first_batch(made):
    """The first generation batch of a trainer, as its loss gets it."""
    made.model.train()
    return made._prepare_inputs([row for row in made.train_dataset.select([0]) for _ in range(4)])


# -- the teacher's context -----------------------------------------------------------------------------------------


def test_context_seam(model, tmp_path):
    assert takes(SuccessfulRolloutTeacherContextBuilder.build) == ["self", "output", "prompts", "rewards", "feedbacks"]
    theirs = trainer(SDPOTrainer, model, tmp_path, success_reward_threshold=0.5)
    assert isinstance(theirs.teacher_context_builder, SuccessfulRolloutTeacherContextBuilder)
    ours = trainer(FrownSDPOTrainer, model, tmp_path, more={"feedback": FeedbackConfig()}, success_reward_threshold=0.5)
    seen = []
    for made in (theirs, ours):
        build = made.teacher_context_builder.build

        def spy(output, prompts, rewards, feedbacks=None, build=build):
            found = build(output, prompts, rewards, feedbacks=feedbacks)
            seen.append((set(output), {name: (v.dtype, v.dim()) for name, v in found.items()}))
            return found

        made.teacher_context_builder.build = spy
        taken = first_batch(made)
        assert set(made.teacher_context_builder.last_metrics) >= {
            "self_distillation/success_group_fraction",
            "self_distillation/reprompt_sample_fraction",
        }
    assert seen[0][1] == seen[1][1]  # what a builder returns
    needed = {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "raw_completion_lengths"}
    assert needed <= seen[0][0]  # what it is given
    assert taken[WEIGHT].shape == taken["completion_ids"].shape  # what it adds reaches the loss


def test_a_sibling_is_told_in_trls_own_words(model, tmp_path):
    """Frown's composition in TRL's templates is the teacher prompt that TRL's own builder makes."""
    prompts = []
    for kind, more in ((SDPOTrainer, None), (FrownSDPOTrainer, {"method": SDPO()})):
        # Only one of the four is right, so that there is nothing to choose between.
        made = trainer(
            kind, model, tmp_path, reward=lambda prompts, completions, **rest: [0.0, 0.0, 1.0, 0.0], more=more
        )
        taken = first_batch(made)
        prompts.append((taken["teacher_input_ids"], taken["teacher_attention_mask"], taken["self_distillation_mask"]))
    for a, b in zip(*prompts, strict=True):
        assert torch.equal(a, b)


# -- the loss ------------------------------------------------------------------------------------------------------


def test_loss_seam(model, tmp_path):
    assert takes(SDPOTrainer._compute_teacher_student_logits) == ["self", "model", "teacher_model", "inputs"]
    given = ["self", "model", "inputs", "distillation_logits"]
    assert takes(SDPOTrainer._compute_self_distillation_loss) == given
    assert takes(SDPOTrainer._compute_policy_loss) == ["self", "inputs", "student_logits"]
    assert takes(apply_importance_sampling_clipping) == [
        "per_token_loss",
        "student_log_probs",
        "old_log_probs",
        "clip_coeff",
    ]
    assert {f.name for f in fields(DistillationLogits)} >= {"loss_mask", "student_logits"}
    made = trainer(FrownSDPOTrainer, model, tmp_path, distillation_weight=0.5, distillation_mode="full_logits")
    made.current_gradient_accumulation_steps = 2
    made.model.train()
    inputs = batch(200)
    pair = made._compute_teacher_student_logits(made.model, made.teacher_model, inputs)
    theirs = SDPOTrainer._compute_teacher_student_logits(made, made.model, made.teacher_model, inputs)
    torch.testing.assert_close(pair.student_logits, theirs.student_logits)
    assert torch.equal(pair.loss_mask, theirs.loss_mask)
    # compute_loss asks for exactly these two, and scales what it gets.
    made._compute_teacher_student_logits = lambda model, teacher_model, inputs: pair
    made._compute_self_distillation_loss = lambda model, inputs, found: torch.tensor(3.0 if found is pair else 0.0)
    made._compute_policy_loss = lambda inputs, logits: torch.tensor(5.0 if logits is pair.student_logits else 0.0)
    assert made.compute_loss(made.model, inputs).item() == (0.5 * 5.0 + 0.5 * 3.0) / 2


def test_hidden_states_are_those_behind_trls_logits(model, tmp_path):
    made = trainer(FrownSDPOTrainer, model, tmp_path, temperature=0.7)
    inputs = batch(200)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    states = made._states(made.model, ids, mask, 6, 1)
    assert states.logits.shape[1] == 1  # the head was not asked for more
    logits = made._forward_logits(made.model, ids, mask, 6)
    torch.testing.assert_close(states.hidden @ made._head(made.model).weight.T / 0.7, logits)


# -- the teacher's weights -----------------------------------------------------------------------------------------


def adapters(made, scale: float) -> None:
    """Put the same known numbers in every adapter."""
    with torch.no_grad():
        for name, p in made.model.named_parameters():
            if "lora_" in name and "teacher" not in name:
                torch.manual_seed(len(name))
                p.copy_(scale * torch.randn(p.shape))


def delta(made):
    """How the teacher's weights differ from the base's, in one adapted layer."""
    name = "layers.0.self_attn.q_proj"
    inner = made.model.get_base_model().model.get_submodule(name)
    base = inner.base_layer.weight
    if made.teacher_model is made.model:  # TRL's second adapter
        return inner.get_delta_weight("teacher"), inner.get_delta_weight("default")
    return made.teacher_model.model.get_submodule(name).weight - base, inner.get_delta_weight("default")


def steps(made, n: int) -> None:
    for made.state.global_step in range(1, n + 1):
        made.callback_handler.on_step_end(made.args, made.state, made.control)


def test_teacher_seam(model, tmp_path):
    assert takes(SDPOTrainer._setup_teacher_model) == ["self"] == takes(SDPOTrainer._use_peft_ema_teacher_adapter)
    assert takes(is_pure_lora_training) == ["model", "accelerator"]
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    rate, n = 0.05, 10
    shares = []
    for kind in (SDPOTrainer, FrownSDPOTrainer):
        made = trainer(kind, model, tmp_path, peft_config=lora, teacher_update_rate=rate)
        made.callback_handler.on_train_begin(made.args, made.state, made.control)
        adapters(made, 0.3)
        steps(made, n)
        teacher, student = delta(made)
        share = (teacher * student).sum() / student.square().sum()
        torch.testing.assert_close(teacher, share * student, rtol=1e-3, atol=1e-6)
        shares.append(share.item())
    reached = 1 - (1 - rate) ** n
    assert shares[1] == pytest.approx(reached, rel=1e-4) and round(reached, 2) == 0.40
    # What TRL does instead. When this fails TRL has mended it, and ours can go.
    assert shares[0] == pytest.approx(reached**2, rel=1e-4) and round(reached**2, 2) == 0.16
    assert isinstance(made._get_teacher_context_for_self_distillation(), nullcontext)
    assert made.teacher_model is not made.model


def test_the_teacher_follows_as_often_as_the_config_says_and_is_kept(model, tmp_path):
    lora = LoraConfig(r=2, target_modules=["q_proj"])
    made = trainer(FrownSDPOTrainer, model, tmp_path, peft_config=lora, teacher_update_rate=0.5, teacher_sync_steps=3)
    adapters(made, 0.3)
    steps(made, 2)
    assert not delta(made)[0].any()
    steps(made, 7)
    teacher, student = delta(made)
    torch.testing.assert_close(teacher, 0.75 * student, rtol=1e-4, atol=1e-6)
    folder = tmp_path / "out" / "checkpoint-7"
    folder.mkdir(parents=True)
    made.callback_handler.on_save(made.args, made.state, made.control)
    again = trainer(FrownSDPOTrainer, model, tmp_path, peft_config=lora)
    again._lora_teacher.load(folder)
    torch.testing.assert_close(delta(again)[0], teacher)


def test_adapters_that_were_trained_before_are_where_the_mean_begins(model, tmp_path):
    loaded = AutoModelForCausalLM.from_pretrained(model)
    student = get_peft_model(loaded, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    made = FrownSDPOTrainer(student, every_other, settings(tmp_path), Dataset.from_list(PROMPTS))
    teacher, trained = delta(made)
    assert trained.abs().max() > 0
    torch.testing.assert_close(teacher, trained, rtol=1e-5, atol=1e-7)


def test_a_head_with_an_adapter_is_refused(model, tmp_path):
    with pytest.raises(FrownError, match="carries an adapter"):
        trainer(FrownSDPOTrainer, model, tmp_path, peft_config=LoraConfig(r=2, target_modules=["lm_head"]))


# -- rewards -------------------------------------------------------------------------------------------------------


def test_rewards_seam(model, tmp_path):
    given = ["self", "inputs", "prompts", "completions", "completion_ids_list"]
    assert takes(SDPOTrainer._calculate_rewards) == given

    def shy(prompts, completions, **rest):
        return [None, 0.2, None, 0.6]

    rows = [{**row, "answer": "42"} for row in PROMPTS]
    made = trainer(FrownSDPOTrainer, model, tmp_path, rows=rows, reward=shy, success_reward_threshold=0.5)
    first_batch(made)
    assert made.scored.rewards.shape == (4, 1) and [row["answer"] for row in made.scored.rows] == ["42"] * 4
    verdicts = verdicts_of(made.scored.rewards, made.args.success_reward_threshold, made.reward_weights)
    assert [v.scored for v in verdicts] == [False, True, False, True]
    assert [v.right for v in verdicts] == [False, False, False, True]
    both = torch.tensor([[0.5, float("nan")], [0.5, 0.5]])
    verdicts = verdicts_of(both, 1.0, torch.tensor([1.0, 1.0]))
    assert [(v.scored, v.right) for v in verdicts] == [(True, False), (True, True)]
