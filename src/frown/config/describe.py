"""Every setting there is: its key, type, default, range and the sentence about it, read from the models themselves.

What is described here is printed by `frown config`, written to docs/config.md, and searched when a key is misspelt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from frown.config import defaults
from frown.config.base import Config, NestedKeys, Variant
from frown.config.load import flat

SIMPLE = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", Any: "anything"}


@dataclass(frozen=True)
class OtherDefault:
    """A default that holds under a condition."""

    value: str
    """As it is written in TOML."""
    when: str
    """The setting under which it holds, as it is written in TOML."""
    type: str = ""
    """The type of the setting's own table that has this default."""


@dataclass(frozen=True)
class Setting:
    """One key of a configuration, or the table that other keys lie in."""

    key: str
    """Dotted, e.g. "optimiser.lr"."""
    type: str
    default: str
    """As it is written in TOML; "required", or "none" where nothing is written. Empty for a table."""
    range: str = ""
    """E.g. "above 0, at most 1"; empty where every value of the type is allowed."""
    text: str = ""
    """The sentences about it."""
    of: tuple[str, ...] = ()
    """Types of its table that have it; empty where the table has no type."""
    others: tuple[OtherDefault, ...] = ()
    """Defaults of other types of its table, and those that a method recommends."""

    @property
    def is_table(self) -> bool:
        """Whether other keys lie in it."""
        return self.type == "table"


def settings(kind: type[Config], *, installed: bool = True) -> list[Setting]:
    """All settings of a configuration, in the order of the models, a table before its keys.

    `installed`: with the methods and partners that other packages add.
    """
    each = list(_settings(kind, "", installed))
    recommended = _recommended(kind, installed)
    by_size = _by_size() if "sampling.max_new_tokens" in {s.key for s in each} else {}
    out = []
    for one in each:
        if one.key in by_size:
            one = replace(one, default=by_size[one.key])
        out.append(replace(one, others=one.others + tuple(recommended.get(one.key, ()))))
    return out


def keys(kind: type[Config]) -> list[str]:
    """The dotted keys of a configuration, tables included."""
    return list(dict.fromkeys(s.key for s in _settings(kind, "", True)))


def owners(kind: type[Config], key: str) -> tuple[str, ...]:
    """The types of its table that have a key, of whichever table it is; none for a key of a table without a type."""
    return tuple(t for s in _settings(kind, "", True) if s.key == key for t in s.of)


def matching(kind: type[Config], prefix: str) -> list[Setting]:
    """The settings that are called `prefix` or lie in it; those of a path "a.b" are "a.b" and "a.b.c", not "a.bc"."""
    prefix = prefix.strip().rstrip(".")
    return [s for s in settings(kind) if not prefix or s.key == prefix or s.key.startswith(f"{prefix}.")]


# -- walking the models --------------------------------------------------------------------------------------------


def _settings(kind: type[Config], before: str, installed: bool) -> Iterator[Setting]:
    for name, field in kind.model_fields.items():
        yield from _field(kind, name, field, before, installed)


def _field(kind: type[Config], name: str, field: FieldInfo, before: str, installed: bool) -> Iterator[Setting]:
    key, inner = f"{before}{name}", _model(field.annotation)
    if inner is not None and issubclass(inner, Variant):
        yield from _union(inner, key, _text(kind, name) or _doc(inner), field, installed)
        return
    if inner is not None:
        absent = " Absent unless a key of it is given." if NoneType in get_args(field.annotation) else ""
        yield Setting(key, "table", "", text=(_text(kind, name) or _doc(inner)) + absent)
        yield from _settings(inner, f"{key}.", installed)
        return
    nested = next((m for m in field.metadata if isinstance(m, NestedKeys)), None)
    if nested is not None:
        yield Setting(key, "table", "", text=_text(kind, name))
        yield from _settings(nested.kind, f"{key}.", installed)
        return
    yield Setting(key, _type(field.annotation), _default(field), _range(field), _text(kind, name))


def _union(union: type[Variant], key: str, text: str, field: FieldInfo, installed: bool) -> Iterator[Setting]:
    """The keys of a table whose keys depend on its type; one that several types have alike is named once."""
    members = _members(union, installed)
    yield Setting(key, "table", "", text=text)
    chosen = field.get_default(call_default_factory=True)
    default = toml(chosen.type) if isinstance(chosen, Variant) else "required"
    yield Setting(f"{key}.type", " | ".join(toml(m) for m in members), default, text=_text(union, "type"))
    merged: dict[tuple[str, str, str], Setting] = {}
    for type_, member in members.items():
        for name, inner in member.model_fields.items():
            if name == "type":
                continue
            for s in _field(member, name, inner, f"{key}.", installed):
                same = (s.key, s.type, s.text)
                if same not in merged:
                    merged[same] = replace(s, of=(type_,))
                    continue
                known = merged[same]
                when = f"{key}.type = {toml(type_)}"
                other = () if s.default == known.default else (OtherDefault(s.default, when, type=type_),)
                merged[same] = replace(known, of=(*known.of, type_), others=known.others + other)
    yield from merged.values()


