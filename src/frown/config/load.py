"""From TOML, JSON and KEY=VALUE to a checked configuration, and back."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from frown.config.base import Config
from frown.config.names import VALUES
from frown.errors import FrownError

ConfigT = TypeVar("ConfigT", bound=Config)


def load(
    kind: type[ConfigT],
    source: Path | str | Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    base: ConfigT | None = None,
) -> ConfigT:
    """Read a TOML file or nested values (or start from `base`, or the defaults), apply `dotted.key=value` overrides and
    check it all.

    A file that ends in .json is the config.json of a run. Raises FrownError, one line that names the key and the mend.
    """
    values: dict[str, Any] = {} if base is None else base.model_dump()
    where = "config"
    if isinstance(source, Mapping):
        values = dict(source)
    elif source is not None:
        values, where = read_file(Path(source)), str(source)
    for override in overrides:
        values = merge(values, _nested(override))
    return parse(kind, values, where)


def read_file(file: Path) -> dict[str, Any]:
    """The nested values of a TOML file, or of a JSON file. Raises FrownError where it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
        return dict(json.loads(text) if file.suffix == ".json" else tomllib.loads(text))
    except FileNotFoundError:
        raise FrownError(f"no config file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FrownError(f"cannot read config {file}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise FrownError(f"config {file} is not TOML: {error}") from None
    except RecursionError:
        raise FrownError(f"config {file} is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise FrownError(f"config {file} is not JSON: {error}") from None


def parse(kind: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Build a config from nested values; every mistake is one line that names the key and the mend."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = error.errors()  # an unknown key before the one that is missing for it
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise FrownError(f"{where}: {_explain(kind, first, values)}{more}") from None


def to_json(config: Config) -> str:
    """The resolved configuration, as it is saved with a run."""
    return json.dumps(config.model_dump(mode="json"), indent=2) + "\n"


def flat(nested: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {"a": {"b": 1}} as {"a.b": 1}."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{before}{key}"
        out |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return out


def _explain(kind: type[Config], error: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        from frown.config.unknown import unknown

        return unknown(kind, path, error["input"], values)
    if error["type"] == "missing":
        return f"{key!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not key:
        return message
    if isinstance(error["input"], Mapping):
        return f"{key}: {message}"  # what is wrong with a table is said without repeating the table
    renamed = VALUES.get((key, str(error["input"])))
    now = f"; it is called {renamed!r} now" if renamed else ""
    return f"{key} = {error['input']!r}: {message[0].lower()}{message[1:]}{now}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a line about a name that does not exist: the nearest that does, or all."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _nested(override: str) -> dict[str, Any]:
    """`optimiser.lr=1e-4` as nested values. The value is read as TOML, and as a string where it is none."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        hint = (
            "; several files are one pattern, in quotes: 'FOLDER/train-*.parquet'"
            if re.search(r"\.(jsonl?|parquet|csv|tsv)\b", override)
            else ""
        )
        raise FrownError(f"an override is written KEY=VALUE, e.g. optimiser.lr=1e-4; got {override!r}{hint}")
    try:
        value: Any = tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others laid over them. A table of another `type` takes the place of the whole table (one
    without a type takes on that of the other); the bare name of a type stands for a table."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, str) and isinstance(value, Mapping):
            below = {"type": below}
        same = isinstance(below, Mapping) and isinstance(value, Mapping)
        same = same and value.get("type") in (None, below.get("type", value.get("type")))  # type: ignore[union-attr]
        merged[key] = merge(below, value) if same else value  # type: ignore[arg-type]
    return merged
