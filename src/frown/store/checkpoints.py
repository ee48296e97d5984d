"""Checkpoints: folders that appear whole or not at all, and that know when they are damaged.

A checkpoint is written aside, every file flushed to the disk, a manifest (size and SHA-256 of each file) last of all,
and then renamed. What is in it is its writer's business (`frown.training.state`); no torch here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from frown.store.files import flush

MANIFEST = "manifest.json"
PREFIX = "step="


class Checkpoint(NamedTuple):
    """A checkpoint that is whole."""

    step: int
    path: Path


def write(folder: Path, step: int, save: Callable[[Path], None]) -> Checkpoint:
    """Make `folder/step=NNNNNN` of what `save(path)` writes. Raises what `save` raises, and leaves nothing then."""
    final = folder / f"{PREFIX}{step:06d}"
    aside = final.with_name(f".{final.name}.new")
    folder.mkdir(exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        save(aside)
        manifest = {str(f.relative_to(aside)): [f.stat().st_size, _sha256(f)] for f in _files(aside)}
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for file in [*_files(aside), *(p for p in aside.rglob("*") if p.is_dir()), aside]:
            flush(file)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    remove(final)  # there only where it was damaged, or where training went back behind it
    aside.rename(final)
    flush(folder)
    return Checkpoint(step, final)


def fault(path: Path) -> str | None:
    """What is wrong with a checkpoint; None where every file is what its manifest says."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        expected = {str(name): (int(size), str(digest)) for name, (size, digest) in manifest.items()}
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    there = {str(f.relative_to(path)): f for f in _files(path) if f.name != MANIFEST}
    for name, (size, digest) in sorted(expected.items()):
        if name not in there:
            return f"{name} is missing"
        if (actual := there[name].stat().st_size) != size:
            return f"{name} has {actual} bytes instead of {size}"
        if _sha256(there[name]) != digest:
            return f"{name} has another checksum"
    stray = sorted(set(there) - set(expected))
    return f"{stray[0]} is not in its {MANIFEST}" if stray else None


def existing(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder, whole or not, the newest first."""
    paths = [p for p in folder.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit()]
    return sorted((Checkpoint(int(p.name.removeprefix(PREFIX)), p) for p in paths), reverse=True)


def newest(folder: Path, *, before: int | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint (of a step smaller than `before`), and a line on each newer one that is damaged."""
    damaged: list[str] = []
    for checkpoint in existing(folder):
        if before is not None and checkpoint.step >= before:
            continue
        why = fault(checkpoint.path)
        if why is None:
            return checkpoint, damaged
        damaged.append(f"checkpoint {checkpoint.path.name} is damaged: {why}")
    return None, damaged


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep`."""
    for old in existing(folder)[keep:]:
        remove(old.path)


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished."""
    for leftover in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a checkpoint, where there is one: first its name, so that no half of it is ever found."""
    if path.is_dir():
        hidden = path.with_name(f".{path.name}.old")
        shutil.rmtree(hidden, ignore_errors=True)
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
