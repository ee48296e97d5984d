"""What a math worker does: parse a reference answer and an answer with math-verify and compare them.

Runs in a worker process only (tasks/workers.py), which keeps the time limit; the library's own alarm is off,
and its errors are raised instead of being turned into "wrong". Numbers are compared here, relative to their
size; what else the library calls equal is tried at a few points first, where that is possible.
"""

from __future__ import annotations

import functools
import logging
import re
from fractions import Fraction
from typing import Any

import sympy
from latex2sympy2_extended.math_normalization import NormalizationConfig
from math_verify import parse, verify
from math_verify.parser import LatexExtractionConfig

from frown.tasks.grading.canonical import canonical_number

logging.getLogger("math_verify").setLevel(logging.CRITICAL)

_CONFIG = LatexExtractionConfig(
    normalization_config=NormalizationConfig(  # units are read before: the library takes "2t" for 2 tons
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    )
)
_TOO_LARGE = 10**5
"""Decimal digits: no plain number is compared with one of more."""
_TOLERANCE = sympy.Float("1e-12", 30)
_POINTS = (sympy.Rational(173, 127), sympy.Rational(311, 229), sympy.Rational(97, 89), sympy.Rational(523, 409))


def judge(payload: dict[str, Any]) -> dict[str, Any]:
    """Compare two expressions.

    payload: gold and answer, both LaTeX; `number`: whether the gold is a plain number; `places`: decimal places that
    one of the two is rounded to, or None. Reply: see `_reply`.
    """
    golds = _parse_gold(payload["gold"])
    if not golds:
        shown = payload["gold"][:60]
        return _reply("unscored", f"the reference answer {shown!r} is not a mathematical expression", None)
    answers = _parse(payload["answer"])
    if not answers:
        return _reply("wrong", "the final answer is not a mathematical expression", None)
    if payload.get("number") and _digits(answers[0]) > _TOO_LARGE:
        return _reply("wrong", "the final answer is wrong", None)
    if _equal(list(golds), answers, payload.get("places")):
        return _reply("right", "", _canonical(golds[0]))
    return _reply("wrong", "the final answer is wrong", _canonical(answers[0]))


def _reply(status: str, message: str, answer: str | None) -> dict[str, Any]:
    return {"status": status, "message": message, "answer": answer}


@functools.lru_cache(maxsize=4096)
def _parse_gold(gold: str) -> tuple[Any, ...]:
    return tuple(_parse(gold))


def _parse(text: str) -> list[Any]:
    """The expressions a LaTeX text can be read as, best first; [] where it is not mathematics."""
    parsed = parse(
        "\\boxed{" + text + "}",
        extraction_config=[_CONFIG],
        parsing_timeout=None,
        raise_on_error=True,
        fallback_mode="no_fallback",
    )
    return [_exact(p) for p in parsed if not isinstance(p, str)]


def _exact(expr: Any) -> Any:
    """Decimals as fractions: the library compares floats to six places, whatever their size."""
    try:
        if isinstance(expr, sympy.Basic):
            floats = {f: sympy.Rational(str(f)) for f in expr.atoms(sympy.Float)}
            return expr.xreplace(floats) if floats else expr
        if isinstance(expr, sympy.MatrixBase):
            return expr.applyfunc(_exact)
    except (TypeError, ValueError, AttributeError):
        pass
    return expr


def _equal(golds: list[Any], answers: list[Any], places: int | None) -> bool:
    gold, answer = golds[0], answers[0]
    g, a = _number(gold), _number(answer)
    if g is not None and a is not None:
        return _close(g, a) or (places is not None and bool(abs(g - a) <= sympy.Rational(1, 2 * 10**places)))
    if isinstance(gold, sympy.Eq) and isinstance(answer, sympy.Eq) and _proportional(gold, answer):
        return True
    if not verify(golds, answers, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True):
        return False
    return not _differs_somewhere(gold, answer)


def _number(expr: Any) -> Any:
    """The value of an expression without variables, to 30 digits; None where it has none."""
    if isinstance(expr, sympy.Symbol) and expr.name in ("i", "e", "pi"):
        return {"i": sympy.I, "e": sympy.E.evalf(30), "pi": sympy.pi.evalf(30)}[expr.name]
    if not isinstance(expr, sympy.Expr):
        return None
    constants = {s: c for s in expr.free_symbols for n, c in _CONSTANTS.items() if s.name == n}
    expr = expr.subs(constants) if constants and set(constants) == expr.free_symbols else expr
    if expr.free_symbols:
        return None
    if any(isinstance(p, sympy.core.function.AppliedUndef) for p in sympy.preorder_traversal(expr)):
        return None
    try:
        value = sympy.N(expr.doit(), 30)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None
    return value if value.is_number and value.is_finite else None


