"""What becomes of every field of TRL's `SDPOConfig`, as data: it means the same, or it is refused with a reason."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from frown.errors import FrownError

PASSED = (
    # transformers' own: optimisation, precision, memory, logging, evaluation, saving, data loading, processes
    "output_dir per_device_train_batch_size num_train_epochs max_steps learning_rate lr_scheduler_type "
    "lr_scheduler_kwargs warmup_steps optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon "
    "optim_target_modules gradient_accumulation_steps average_tokens_across_devices max_grad_norm bf16 fp16 "
    "bf16_full_eval fp16_full_eval tf32 activation_checkpointing activation_checkpointing_kwargs "
    "gradient_checkpointing gradient_checkpointing_kwargs use_liger_kernel liger_kernel_config use_cache "
    "neftune_noise_alpha torch_empty_cache_steps auto_find_batch_size logging_strategy logging_steps "
    "logging_first_step log_on_each_node logging_nan_inf_filter include_num_input_tokens_seen log_level "
    "log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id "
    "trackio_static_space_id eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only "
    "eval_on_start eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics "
    "batch_eval_metrics save_only_model save_strategy save_steps save_on_each_node save_total_limit "
    "enable_jit_checkpoint push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push "
    "hub_revision load_best_model_at_end metric_for_best_model greater_is_better ignore_data_skip "
    "restore_callback_states_from_checkpoint full_determinism seed use_cpu accelerator_config dataloader_drop_last "
    "dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor "
    "dataloader_multiprocessing_context dataloader_in_order remove_unused_columns label_names "
    "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout "
    "debug skip_memory_metrics do_train do_eval do_predict resume_from_checkpoint local_rank "
    # TRL's own: the model, generation, rewards, the policy loss
    "model_init_kwargs trust_remote_code disable_dropout max_prompt_length num_generations num_generations_eval "
    "max_completion_length shuffle_dataset generation_batch_size steps_per_generation temperature top_p top_k min_p "
    "generation_kwargs chat_template_kwargs repetition_penalty cache_implementation use_vllm vllm_mode "
    "vllm_model_impl vllm_enable_sleep_mode vllm_server_base_url vllm_server_host vllm_server_port vllm_group_port "
    "vllm_server_timeout vllm_tensor_parallel_size vllm_gpu_memory_utilization vllm_max_model_length num_iterations "
    "loss_type mask_truncated_completions epsilon epsilon_high importance_sampling_level reward_weights scale_rewards "
    "distillation_weight teacher_model_kind diagnostics_warning_interval diagnostics_flat_tolerance"
).split()
"""Fields that TRL or transformers act on as ever."""

OURS = {
    "distillation_mode": "the same objectives from one pass through the head; top-k without its tail is TRL's own code",
    "distillation_alpha": "the same divergence; between 0 and 0.001, and 0.999 and 1, refused",
    "distillation_topk": "the student's k likeliest tokens; refused unless the mode is topk_logits",
    "distillation_add_tail": "the tail's mass is summed over the tail, where TRL takes 1 minus the rest, off by nats",
    "distillation_is_clip": "TRL's own function, token by token",
    "teacher_update_rate": "with LoRA the mean of the merged weights, where TRL averages the two factors from zero",
    "teacher_sync_steps": "as above",
    "success_reward_threshold": "a reward of at least this is a right answer",
    "deepspeed": "ZeRO stages 0, 1 and 2; stage 3 and tensor parallelism, which take the head apart, refused",
}
"""Fields that keep their meaning and are acted on by frown: how."""

WORDING = "the environment words what the teacher is shown; leave `environment` out to use TRL's templates"

COMPOSED: dict[str, str] = {
    "max_reprompt_len": "a longer teacher prompt leaves its rollout out and is counted (TRL cuts off its beginning)",
    "reprompt_template": WORDING,
    "solution_template": WORDING,
    "feedback_template": WORDING,
}
"""Fields that TRL acts on, and frown where it composes the feedback; templates are refused beside an `environment`."""

BY_FEEDBACK: dict[str, str] = {
    "use_successful_as_teacher": (
        'where frown composes, the method says who is shown a sibling: method=SDPO(feedback=("sibling",))'
    ),
    "dont_reprompt_on_self_success": "where frown composes, nobody is ever shown their own answer as a sibling's",
    "include_environment_feedback": (
        "where frown composes, a row's privileged_context is in task.data for your feedback function"
    ),
    "environment_feedback_only_without_solution": (
        'where frown composes, the order of the method\'s feedback says it: ("sibling", "critique") is one or the '
        'other, ("sibling+critique",) both'
    ),
    "remove_thinking_from_demonstration": (
        "where frown composes, FeedbackConfig.strip_reasoning says it (on unless you switch it off)"
    ),
}
"""Fields that TRL acts on, and that are refused where frown composes the feedback: why."""

WHOLE_HEAD = "the loss needs the head's whole weight outside of the model's forward pass"

REFUSED: dict[str, str] = {
    "beta": "TRL's SDPO stores it and never uses it: there is no KL term; use a slower or fixed teacher",
    "label_smoothing_factor": "TRL's SDPO never uses it",
    "train_sampling_strategy": "TRL's SDPO always samples in whole groups",
    "length_column_name": "TRL's SDPO always samples in whole groups",
    "data_seed": "TRL's SDPO orders its data by `seed`",
    "use_teacher_server": "the loss needs the teacher's hidden states, which a server does not send",
    "torch_compile": "hidden states are read by a hook that a compiled graph may not call",
    "torch_compile_backend": "as torch_compile",
    "torch_compile_mode": "as torch_compile",
    "fsdp": f"{WHOLE_HEAD}; use DDP, DeepSpeed's ZeRO stage 2, or FSDP2 in frown's own loop",
    "fsdp_config": "as fsdp",
    "ds3_gather_for_generation": "it is about ZeRO stage 3, see deepspeed",
    "parallelism_config": "as fsdp",
}
"""Fields that are refused away from their default: why."""


def check(args: Any, *, composed: bool, environment: bool) -> None:
    """Raise FrownError, naming the field, for one that would not mean what it says.

    `composed`: frown composes the feedback. `environment`: one of the caller's own words it.
    """
    refused = dict(REFUSED)
    if composed:
        refused |= BY_FEEDBACK
    if environment:
        refused |= {name: why for name, why in COMPOSED.items() if why == WORDING}
    for field in fields(args):
        if field.name in refused and getattr(args, field.name) != _default(field):
            raise FrownError(f"SDPOConfig.{field.name} = {getattr(args, field.name)!r}: {refused[field.name]}")
    _check_deepspeed(args)
    if (args.distillation_mode == "topk_logits") != (args.distillation_topk is not None):
        raise FrownError(
            f"SDPOConfig.distillation_topk = {args.distillation_topk!r}: it goes with distillation_mode='topk_logits' "
            "alone, and that with it"
        )
    alpha = args.distillation_alpha
    if args.distillation_mode != "sampled_token" and (0 < alpha < 1e-3 or 1 - 1e-3 < alpha < 1):
        raise FrownError(f"SDPOConfig.distillation_alpha = {alpha}: use 0, 1 or a value from 0.001 to 0.999")


def _check_deepspeed(args: Any) -> None:
    """Whether it comes from `SDPOConfig.deepspeed` or from the launcher."""
    if args.deepspeed_plugin is None:
        return
    settings = args.deepspeed_plugin.hf_ds_config
    if settings.is_zero3():
        raise FrownError(f"DeepSpeed's ZeRO stage 3: {WHOLE_HEAD}; use stage 2, or FSDP2 in frown's own loop")
    if settings.get_value("tensor_parallel.autotp_size", 1) > 1:
        raise FrownError(f"DeepSpeed's tensor_parallel.autotp_size above 1: {WHOLE_HEAD}; leave it out")


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def table() -> str:
    """The classification in Markdown, for `docs/trl.md`."""
    lines = ["| field | what becomes of it |", "| --- | --- |"]
    lines += [f"| `{name}` | the same: {how} |" for name, how in OURS.items()]
    for name, how in COMPOSED.items():
        meaning = f"refused with `environment`: {how}" if how == WORDING else f"where frown composes: {how}"
        lines.append(f"| `{name}` | the same; {meaning} |")
    lines += [f"| `{name}` | the same; refused {why} |" for name, why in BY_FEEDBACK.items()]
    lines += [f"| `{name}` | refused: {why} |" for name, why in REFUSED.items()]
    lines.append(f"| {', '.join(f'`{name}`' for name in PASSED)} | the same: untouched |")
    return "\n".join(lines) + "\n"
