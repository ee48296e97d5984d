"""Parse arithmetic as people write it: cut text into numbers, operators and what ends an expression.

Where it is not certain whether something belongs to an expression, the piece is `unclear`, and nobody judges what
stands next to it. Most rules here were bought by a gold solution of GSM8K that would have been called wrong without
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from frown.critics.calculator.arithmetic import SCALES, Item, Number, parse_number

Piece = Item | Literal["stop", "aside", "unclear"]
"""An item of an expression, or what ends one: `stop` for certain; `aside` ends a result, but may belong to the
computation behind it (`5 (3 of them red)`, `on day 1`); `unclear` may belong to either side of it."""
ENDS = ("stop", "aside", "unclear")

_PLAINER = (
    (re.compile(r"\\\\"), "\n"),
    (re.compile(r"\\[dt]?frac\{([0-9.]+)\}\{([0-9.]+)\}"), r"(\1/\2)"),
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)(?![a-z])"), "*"),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile(r"\\(?:boxed|left|right|quad)(?![a-z])|\\[,;!()\[\]]|&"), " "),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    # The mark of an entry in a list.
    (re.compile(r"^[^\S\n]*(?:[-*+•]|[0-9]{1,2}\.|\(?[0-9a-z]{1,2}\))[^\S\n]+", re.MULTILINE), ""),
    # Bold type, not a power: a power has a number or a parenthesis on both sides.
    (re.compile(r"(?<![0-9)])\*\*(?=\S)|(?<=\S)\*\*(?![0-9(])"), ""),
)
_SIGNS = str.maketrans("×·∗÷−–[]{}’", "***/--()()'")
_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+|[¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
    |(?P<power>[²³])
    |(?P<equal>=(?!=|>)|equals(?![^\W\d_]))
    |(?P<word>(?<=[0-9])-(?=[^\W\d_]{2})[^\W\d_]+|[^\W\d_](?:[^\W\d_]|['-](?=[^\W\d_]))*[²³]?)
    |(?P<relation>[<>=!]=|=>|[<>≈≠≤≥~]|\\(?:approx|neq|leq?|geq?)(?![a-z]))
    |(?P<sign>\*\*|[-+*/^])
    |(?P<open>\()
    |(?P<close>\))
    |(?P<percent>%)
    |(?P<currency>[$€£¥₹¢])
    |(?P<line>\n)
    |(?P<ellipsis>\.{2,}|…)
    |(?P<stop>[.,:;!?"“”'|`])
    |(?P<space>[^\S\n]+|\u200b)
    |(?P<other>.)""",
    re.VERBOSE,
)
_OPERATORS: dict[str, Item] = {
    "x": "*",
    "times": "*",
    "plus": "+",
    "minus": "-",
    "divided by": "/",
    "multiplied by": "*",
}
_SIGN_OF: dict[str, Item] = {"+": "+", "-": "-", "*": "*", "/": "/", "^": "^", "**": "^"}
_STARTS = ("number", "currency", "open")
_COMPUTES = frozenset(
    "half halves third thirds quarter quarters fourth fourths fifth fifths sixth eighth tenth twice thrice double "
    "doubles triple triples quadruple plus minus less than squared cubed root sqrt log divided multiplied".split()
)
"""Words that change the number next to them."""
_ARTICLES = frozenset("of the a an his her their its our my these those all by".split())
"""Words that may stand between such a word and its number."""
_LETTERS = frozenset("aghm")
"""Letters that are words or units; any other that stands alone is a variable."""
_CLAUSE = frozenset(
    "because so since then therefore thus is are was were or but which if when means gives give makes make leaves "
    "leave gets get got yields".split()
)
"""Words that no unit has in it."""
_LABELLED = frozenset("day week month year hour step part number chapter page grade level round".split())
"""Words whose number, if it stands behind them, only names them."""
_UNIT_WORDS = 6
"""Most words between a number and the operator behind it."""


class Token(NamedTuple):
    """A piece of text with its place in it; `kind` is a group of the token pattern."""

    kind: str
    text: str
    start: int
    end: int


def tokenise(text: str) -> list[Token]:
    """The tokens of a text without its blanks; simple LaTeX and typographic signs are made plain first."""
    for pattern, plain in _PLAINER:
        text = pattern.sub(plain, text)
    matches = ((str(m.lastgroup), m) for m in _TOKEN.finditer(text.translate(_SIGNS)))
    return [Token(kind, m[0].lower(), m.start(), m.end()) for kind, m in matches if kind != "space"]


def to_pieces(tokens: Sequence[Token]) -> list[Piece]:
    """Cut what stands between two equality signs into pieces. Linear in the number of tokens."""
    parser = _PieceParser(tokens)
    while parser.at < len(tokens):
        parser.cut()
    return parser.pieces


