"""`frown recipe NAME`: the experiments of a recipe, found by the entry points of the group "frown.recipes".

An entry point is called like its recipe and names a cyclopts app, or a function.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from cyclopts import App

from frown.errors import FrownError, first_line

GROUP = "frown.recipes"

recipe = App(name="recipe", help="Run the experiments of a recipe: a published method with its own data and measures.")


def _register(point: EntryPoint) -> None:
    """Make a recipe a command; one that cannot be imported says so when it is asked for, and stops no other."""
    try:
        recipe.command(point.load(), name=point.name)
    except Exception as error:  # whatever another package's import may raise
        why = f"recipe {point.name} cannot be imported from {point.value}: {first_line(error)}"

        def broken(*_: str) -> None:
            raise FrownError(why)

        recipe.command(broken, name=point.name, help="Cannot be imported.")


for _point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
    _register(_point)
