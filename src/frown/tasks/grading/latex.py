r"""Mathematics for the library: the expression in a statement, in LaTeX that latex2sympy reads."""

from __future__ import annotations

import re

from frown.tasks.grading.characters import THIN
from frown.tasks.grading.layout import bare, without_layout
from frown.tasks.grading.quantity import HEDGED, NEGATED, Refusal
from frown.tasks.grading.tokens import FUNCTIONS

_SEGMENT = re.compile(r"\$\$?([^$]{1,2000}?)\$\$?|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_WORD = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]{3,}|(?<![\\A-Za-z])(?:is|or|if|no|of|to|so|it|as|by|we|in|be|at)(?![A-Za-z])"
)
_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}|\\[A-Za-z]+")
_LEAD = re.compile(
    r"^(?:(?:so|therefore|thus|hence|then|and|the|a|an|is|are|it|its|that|this|we|get|have|find|equals?|given|by"
    r"|value|values|answer|"
    r"final|solution|solutions|set|function|expression|simplifies|to|be|interval|vector|point|matrix|must|simply"
    r"|just|of|for|all|"
    r"equal|result|exactly|polynomial|equation|line|in|range|domain|where|clearly|i|think|believe"
    r"|:)(?:(?![A-Za-z\\^_])|(?<=:))[\s:,]*)+",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:,|;)?\s+(?:because|since|as|which|where|when|for all|for every|for any|due|so|by|after|if|using|who|and "
    r"so|square|cubic|units?|"
    r"dollars|radians|degrees|meters|cm)\b.*$|\s*\((?:approximately|approx|about|since|because|where|not|as|which"
    r"|using|or)\b.*$|\.\s*$",
    re.IGNORECASE | re.DOTALL,
)
_DENIED = re.compile(r"\b(?:not|never|neither|cannot|isn['’]t|aren['’]t|can['’]t|doesn['’]t)\b", re.IGNORECASE)
_DOUBTED = re.compile(r"\b(?:maybe|perhaps|possibly|might|could be|may be|either)\b", re.IGNORECASE)
_UNITS = re.compile(r"(?<=[\d}])\s*(?:square |cubic )?(?:units?|dollars?|cents?|radians?|meters?|metres?|inches"
                    r"|feet|miles|hours?|minutes?|"
                    r"seconds?|cm|km|mm|kg|ft|rad)(?:\s*\^\s*\{?[23]\}?)?\s*$")  # fmt: skip
_SIGNS = {
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∞": r"\infty ", "π": r"\pi ",
    "θ": r"\theta ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "→": r"\to ", "·": r"\cdot ", "α": r"\alpha ",
    "β": r"\beta ", "λ": r"\lambda ", "ℝ": r"\mathbb{R}", "°": r"^\circ ", THIN: " ",
}  # fmt: skip
_SIGN = re.compile("[" + "".join(_SIGNS) + "]")
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\w+))")
_MEMBER = re.compile(r"^[A-Za-z]\s*\\in\b\s*(?=[\[(\\{])")
_EMPTY = re.compile(r"\\varnothing\b|\\\{\s*\\\}")
_REALS = re.compile(r"^(?:all real numbers|\\mathbb\s*\{?R\}?|\\R|ℝ)$", re.IGNORECASE)
_GROUPED = re.compile(rf"(?<![\d.]) ?(\d{{1,3}})((?:[,{THIN}]\d{{3}})+)(?![\d,])")
_MIXED = re.compile(rf"(?<![\d\w}}^_/])(\d{{1,6}})[ {THIN}]*\\frac\{{(\d{{1,6}})\}}\{{(\d{{1,6}})\}}")
_WORDS_FOR = re.compile(r"\s+(?:or|and)\s+(?=\S)")