class _PieceParser:
    """Takes tokens from the left and leaves pieces."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens, self.at = tokens, 0
        self.pieces: list[Piece] = []

    def cut(self) -> None:
        """Take the next tokens."""
        token = self.tokens[self.at]
        if token.kind == "word":
            self._prose()
            return
        self.at += 1
        if token.kind == "number":
            self._number(token)
        elif token.kind == "sign":
            self._sign(token)
        elif token.kind == "open":
            self.pieces.append("(")
        elif token.kind == "close":
            self.pieces.append(")")
            self._power()
            self._behind()
        elif token.kind in ("line", "stop"):
            # 8:30, 1.2.3, 1,5 and 14, 400 are no numbers that are read here.
            between = self._kind(-2) == self._kind(0) == "number"
            inside = self._glued(-1) and (self._glued(0) or (token.text == "," and len(self._text(0)) == 3))
            self.pieces.append("unclear" if token.kind == "stop" and between and inside else "stop")
        elif token.kind != "currency":  # which is a unit of the number it stands at
            self.pieces.append("unclear")
            if self._kind(0) == "word" and self._glued(0):  # the name of a command
                self.at += 1

    def _kind(self, ahead: int) -> str:
        """The kind of a token counted from the next one; "" where there is none."""
        at = self.at + ahead
        return self.tokens[at].kind if 0 <= at < len(self.tokens) else ""

    def _text(self, ahead: int) -> str:
        """Its text, likewise."""
        return self.tokens[self.at + ahead].text if self._kind(ahead) else ""

    def _glued(self, ahead: int) -> bool:
        """Whether no blank stands before that token."""
        at = self.at + ahead
        return 0 < at < len(self.tokens) and self.tokens[at - 1].end == self.tokens[at].start

    def _sign(self, token: Token) -> None:
        ahead = self._kind(0)
        if ahead == "word" and token.text == "-" and not self._glued(-1) and not self._glued(0):
            self.pieces.append("stop")  # a dash
        elif ahead in ("word", "stop", "line"):
            self.pieces.append("unclear")
            self.at += ahead == "stop"
        else:
            self.pieces.append(_SIGN_OF[token.text])

    def _number(self, token: Token) -> None:
        number = parse_number(token.text)
        if number is None or (self._glued(-1) and self._kind(-2) in ("number", "percent", "power", "other")):
            self.pieces.append("unclear")
            return
        units = (self._text(-2),) if self._kind(-2) == "currency" else ()
        number = self._mixed(number)
        if self.pieces[-1:] == ["/"] and not self._glued(-1) and (fraction := self._fraction(-1)):  # 28 / 1/5
            number = fraction
            self.at += 2
        number = number._replace(units=units)
        if self._kind(0) == "percent":
            number = number._replace(percent=True)
            self.at += 1
        elif self._kind(0) == "currency" and self._glued(0):
            number = number._replace(units=(self._text(0),))
            self.at += 1
        self.pieces.append(number)
        self._power()
        self._behind()

    def _mixed(self, number: Number) -> Number:
        """The number with the fraction behind it, if one is: 3 1/2, 3½, 3 and 1/2."""
        if number.decimals or number.value.denominator != 1:
            return number
        if self._kind(0) == "number" and not self._text(0).isascii() and (sign := parse_number(self._text(0))):
            self.at += 1
            return Number(number.value + sign.value, f"{number.text}{sign.text}")
        skip = int(self._text(0) == "and")
        part = None if self._glued(skip) else self._fraction(skip)
        if part is None or part.value >= 1:
            return number
        self.at += skip + 3
        return Number(number.value + part.value, f"{number.text} {part.text}")

    def _fraction(self, ahead: int) -> Number | None:
        """The fraction written without blanks that begins at that token, if one does: 1/2."""
        if [self._kind(ahead + i) for i in range(3)] != ["number", "sign", "number"] or self._text(ahead + 1) != "/":
            return None
        above, below = parse_number(self._text(ahead)), parse_number(self._text(ahead + 2))
        if not (above and below and below.value and self._glued(ahead + 1) and self._glued(ahead + 2)):
            return None
        return Number(above.value / below.value, f"{above.text}/{below.text}")

    def _power(self) -> None:
        if self._kind(0) == "power":
            exponent = 2 if self._text(0) == "²" else 3
            self.pieces += ["^", Number(Fraction(exponent), str(exponent))]
            self.at += 1

    def _prose(self) -> None:
        """Words that stand behind no number."""
        words = self._run()
        if self._kind(0) in _STARTS:
            unclear = self._glued(0) and self._kind(0) != "currency"  # x2, f(3)
            unclear = unclear or _computes(words)
        else:
            parenthesis = self._kind(0) == "close" and self.pieces[-1:] == ["("]
            unclear = self._kind(0) == "sign" or parenthesis
        goes_on = self.pieces[-1:] == ["unclear"] and _CLAUSE.isdisjoint(words)
        self.pieces.append("unclear" if unclear or goes_on else "stop")

    def _behind(self) -> None:
        """Parse what stands behind a number or a parenthesis: its unit, an operator in words, or prose that ends it."""
        glued, named = self._glued(0), self._kind(0) == "word"
        words = self._run()
        if named and words[0] == "percent":
            self._attach([], percent=True)
            words = words[1:]
        if self._kind(0) in _STARTS:
            self._between(words, glued)
            return
        self._attach(words)
        joined = self._kind(0) in ("sign", "")
        if _is_variable(words[:1], glued) or (joined and _is_variable(words[1:][-1:], words[-1:] == ["a"])):
            self.pieces.append("unclear")
        elif joined and not self._is_operand(words):
            self.pieces.append("unclear" if self._kind(0) == "sign" else "aside")

    def _between(self, words: list[str], glued: bool) -> None:
        """The words between a number and the next one."""
        opens = self._kind(0) == "open"
        if not words:
            factor = opens and self._glued(0)  # 3(4 + 5)
            self.pieces.append("*" if factor else "unclear" if self._kind(0) == "number" else "aside")
            return
        if self._kind(0) == "number" and self._glued(0) and words[-1] != "x":  # 1e5
            self.pieces.append("unclear")
            return
        share = self._is_share()
        if share and words[0] == "of" and _ARTICLES.issuperset(words[1:]):
            self.pieces.append("*")
            return
        for n in (2, 1):
            if operator := _OPERATORS.get(" ".join(words[-n:])):
                units = words[:-n]
                self._attach(units)
                fits = self._is_operand(units) and not _is_variable(units[:1], glued)
                self.pieces += [operator] if fits else ["unclear", operator]
                return
        goes_on = _CLAUSE.isdisjoint(words)
        computed = self.pieces[-2:-1] in (["+"], ["-"], ["*"])
        labels = words[-1].removesuffix("s") in _LABELLED and self._kind(0) == "number"
        self._attach(words)
        if _computes(words) or (share and words[0] == "of" and len(words) < 4) or (opens and words == ["and"]):
            self.pieces.append("unclear")
        else:
            self.pieces.append("aside" if goes_on and (computed or labels) else "stop")

    def _is_share(self) -> bool:
        """Whether what was just read is a fraction, a percentage or a parenthesis, of which there may be an `of`."""
        last = self.pieces[-1]
        fraction = isinstance(last, Number) and (last.percent or last.value.denominator > 1)
        return fraction or last == ")" or self.pieces[-2:-1] == ["/"]

    def _is_operand(self, words: Sequence[str]) -> bool:
        """Whether a sign behind these words has the number before them for an operand."""
        plain = _COMPUTES.isdisjoint(words) and _CLAUSE.isdisjoint(words) and len(words) <= _UNIT_WORDS
        power = bool(words) and self._text(0) == "^"
        return plain and not power and not (words[:1] == ["of"] and self._is_share())

    def _attach(self, words: Sequence[str], *, percent: bool = False) -> None:
        """Make the words units of the number just read."""
        at = -1 if self.pieces[-1] != ")" else -2
        if isinstance(number := self.pieces[at:][0], Number) and (words or percent):
            self.pieces[at] = number._replace(
                scale=SCALES.get(words[0].removesuffix("s"), 1) if words else number.scale,
                percent=number.percent or percent,
                units=(*number.units, *words[:_UNIT_WORDS]),
            )

    def _run(self) -> list[str]:
        """Words in a row: `miles/hour`, `lbs.`, `(apples)` and `12-inch` are words, too."""
        words: list[str] = []
        while True:
            if self._kind(0) == "word":
                words.append(self._text(0).lstrip("-"))
            elif self._text(0) == "/" and self._kind(1) == "word" and not _is_variable([self._text(1)], False):
                words.append("per")
            elif self._text(0) == "." and self._kind(1) == "sign" and words and len(words[-1]) <= 3:
                pass
            elif self._kind(0) == "open" and not self._glued(0) and (inside := self._parenthesis()):
                words += inside
                self.at += len(inside) + 1
            else:
                return words
            self.at += 1

    def _parenthesis(self) -> list[str]:
        """The words in the parenthesis that opens next; [] where there is more in it, or less."""
        n = 1
        while self._kind(n) == "word" and n <= _UNIT_WORDS:
            n += 1
        return [self._text(i) for i in range(1, n)] if self._kind(n) == "close" else []


def _computes(words: Sequence[str]) -> bool:
    """Whether the words change the number behind them: half of the, less than."""
    at = len(words)
    while at and words[at - 1] in _ARTICLES:
        at -= 1
    return at > 0 and words[at - 1] in _COMPUTES


def _is_variable(word: Sequence[str], glued: bool) -> bool:
    """Whether a word (or none) is a letter that stands for a number: 2a, 3 y."""
    return any(len(w) == 1 and (glued or w not in _LETTERS) for w in word)
