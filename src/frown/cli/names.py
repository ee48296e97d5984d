"""The end of a line about a flag that does not exist: the setting that another library calls so."""

from __future__ import annotations

from cyclopts import CycloptsError, UnknownOptionError


def renamed_flag(error: CycloptsError) -> str:
    """E.g. "; it is the setting optimiser.lr=VALUE here" for --learning-rate; nothing for other mistakes."""
    if not isinstance(error, UnknownOptionError):
        return ""
    from frown.config.names import answer

    ours = answer((error.token.keyword or error.token.value).lstrip("-").replace("-", "_"))
    if ours is None:
        return ""
    return f" {ours}" if " " in ours else f" It is the setting {ours}=VALUE here."
