"""Where rollouts lie: the files of a run, of a comparison, or one file alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from frown.errors import FrownError

_FILE = re.compile(r"step=(\d+)(?:-(\w+))?\.parquet")


class Run(NamedTuple):
    """One run: the arm and seed it is of; outside of a comparison its name, and None."""

    arm: str
    seed: int | None

    @property
    def key(self) -> str:
        """What links and columns call it."""
        return self.arm if self.seed is None else f"{self.arm}/seed{self.seed}"


class Source(NamedTuple):
    """One file of rollouts, and what its name says of them: `step` None where it does not tell.

    `split` is "train" or an evaluation's. The origin that a rollout in it names (`frown.store.record.Origin`) has the
    last word.
    """

    run: Run
    split: str
    step: int | None
    path: Path


def find_sources(path: Path) -> tuple[Source, ...]:
    """The files of rollouts below a path: of a comparison, of a run directory, or one Parquet file alone.

    Raises FrownError where there is none.
    """
    if path.is_file():
        name = _FILE.fullmatch(path.name)
        split, step = (name[2] or "train", int(name[1])) if name else ("train", None)
        return (Source(Run(path.stem, None), split, step, path),)
    if not path.is_dir():
        raise FrownError(f"{path} is not there; give a run, a comparison or a file of rollouts")
    folders = sorted((path / "runs").glob("*/seed*"), key=_by_arm_and_seed) or [path]
    sources: list[Source] = []
    for folder in folders:
        run = Run(path.name, None) if folder == path else Run(folder.parent.name, _seed(folder))
        for file in (f for part in ("rollouts", "answers") for f in sorted((folder / part).glob("step=*.parquet"))):
            if name := _FILE.fullmatch(file.name):
                sources.append(Source(run, name[2] or "train", int(name[1]), file))
    if not sources:
        raise FrownError(f"{path} holds no rollouts; they are written with keep_rollouts=true, by `frown import`, too")
    return tuple(sources)


def _seed(folder: Path) -> int | None:
    digits = folder.name.removeprefix("seed")
    return int(digits) if digits.isdecimal() else None


def _by_arm_and_seed(folder: Path) -> tuple[str, int, str]:
    return folder.parent.name, _seed(folder) or 0, folder.name
