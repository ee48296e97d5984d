r"""Multiple choice: one option letter.

The letter is taken from the first of these places that names one (thoughts and end tokens off):

1. `<answer>...</answer>`: every pair of tags must name the same letter,
2. the last of `\boxed{...}`, JSON, "the answer is B", "option B is correct", "I choose B" and their kin,
3. a last or first line that is a letter alone, "(B)", "B: text of the option" or "So it's B".

Two different letters in the deciding place are a wrong answer that says so, not an unscored one: whoever names two
options has not chosen. "Not A but C" names one. A letter that is denied is not named, and neither is a letter within
ordinary words ("a safe choice", "Vitamin C is healthy").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from frown.tasks.grading import marks, words
from frown.tasks.grading.characters import plain_characters
from frown.tasks.grading.completion import visible_text
from frown.tasks.grading.layout import bare, without_layout
from frown.tasks.grading.marks import Statement
from frown.types import Verdict

_NAMED = (
    r"(?:option|choice|letter|alternative|answer|opción|opcion|lettre|letra|variante?|вариант|the|la|el|le|l'"
    r"|die|der|den|das|l'option|item|number)"
)
_HEAD = re.compile(
    rf"(?:{_NAMED}\s+){{0,3}}[\"'*_(\[{{$]*(?P<letter>[A-Za-z])(?P<close>[\"'*_)\]}}$]*)(?![A-Za-z0-9'’])(?P<rest>.*)",
    re.I | re.S,
)
_AFTER_A = re.compile(
    r"\s*(?:$|[.,:;!?)\]/&+=*\"]|[–—-]|(?:because|since|as|is|was|or|and|due|for|by|not|which|seems|looks|und|oder"
    r"|weil|ist|"
    r"est|es|car|porque|y|o|ou|et|it|i)\b|[^\x00-\x7f])"
)
_JOINED = re.compile(
    r"\s*(?:,|/|&|\+|\bor\b|\band\b|\bund\b|\boder\b|\bou\b|\bet\b|\by\b|\bo\b|;)+\s*(?:(?:or|and|maybe|perhaps"
    r"|possibly|also|either|even)\s+)*"
    r"(?:(?:option|choice)\s+)?[\"'*(\[]*([A-HJ-Z])[\"'*)\]]*(?![A-Za-z0-9'’])(?!\s*[:)]\s*\w)"
)
_GROUP = re.compile(
    r"(?<![A-Za-z0-9'’\\])[\"'*(\[]{0,4}(?:\(([A-Za-z])\)|([A-HJ-Z]))[\"'*)\]]{0,4}(?![A-Za-z0-9'’])"
    r"(?:\s{0,8}(?:,|/|&|\bor\b|\band\b|\bnor\b)+\s{0,8}(?:(?:or|and)\s{1,8})?(?:(?:option"
    r"|choice)\s{1,8})?[\"'*(\[]{0,4}[A-HJ-Z][\"'*)\]]{0,4}(?![A-Za-z0-9'’]))*"
)
_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|none of|no|rather than|instead of|except|excluding|unlike|than|besides|without"
    r"|beats?|over|versus|vs|"
    r"eliminat\w+|rul\w+ out|discard\w*|reject\w*|exclud\w+|kein\w*|nicht|pas|no es|cannot be|can't be)\b|n['’]t\b"
    r"|不是|不选|非)"
    r"(?:(?!\bbut\b|\bsondern\b|\bsino\b|[,.;:!?]|而是)[^\n]){0,25}$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s,]*(?:both |all )?(?:(?:is|are|was|were|seems?|looks?|would be|can|could|does|do|must be|has"
    r"|have)\s*(?:(?:both|all|also|clearly|simply|just|far|be|been|be)\s+){0,2}"
    r"(?:not\b|n['’]t|wrong|incorrect|false|eliminated|ruled|excluded|rejected|too\b|impossible|implausible"
    r"|unlikely|out\b|invalid|inaccurate|irrelevant)"
    r"|(?:isn|aren|wasn|can|doesn|don|couldn|wouldn)['’]t\b|cannot\b|fails?\b|不对|错)",
    re.IGNORECASE,
)
_HEDGED = re.compile(r"\b(?:maybe|perhaps|possibly|might|could be|may be|either|not sure)\b", re.IGNORECASE)
_LEAD_WORDS = frozenset(
    "so thus therefore hence then it it's its is that that's this must be i i'd i'll i'm think believe say would "
    "will pick choose "
    "chose select selected go going with option choice answer clearly definitely probably likely surely the "
    "correct right one best "
    "antwort respuesta réponse resposta final my our we leaves leaving only get should and ok okay well good guess "
    "hmm pick: choice: selected: chosen "
    "letter you can "
    "conclude conclusion in by elimination which means making meaning us as a most appropriate suitable accurate "
    "statement response "
    "solution have settle for vote suggest opt on".split()
)
_CLAIM = re.compile(
    r"(?:^|(?<=[.!?:;\n,(])|\b(?:so|thus|therefore|hence|that|option|choice|answer|statement|and|then|think"
    r"|believe|is|because|only)\b)"
    r"[\s*_\"']{0,4}(?:option|choice|answer|statement)?[\s*_\"'(\[]{0,6}(?P<letter>[A-Z])[)\]*_\"']{0,4}"
    r"(?:[.):]\s[^.\n]{0,60}?)?\s{1,8}(?:is|are|seems|looks|ist|es|est|must be|would be|has to be)\s{1,8}(?:(?:clearly"
    r"|therefore|thus|obviously|definitely|indeed|to be|probably|likely|then|hence)\s{1,8})*"
    r"(?:the|my|our|a|die|der|la|le)?\s{0,8}(?:(?:only|single|most|final|best|one)\s{1,8})*"
    r"(?:correct|right|best|better|true|answer|appropriate|accurate|suitable|richtig|correcte?|correcta|one\b|choice"
    r"|option|solution)",
    re.MULTILINE,
)
_CHOSEN = re.compile(
    r"\b(?:(?:i|we|i'd|i'll|we'll|let's|i'm|you)\s{1,8}(?:would\s{1,8}|will\s{1,8}|should\s{1,8}|have to\s{1,8}"
    r"|must\s{1,8}|therefore\s{1,8}"
    r"|am\s{1,8}|can\s{1,8}|also\s{1,8})*"
    r"(?:pick|choose|chose|select|go(?:ing)? with|opt for|settle (?:on|for)|vote for|say|answer)|"
    r"(?:final|my|selected|chosen|best|correct|right)\s{1,8}(?:choice|option|pick|selection|letter|response|decision"
    r"|answer)\s{0,8}(?:is\b|:|=|would be\b|must be\b)|"
    r"selected|selection|choice|chosen|pick|response)\s{0,8}[:=]?(?P<said>[^\n]*)"
    r"|(?:故|应|應|所以|因此|我)?[选選](?:择|擇|项|項)?\s{0,8}:?(?P<cjk>\s{0,8}[(（]?[A-Z][^\n]*)",
    re.IGNORECASE,
)
_STRICT = re.compile(r"[A-Z]")
_GOLD = re.compile(
    r"(?:(?:option|choice|answer)\s+)?\(?([A-Za-z])(?:[).:]\)?|\s*[-–—])\s*(\S.*)", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class Choice:
    """The letters named in the deciding place (none, one, or several), whether in the strict form, and what place."""

    letters: frozenset[str]
    strict: bool = False
    statement: Statement | None = None
    taken_back: bool = False


def choice_gold(raw: str) -> tuple[str, str]:
    """The reference letter, "A" to "Z", and the option's text where it stands behind ("B. Paris").

    Raises ValueError for anything else.
    """
    text = bare(without_layout(plain_characters(raw)))
    letters = letters_of(text)
    if len(letters) == 1 and len(text.strip(" ().[]:")) == 1:
        return next(iter(letters)), ""
    named = re.fullmatch(r"(?:option|choice|answer)\s+\(?([A-Za-z])\)?\.?", text, re.IGNORECASE)
    if named is not None:
        return named[1].upper(), ""
    option = _GOLD.fullmatch(text)
    if option is not None:
        return option[1].upper(), option[2].strip()
    raise ValueError(f"a multiple-choice answer is one letter, got {raw[:40]!r}")


def choose(text: str, option: str = "") -> Choice:
    """What a completion chooses. `option`: the text of the right option, which may be said instead of its letter."""
    text = visible_text(plain_characters(text))
    tags = marks.answer_tags(text)
    closed = [t for t in tags if t.rule == "answer tag"]
    if closed or (tags and tags[-1].rule == "open answer tag"):
        shown = closed or tags[-1:]
        letters = frozenset().union(*(letters_of(t.text) for t in shown))
        strict = len({t.text for t in shown}) == 1 and bool(_STRICT.fullmatch(shown[0].text)) and bool(closed)
        return Choice(letters, strict, shown[-1]) if letters or not _says(option, shown[-1]) else _as_text(shown[-1])
    for statement in _places(text):
        letters = letters_of(statement.text)
        if not letters and statement.rule == "answer is":
            letters = _mentioned(statement.text)
        if not letters and _says(option, statement):
            return _as_text(statement)
        if letters:
            strict = statement.rule == "box" and bool(_STRICT.fullmatch(statement.text))
            return _unless_taken_back(text, Choice(letters, strict, statement), option)
    return _from_lines(text, option)


def letters_of(place: str) -> frozenset[str]:
    """The letters that a short statement names ("B", "(b)", "B. Paris", "B or C", "not A but C"); none where none."""
    if len(place) > 2000:  # no statement of a choice
        return frozenset()
    text = bare(without_layout(plain_characters(place)), "\"'$*_`{[").strip()
    if text.endswith("?") and len(text) > 1:
        return frozenset()
    head = _HEAD.match(text)
    if head is not None and not _article(text, head):
        letters = {head["letter"].upper()}
        rest, at = text, head.start("rest")
        while (joined := _JOINED.match(rest, at)) is not None:
            letters.add(joined[1])
            at = joined.end()
        if _DENIED_AFTER.match(rest, at) or re.match(
            r"[\s,–—(-]*(?:maybe|perhaps|possibly|no[.!]?$|not sure)", rest[at:], re.I
        ):
            return frozenset()
        return frozenset(letters)
    if re.match(r"(?:not|neither|either|both|it's|it is|isn't|only|nicht|all of|maybe|perhaps)\b", text, re.IGNORECASE):
        return _mentioned(text)
    return frozenset()


def _article(text: str, head: re.Match[str]) -> bool:
    """Whether the letter in front is a word of a sentence: "a car", "I think", "A cat"."""
    letter, rest = head["letter"], head["rest"]
    enclosed = bool(re.search(r"[(\[\"'*]$", text[: head.start("letter")])) and bool(head["close"])
    if enclosed or not rest.strip():
        return False
    if letter in "AI":
        return _AFTER_A.match(rest) is None or (letter == "I" and not re.match(r"\s*[.):]", rest))
    if letter.islower():
        return re.match(r"\s*[).:,;]|\s*$", rest) is None or (letter in "ai" and rest[:1] in ",;")
    return False


def _mentioned(sentence: str) -> frozenset[str]:
    """The letters that a sentence names and does not deny; none where it is unsure or asks."""
    if len(sentence) > 2000:
        return frozenset()
    if _HEDGED.search(sentence) or sentence.rstrip().endswith("?"):
        named = _groups(sentence)
        return named if len(named) > 1 else frozenset()
    return _groups(sentence)


def _groups(sentence: str) -> frozenset[str]:
    letters: set[str] = set()
    for group in _GROUP.finditer(sentence):
        named = {m.upper() for m in _LETTER.findall(group[0]) if m.isupper() or f"({m})" in group[0]}
        if named == {"A"} and "(" not in group[0] and _AFTER_A.match(sentence, group.end()) is None:
            continue
        before = sentence[max(0, group.start() - 40) : group.start()]
        if _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(sentence, group.end()):
            continue
        letters |= named
    return frozenset(letters)


def _places(text: str) -> Iterator[Statement]:
    """The marked places, the last one first."""
    boxes = marks.box_rows(text)
    places = [*boxes, *marks.json_answers(text)]
    places += [p for p in marks.phrases(text) if p.rule == "answer is"]
    for claim in list(_CLAIM.finditer(text))[-16:]:
        before = text[max(0, claim.start("letter") - 40) : claim.start("letter")]
        negated = _DENIED_BEFORE.search(before) or re.search(
            r"\b(?:if|whether|is|was|could)\s*(?:option|choice)?\s*\(?$", before, re.I
        )
        joined = re.search(r"(?:\band\b|\bor\b|,|/)\s*(?:option\s+)?\(?$", before) and re.search(
            r"[A-Z]\)?\s*(?:,|/|and|or)\s*(?:option\s+)?\(?$", before
        )
        if not negated:
            named = re.findall(r"(?<![A-Za-z])[A-Z](?![A-Za-z'])", before[-25:]) if joined else []
            places.append(Statement(" or ".join([*named, claim["letter"]]), "answer is", claim.start(), claim.end()))
    for chosen in list(_CHOSEN.finditer(text))[-16:]:
        start = chosen.start("said") if chosen["said"] is not None else chosen.start("cjk")
        if _DENIED_BEFORE.search(text[max(0, chosen.start() - 30) : chosen.start()]):
            continue
        end = marks.sentence_end(text, start, chosen.end())
        places.append(Statement(text[start:end].strip(" :=\t"), "answer is", chosen.start(), end))
    places.sort(key=lambda s: (s.end, s.start), reverse=True)
    yield from (p for p in places if p.text)


def _from_lines(text: str, option: str) -> Choice:
    stripped = text.strip()
    if _STRICT.fullmatch(stripped):
        return Choice(frozenset(stripped), True, Statement(stripped, "last line", 0, len(text)))
    lines = [line for line in stripped.splitlines() if line.strip()]
    if not lines:
        return Choice(frozenset())
    listed = sum(re.match(r"\s*\(?[A-Z][).:]\s*\S", line) is not None for line in lines)
    places = marks.last_lines(text, most=3)
    first_end = text.find(lines[0]) + len(lines[0])
    first = Statement(lines[0], "last line", text.find(lines[0]), first_end)
    for statement in [Statement(lines[-1], "last line", text.rfind(lines[-1]), len(text)), *places, first]:
        if listed > 1 and re.match(r"\s*\(?[A-Z][).:]\s*\S", statement.text) and lines[-1] != lines[0]:
            continue  # the options, echoed
        letters = _on_line(statement.text)
        last = statement.text.rpartition(", ")[2]
        if not letters and re.match(r"(?:so|thus|therefore|hence|it|then|leaving|which leaves)\b", last, re.I):
            letters = _on_line(last)
        if not letters and _says(option, statement):
            return _as_text(statement)
        if letters:
            return _unless_taken_back(text, Choice(letters, False, statement), option)
    return Choice(frozenset())


def _on_line(line: str) -> frozenset[str]:
    """The letters of a line that is one, begins with one, or leads up to one in words that introduce an answer."""
    if len(line) > 2000:
        return frozenset()
    text = bare(without_layout(line))
    head = _HEAD.match(text)
    if head is not None and not _article(text, head):
        rest = head["rest"]
        if (
            not rest.strip()
            or re.match(r"[.):]|\s*[,;–—-]|\s*(?:because|since|as|or|and|/)\b|\s*/|\s*[^\x00-\x7f]", rest)
            or head["close"]
        ):
            return letters_of(text)
    group = next(iter(_GROUP.finditer(text)), None)
    if group is None:
        return frozenset()
    before = re.findall(r"[^\s,:]+", text[: group.start()].casefold().replace("’", "'"))
    if before and all(w.strip("*_\"'().") in _LEAD_WORDS for w in before):
        return _mentioned(text)
    if before and re.match(r"(?:not|it's not|it is not|neither)\b", text, re.I):
        return _mentioned(text)
    return frozenset()


def _unless_taken_back(text: str, choice: Choice, option: str) -> Choice:
    assert choice.statement is not None
    start = marks.retraction(text, choice.statement.end)
    if start is None:
        return choice
    for sentence in marks.corrections(text, start):
        letters = letters_of(sentence.text) or _on_line(sentence.text)
        if letters:
            return Choice(letters, False, sentence)
    return Choice(frozenset(), False, choice.statement, taken_back=True)


def _says(option: str, statement: Statement) -> bool:
    return bool(option) and words.says(option, statement.text)


def _as_text(statement: Statement) -> Choice:
    return Choice(frozenset("="), False, statement)


class ChoiceGrader:
    """Judges completions against option letters. Never raises for a bad completion."""

    def gold(self, raw: str) -> str:
        """The reference letter, with the option's text where given. Raises ValueError when it is not one letter."""
        letter, option = choice_gold(raw)
        return f"{letter}. {option}" if option else letter

    def grade(self, golds: Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order; unscored where the reference is not one letter."""
        return [_judge(gold, text) for gold, text in zip(golds, texts, strict=True)]

    def close(self) -> None:
        """Nothing to release."""


def _judge(raw: str, text: str) -> Verdict:
    try:
        gold, option = choice_gold(raw)
    except ValueError as e:
        return Verdict.unscored(str(e))
    choice = choose(text, option)
    statement = choice.statement
    rule, stated = (statement.rule, " ".join(statement.text.split())[:200]) if statement is not None else ("", "")
    if not choice.letters:
        message = "the final answer is taken back" if choice.taken_back else "no answer found"
        return Verdict(score=0.0, message=message, well_formed=False, rule=rule, stated=stated)
    if len(choice.letters) > 1:
        named = ", ".join(sorted(choice.letters))
        return Verdict(
            0.0, message="more than one option named", answer=named, well_formed=False, rule=rule, stated=stated
        )
    (letter,) = choice.letters
    letter = gold if letter == "=" else letter
    message = "" if letter == gold else "the chosen option is wrong"
    score = float(letter == gold)
    return Verdict(score, message=message, answer=letter, well_formed=choice.strict, rule=rule, stated=stated)
