"""`frown methods`: what there is to train with."""

from __future__ import annotations

import inspect
import re
import shutil
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from frown.cli.config import lines, wrapped
from frown.cli.options import AsJson
from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.config.describe import Setting
    from frown.config.method import Method


def methods(
    name: str | None = None,
    *,
    json_: AsJson = False,
    markdown: Annotated[bool, Parameter(negative="", help="Print all of them as a page, docs/methods.md.")] = False,
) -> None:
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
    if markdown:
        print(page(), end="")
    elif json_:
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
    print(_docstring(method))
    for label, text in (("Paper", method.paper), ("Cost", method.cost), ("Result", method.result)):
        if text:
            print(f"\n{label}: {text}")
    print(f"\nCommand: {_command(name)}")
    own = _own_settings(name)
    print("\nSettings\n" if own else "\nIt has no settings of its own.")
    print("\n\n".join("\n".join(lines(s, of=name)) for s in own))
    if recommended := _recommended(method):
        print(f"\nRecommended with it, unless given: {', '.join(recommended)}")


def _docstring(method: type[Method]) -> str:
    """What the module of a method says of it, or its class."""
    module = inspect.getmodule(method)
    return inspect.cleandoc((module and module.__doc__) or method.__doc__ or method.summary)


def _command(name: str) -> str:
    return f"frown train --method {name} --model MODEL --task TASK --data FILE"


def _own_settings(name: str) -> list[Setting]:
    """The settings of a method's own table."""
    from frown.config import RunConfig
    from frown.config.describe import matching

    return [s for s in matching(RunConfig, "method") if name in s.of]


def _recommended(method: type[Method]) -> list[str]:
    """What a method recommends for other sections, as KEY=VALUE."""
    from frown.config import flat
    from frown.config.describe import toml

    return [f"{key}={toml(value)}" for key, value in flat(method.settings).items()]


# -- docs/methods.md -----------------------------------------------------------------------------------------------

HEAD = """\
# Methods

Made by `frown methods --markdown`; do not edit. Each section is the docstring of the method's own file in
`src/frown/methods/`, which holds its settings and its hooks and nothing else. `frown methods NAME` prints one with its
settings; [config.md](config.md#method) has all of these. A method of your own is a class in a package of yours, named
by an entry point of the group `frown.methods`.

| method | what it does | what it costs | what it brought |
| --- | --- | --- | --- |
"""


def page() -> str:
    """docs/methods.md: frown's own methods, from formula to measured result."""
    from frown.config import Method

    members = Method.builtin()
    rows = [f"| [{n}](#{n}) | {m.summary} | {m.cost} | {_linked(m.result)} |\n" for n, m in members.items()]
    return HEAD + "".join(rows) + "".join(_section(n, m) for n, m in members.items())


def _section(name: str, method: type[Method]) -> str:
    file = f"../src/{method.__module__.replace('.', '/')}.py"
    own = [f"`{s.key.rpartition('.')[2]}`" for s in _own_settings(name)]
    facts = {
        "Paper": method.paper,
        "Command": f"`{_command(name)}`",
        "Measured": _linked(method.result),
        "Settings": ", ".join(own) or "none of its own",
        "Recommended with it": ", ".join(f"`{r}`" for r in _recommended(method)),
        "File": f"[{method.__module__}]({file})",
    }
    listed = "\n".join(f"- {label}: {text}" for label, text in facts.items() if text)
    return f"\n## {name}\n\n{_docstring(method)}\n\n{listed}\n"


def _linked(text: str) -> str:
    """A text with links to the pages of docs/ that it names."""
    return re.sub(r"docs/(results/\w+\.md)", r"[\1](\1)", text)
