"""What each teacher sees: frown's lesson in the place of TRL's own builder of teacher contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from frown.affect.normalise import Normaliser
from frown.errors import FrownError
from frown.methods.base import Classroom, Lesson
from frown.policy.load import context_length
from frown.policy.text import completion_text, token_steps
from frown.tasks.rollouts import with_verdicts
from frown.trl.free_text import FreeText
from frown.trl.rollouts import rollouts_of, verdicts_of
from frown.trl.rows import task_of
from frown.trl.teaching import TeachingSetup
from frown.types import Ints, Message, Rollout

WEIGHT = "frown_weight"
"""In TRL's batch: float[B, T], the weight of each token in the distillation loss."""
COUNTED = "views_too_long steps_unasked critiques_lost parts_withheld parts_cut parts_left_out told_verdict told_gold"

logger = get_logger(__name__)


class TrainerReader:
    """A trainer's own way between texts and tokens; implements `frown.policy.reader.Reader`."""

    def __init__(self, trainer: Any, plain: bool) -> None:
        """`plain`: the prompts are texts, not conversations."""
        self._trainer, self._plain = trainer, plain
        self.tokenizer = trainer._tokenizer

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation (of a plain prompt: its text) as ids, with the trainer's `chat_template_kwargs`."""
        conversation = messages[-1]["content"] if self._plain else [dict(m) for m in messages]
        return np.asarray(self._trainer._tokenize_prompts_untruncated([conversation])[0], np.int64)

    def encode(self, text: str) -> list[int]:
        """A piece of text as tokens, without any that mark a beginning or an end."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text."""
        return completion_text(self.tokenizer, ids)

    def fits(self, context: Ints) -> bool:
        """Whether a teacher prompt keeps to `max_reprompt_len`, and an answer fits behind it."""
        args = self._trainer.args
        limit = context_length(self._trainer.model)
        fits = limit is None or len(context) + args.max_completion_length <= limit
        return fits and len(context) <= args.max_reprompt_len


class LessonContextBuilder:
    """TRL's `teacher_context_builder`: from a generation batch to what the teacher sees of it.

    Answers of all processes are put together, so that a critic's budget and siblings are those of the whole batch; the
    main process alone asks, and tells the others.
    """

    def __init__(self, trainer: Any, setup: TeachingSetup) -> None:
        self.trainer, self._setup = trainer, setup
        self.last_metrics: dict[str, float] = {}
        self._rng = np.random.default_rng([trainer.args.seed, 1])
        self._normaliser = Normaliser()
        self._complaints: set[str] = set()

    def build(
        self,
        output: dict[str, Tensor],
        prompts: Sequence[Any],
        rewards: Tensor,
        feedbacks: Sequence[Any] | None = None,
    ) -> dict[str, Tensor]:
        """As TRL's: teacher ids and attention mask [B, P + T], and whether each answer has a teacher, [B].

        Writes `WEIGHT` into `output`, TRL's batch.
        """
        trainer, accelerator = self.trainer, self.trainer.accelerator
        training = trainer.model.training
        size, n = trainer.num_generations if training else trainer.num_generations_eval, len(prompts)
        first = accelerator.process_index * n
        own = self._rollouts(output, first, size)
        everyone = gather_object(own)
        lesson = self._lesson(everyone, TrainerReader(trainer, isinstance(prompts[0], str)), training)
        self._report(everyone, lesson, size)

        contexts = [r.prompt_ids for r in own]
        weight = torch.zeros(output["completion_ids"].shape)
        taught = torch.zeros(n)
        for view in lesson.views:
            if first <= view.rollout < first + n:
                i = view.rollout - first
                contexts[i], taught[i] = view.context_ids, 1.0
                weight[i, : len(view.weight)] = torch.from_numpy(view.weight)
        device = accelerator.device
        output[WEIGHT] = weight.to(device)
        ids, mask = _left_padded(contexts, trainer._tokenizer.pad_token_id)
        return {
            "teacher_input_ids": torch.cat([ids.to(device), output["completion_ids"]], dim=1),
            "teacher_attention_mask": torch.cat([mask.to(device), output["completion_mask"]], dim=1),
            "self_distillation_mask": taught.to(device),
        }

    def _rollouts(self, output: Mapping[str, Tensor], first: int, size: int) -> list[Rollout]:
        """The answers of this process, judged by the environment, or by the rewards where the script names none."""
        trainer, environment = self.trainer, self._setup.environment
        tasks = [task_of(row) for row in trainer.scored.rows]
        rollouts = rollouts_of(
            output,
            tasks,
            trainer.policy_signals(output),
            first=first,
            group_size=size,
            tokenizer=trainer._tokenizer,
            ends=trainer.eos_token_ids,
            temperature=trainer.temperature,
            step=trainer.state.global_step,
        )
        if isinstance(environment, FreeText):
            rewards = trainer.scored.rewards[first : first + len(tasks)]
            threshold = trainer.args.success_reward_threshold
            verdicts = verdicts_of(rewards, threshold, trainer.reward_weights.to(rewards.device))
        else:
            verdicts = environment.verify(tasks, [r.text for r in rollouts])
        return with_verdicts(rollouts, verdicts, environment, partial(token_steps, trainer._tokenizer))

    def _lesson(self, everyone: Sequence[Rollout], reader: TrainerReader, training: bool) -> Lesson:
        """The lesson of the whole batch, made by the main process. An error there is an error everywhere."""
        outcome: list[Any] = [None]
        if self.trainer.accelerator.is_main_process:
            config, environment, critic, feedback = self._setup
            if training:
                self._normaliser = self._normaliser.update([r.signals for r in everyone if r.signals is not None])
            room = Classroom(config, environment, reader, self._rng, critic, self._normaliser, feedback)
            try:
                outcome[0] = config.method.teach(everyone, room)
            except FrownError as error:
                outcome[0] = error
        [lesson] = broadcast_object_list(outcome)
        if isinstance(lesson, FrownError):
            raise lesson
        return lesson

    def _report(self, everyone: Sequence[Rollout], lesson: Lesson, size: int) -> None:
        """Counts for the trainer's own log, and once each, why a critique was lost."""
        right = [r.verdict is not None and r.verdict.right for r in everyone]
        groups = [any(right[i : i + size]) for i in range(0, len(right), size)]
        comments = sum(p.kind == "critique" for f in lesson.feedback for p in f.parts)
        unscored = sum(r.verdict is None or not r.verdict.scored for r in everyone)
        self.last_metrics = {
            "self_distillation/success_group_fraction": sum(groups) / len(groups),
            "self_distillation/reprompt_sample_fraction": len(lesson.views) / len(everyone),
            "frown/comments": float(comments),
            "frown/unscored": float(unscored),
            **{f"frown/{name}": float(lesson.counts[name]) for name in COUNTED.split()},
        }
        for why in sorted(set(lesson.lost) - self._complaints):
            logger.warning("a critique was lost: %s", why)
        self._complaints |= set(lesson.lost)


def _left_padded(rows: Sequence[Ints], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, int64[B, P]."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = torch.as_tensor(row)
        mask[i, longest - len(row) :] = 1
    return ids, mask
