"""`frown methods`: what there is to train with."""

from __future__ import annotations

import inspect
import shutil
from typing import TYPE_CHECKING, Any

from frown.cli.config import lines, wrapped
from frown.cli.options import AsJson
from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.config.method import Method


def methods(name: str | None = None, *, json_: AsJson = False) -> None:
    """List the training methods, or explain one: its formula, its paper, its settings.

    Parameters
    ----------
    name
        A method, e.g. aimed.
    """
    from frown.cli.output import print_json
    from frown.config import Method, nearest

    members = Method.members()
    if name is not None and name not in members:
        raise FrownError(f"there is no method {name!r}{nearest(name, members)}")
    chosen = members if name is None else {name: members[name]}
    if json_:
        print_json([_described(type_, method) for type_, method in chosen.items()], indent=2)
    elif name is None:
        _list(members)
    else:
        _explain(name, members[name])


def _described(name: str, method: type[Method]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": method.summary,
        "paper": method.paper,
        "cost": method.cost,
        "result": method.result,
        "settings": dict(method.settings),
        "module": method.__module__,
        "builtin": name in method.builtin(),
    }


def _list(members: dict[str, type[Method]]) -> None:
    """Each method in a few lines."""
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    for name, method in members.items():
        package = method.__module__.partition(".")[0]
        print(name if name in method.builtin() else f"{name}  (from the package {package})")
        print("\n".join(wrapped(method.summary, width)))
        for label, text in (("paper", method.paper), ("cost", method.cost), ("result", method.result)):
            if text:
                print("\n".join(wrapped(f"{label}: {text}", width)))
        print()
    print("frown methods NAME explains one; frown train --method NAME trains with it.")


def _explain(name: str, method: type[Method]) -> None:
    """The docstring of the method's module, what it costs and brought, and its settings."""
    from frown.config import RunConfig
    from frown.config.describe import matching

    own = [s for s in matching(RunConfig, "method") if name in s.of]
    module = inspect.getmodule(method)
    print(inspect.cleandoc((module and module.__doc__) or method.__doc__ or method.summary))
    for label, text in (("Paper", method.paper), ("Cost", method.cost), ("Result", method.result)):
        if text:
            print(f"\n{label}: {text}")
    print(f"\nCommand: frown train --method {name} --model MODEL --task TASK --data FILE")
    print("\nSettings\n" if own else "\nIt has no settings of its own.")
    print("\n\n".join("\n".join(lines(s, of=name)) for s in own))
    recommended = [(s, o.value) for s in matching(RunConfig, "") for o in s.others if o.recommended_by == name]
    if recommended:
        print("\nRecommended with it, unless given: " + ", ".join(f"{s.key} = {value}" for s, value in recommended))
