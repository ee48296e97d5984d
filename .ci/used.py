"""What vulture cannot see to be used, each with what uses it. Nothing that tests alone use belongs here."""
# ruff: noqa: B018, F821

# The benchmarks are called by the names in their tables.
growth
step_lab
loss_memory
loss_time
affect_cost
bf16_error
step_forward_backward

# Python itself asks a module for them.
__getattr__
__dir__

# pydantic, and TypedDict's keys
model_config
role
flexibly_right
in_form

# Fields of records that are written as they are, by `asdict`, `vars` or `_asdict`.
cached
retried
reasked
cache_faults
contradicted
tone_correct
mean_probability
explained
toned
grammar
recommended_by
flexibly_right
in_form
sections
quadrants

# Names that a base class of another library calls or reads.
on_train_begin  # transformers.TrainerCallback
on_step_end
on_save
last_metrics  # TRL's teacher_context_builder
feedbacks
teacher_context_builder
_use_peft_ema_teacher_adapter  # TRL's SDPOTrainer
model_alias  # xllamacpp.CommonParams
hostnames
n_ctx
n_parallel
n_threads
get_seq_length  # transformers.Cache
check_server  # TRL's VLLMClient
pre_tokenizer  # tokenizers.Tokenizer
base_model_name_or_path  # peft.PeftConfig
daemon_threads  # http.server
protocol_version
do_HEAD
version_string
log_message

# llama.cpp reads its settings (examples/serve_gguf.py).
model_alias
hostnames
n_ctx
n_parallel
n_threads
