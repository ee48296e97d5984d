"""The base of all settings, and tables whose keys depend on their `type`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from frown.errors import first_line

AnyClass = type[Any]


class Config(BaseModel):
    """Base of all: frozen, unknown keys forbidden, the docstring under a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group: looked for once, since that reads the metadata of every installed package."""
    return tuple(entry_points(group=group))


@dataclass(frozen=True)
class NestedKeys:
    """Marks a table that is kept as it was written: nested keys of another configuration, which checks them later."""

    kind: type[Config]


class Variant(Config):
    """A table whose keys depend on its `type`: a discriminated union that other packages extend by an entry point.

    A subclass of this class is such a union; it names its `group` of entry points and its own members.
    """

    type: str
    """Which one; the other keys of the table depend on it."""
    group: ClassVar[str]

    @classmethod
    def builtin(cls) -> Mapping[str, AnyClass]:
        """The members that frown itself has, by type."""
        raise NotImplementedError

    @classmethod
    def members(cls) -> dict[str, AnyClass]:
        """All members by type: frown's own, then those of installed packages, which cannot take the place of one.

        An entry point of `group` is called like its type and names the class.
        """
        members: dict[str, AnyClass] = dict(cls.builtin())
        for point in _installed(cls.group):
            if point.name not in members and (member := _loaded(point, cls)) is not None:
                members[point.name] = member
        return members


@cache
def _loaded(point: EntryPoint, union: type[Variant]) -> AnyClass | None:
    """The class that an entry point names. One that cannot be had, or is no member of the union, is left out with a
    warning: a broken package stops nobody who does not ask for it."""
    try:
        member = point.load()
        if not (isinstance(member, type) and issubclass(member, union)):
            raise TypeError(f"it is no {union.__name__}")
        if member.model_fields["type"].default != point.name:
            raise TypeError(f"its type is {member.model_fields['type'].default!r}; call the entry point so")
    except Exception as error:
        warnings.warn(f"{point.group} {point.name!r} ({point.value}) is left out: {first_line(error)}", stacklevel=2)
        return None
    return member


VariantT = TypeVar("VariantT", bound=Variant)


def class_named(union: type[VariantT], value: Any) -> type[VariantT] | None:
    """The class of the member that a table, the bare name of a type, or a member itself names; None for no such."""
    if isinstance(value, union):
        return type(value)
    name = value.get("type") if isinstance(value, Mapping) else value
    return union.members().get(name) if isinstance(name, str) else None


def member_of(union: type[VariantT], value: Any) -> Any:
    """A given table, or the bare name of a type, as the member of a union that it names.

    Made for a pydantic BeforeValidator: what is wrong with the table is said with the place of each key in it. Raises
    ValueError for a type that does not exist, or none.
    """
    from frown.config.load import nearest

    if isinstance(value, union):
        return value
    if isinstance(value, str):
        value = {"type": value}
    member = class_named(union, value)
    if member is None:
        name, members = value.get("type") if isinstance(value, Mapping) else None, union.members()
        if not isinstance(name, str):
            raise ValueError(f"give its type: one of {', '.join(members)}")
        raise ValueError(f"there is no type {name!r}{nearest(name, members)}")
    return member.model_validate(value)