def expression_of(statement: str, formal: bool) -> str | Refusal | None:
    r"""The expression that a statement gives, still LaTeX: its `$...$` where it has words, else what the words leave.

    `formal`: it stands in a box or between tags, so that all of it is the answer.
    """
    segments = [next(g for g in m.groups() if g is not None).strip() for m in _SEGMENT.finditer(statement)]
    outside = _SEGMENT.sub(" @ ", statement)
    prose = has_prose(without_layout(outside))
    if prose and _DENIED.search(outside.split("@")[0]):
        return Refusal(NEGATED)
    if prose and _DOUBTED.search(outside):
        return Refusal(HEDGED)
    if segments and (prose or len(segments) == 1):
        joined = re.search(r"@\s*,?\s*(?:or|and|,)\s*@", outside)
        if joined is not None:
            return bare(without_layout(", ".join(segments)))
        return bare(without_layout(segments[0])) or None
    text = bare(without_layout(statement))
    if not has_prose(text):
        return text or None
    text = bare(_TAIL.sub("", _LEAD.sub("", text)))
    text = _UNITS.sub("", text)
    if not text or has_prose(_WORDS_FOR.sub(", ", text)):
        return None
    if re.search(r"[\d\\=+*/^()\[\]∞]|^[A-Za-z]$", text) is None:
        return None
    return text


_INEQUALITY = re.compile(
    r"(?:(?P<low>[^<>≤≥=]{1,60}?)\s*(?P<left><|≤|\\leq?(?:slant)?(?![A-Za-z])"
    r"|\\lt(?![A-Za-z]))\s*)?(?P<name>[A-Za-z])\s*"
    r"(?:(?P<right><|>|≤|≥|\\[lg]eq?(?:slant)?(?![A-Za-z])|\\[lg]t(?![A-Za-z]))\s*(?P<high>[^<>≤≥=]{1,60}))?"
)


def as_intervals(text: str) -> str | None:
    """The set that inequalities of one variable say, "x < 1 or x ≥ 3" as a union; None for anything else."""
    pieces = [as_interval(p) for p in re.split(r"\s*(?:\bor\b|\\lor\b|∨|\\vee\b)\s*", text)]
    return " \\cup ".join(p or "" for p in pieces) if all(pieces) else None


def as_interval(text: str) -> str | None:
    """The interval that an inequality of one variable says, "-2 ≤ x < 7" as "[-2,7)"; None for anything else."""
    match = _INEQUALITY.fullmatch(text.strip())
    if match is None or not (match["left"] or match["right"]):
        return None
    closed_left, closed_right = (_is_closed(match[g]) for g in ("left", "right"))
    if match["left"]:
        if match["right"] is not None and _is_above(match["right"]):
            return None
        low, high = match["low"].strip(), (match["high"] or r"\infty").strip()
    elif _is_above(match["right"]):
        low, high, closed_left, closed_right = match["high"].strip(), r"\infty", closed_right, False
    else:
        low, high = r"-\infty", match["high"].strip()
    if re.search(r"\\[lg](?:eq?|t)\b|,|" + match["name"] + r"(?![a-z])", low + " " + high):
        return None
    return ("[" if closed_left else "(") + f"{low},{high}" + ("]" if closed_right else ")")


def _is_closed(sign: str | None) -> bool:
    return sign is not None and ("e" in sign or sign in "≤≥")


def _is_above(sign: str) -> bool:
    return sign in (">", "≥") or sign.startswith("\\g")


def has_prose(text: str) -> bool:
    """Whether there are words that are no mathematics."""
    return any(w.lower() not in FUNCTIONS for w in _WORD.findall(_COMMAND.sub(" ", text)))


def as_latex(text: str) -> str:
    """A cleaned expression as the library wants it."""
    text = _ROOT.sub(lambda m: "\\sqrt{" + (m[1] or m[2] or m[3]) + "}", text)
    text = _MIXED.sub(r"(\1+\\frac{\2}{\3})", text)
    text = _GROUPED.sub(lambda m: m[1] + m[2].replace(THIN, "") if THIN in m[2] else m[0], text)
    text = _SIGN.sub(lambda m: _SIGNS[m[0]], text)
    text = text.replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ").replace("**", "^")
    text = re.sub(r"(?<!\\)%", r"\\%", text).replace("$", "")
    if _REALS.match(text.strip()):
        return r"(-\infty,\infty)"
    return _MEMBER.sub("", _EMPTY.sub(r"\\emptyset", text)).strip()
