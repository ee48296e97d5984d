"""`frown import`: any log that we can read, as a run directory of rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from frown.errors import FrownError
from frown.interchange.answer import Answer, records
from frown.interchange.chat import read_chats
from frown.interchange.trl import COLUMNS, read_completions
from frown.store.files import disk_errors
from frown.store.rollouts import is_rollout_file, write_rollouts


def import_rollouts(source: Path, out: Path, *, score: str | None = None) -> dict[str, int]:
    """Write what a log holds to out/rollouts, one file a training step.

    `source`: chat logs (.jsonl), a Parquet file of TRL completions, or TRL's output folder. `score`: of TRL's rewards,
    the one that says whether an answer is right. Returns how many `answers` there are, how many `with_logprobs` and
    how many are `unscored`. Raises FrownError where nothing can be read, or `out` holds something already.
    """
    if out.is_dir() and any(out.iterdir()):
        raise FrownError(f"{out} is not empty; choose another --out")
    answers = _read(source, score)
    if not answers:
        raise FrownError(f"{source} holds no answer")
    with disk_errors(out):
        (out / "rollouts").mkdir(parents=True, exist_ok=True)
        for step in sorted({a.step for a in answers}):
            of_step = records([a for a in answers if a.step == step])
            write_rollouts(out / "rollouts" / f"step={step:06d}.parquet", of_step)
    return {
        "answers": len(answers),
        "with_logprobs": sum(bool(a.tokens) for a in answers),
        "unscored": sum(a.score is None for a in answers),
    }


@contextmanager
def as_run(source: Path) -> Iterator[Path]:
    """A path that holds rollouts: the source itself, or an import of another program's log that is gone afterwards."""
    if not is_foreign(source):
        yield source
        return
    with TemporaryDirectory(prefix="frown-") as folder:
        out = Path(folder) / (source.stem or "log")
        import_rollouts(source, out)
        yield out


def is_foreign(source: Path) -> bool:
    """Whether a path holds another program's log rather than rollouts of ours."""
    if source.is_dir():
        return not (source / "rollouts").is_dir() and bool(list((source / "completions").glob("*.parquet")))
    return source.is_file() and (source.suffix != ".parquet" or _is_trl(source))


def _is_trl(file: Path) -> bool:
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(file).names) >= COLUMNS and not is_rollout_file(file)
    except (OSError, ValueError):
        return False


def _read(source: Path, score: str | None) -> list[Answer]:
    if source.is_dir():
        files = sorted((source / "completions").glob("*.parquet")) or sorted(source.glob("*.parquet"))
        if not files:
            raise FrownError(f"{source} holds no completions/*.parquet")
        return [a for f in files for a in read_completions(f, score)]
    if not source.is_file():
        raise FrownError(f"{source} is not there")
    if source.suffix == ".parquet":
        return read_completions(source, score)
    if score is not None:
        raise FrownError("--score names one of TRL's rewards; in a chat log the score stands beside each answer")
    return read_chats(source)
