"""Which files a folder or a pattern stands for: the shards of one split, in their order, none of them missing.

Files are named as the hub does it: data/train-00000-of-00002.parquet, train.jsonl, main/test/0000.parquet. Before
"-of-" stands the split; elsewhere a word like train or test in the file's name, or its folder's, says it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from frown.errors import FrownError
from frown.tasks.contents import COMPRESSED, kind_ending

KINDS = {
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
}
"""What a file is by its ending."""

_SPLITS = {"train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"}
_SHARD = re.compile(r"(.*?)[-_.]?(\d+)-of-(\d+)(?:-[0-9a-f]{8,})?", re.DOTALL)
_ABOUT = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}
"""Files that the hub and `datasets` put beside the data, about them."""


@dataclass(frozen=True)
class _File:
    """One data file and what its name says."""

    path: Path
    kind: str
    split: str
    """"" where the name says none."""
    subset: str
    """The folder of its data set within the folder that was given."""
    stem: str
    """With its folder and ending: equal for the shards of one series."""
    shard: tuple[int, int] | None
    """Its number, and how many there are."""


def files_of_pattern(pattern: Path) -> list[Path]:
    """The files that match a pattern of *, ?, [...] and ** (any depth), in order.

    Raises FrownError where none does, and for a series of which shards are missing on the disk.
    """
    matches = [Path(p) for p in glob.glob(str(pattern), recursive=True)]
    files = [p for p in matches if p.is_file()]
    if not files:
        folders = "; the folders that do must be given one by one" if matches else ""
        raise FrownError(f"data {pattern}: no file matches this pattern{folders}")
    # What the pattern leaves out by itself is not missing.
    beside = {p for folder in {f.parent for f in files} for p in folder.iterdir() if p.is_file()}
    series = {(f.stem, f.shard and f.shard[1]) for f in _described(files, Path())}
    _refuse_missing(
        pattern, [f for f in _described(sorted(beside), Path()) if (f.stem, f.shard and f.shard[1]) in series]
    )
    return _in_order(files)


def files_of_folder(folder: Path, split: str | None) -> list[Path]:
    """The data files of one split in a folder, at any depth, in order.

    Hidden files and those that are no data are left alone. Raises FrownError where there are none, where it is not
    clear which are meant (several splits, data sets or kinds of file), and where shards are missing.
    """
    paths = [p for p in sorted(folder.rglob("*")) if _is_data(p.relative_to(folder)) and p.is_file()]
    if not paths:
        raise FrownError(
            f"data {folder} cannot be read: a folder that datasets' save_to_disk did not write, and without data files "
            f"({', '.join(KINDS)}, or one of them with {' or '.join(COMPRESSED[::2])})"
        )
    files = _of_split(folder, _described(paths, folder), split)
    subsets = sorted({f.subset for f in files})
    if len(subsets) > 1:
        names = ", ".join(s or "." for s in subsets)
        raise FrownError(
            f"data {folder} holds several data sets: {names}; give one, {folder / subsets[-1]}, or a pattern for all, "
            f"{folder}/**/*{files[0].path.suffix}"
        )
    kinds = {f.kind: f.path.suffix for f in files}
    if len(kinds) > 1:
        raise FrownError(
            f"data {folder} holds {' and '.join(sorted(kinds))} files; say which by a pattern, "
            f"{files[0].path.parent}/*{min(kinds.values())}"
        )
    first_of: dict[tuple[str, tuple[int, int] | None], Path] = {}
    for f in files:
        twice = first_of.setdefault((f.stem, f.shard), f.path)
        if twice != f.path:
            raise FrownError(
                f"data {folder} holds the same as {twice.name} and as {f.path.name}; leave one of them there"
            )
    _refuse_missing(folder, files)
    return _in_order([f.path for f in files])


def _of_split(folder: Path, files: Sequence[_File], split: str | None) -> list[_File]:
    names = sorted({f.split for f in files})
    if split is None:
        if len(names) == 1:
            return list(files)
    elif split in names and split:
        return [f for f in files if f.split == split]
    elif names == [""]:
        raise FrownError(f"data {folder} has no splits; leave out @{split}")
    unnamed = [f.path for f in files if not f.split]
    choices = [f"{folder}@{name}" for name in names if name]
    if unnamed:
        choices.append(f"a pattern for the {len(unnamed)} files whose names say none ({unnamed[0].name})")
    raise FrownError(f"data {folder}: give one of its splits, {', '.join(choices)}")


def _described(paths: Sequence[Path], folder: Path) -> list[_File]:
    return [_described_file(path, path.relative_to(folder) if folder != Path() else path) for path in paths]


def _described_file(path: Path, name: Path) -> _File:
    bare = name.name
    if Path(bare).suffix.lower() in COMPRESSED:
        bare = Path(bare).stem
    stem, ending = Path(bare).stem, Path(bare).suffix
    shard = _SHARD.fullmatch(stem)
    split = shard[1] if shard else _split_word(stem)
    above = [part for part in name.parts[:-1] if part != "data"]
    if not split:
        within = next((part for part in reversed(above) if _split_word(part)), "")
        above = [part for part in above if part != within]
        split = within
    return _File(
        path=path,
        kind=KINDS.get(kind_ending(path), ending),
        split=split,
        subset="/".join(above),
        stem=str(name.parent / (shard[1] if shard else stem)) + ending,
        shard=(int(shard[2]), int(shard[3])) if shard else None,
    )


def _split_word(name: str) -> str:
    return next((word for word in re.split(r"[^a-z]+", name.lower()) if word in _SPLITS), "")


def _is_data(name: Path) -> bool:
    hidden = any(part.startswith((".", "__")) for part in name.parts)
    return not hidden and name.name not in _ABOUT and kind_ending(name) in KINDS


def _refuse_missing(source: Path, files: Sequence[_File]) -> None:
    series: dict[str, dict[int, set[int]]] = {}
    for f in files:
        if f.shard is not None:
            series.setdefault(f.stem, {}).setdefault(f.shard[1], set()).add(f.shard[0])
    for stem, by_total in series.items():
        if len(by_total) > 1:
            counts = " and ".join(map(str, sorted(by_total)))
            raise FrownError(f"data {source} holds two series of {stem}, of {counts} shards; leave one of them there")
        [(total, numbers)] = by_total.items()
        first = int(0 not in numbers and total in numbers)  # some count from 1
        missing = total - sum(first <= n < first + total for n in numbers)
        if missing:
            number = next(n for n in count(first) if n not in numbers)
            other = next(f.path for f in files if f.stem == stem and f.shard is not None)
            more = f" and {missing - 1} more of its shards are" if missing > 1 else " is"
            raise FrownError(
                f"data {source}: {_named(other, number)}{more} missing; download what is missing, or rename the others "
                'without "-of-" to read them alone'
            )


def _named(shard: Path, number: int) -> str:
    """How another shard of the same series is called, without its ending."""
    parts = re.match(r"(.*?)(\d+)(-of-\d+)", shard.name)
    return f"{parts[1]}{number:0{len(parts[2])}}{parts[3]}" if parts else shard.name


def _in_order(paths: Sequence[Path]) -> list[Path]:
    """By name, numbers in it as numbers: part-2 before part-10."""
    return sorted(
        set(paths), key=lambda p: [(int(x), "") if x.isdecimal() else (-1, x) for x in _PIECES.findall(str(p))]
    )


_PIECES = re.compile(r"\d+|\D+")
