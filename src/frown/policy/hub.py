"""Models by their hub name: from the local cache, or fetched where the network may be used."""

from __future__ import annotations

import re
from pathlib import Path

from frown.errors import FrownError, first_line

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_DESCRIPTION = ("*.json", "*.jinja", "*.txt", "*.model")
"""Configuration and tokenizer: no code, and no weights that would have to be unpickled."""


def is_hub_name(text: str) -> bool:
    """Whether a text reads like "organisation/name", or "organisation/name@revision"."""
    return _NAME.fullmatch(text) is not None


def snapshot(name: str, *, weights: bool = True) -> Path:
    """The folder in the hub's cache that holds a model (without `weights`: all but those).

    What is not there yet is downloaded, safetensors only, unless HF_HUB_OFFLINE is set. Raises FrownError in one line
    where that cannot be done.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    repository, _, revision = name.partition("@")
    patterns = [*_DESCRIPTION, *(("*.safetensors",) if weights else ())]
    disable_progress_bars()
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
    except Exception as error:  # the hub's own errors, the network's, and those of a broken cache
        raise FrownError(_missing(name, error)) from None
    return Path(folder)


def _missing(name: str, error: Exception) -> str:
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    if constants.is_offline_mode():
        return (
            f"model {name} is no folder, and not in the hub's cache {cache}; HF_HUB_OFFLINE is set, so nothing is "
            "downloaded: unset it, or give a model folder"
        )
    return (
        f"model {name} is no folder, and cannot be fetched from the hub into {cache}: {first_line(error)}; check name "
        "and network (a gated model needs a login), or give a model folder"
    )