_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}


def _close(a: Any, b: Any) -> bool:
    scale = max(abs(a), abs(b))
    return bool(abs(a - b) <= _TOLERANCE * scale) if scale else True


def _differs_somewhere(gold: Any, answer: Any) -> bool:
    """Whether two expressions of the same variables differ at every one of a few points."""
    if not isinstance(gold, sympy.Expr) or not isinstance(answer, sympy.Expr):
        return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if not symbols or len(symbols) > 4 or len(gold.free_symbols) != len(answer.free_symbols):
        return False
    tried = 0
    for k in range(3):
        at = {s: _POINTS[(i + k) % 4] + k for i, s in enumerate(symbols)}
        try:
            g, a = sympy.N(gold.subs(at), 30), sympy.N(answer.subs(at), 30)
            if not (g.is_number and a.is_number and g.is_finite and a.is_finite):
                continue
            tried += 1
            if abs(g - a) <= sympy.Float("1e-9", 30) * max(abs(g), abs(a)):
                return False
        except (TypeError, ValueError, AttributeError, NotImplementedError, ZeroDivisionError):
            return False
    return tried > 0


def _proportional(gold: Any, answer: Any) -> bool:
    """Whether two equations with several variables are one a multiple of the other, tried at a few points."""
    g, a = gold.lhs - gold.rhs, answer.lhs - answer.rhs
    symbols = sorted(g.free_symbols | a.free_symbols, key=str)
    if not 2 <= len(symbols) <= 4 or g.free_symbols != a.free_symbols or max(g.count_ops(), a.count_ops()) > 60:
        return False
    ratios = []
    for k in range(4):
        at = {s: _POINTS[(i + k) % 4] + k * (i + 1) for i, s in enumerate(symbols)}
        try:
            bottom, top = sympy.N(a.subs(at), 30), sympy.N(g.subs(at), 30)
        except (TypeError, ValueError, AttributeError, NotImplementedError, ZeroDivisionError):
            return False
        if not (bottom.is_number and top.is_number and bottom.is_finite and top.is_finite and bottom and top):
            return False
        ratios.append(top / bottom)
    return all(_close(r, ratios[0]) for r in ratios)


def _digits(expr: Any) -> float:
    """About how many decimal digits the value has before the point, found without working it out."""
    if not isinstance(expr, sympy.Basic):
        return 0
    try:
        return _log10(expr)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0


def _log10(expr: Any) -> float:
    import math

    if isinstance(expr, sympy.Number):
        return float(sympy.log(abs(expr), 10).evalf(6)) if expr and expr.is_finite else 0.0
    if isinstance(expr, sympy.Pow):
        base, power = expr.args
        size = _log10(base)
        exponent = _log10(power)
        if size <= 0 or not power.is_number or _negative(power):
            return 0.0
        return math.inf if exponent > 12 else size * 10**exponent
    if isinstance(expr, sympy.factorial):
        inside = _log10(expr.args[0])
        return 0.0 if inside <= 0 else math.inf if inside > 12 else 10**inside * max(inside - 0.4343, 0.1)
    if isinstance(expr, sympy.Mul):
        return sum(_log10(a) for a in expr.args)
    if isinstance(expr, sympy.Add | sympy.UnevaluatedExpr) and expr.args:
        return max(_log10(a) for a in expr.args)
    return 0.0


def _negative(expr: Any) -> bool:
    return (isinstance(expr, sympy.Number) and expr < 0) or (
        isinstance(expr, sympy.Mul) and any(_negative(a) for a in expr.args)
    )


def _canonical(expr: Any) -> str:
    """One string for equal answers as far as sympy can tell cheaply; a value is written to 12 digits."""
    try:
        value = expr.doit() if isinstance(expr, sympy.Basic) else expr
        if isinstance(value, sympy.Rational):
            return canonical_number(Fraction(int(value.p), int(value.q)))
        if isinstance(value, sympy.Expr) and value.is_number and value.is_real:
            digits = str(sympy.N(value, 12))
            return canonical_number(Fraction(digits)) if re.fullmatch(r"-?\d+\.\d+", digits) else digits
        if isinstance(value, sympy.Expr) and value.count_ops() < 50:
            return str(sympy.simplify(value))
        return str(value)
    except (TypeError, ValueError, AttributeError, NotImplementedError, RecursionError):
        return str(expr)


judge({"gold": "x+1", "answer": "1+x"})  # what the library loads late, before the clock runs for the first answer
