"""TRL's `SDPOTrainer` with frown's feedback, loss and LoRA teacher, put in at four places and nowhere else.

1. what the teacher sees: `teacher_context_builder`, replaced by `context.LessonContextBuilder`;
2. the loss: `_compute_teacher_student_logits` and `_compute_self_distillation_loss`;
3. the teacher's weights under LoRA: `_setup_teacher_model` and `_use_peft_ema_teacher_adapter`;
4. rewards as verdicts: `_calculate_rewards`, of which a copy is kept for 1.

Generation, rewards, the policy loss, logging, checkpoints and processes are TRL's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer
from trl.experimental.sdpo.teacher_sync import is_pure_lora_training

from frown.config import AffectConfig, CriticConfig, FeedbackConfig
from frown.critics.base import Critic
from frown.errors import FrownError
from frown.feedback.compose import FeedbackFunction
from frown.losses.head import LinearHead, read_signals
from frown.methods.base import Teaching
from frown.policy.head import head_of
from frown.policy.load import plain
from frown.tasks.base import Environment
from frown.trl import fields
from frown.trl.context import WEIGHT, LessonContextBuilder
from frown.trl.loss import Objective, distil, nothing
from frown.trl.states import Pair, answer_states, attached_zero, what_counts
from frown.trl.teacher import LoraTeacher
from frown.trl.teaching import teaching_setup

_MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ScoredBatch(NamedTuple):
    """What TRL's reward functions made of a generation batch."""

    rows: list[dict[str, Any]]
    """This process's rows of the data set, one an answer."""
    rewards: Tensor
    """float[B, F] of all processes, one column a function; NaN where it returned None."""


