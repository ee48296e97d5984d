"""The model card of a run: README.md beside the saved weights, so that a folder says what it is wherever it goes."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

from frown.config import RunConfig, flat
from frown.evals.accuracy import avg_at_k
from frown.evals.samples import GradedSamples
from frown.evals.stats import draws, interval
from frown.store.machine import machine_record
from frown.store.run_directory import RunDirectory

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~$>-])")


def model_card(config: RunConfig, run: RunDirectory) -> str:
    """The card as Markdown with a YAML head, from the configuration and what the run directory holds so far.

    Figures are those of the run's own evaluations, with 95 % intervals over prompts alone: one run says nothing of
    other seeds. The licence is the base model's business and stays out of the head. Names and paths come from a
    configuration, so they are escaped.
    """
    from huggingface_hub import ModelCardData

    from frown.policy.hub import is_hub_name

    adapters, sampling, optimiser = config.model.lora is not None, config.sampling, config.optimiser
    base = config.model.path
    head: dict[str, Any] = {"library_name": "peft" if adapters else "transformers", "pipeline_tag": "text-generation"}
    if is_hub_name(base) and not Path(base).is_dir():
        head["base_model"] = base.partition("@")[0]
    head["tags"] = ["frown", "self-distillation", *(["lora"] if adapters else [])]
    return "\n".join(
        [
            "---",
            ModelCardData(**head).to_yaml().strip(),
            "---",
            "",
            f"# {_text(Path(base).name)}, post-trained by frown",
            "",
            f"- base model: {_text(base)}" + (" (this folder holds LoRA adapters)" if adapters else ""),
            *_of_gguf(base),
            f"- task: {_text(config.task.kind)}; data: {_text(str(config.task.data or 'made by the task'))}",
            f"- method: {_text(config.method.type)}, {_loss(config)}",
            f"- feedback to the teacher: {_text(', '.join(config.method.kinds) or 'none')}",
            f"- batch: {sampling.prompts_per_step} prompts x {sampling.responses_per_prompt} answers a step, "
            f"{optimiser.steps} steps asked for, learning rate {optimiser.lr:g}, seed {config.seed}",
            "- licence: that of the base model and the data; frown knows neither",
            "",
            "## Evaluations",
            "",
            *_figures(run),
            "",
            "## Made by",
            "",
            *_code(shlex.join(["frown", "train", *_overrides(config)])),
            "",
            *_code(json.dumps(machine_record()["packages"], indent=2)),
            "",
            "<details><summary>The whole configuration</summary>",
            "",
            *_code(json.dumps(config.model_dump(mode="json"), indent=2)),
            "",
            "</details>",
            "",
        ]
    )


def _of_gguf(base: str) -> list[str]:
    """A line on the weights that training began with, where they were quantised."""
    from frown.policy import gguf
    from frown.policy.folder import located

    if base.startswith("lab:") or not Path(base).expanduser().exists() or not gguf.is_gguf(file := located(base)):
        return []
    stored = gguf.header(file).quantisation
    return [f"- weights before training: weights of a GGUF file, {_text(stored)}, dequantised"]


def _loss(config: RunConfig) -> str:
    d, alpha = config.method.share, config.loss.alpha
    distilled = f"self-distillation (alpha {alpha:g}, {config.teacher.weights.replace('_', ' ')} teacher)"
    return distilled if d == 1 else "policy gradient" if d == 0 else f"{d:g} {distilled} + {1 - d:g} policy gradient"


def _figures(run: RunDirectory) -> list[str]:
    rows = [(split, samples) for split in ("test", "heldout") for samples in run.evals(split)]
    if not rows:
        return ["None yet."]
    lines = ["| split | step | Avg@k | 95 % interval | prompts x samples |", "| --- | --- | --- | --- | --- |"]
    return lines + [f"| {split} | {samples.step} | {_figure(samples)} |" for split, samples in rows]


def _figure(samples: GradedSamples) -> str:
    n, k = samples.score.shape
    estimate = interval(avg_at_k, samples.score[None], using=draws(1, n))
    if estimate is None:
        return f"nothing scored | | {n} x {k}"
    return f"{estimate.mean:.3f} | [{estimate.low:.3f}, {estimate.high:.3f}] | {n} x {k}"


def _overrides(config: RunConfig) -> list[str]:
    """What differs from a run of this method on this model and task as it comes, as KEY=VALUE words: the same whoever
    started the run, and however often it was resumed."""
    values = config.model_dump(mode="json")
    subject = {key: values[key] for key in ("model", "task", "conversation")}
    plain = RunConfig.model_validate({"method": config.method.type, **subject}).model_dump(mode="json")
    bare = flat(RunConfig().model_dump(mode="json"))
    usual = {key: bare.get(key) if key.partition(".")[0] in subject else value for key, value in flat(plain).items()}
    usual.pop("method.type")
    changed = {key: value for key, value in flat(values).items() if usual.get(key) != value and value not in (None, {})}
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changed.items()]


def _text(text: str) -> str:
    """A text in one line that Markdown and HTML show as it is."""
    return html.escape(_MARKS.sub(r"\\\1", " ".join(text.split())), quote=False)


def _code(text: str) -> list[str]:
    """A block that no text inside can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
