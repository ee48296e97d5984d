"""The public face: what `import frown` promises."""

from __future__ import annotations

import ast
from pathlib import Path

import frown


def test_every_promised_name_is_there():
    for name in frown.__all__:
        assert getattr(frown, name) is not None, name
    assert set(frown.__all__) <= set(dir(frown))
    assert list(frown.__all__) == sorted(frown.__all__)
    assert not hasattr(frown, "no_such_name")


def test_type_checkers_are_told_the_same():
    """The imports under TYPE_CHECKING, the table of places and __all__ name the same, from the same modules."""
    tree = ast.parse(Path(frown.__file__).read_text(encoding="utf-8"))
    [block] = [n for n in tree.body if isinstance(n, ast.If)]
    shown = {f"{n.module}.{a.name}" for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert shown == {f"frown.{place}.{name}" for place, names in frown._PLACES.items() for name in names}
    assert set(frown._PLACE_OF) == set(frown.__all__)


def test_no_module_takes_the_place_of_a_name():
    """Importing `frown.train.x` would bind `frown.train` to the package, whatever was there."""
    rooms = {p.stem for p in Path(frown.__file__).parent.iterdir()}
    assert not rooms & set(frown.__all__)
