"""Other people's benchmarks run by the programs that own them: lm-evaluation-harness and inspect_ai.

Both read ordinary Hugging Face folders, and every model of frown is one or can be written as one: an embedded model is,
a run's checkpoint is, and LoRA adapters are merged into their base and saved. So an adapter is a command.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from frown.config import ModelConfig
from frown.errors import FrownError, first_line
from frown.policy.folder import described, resolve
from frown.policy.load import load

Harness = Literal["lm-eval", "inspect"]
MODULES: Mapping[Harness, str] = {"lm-eval": "lm_eval", "inspect": "inspect_ai"}
PACKAGES: Mapping[Harness, str] = {"lm-eval": "lm-eval", "inspect": "inspect-ai"}


def run_under(harness: Harness, model: str, tasks: Sequence[str], options: Sequence[str], out: Path) -> list[str]:
    """Evaluate a model on the harness's own tasks and return the command that did it; results and logs are in `out`.

    `options` are KEY=VALUE and become --KEY VALUE of the harness. Raises FrownError where the harness is not installed,
    or where it fails.
    """
    if find_spec(MODULES[harness]) is None:
        raise FrownError(f"{PACKAGES[harness]} is not installed here: pip install {PACKAGES[harness]}")
    words = command(harness, exported(model, out / "model"), tasks, options, out)
    done = subprocess.run(words, check=False)
    if done.returncode:
        raise FrownError(f"{PACKAGES[harness]} failed with status {done.returncode}; what it said is above")
    return words


def command(harness: Harness, folder: Path, tasks: Sequence[str], options: Sequence[str], out: Path) -> list[str]:
    """The words of the command line under which a harness evaluates a Hugging Face folder."""
    further = [word for option in options for word in _flag(option)]
    if harness == "lm-eval":
        where = ["--model", "hf", "--model_args", f"pretrained={folder},dtype=float32", "--apply_chat_template"]
        words = ["run", *where, "--tasks", ",".join(tasks), "--output_path", str(out)]
    else:
        where = ["--model", "hf/local", "-M", f"model_path={folder}"]
        words = ["eval", *tasks, *where, "--log-dir", str(out)]
    return [sys.executable, "-m", MODULES[harness], *words, *further]


def exported(model: str, to: Path) -> Path:
    """The folder of a whole model: its own, or `to`, where adapters and their base, or what a GGUF file holds, are
    saved as one."""
    place = resolve(model)
    if described(model) == place and place.is_dir():
        return place
    loaded = load(ModelConfig(path=model, device="cpu"))
    try:
        loaded.model.save_pretrained(to, safe_serialization=True)
        loaded.tokenizer.save_pretrained(to)
    except OSError as error:
        raise FrownError(f"cannot write {to}: {first_line(error)}") from error
    return to


def _flag(option: str) -> list[str]:
    name, equals, value = option.partition("=")
    if not equals or not name[:1].isalpha() or not name.replace("_", "").replace("-", "").isalnum():
        raise FrownError(f"an option of a harness is written KEY=VALUE, e.g. limit=100; got {option!r}")
    return [f"--{name}", value]
