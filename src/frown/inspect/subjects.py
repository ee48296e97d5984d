"""What a word on the command line names: a model folder, an embedded model, a run, or the seeds of one arm."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.policy.folder import described, resolve
from frown.store.run_reader import run_name

PARTS = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of the files that a model consists of: weights, settings, tokenizer, chat template."""


class Subject(NamedTuple):
    """A model to be measured."""

    name: str
    """Of the model, or of the arm whose seeds these are."""
    seed: int
    """Of the training run; 0 for a model that is no run's."""
    model: str
    """What `frown.policy.load.load` takes."""
    config: RunConfig | None = None
    """Of the run that trained it."""


def subjects(text: str) -> list[Subject]:
    """The models that `text` names: one of a model folder, "lab:NAME" or a run; one a seed of the folder of an arm.

    Of a run it is the newest checkpoint. Raises FrownError for anything else.
    """
    path = Path(text).expanduser()
    if text.startswith("lab:") or not is_run(path):
        seeds = sorted(p for p in path.glob("seed*") if is_run(p)) if path.is_dir() else []
        if not seeds:
            resolve(text)
            return [Subject(text if text.startswith("lab:") else path.resolve().name, 0, text)]
        return [s for p in seeds for s in [_of_run(p)._replace(name=path.resolve().name)]]
    return [_of_run(path)]


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory."""
    return (path / "config.json").is_file() and (path / "status.json").is_file()


def newest_checkpoint(path: Path) -> Path:
    """The model folder of the newest checkpoint of a run. Raises FrownError where there is none."""
    link = path / "checkpoint"
    kept = sorted((path / "checkpoints").glob("step=*/model"))
    for folder in (link, *reversed(kept)):
        if any(folder.glob("*.safetensors")):
            return folder
    raise FrownError(f"run {path} has no checkpoint; it keeps one from its first evaluation on")


def fingerprint(model: str) -> str:
    """SHA-256 of all that makes a model answer as it does: weights, settings, tokenizer, chat template, and those of
    the base model where it is adapters; the same bytes in another folder give the same."""
    place = resolve(model)
    files = [place] if place.is_file() else sorted(f for f in place.iterdir() if f.is_file() and f.suffix in PARTS)
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            total.update(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    base = described(model)
    if base != place:
        total.update(fingerprint(str(base)).encode())
    return total.hexdigest()


def _of_run(path: Path) -> Subject:
    file = path / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FrownError(f"{file} is not JSON: {error}") from None
    config = parse(RunConfig, values, str(file))
    return Subject(run_name(path), config.seed, str(newest_checkpoint(path)), config)