class FrownSDPOTrainer(SDPOTrainer):
    """TRL's `SDPOTrainer`, same arguments and same `SDPOConfig`, with what frown adds as five keyword arguments.

    Without any of the five TRL composes the teacher's context as ever, and the loss and the LoRA teacher are frown's.

    Args:
        model: as `SDPOTrainer`'s, and so are all that follow up to `peft_config`.
        reward_funcs: as above; an answer whose reward reaches `success_reward_threshold` is right.
        args: as above; `frown.trl.fields` says what becomes of each field.
        *others: as above.
        method: which answers are taught from, which feedback, where the loss lies (`frown.methods`); None: SDPO.
        feedback: a function that says what each answer's teacher is told, or what it may be told at all.
        critic: who judges single steps, for a method that asks for critiques, or which one to open; None: the
            environment's.
        affect: what the policy's own signals mean, and the weights of tokens.
        environment: judges and words everything instead of the reward functions and TRL's templates. Its tasks come to
            a data set by `frown.trl.rows_of`.
        **more: as `SDPOTrainer`'s.

    Raises:
        FrownError: a field or a combination that would not do what it says.
    """

    args: SDPOConfig
    teacher_context_builder: Any
    _tag_names = ["trl", "sdpo", "frown"]  # noqa: RUF012  # as TRL declares it

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: SDPOConfig | None = None,
        *others: Any,
        method: Teaching | None = None,
        feedback: FeedbackConfig | FeedbackFunction | None = None,
        critic: Critic | CriticConfig | None = None,
        affect: AffectConfig | None = None,
        environment: Environment | None = None,
        **more: Any,
    ) -> None:
        args = SDPOConfig() if args is None else args
        composed = any(x is not None for x in (method, feedback, critic, affect, environment))
        fields.check(args, composed=composed, environment=environment is not None)
        setup = teaching_setup(args, method, feedback, critic, affect, environment) if composed else None
        self._lora_teacher: LoraTeacher | None = None
        super().__init__(model, reward_funcs, args, *others, **more)
        if self.is_fsdp_enabled:
            raise FrownError(f"accelerate is set to FSDP: {fields.REFUSED['fsdp']}")
        if setup is not None:
            self.teacher_context_builder = LessonContextBuilder(self, setup)

    # -- rewards as verdicts -----------------------------------------------------------------------------------

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        """TRL's, of which the context builder is left a copy."""
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.scored = ScoredBatch(inputs, rewards)
        return rewards

    # -- the teacher's weights ---------------------------------------------------------------------------------

    def _setup_teacher_model(self) -> None:
        """TRL's, but for a running mean under LoRA, which is one of the merged weights."""
        self._form = _linear_head(self.accelerator.unwrap_model(self.model))  # an error now, before a teacher is made
        lora = is_pure_lora_training(self.model, self.accelerator)
        if self.args.teacher_model_kind != "ema" or not lora:
            super()._setup_teacher_model()
            return
        self._lora_teacher = LoraTeacher(self.accelerator.unwrap_model(self.model), self.args.teacher_update_rate)
        self.teacher_model = self.accelerator.prepare_model(self._lora_teacher.model, evaluation_mode=True)
        if self.is_deepspeed_enabled and (dtype := _MIXED.get(self.accelerator.mixed_precision)):
            # accelerate leaves this to DeepSpeed's engine, which the teacher is not in.
            mixed = torch.autocast(self.accelerator.device.type, dtype)
            self.teacher_model.forward = mixed(self.teacher_model.forward)
        self.add_callback(self._lora_teacher)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The trainer's, and the running mean: this is called however the model itself is loaded."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if self._lora_teacher is not None and checkpoint is not None:
            self._lora_teacher.load(Path(checkpoint))

    def _use_peft_ema_teacher_adapter(self) -> bool:
        """Never: the teacher under LoRA is a plain model of its own."""
        return False

    # -- the loss ----------------------------------------------------------------------------------------------

    def _compute_teacher_student_logits(self, model: Any, teacher_model: Any, inputs: Any) -> Any:
        """TRL's, but hidden states instead of logits, which only a blend with the policy loss still needs."""
        weight = inputs["completion_mask"].float() * inputs["self_distillation_mask"].unsqueeze(1)
        if WEIGHT in inputs:
            weight = weight * inputs[WEIGHT]
        if not self._in_one_pass():
            return replace(super()._compute_teacher_student_logits(model, teacher_model, inputs), loss_mask=weight)
        blended, rows = self.args.distillation_weight < 1, len(weight)
        if not blended:
            inputs, weight = what_counts(inputs, weight)
        answer = weight.size(1)
        student = self._states(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            answer,
            answer + 1 if blended else 1,
        )
        with torch.no_grad(), self._get_teacher_context_for_self_distillation():
            teacher = self._states(
                teacher_model, inputs["teacher_input_ids"], inputs["teacher_attention_mask"], answer, 1
            )
        logits = student.logits[:, -answer - 1 : -1] / self.temperature if blended else student.logits[:, :0]
        return Pair(student, teacher.hidden, inputs, weight, rows, logits)

    def _compute_self_distillation_loss(self, model: Any, inputs: Any, distillation_logits: Any) -> Tensor:
        """TRL's objective, from one pass through the head; every process takes part in every exchange."""
        pair = distillation_logits
        counts = bool(pair.loss_mask.any())
        if not self._in_one_pass():
            if not counts:  # TRL returns early here and leaves the other processes waiting in a gather
                self.accelerator.gather(pair.loss_mask.new_zeros(()))
            return super()._compute_self_distillation_loss(model, inputs, pair)
        if counts:
            distilled = distil(
                pair.student.hidden,
                self._head(model),
                pair.teacher_hidden,
                self._head(self.teacher_model),
                pair.inputs["completion_ids"],
                pair.loss_mask,
                pair.rows,
                pair.inputs.get("old_per_token_logps"),
                self._objective(),
            )
            loss, sums = distilled.loss, distilled.sums
            if self.is_deepspeed_enabled:
                # Its backward pass begins where the model's own output has a gradient, and nowhere else: without that
                # some of its optimisers count the first of several micro-batches twice.
                loss = loss + attached_zero(pair.student)
        else:
            # Still attached to the student, so that the processes' gradients meet.
            loss, sums = attached_zero(pair.student), nothing(pair.loss_mask.device)
        self._log_sums("train" if model.training else "eval", sums)
        return loss

    def _in_one_pass(self) -> bool:
        """Whether the one pass knows the objective; top-k without its tail is TRL's, with weights, without signals."""
        return self.args.distillation_mode != "topk_logits" or self.args.distillation_add_tail

    def _objective(self) -> Objective:
        a = self.args
        return Objective(
            a.distillation_mode, a.distillation_alpha, a.distillation_topk, a.distillation_is_clip, self.temperature
        )

    def _head(self, model: Any) -> LinearHead:
        """The head of student or teacher, which differ in weights alone."""
        module = plain(self.accelerator.unwrap_model(model)).get_output_embeddings()
        return replace(self._form, weight=module.weight, bias=getattr(module, "bias", None))

    def _states(self, model: Any, ids: Tensor, mask: Tensor, answer: int, logits: int) -> Any:
        keeps = "logits_to_keep" in self.model_kwarg_keys
        inner = self.accelerator.unwrap_model(model)
        return answer_states(model, inner, ids, mask, answer, logits if keeps else None)

    def _log_sums(self, mode: str, sums: Mapping[str, Tensor]) -> None:
        """Means over the tokens of all processes, to the trainer's own log; nothing where no token counts."""
        gathered = self.accelerator.gather(torch.stack(list(sums.values())).float()[None]).sum(0)
        total = dict(zip(sums, gathered.tolist(), strict=True))
        weight = total.pop("weight")
        self._log_self_distillation_metric(mode, total.pop("distillation_loss") / weight if weight else 0.0)
        for name, value in total.items():
            if weight:
                self._metrics[mode][f"frown/{name}"].append(value / weight)

    @torch.no_grad()
    def policy_signals(self, batch: Mapping[str, Tensor]) -> list[dict[str, np.ndarray]]:
        """What the policy's distribution said at each token of its answers: per answer, name -> float32[T].

        A forward pass of its own over the generation batch, `per_device_train_batch_size` answers at a time.
        """
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        lengths = batch["raw_completion_lengths"].tolist()
        # Not the completion mask: it hides the answers that were cut, where TRL is to leave them out of the loss.
        answer = batch["completion_ids"].size(1)
        real = torch.arange(answer, device=ids.device)[None] < batch["raw_completion_lengths"][:, None]
        mask = torch.cat([batch["prompt_mask"], real.to(batch["prompt_mask"].dtype)], dim=1)
        readings = []
        for i in range(0, len(lengths), self.args.per_device_train_batch_size):
            rows = slice(i, i + self.args.per_device_train_batch_size)
            states = self._states(self.model, ids[rows], mask[rows], answer, 1)
            read = read_signals(
                states.hidden[real[rows]],
                self._head(self.model),
                batch["completion_ids"][rows][real[rows]],
                self.temperature,
            )
            ends = np.cumsum(lengths[rows])[:-1]
            parts = {name: np.split(values.float().cpu().numpy(), ends) for name, values in read.items()}
            readings += [{name: of[j] for name, of in parts.items()} for j in range(len(lengths[rows]))]
        return readings


def _linear_head(model: Any) -> LinearHead:
    """The form of a model's head. FrownError for one with an adapter, or that does more than a linear one."""
    head = head_of(model)
    if not isinstance(head, LinearHead) or hasattr(plain(model).get_output_embeddings(), "modules_to_save"):
        raise FrownError(
            f"the head of {type(plain(model)).__name__} carries an adapter, or does more than product, bias, scale "
            "and bound: leave lm_head out of the adapter's target_modules and modules_to_save, or train with frown"
        )
    return head
