"""Rows that the `datasets` package keeps: a folder that it saved, or a data set of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frown.errors import FrownError, first_line


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def rows_of_saved(folder: Path, split: str | None) -> list[dict[str, Any]]:
    """The rows of a folder that `save_to_disk` wrote; of several splits the named one, by default "train"."""
    datasets = _datasets(str(folder))
    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as e:  # whatever a broken folder makes datasets and pyarrow raise
        raise FrownError(f"data {folder} cannot be read: {first_line(e)}") from None
    return _of_split(str(folder), data, split)


def rows_of_hub(name: str) -> list[dict[str, Any]]:
    """The rows of "org/name:config@split", from the cache or downloaded."""
    repository, _, split = name.partition("@")
    repository, _, config = repository.partition(":")
    datasets = _datasets(name)
    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(repository, config or None, split=split or None)
    except Exception as e:  # the hub's own errors, the network's, those of a broken cache
        from huggingface_hub import constants

        if constants.is_offline_mode():
            raise FrownError(
                f"data {name} is no file, and no whole data set {repository} is in the cache "
                f"{datasets.config.HF_DATASETS_CACHE} ({first_line(e)}); HF_HUB_OFFLINE is set, so nothing is "
                "downloaded: unset it, or give a file"
            ) from None
        raise FrownError(f"data {name} is no file, and cannot be had from the hub: {first_line(e)}") from None
    return _of_split(name, data, None)


def _of_split(name: str, data: Any, split: str | None) -> list[dict[str, Any]]:
    if isinstance(data, dict):  # a DatasetDict
        wanted = split or ("train" if "train" in data else next(iter(data)) if len(data) == 1 else "")
        if wanted not in data:
            raise FrownError(f"data {name}: give one of its splits, {', '.join(f'{name}@{s}' for s in data)}")
        data = data[wanted]
    elif split is not None:
        raise FrownError(f"data {name} has no splits; leave out @{split}")
    rows: list[dict[str, Any]] = data.to_list()
    return rows


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise FrownError(f'data {name} needs the datasets package: pip install "frown[data]"') from None
    return datasets
