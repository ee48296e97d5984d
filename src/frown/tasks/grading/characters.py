"""One way to write each character: widths, digits, quotes, dashes, raised and lowered figures."""

from __future__ import annotations

import functools
import html
import re
import unicodedata

THIN = "\u2009"
"""Any space that is typographic: within a number it groups digits, elsewhere it is a space."""

_THIN = frozenset("\u00a0\u2005\u2006\u2007\u2008\u2009\u202f")
_INVISIBLE = frozenset("\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\ufeff\ufe0f\x00")
_ALIKE = {
    **dict.fromkeys("“”„‟«»″〝〞", '"'),
    **dict.fromkeys("‘’‚‛‹›′`´ʼ", "'"),
    **dict.fromkeys("−‐‑⁃﹣", "-"),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("「」『』", '"'),
    "。": ". ",
    "、": ", ",
    "٫": ".",
    "٬": ",",
}
_SIGNS = {**dict.fromkeys("×⋅∙∗·•", "*"), "÷": "/", "٪": "%", "º": "°", "˚": "°"}
_FOLDED = ("<font>", "<wide>", "<narrow>", "<circle>", "<compat>", "<square>", "<initial>", "<medial>", "<final>")
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b\u207f]+")
_LOWERED = re.compile("[\u2080-\u208b]+")
_VULGAR = re.compile("(\\d?)([\u00bc-\u00be\u2150-\u215e\u2189])")
_DASH_AS_MINUS = re.compile(r"(^|[\s(=:,\[{$])–(?=[\d.$])")
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}\d{0,2}|#\d{1,6});")


def plain_characters(text: str) -> str:
    """The text in plain characters, for comparing words: widths folded, quotes and dashes straight, nothing invisible.

    Raised and lowered characters and fractions stay as they are: folding those would change what is said.
    """
    if text.isascii():
        return text.replace("\x00", "")
    return unicodedata.normalize("NFC", "".join(map(_plain, text)))


def plain_figures(text: str) -> str:
    """`plain_characters` for mathematics: also operators, raised figures (`^{2}`), lowered ones, vulgar fractions."""
    if "&" in text:
        text = _ENTITY.sub(lambda m: html.unescape(m[0]), text)
    if text.isascii():
        return text.replace("\x00", "")
    text = _VULGAR.sub(lambda m: (m[1] + " " if m[1] else "") + _compatible(m[2]).replace("\u2044", "/"), text)
    text = _RAISED.sub(lambda m: "^{" + _compatible(m[0]).replace("−", "-") + "}", text)
    text = _LOWERED.sub(lambda m: "_{" + _compatible(m[0]).replace("−", "-") + "}", text)
    text = "".join(_SIGNS.get(c) or (c if c == "`" else _plain(c)) for c in text)
    return _DASH_AS_MINUS.sub(r"\1-", unicodedata.normalize("NFC", text))


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


@functools.lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    if char.isascii():
        return "" if char == "\x00" else char
    if char in _THIN:
        return THIN
    if char in _INVISIBLE:
        return ""
    if char in _ALIKE:
        return _ALIKE[char]
    if unicodedata.category(char) == "Nd":
        return str(unicodedata.digit(char))
    if unicodedata.decomposition(char).startswith(_FOLDED):
        return "".join(_ALIKE.get(c, c) for c in _compatible(char))
    return char
