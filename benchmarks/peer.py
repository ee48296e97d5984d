"""All that is TRL's, as it is installed: its loss helpers, its chunked kernels and its SDPO trainer."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.measuring import Skip

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its SDPO is experimental; one need not hear it every time


def required() -> None:
    """Raise Skip where TRL is not installed."""
    if importlib.util.find_spec("trl") is None:
        raise Skip('TRL is not installed: pip install "frown[trl]"')
    logging.getLogger("trl").setLevel(logging.ERROR)


def full_logits_loss(student: Tensor, teacher: Tensor, *, distillation_alpha: float) -> Tensor:
    """SDPO's loss per token [B, T] of all logits [B, T, V]."""
    from trl.experimental.sdpo.loss_utils import compute_full_logit_self_distillation_loss

    return compute_full_logit_self_distillation_loss(student, teacher, distillation_alpha=distillation_alpha)


def entropy(logits: Tensor) -> Tensor:
    """Nats, one a row."""
    from trl.trainer.utils import entropy_from_logits

    return entropy_from_logits(logits)


def signals(student: Tensor, teacher: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The student's entropy and both models' log-probability of the sampled tokens, without gradient."""
    import torch
    from trl.trainer.utils import selective_log_softmax

    with torch.no_grad():
        return entropy(student), selective_log_softmax(student, targets), selective_log_softmax(teacher, targets)


def chunked_divergence(
    hidden: Tensor, weight: Tensor, teacher: Tensor, teacher_weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Divergence and entropy per token, without all logits at once."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    return ChunkedDivergenceFunction.apply(hidden, weight, None, teacher, teacher_weight, None, alpha, 1.0)


def chunked_logp(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of the sampled tokens, without all logits at once."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    return ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32_768)[0]


def sdpo_trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    reward: Callable[..., list[float]],
    folder: Path,
    *,
    batch: int,
    group: int,
    teacher: str,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> Any:
    """An `SDPOTrainer` with the settings that are kindest to it on a CPU.

    Float32 (bfloat16 is slower and coarser here), no gradient checkpointing, no log, no progress bar, no checkpoint, no
    pinned memory, prompts in the order given. Full logits, Jensen-Shannon with alpha 0.5, a successful sibling as the
    demonstration. One optimiser step a generation batch, so no importance ratio, as in frown.
    """
    from datasets import Dataset
    from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

    args = SDPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        shuffle_dataset=False,
        per_device_train_batch_size=batch,
        num_generations=group,
        max_prompt_length=None,
        distillation_mode="full_logits",
        distillation_alpha=0.5,
        distillation_weight=1.0,
        teacher_model_kind=teacher,
        diagnostics_warning_interval=0,
        **settings,
    )
    return SDPOTrainer(
        model=model,
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
