r"""LaTeX, Markdown and HTML that change how an answer looks and not what it says."""

from __future__ import annotations

import re

from frown.tasks.grading.characters import THIN

_STRUCK = re.compile(
    r"~~[^~\n]{0,200}~~|<(del|strike|s)>[^<\n]{0,200}</\1>|\\(?:cancel|bcancel|xcancel|sout|st)\s*\{[^{}]*\}"
    r"|\\(?:phantom|hspace|vspace|label|tag)\*?\s*\{[^{}]*\}",
    re.IGNORECASE,
)
_HTML = re.compile(r"</?(?:b|i|em|strong|u|code|p|span|div|font|mark|center|big|small|br)\b[^<>]{0,60}>", re.IGNORECASE)
_RAISED = re.compile(r"<sup>([^<>]{0,20})</sup>", re.IGNORECASE)
_LOWERED = re.compile(r"<sub>([^<>]{0,20})</sub>", re.IGNORECASE)
_WRAPPER = re.compile(
    r"\\(?:(?:text)?color(?:box)?\s*\{[^{}]*\}|(?:text(?:bf|it|rm|sf|tt|normal|sc|up|md)?|math(?:rm|bf|it|sf|tt|normal)"
    r"|mbox|hbox|emph|underline|bold(?:symbol)?|bm|boxed|fbox|framebox|ensuremath|operatorname\*?|large|Large|huge"
    r"|uline|uwave|textcolor))\s*\{([^{}]*)\}"
)
_COLOR = re.compile(r"\\(?:text)?color\s*(?:\[[^\[\]]*\])?\{[^{}]*\}")
_FONT = re.compile(r"\\(?:bf|it|rm|sf|tt|bfseries|itshape|boldmath|large|Large|LARGE|huge|Huge|small|normalsize)\b ?")
_SIZE = re.compile(
    r"\\(?:left|right|middle)(?![A-Za-z])|\\[bB]igg?[lrm]?(?![A-Za-z])|\\(?:displaystyle|textstyle|limits)\b"
)
_SPACE = re.compile(r"(?<!\\)\\[,;:>]|(?<!\\)\\[ ]|\\(?:thin|med|thick)space\b|\\(?:q?quad)\b|\\enspace\b|\\!")
_TIE = re.compile(r"(?<=\S)~(?=\S)")
_BRACED_COMMA = re.compile(r"\{([,.])\}")
_FRAC = re.compile(r"\\[dtc]?frac\b\s*|\\[dtc]frac(?=\d)|\\frac(?=\d)")
_FRAC_ARGUMENTS = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*(\{)|(\{[^{}]*\})\s*(\d))")
_CHOOSE = re.compile(r"\{?\s*(\w{1,9})\s*\\choose\s*(\w{1,9})\s*\}?")
_OVER = re.compile(r"\{\s*([^{}]{1,40}?)\s*\\over\s+([^{}]{1,40}?)\s*\}")
_DEGREE = re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?|\\degree\b|\\deg\b(?!\s*[({])|\\textdegree\b")
_ESCAPED = re.compile(r"\\([$%#&])")
_EMPHASIS = re.compile(r"(\*\*\*|\*\*|__|(?<![\w*\\])[*_](?=\S))([^*\n]{1,400}?)(?<=\S)\1(?!\w)")
_CODE = re.compile(r"`+([^`\n]*)`+")


def without_layout(text: str) -> str:
    r"""The text without colours, fonts, sizes and struck-out parts; `\text{...}` gives its content, `\,` a thin space.

    Mathematics stays LaTeX, in one spelling: `\frac{a}{b}`, `\binom{n}{k}`, `°`, `%`, `$`.
    """
    if "<" in text or "~" in text:
        text = _STRUCK.sub(" ", text)
        text = _LOWERED.sub(r"_{\1}", _RAISED.sub(r"^{\1}", text))
        text = _HTML.sub("", text)
    if "`" in text:
        text = _CODE.sub(r"\1", text)
    if "*" in text or "_" in text:
        text = _EMPHASIS.sub(r"\2", text)
    if "\\" in text or "~" in text or "{" in text:
        text = _latex(text)
    return text


def _latex(text: str) -> str:
    text = text.replace("\x08oxed", "\\boxed")
    text = _STRUCK.sub(" ", text)
    text = _SPACE.sub(
        lambda m: "" if m[0] == "\\!" else THIN if m[0] in ("\\,", "\\;", "\\:", "\\>", "\\ ") else " ", text
    )
    text = _SIZE.sub("", _TIE.sub(THIN, text))
    for _ in range(8):  # wrappers in wrappers
        text, count = _WRAPPER.subn(r" \1 ", text)
        if not count:
            break
    text = _FONT.sub(" ", _COLOR.sub(" ", text))
    text = _BRACED_COMMA.sub(r"\1", text)
    text = _DEGREE.sub("°", text)
    text = _FRAC.sub(r"\\frac", text)
    text = _FRAC_ARGUMENTS.sub(_braced, text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", _OVER.sub(r"\\frac{\1}{\2}", text))
    return _ESCAPED.sub(r"\1", text)


def _braced(match: re.Match[str]) -> str:
    if match[1]:
        return f"\\frac{{{match[1]}}}{{{match[2]}}}"
    if match[3]:
        return f"\\frac{{{match[3]}}}{{"
    return f"\\frac{match[5]}{{{match[6]}}}"


_PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "$": "$", "*": "*", "_": "_", "`": "`"}


def bare(text: str, pairs: str = "\"'$*_`{") -> str:
    r"""The text without enclosing quotes, math delimiters and braces, final full stops, commas and list dashes."""
    text = text.strip()
    while True:
        before = text
        text = text.strip(" \t\r\n*`" + THIN)
        if text.startswith(("\\(", "\\[")) and text.endswith(("\\)", "\\]")) and len(text) >= 4:
            text = text[2:-2]
        for opening in pairs:
            if len(text) >= 2 and text[0] == opening and text[-1] == _PAIRS[opening] and _one_pair(text, opening):
                text = text[1:-1]
        text = text.rstrip(",;:").rstrip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        text = text.removeprefix(": ").removeprefix("- ").removeprefix("• ")
        if text == before:
            return text


def _one_pair(text: str, opening: str) -> bool:
    """Whether the first and the last character belong together."""
    closing = _PAIRS[opening]
    if opening == closing:
        return opening not in text[1:-1] or text[0:2] == text[-2:] == opening * 2
    depth = 0
    for i, char in enumerate(text):
        depth += (char == opening) - (char == closing)
        if depth == 0:
            return i == len(text) - 1
    return False
