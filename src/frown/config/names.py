"""Names that other libraries and earlier versions have for a setting, and ours for it.

Data alone: what an unknown key is answered with. A value is the dotted key here, or a sentence where there is no key.
"""

from __future__ import annotations

from collections.abc import Mapping

LIBRARIES: Mapping[str, str] = {
    # transformers.TrainingArguments
    "learning_rate": "optimiser.lr",
    "max_steps": "optimiser.steps",
    "num_train_epochs": "optimiser.steps",
    "warmup_ratio": "optimiser.warmup_steps",
    "warmup_steps": "optimiser.warmup_steps",
    "lr_scheduler_type": "optimiser.schedule",
    "weight_decay": "optimiser.weight_decay",
    "adam_beta1": "optimiser.betas",
    "adam_beta2": "optimiser.betas",
    "max_grad_norm": "optimiser.max_grad_norm",
    "per_device_train_batch_size": "sampling.prompts_per_step",
    "gradient_accumulation_steps": "micro_batch_tokens",
    "per_device_eval_batch_size": "sampling_batch_tokens",
    "eval_steps": "eval.every",
    "save_steps": "checkpoint.every",
    "save_total_limit": "checkpoint.keep",
    "logging_steps": "metrics.jsonl has a line for every step; there is nothing to set",
    "report_to": "track",
    "output_dir": "it is a flag, --out DIR",
    "resume_from_checkpoint": "it is a flag, --resume",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "torch_dtype": "model.dtype",
    "gradient_checkpointing": "model.gradient_checkpointing",
    "fsdp": "distributed.sharding",
    "ddp_timeout": "distributed.timeout",
    "model_name_or_path": "model.path",
    "dataset_name": "task.data",
    "on_bad_lines": "task.bad_rows",
    "filter_overlong_prompts": "task.bad_rows",
    "max_prompt_length": "task.bad_rows says what happens to rows that are too long; no prompt is cut",
    # peft.LoraConfig
    "lora_r": "model.lora.rank",
    "r": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "lora_target_modules": "model.lora.targets",
    "target_modules": "model.lora.targets",
    # trl.GRPOConfig and its SDPO and distillation trainers
    "num_generations": "sampling.responses_per_prompt",
    "num_generations_eval": "eval.samples",
    "generation_batch_size": "sampling.prompts_per_step",
    "max_completion_length": "sampling.max_new_tokens",
    "max_tokens": "sampling.max_new_tokens",
    "temperature": "sampling.temperature",
    "top_k": "answers are sampled from the whole distribution; loss.top_k is the divergence's",
    "top_p": "answers are sampled from the whole distribution",
    "min_p": "answers are sampled from the whole distribution",
    "beta": "loss.kl_anchor",
    "scale_rewards": "method.divide_by_std",
    "epsilon": "every batch is learnt from once, so no ratio is clipped; compare loss.importance_cap",
    "epsilon_high": "every batch is learnt from once, so no ratio is clipped; compare loss.importance_cap",
    "num_iterations": "every batch is learnt from once; compare practice.replay",
    "steps_per_generation": "every batch is learnt from once; compare practice.replay",
    "loss_type": "method.type",
    "importance_sampling_level": "loss.importance_cap",
    "vllm_importance_sampling_cap": "loss.importance_cap",
    "use_vllm": "sampling.vllm",
    "vllm_mode": "sampling.vllm.mode",
    "vllm_server_base_url": "sampling.vllm.base_url",
    "vllm_gpu_memory_utilization": "sampling.vllm.memory_share",
    "vllm_tensor_parallel_size": "sampling.vllm.tensor_parallel",
    "distillation_alpha": "loss.alpha",
    "distillation_topk": "loss.top_k",
    "distillation_weight": "method.distillation",
    "teacher_model_kind": "teacher.weights",
    "teacher_update_rate": "teacher.ema_rate",
    "ref_model_mixup_alpha": "teacher.ema_rate",
}
"""Names of trl, transformers and peft. An exact name of ours goes before them: `steps` is ours wherever it exists."""

EARLIER: Mapping[str, str] = {
    "objective.distillation": "method.distillation",
    "objective.blend": "method.blend",
    "objective.policy": "method.type",
    "objective.divide_by_std": "method.divide_by_std",
    "objective.alpha": "loss.alpha",
    "objective.top_k": "loss.top_k",
    "objective.kl_anchor": "loss.kl_anchor",
    "objective.importance_cap": "loss.importance_cap",
    "feedback.parts": "method.feedback",
    "feedback.to": "method.to",
    "feedback.loss_on": "method.loss_on",
    "feedback.anchor": "method.anchor",
    "feedback.critique.critic": "critic.kind",
    "feedback.critique.ask": "method.aim",
    "feedback.critique.steps_per_rollout": "method.steps_per_answer",
    "feedback.critique.rollouts_per_step": "method.answers_per_step",
    "feedback.critique.whom": "method.whom",
    "feedback.critique.model": "critic.model",
    "feedback.critique.execution": "critic.execution",
    "feedback.critique.error_rate": "critic.error_rate",
    "feedback.critique.write": "critic.write",
    "feedback.critique.quote_errors": "critic.quote_errors",
    "feedback.critique.tokens_per_step": "critic.tokens_per_step",
    "feedback.critique": "critic, and method.aim",
    "affect.practice.rehearse": "practice.replay",
    "affect.practice.rehearse_by": "practice.replay_by",
    "affect.practice": "practice",
    "objective": "method, and loss",
}
"""Keys that earlier versions had, by their dotted names; what lies below one is what lies below its successor."""

VALUES: Mapping[tuple[str, str], str] = {
    ("method.aim", "doubt"): "surprisal",
    ("method.aim", "domain_rule"): "expert_rule",
}
"""Values that earlier versions had, as (key, value), and what they are called now."""


def answer(key: str) -> str | None:
    """What a key of another library or of an earlier version is called here: a key, or a sentence; None for others."""
    for old in sorted(EARLIER, key=len, reverse=True):
        if key == old:
            return EARLIER[old]
        if key.startswith(f"{old}.") and "," not in EARLIER[old]:
            return EARLIER[old] + key[len(old) :]
    return LIBRARIES.get(key.rpartition(".")[2].lower().lstrip("-").replace("-", "_"))