def _unions(kind: type[Config]) -> Iterator[tuple[str, type[Variant]]]:
    """The fields of a configuration whose keys depend on their type, each with its union."""
    for name, field in kind.model_fields.items():
        inner = _model(field.annotation)
        if inner is not None and issubclass(inner, Variant):
            yield name, inner


def _members(union: type[Variant], installed: bool) -> Mapping[str, type[Config]]:
    return union.members() if installed else union.builtin()


def _recommended(kind: type[Config], installed: bool) -> dict[str, list[OtherDefault]]:
    """What the members of its unions recommend for other sections, by dotted key."""
    out: dict[str, list[OtherDefault]] = {}
    for name, union in _unions(kind):
        for type_, member in _members(union, installed).items():
            for key, value in flat(getattr(member, "settings", {})).items():
                when = f"{name}.type = {toml(type_)}"
                out.setdefault(key, []).append(OtherDefault(toml(value), when))
    return out


def _by_size() -> dict[str, str]:
    """The defaults that are chosen by the model's size, in words, by dotted key."""
    out: dict[str, str] = {}
    full = [flat(defaults.fitting(scale, lora=False)) for scale in defaults.SCALES]
    lora = [flat(defaults.fitting(scale, lora=True)) for scale in defaults.SCALES]
    for key in full[0]:
        rows = [(a[key], b[key]) for a, b in zip(full, lora, strict=True)]
        parts = []
        for i, (value, adapters) in enumerate(rows):
            if i + 1 < len(rows) and rows[i + 1] == rows[i]:
                continue
            below = defaults.SCALES[i].below
            where = f"below {defaults.in_words(int(below))} parameters" if i + 1 < len(rows) else "else"
            parts.append(f"{value:g}{'' if adapters == value else f' (LoRA {adapters:g})'} {where}")
        out[key] = "by the model's size: " + ", ".join(parts)
    return out


# -- one field -----------------------------------------------------------------------------------------------------


def _model(annotation: Any) -> type[Config] | None:
    """The section that a field holds, if it holds one."""
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, Config):
            return option
    return None


def _text(kind: type[Config], name: str) -> str:
    """The docstring under a field, or that of the class it was inherited from."""
    for each in kind.__mro__:
        field = getattr(each, "model_fields", {}).get(name) if issubclass(each, Config) else None
        if field is not None and field.description:
            return " ".join(field.description.split())
    return ""


def _doc(kind: type[Config]) -> str:
    """The first paragraph of a class's docstring."""
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def _type(annotation: Any) -> str:
    """A type in words, e.g. "whole number" or '"a" | "b"'."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " | ".join(toml(a) for a in arguments)
    if origin in (Union, UnionType):
        return " | ".join(_type(a) for a in arguments if a is not NoneType)
    if origin is tuple and arguments[-1] is Ellipsis:
        inner = _type(arguments[0])
        return f"list of ({inner})" if " | " in inner else f"list of {inner}"
    if origin is tuple:
        return f"[{', '.join(_type(a) for a in arguments)}]"
    if origin in (dict, Mapping):
        return f"table of {_type(arguments[1])}"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return toml(field.get_default(call_default_factory=True))


def _range(field: FieldInfo) -> str:
    """The bounds of a number, in words; of a list, how many it has at least."""
    rules = list(field.metadata)
    for option in get_args(field.annotation):  # Annotated[float, Field(ge=0)] | Literal["server"]
        for more in get_args(option) if get_origin(option) is Annotated else ():
            rules += getattr(more, "metadata", [])
    words = []
    for rule in rules:
        match rule:
            case Ge(ge=bound):
                words.append(f"at least {bound}")
            case Gt(gt=bound):
                words.append(f"above {bound}")
            case Le(le=bound):
                words.append(f"at most {bound}")
            case Lt(lt=bound):
                words.append(f"below {bound}")
            case MinLen(min_length=bound):
                words.append("not empty" if bound == 1 else f"at least {bound} of them")
    return ", ".join(words)


def toml(value: Any) -> str:
    """A value as it is written in TOML; "none" for None, which TOML has no word for."""
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(str(value), ensure_ascii=False)
