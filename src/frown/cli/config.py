"""`frown config`: every setting there is."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from frown.cli.options import AsJson
from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.config.base import Config
    from frown.config.describe import Setting

Of = Literal["train", "compare", "eval"]
NO_VALUE = ("none", "required")
"""Defaults that are no value."""


def config(
    prefix: str = "",
    *,
    of: Of = "train",
    json_: AsJson = False,
    markdown: Annotated[bool, Parameter(negative="", help="Print all of them as a page, docs/config.md.")] = False,
) -> None:
    """List the settings: key, type, default, range, and a sentence about each.

    Parameters
    ----------
    prefix
        Only these, e.g. optimiser or sampling.vllm.mode
    of
        Whose settings: those of a run, of a comparison, or of an evaluation.
    """
    from frown.cli.output import print_json
    from frown.config.describe import keys, matching
    from frown.config.unknown import unknown

    if markdown:
        print(page(), end="")
        return
    kind = kinds()[of]
    chosen = matching(kind, prefix)
    if not chosen:
        raise FrownError(unknown(kind, prefix.split("."), None, {}))
    if json_:
        print_json([asdict(s) for s in chosen], indent=2)
        return
    print("\n\n".join("\n".join(lines(s)) for s in chosen))
    if not prefix:
        print(f"\n{len(keys(kind))} keys. Give one as KEY=VALUE, or in a TOML file with --config.")


def kinds() -> dict[str, type[Config]]:
    """The configurations that can be listed, by command."""
    from frown.config import CompareConfig, EvaluationConfig, RunConfig

    return {"train": RunConfig, "compare": CompareConfig, "eval": EvaluationConfig}


def lines(setting: Setting, of: str | None = None) -> Iterator[str]:
    """A setting for the terminal; `of`: as the table of this type has it."""
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    if setting.is_table:
        yield f"[{setting.key}]"
    else:
        default = next((o.value for o in setting.others if of is not None and o.type == of), setting.default)
        if default.startswith("by "):  # a sentence
            yield setting.key
            yield from wrapped(default, width)
        else:
            yield f"{setting.key} = {default}" if default not in NO_VALUE else f"{setting.key}  ({default})"
        yield from wrapped(", ".join(x for x in (setting.type, setting.range) if x), width)
        if of is None:
            for other in setting.others:
                yield from wrapped(f"{other.value} with {other.when}", width)
            if setting.of:
                yield from wrapped(f"of {', '.join(setting.of)}", width)
    yield from wrapped(setting.text, width)


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines, indented."""
    return textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False)


# -- docs/config.md ------------------------------------------------------------------------------------------------

HEAD = """\
# Settings

Made by `frown config --markdown`; do not edit. `frown config PREFIX` prints the same in the terminal.

A setting is given as `KEY=VALUE` on the command line, or in a TOML file (`--config FILE`); the word wins. What nobody
gives is what the method recommends, else the default below. A default of none means that nothing is set.
"""


def page() -> str:
    """docs/config.md."""
    from frown.config.describe import settings

    parts = [HEAD]
    titles = {
        "train": "A run (`frown train`, `frown probe`)",
        "compare": "A comparison (`frown compare`)",
        "eval": "An evaluation (`frown eval`)",
    }
    for name, kind in kinds().items():
        each = [s for s in settings(kind, installed=False) if not s.key.startswith("base.")]
        parts.append(f"\n## {titles[name]}\n")
        parts += _tables(each)
    return "\n".join(parts)


def _tables(settings: Sequence[Setting]) -> Iterator[str]:
    """The settings of one configuration: those outside of tables first, then table by table."""
    tables = {s.key: s.text for s in settings if s.is_table}
    for table in ("", *tables):
        rows = [s for s in settings if not s.is_table and s.key.rpartition(".")[0] == table]
        if table:
            yield f"\n### `{table}`\n\n{tables[table]}\n"
        if rows:
            yield "| key | type | default | |\n| --- | --- | --- | --- |"
            yield from (_row(s) for s in rows)


def _row(s: Setting) -> str:
    type_ = ", ".join(x for x in (s.type, s.range) if x)
    default = s.default if s.default in NO_VALUE or s.default.startswith("by ") else f"`{s.default}`"
    for other in s.others:
        default += f"; `{other.value}` with `{other.when}`"
    only = f"*Of {', '.join(s.of)}.* " if s.of else ""
    cells = (f"`{s.key}`", type_, default, only + s.text)
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
