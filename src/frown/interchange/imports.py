"""`frown import`: any log that we can read, as a run directory of rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from frown.errors import FrownError
from frown.interchange.answer import Answer, records
from frown.interchange.chat import read_chats
from frown.interchange.omissions import Omissions
from frown.interchange.trl import COLUMNS, read_completions
from frown.store.files import check_folder, disk_errors
from frown.store.rollouts import is_rollout_file, write_rollouts


@dataclass(frozen=True)
class Imported:
    """What an import wrote, and what it left out."""

    answers: int
    with_logprobs: int
    unscored: int
    omissions: Omissions


@dataclass(frozen=True)
class RunSource:
    """A path that holds rollouts, and what could not be read of another program's log."""

    path: Path
    omissions: Omissions = field(default_factory=Omissions)


def import_rollouts(source: Path, out: Path, *, score: str | None = None) -> Imported:
    """Write what a log holds to out/rollouts, one file a training step.

    `source`: chat logs (.jsonl), a Parquet file of TRL completions, or TRL's output folder. `score`: of TRL's rewards,
    the one that says whether an answer is right. Raises FrownError where nothing can be read, or `out` holds something
    already.
    """
    check_folder(out)
    if out.is_dir() and any(out.iterdir()):
        raise FrownError(f"{out} is not empty; choose another --out")
    answers, omissions = _read(source, score)
    if not answers:
        raise FrownError(f"{source} holds no answer{''.join(f'; {line}' for line in omissions.sentences()[:1])}")
    with disk_errors(out):
        (out / "rollouts").mkdir(parents=True, exist_ok=True)
        for step in sorted({a.step for a in answers}):
            of_step = records([a for a in answers if a.step == step])
            write_rollouts(out / "rollouts" / f"step={step:06d}.parquet", of_step)
    with_logprobs, unscored = sum(bool(a.tokens) for a in answers), sum(a.score is None for a in answers)
    return Imported(len(answers), with_logprobs, unscored, omissions)


@contextmanager
def as_run(source: Path) -> Iterator[RunSource]:
    """Rollouts to be read: the source itself, or an import of another program's log that is gone afterwards."""
    if not is_foreign(source):
        yield RunSource(source)
        return
    with TemporaryDirectory(prefix="frown-") as folder:
        out = Path(folder) / (source.stem or "log")
        imported = import_rollouts(source, out)
        yield RunSource(out, imported.omissions)


def is_foreign(source: Path) -> bool:
    """Whether a path holds another program's log rather than rollouts of ours."""
    if source.is_dir():
        return not (source / "rollouts").is_dir() and bool(list((source / "completions").glob("*.parquet")))
    return source.exists() and (source.suffix != ".parquet" or _is_trl(source))


def _is_trl(file: Path) -> bool:
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(file).names) >= COLUMNS and not is_rollout_file(file)
    except (OSError, ValueError):
        return False


def _read(source: Path, score: str | None) -> tuple[list[Answer], Omissions]:
    if source.is_dir():
        files = sorted((source / "completions").glob("*.parquet")) or sorted(source.glob("*.parquet"))
        if not files:
            raise FrownError(f"{source} holds no completions/*.parquet")
        omissions = Omissions()
        return [a for f in files for a in read_completions(f, omissions, score)], omissions
    if not source.exists():
        raise FrownError(f"{source} is not there")
    if source.suffix == ".parquet":
        omissions = Omissions()
        return read_completions(source, omissions, score), omissions
    if score is not None:
        raise FrownError("--score names one of TRL's rewards; in a chat log the score stands beside each answer")
    return read_chats(source)
