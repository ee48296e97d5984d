"""How each kind of context is worded. Corpus, environment and model card all speak through these functions.

A context is one tag and its content: `R` a reference solution, `C` a critic's comments, `A` facts in another
order, `H` pointers at steps, `W` values weighed at a step, `X` "wrong, try again".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from frown.lab.family import Check, Family

RETRY = "X"


def comment(family: Family, check: Check) -> str:
    """A critic's word on one step: what is right there in the answer's own state; never an error."""
    return f"!{family.quote(check.state, check.item)}={family.result_text(check.expected)}"


def critique(family: Family, checks: Iterable[Check]) -> str:
    """Comments on some steps."""
    return "C" + "".join(comment(family, c) for c in checks)


def suggestion(entries: Iterable[tuple[str, str]]) -> str:
    """Comments that nobody checked: for each step its left-hand side and the result that may be right."""
    return "C" + "".join(f"!{left}={result}" for left, result in entries)


def reference(solution: str) -> str:
    """A whole worked solution."""
    return f"R{solution}"


def alternative(family: Family, checks: Iterable[Check]) -> str:
    """The facts of a solution as loose statements, in whatever order they come."""
    return statements("".join(comment(family, c) for c in checks))


def statements(text: str) -> str:
    """Loose statements, each worded as a comment is."""
    return f"A{text}"


def pointer(steps: Sequence[int]) -> str:
    """A note that points at steps (0-based; in the note two-digit, 1-based) and says nothing about them."""
    return "H" + "".join(f"?{step + 1:02d}" for step in steps)


def weighed(entries: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A note of the results between which the writer hesitated: for each step its left-hand side and the results."""
    return "W" + "".join(f"?{left}=" + "/".join(results) for left, results in entries)
