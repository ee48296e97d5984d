"""Answers in words: names, days, yes and no. Compared as normalised text, all of them alike."""

from __future__ import annotations

import re

from frown.tasks.grading.characters import THIN, plain_characters
from frown.tasks.grading.layout import bare, without_layout
from frown.tasks.grading.tokens import FUNCTIONS

LONGEST = 12
"""Words: a longer reference is a text, which no comparison of words can judge."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|\\[A-Za-z]+|[_^]\{?[A-Za-z0-9]+\}?")
_LEAD = re.compile(
    r"(?:(?:probably|likely|definitely|certainly|i'd say|most likely|so|therefore|thus|hence|then|and|ok|okay|well"
    r"|final answer|answer|in conclusion|clearly|yes|no)\b[,:]?\s+)*"
    r"(?:(?:i (?:think|believe|would say|say|guess)(?: that)?|we (?:get|have|find|conclude)(?: that)?|it follows "
    r"that)\s+)?"
    r"(?:(?:it|this|that|he|she|they|there|the (?:\w+ ){1,3}?|its \w+ )\s?(?:is|are|was|were|will be|would be|must "
    r"be|should be)\b:?\s*"
    r"|it's\s+|that's\s+)?(?:(?:therefore|thus|clearly|simply|just|a|an|the|called|named|on|in|actually|indeed"
    r"|definitely)\b\s+)*"
)
_TAIL = re.compile(
    r"\s*(?:[,;.(:]|\s[–—-]\s|\s-|—|–|\bbecause\b|\bsince\b|\bas\b|\bwhich\b|\bwho\b|\bfor\b|\bdue\b|\bwith\b|\bis "
    r"the\b|\bnot\b|\brather\b|"
    r"\binstead\b|\bis correct\b|\bis (?:a|my|our)\b)"
)
_OTHER = re.compile(r"\s*[,;(–—/-]*\s*(?:or|and|maybe|perhaps|possibly|but|wait|actually|no|yes|/|&)\b|\s*[/&]|\s*\?")
_NEGATED = re.compile(r"\b(?:not|never|neither|nor|cannot|maybe|perhaps|possibly|might|could)\b|n't\b")
_CHANGED = re.compile(r"\b(?:wait|actually|scratch that|on second thought|i mean|correction)\b")
YES_NO = frozenset(("yes", "no", "true", "false"))
_EMPTY = frozenset(
    "no solution|no solutions|no real solution|no real solutions|there is no solution|there are no solutions|empty set|"
    "the empty set|empty|∅|\\emptyset|\\varnothing|\\{\\}|\\{ \\}|none exist|no such number|no such numbers|has no "
    "solution|"
    "no real roots".split("|")
)
_SYNONYMS = {
    "dne": "does not exist",
    "undefined": "undefined",
    "nope": "no",
    "yeah": "yes",
    "yep": "yes",
    "infinity": "\\infty",
    "∞": "\\infty",
    "infinite": "infinite",
    "all reals": "all real numbers",
    "\\mathbb{r}": "all real numbers",
    "\\r": "all real numbers",
    "ℝ": "all real numbers",
    "\\mathbb r": "all real numbers",
    "-\\infty, \\infty": "all real numbers",
    "-\\infty, +\\infty": "all real numbers",
    "all real numbers x": "all real numbers",
    "every real number": "all real numbers",
}


def normal(text: str) -> str:
    """Words in one spelling: layout, case, quotes, enclosing brackets, articles and final marks off."""
    text = bare(without_layout(plain_characters(text)), "\"'$*_`{([").strip(" .!,;:" + THIN)
    text = " ".join(text.casefold().replace("’", "'").split())
    text = re.sub(r"^(?:the|a|an)\s+(?=\w\w)", "", text)
    text = re.sub(r"\s*([,;])\s*", r"\1 ", text)
    if text in _EMPTY:
        return "∅"
    return _SYNONYMS.get(text, text)


def is_words(text: str, raw: str) -> bool:
    r"""Whether a reference is said in words rather than mathematics. `text`: layout off; `raw`: as it came."""
    if normal(text) == "∅" or normal(text) == "all real numbers":
        return False
    if re.search(r"\([a-z]\)\s*\S+.*\([b-z]\)", text):
        return True
    bare_words = _WORD.findall(_COMMAND.sub(" ", text))
    if re.fullmatch(r"[A-Z][a-z]|no|No|NO|up|Up|on|On|In|in", text.strip()):
        return True
    in_text = re.search(r"\\(?:text|mathrm|mbox|textbf|textit|operatorname)\w*\s*\{\s*[A-Za-z]{2,}", raw) is not None
    return any(w.lower() not in FUNCTIONS and (len(w) >= 3 or in_text) for w in bare_words)


def says(gold: str, statement: str) -> bool:
    """Whether a statement says the words of a reference (both unnormalised) and nothing that takes them back."""
    wanted = normal(gold)
    if not wanted:
        return False
    whole = normal(statement)
    if whole == wanted:
        return True
    text = " ".join(bare(without_layout(plain_characters(statement))).casefold().split())
    for start in _starts(text):
        rest = text[start:].lstrip("\"'*_$([{ ")
        head = _head(rest, wanted)
        if head is not None:
            before = text[: len(text) - len(rest)]
            taken_back = _NEGATED.search(before) or _OTHER.match(rest, head) or _CHANGED.search(rest, head)
            return taken_back is None
    return False


def _starts(text: str) -> list[int]:
    lead = _LEAD.match(text)
    starts = [0] if lead is None or not lead.end() else [0, lead.end()]
    colon = text.rfind(": ")
    return [colon + 2, *starts] if 0 < colon < 60 else starts


def _head(rest: str, wanted: str) -> int | None:
    """Where the words of the reference end when the text begins with them as a part of its own; None where not."""
    if not rest.startswith(wanted):
        article = re.match(r"(?:the|a|an)\s+", rest)
        if article is None or not rest.startswith(wanted, article.end()):
            return None
        start = article.end() + len(wanted)
    else:
        start = len(wanted)
    end = re.compile(r"[\"'*_$)\]}]*").match(rest, start)
    assert end is not None
    if end.end() == len(rest) or _TAIL.match(rest, end.end()) or _OTHER.match(rest, end.end()):
        return end.end()
    return None
