r"""Where a completion says what its final answer is: a box, `####`, a tag, JSON, "the answer is", else its last line.

Pure readers in linear time that never raise. What they take is in the text's own words, layout and all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

Rule = Literal[
    "box", "boxes", "####", "answer tag", "open answer tag", "JSON", "answer is", "is the answer", "last line"
]


@dataclass(frozen=True)
class Statement:
    """What may be the final answer, by which rule, and where it stands in the visible text."""

    text: str
    rule: Rule
    start: int
    end: int

    @property
    def marked(self) -> bool:
        """Whether the completion says that this is its answer."""
        return self.rule != "last line"


_MOST_PHRASES = 16
"""Phrases that are looked at, from the end: nobody states an answer more often."""
_LONGEST_SENTENCE = 1000

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"'”’)\]*]|$)|;(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:approx|ca|mr|mrs|ms|dr|vs|sq|cu|ft|in|oz|lb|lbs|hr|hrs|min|sec|no|nos|st|rs|max|est|avg|fig|eq"
    r"|[ap]\.m|e\.g|i\.e|[A-Z])"
    r"|\.)\.$",
    re.IGNORECASE,
)
_VERB = r"(?:is|are|was|be|equals|ist|lautet|beträgt|es|est|é|è|är|er|to|jest|adalah|là)"
_ANSWER = re.compile(
    r"\b(?:answers?|(?:final|correct|right|best) (?:result|choice|option|value|solution)|antwort|respuesta|réponse"
    r"|resposta|"
    r"risposta|ответ|odpowiedź|odpowiedz|cevap|svaret|svar|antwoord|jawaban|vastaus|odpověď|відповідь|απάντηση|đáp "
    r"án)\b"
    r"|(?:opción|opcion|opção|option|réponse|respuesta|resposta|risposta|antwort)\s+(?:corrett?a|correcta|correcte"
    r"|richtige)|(?:正确|最终|正確|最終)?(?:答案"
    r"|选项|選項)|正解|答え|答|정답|정답은|उत्तर|الإجابة|الجواب",
    re.IGNORECASE,
)
_AFTER_ANSWER = re.compile(
    rf"(?P<gap>(?:[*_`'\")\]}}~]|\\[)\]])*(?:\s*\([^()\n]{{0,30}}\))?(?:\s*,)?(?:\s+(?:to|of|for|in|here|then"
    rf"|therefore|we|you|i|that|which|would|should|must|"
    rf"will|could|may|might|can|cannot|can't|clearly|again|choice|option|letter|key|now|thus|corrett?a|correta"
    rf"|correcta?|correcte"
    rf"|finale?|richtige|à|a la|a)\b[^.?!\n:=]{{0,90}}?)?)"
    rf"(?:[*_`]*\s*(?P<not>(?:is|are|was|were)n['’]t)|\s*(?P<verb>\b{_VERB}\b(?![-'’]))(?:\s*[*_`\"]*[:=])?"
    rf"|\s*[*_`]*\s*(?P<mark>[:=≈]|->|→|⇒|—)|(?P<cjk>是|为|為|应为|は|은|는|है)\s*:?)",
    re.IGNORECASE,
)
_IS_THE_ANSWER = re.compile(
    r"\b(?:is|are|was|be)\s+(?:therefore |thus |hence |clearly )?(?:the|my|our|your)\s+(?:final |correct |right "
    r"|only |best )*"
    r"(?:answer|solution|result)\b(?!\s*(?:to|is|:|=)\b)",
    re.IGNORECASE,
)
_JSON_KEYS = (
    "final_answer",
    "finalanswer",
    "final answer",
    "answer",
    "final",
    "result",
    "solution",
    "output",
    "choice",
    "option",
)
_JSON_KEY = re.compile(r'"(?:final[_ ]?answer|answer|final|result|solution|output|choice|option)"\s*:', re.IGNORECASE)
_ROW = re.compile(
    r"(?:[\s$,;&.:|]|\\[()\[\],;:! ]|\\(?:q?quad|text\s*\{\s*(?:and|or)?\s*\})|\b(?:and|or|respectively|und|oder"
    r"|et|ou|y)\b|"
    r"(?<![A-Za-z])[A-Za-z](?:_\{?\w\}?)?\s*=)*"
)
_REJECTED_BEFORE = re.compile(
    r"(?:\bnot|n['’]t|\brather than|\binstead of|\bnever|\bnor)\b[^.\n]{0,12}$", re.IGNORECASE
)
_REJECTED_AFTER = re.compile(
    r"[\s$\\)\].,*]{0,6}(?:(?:is|was|would be|which is|that is|seems|looks)\s+(?:clearly |obviously |definitely "
    r")?(?:wrong|incorrect|false|not\b|invalid|impossible|a mistake)"
    r"|(?:isn|wasn|can)['’]t\b|cannot\b|(?:is|was) rejected)",
    re.IGNORECASE,
)


def boxes(text: str) -> list[Statement]:
    r"""Every complete `\boxed{...}` or `\fbox{...}` that lies in no other, in order; also `\boxed 4`."""
    openers: list[tuple[int, bool]] = []
    kept: list[Statement] = []
    i, size, open_boxes = 0, len(text), 0
    while i < size:
        char = text[i]
        if char == "\\":
            if text.startswith(("\\boxed", "\\fbox"), i):
                at = i + (6 if text.startswith("\\boxed", i) else 5)
                while at < size and text[at] in " \t":
                    at += 1
                if at < size and text[at] == "{":
                    openers.append((i, True))
                    open_boxes += 1
                    i = at + 1
                    continue
                if at < size and text[at].isalnum() and not open_boxes:
                    end = at + 1
                    while end < size and (text[end].isalnum() or text[end] in ".,/") and text[at].isdigit():
                        end += 1
                    kept.append(Statement(text[at:end].rstrip(".,"), "box", i, end))
                i = at
                continue
            i += 2
            continue
        if char == "{":
            openers.append((i, False))
        elif char == "}" and openers:
            start, is_box = openers.pop()
            if is_box:
                open_boxes -= 1
                while kept and kept[-1].start > start:
                    kept.pop()  # what it holds
                inside = text.index("{", start) + 1
                kept.append(Statement(text[inside:i].strip(), "box", start, i + 1))
        i += 1
    return kept


def answer_tags(text: str) -> list[Statement]:
    """The contents of every `<answer>...</answer>`, in order; a last one that is never closed counts too."""
    kept: list[Statement] = []
    start: tuple[int, int] | None = None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            start = tag.start(), tag.end()
        elif start is not None:
            kept.append(Statement(text[start[1] : tag.start()].strip(), "answer tag", start[0], tag.end()))
            start = None
    if start is not None and text[start[1] :].strip():
        kept.append(Statement(text[start[1] :].strip(), "open answer tag", start[0], len(text)))
    return kept


def hash_marks(text: str) -> list[Statement]:
    """What stands behind each `####` on its line (GSM8K's mark of the answer)."""
    kept = []
    for line in _lines(text):
        at = text.rfind("####", line[0], line[1])
        if at >= 0 and text[at + 4 : at + 5] != "#":
            content = text[at + 4 : line[1]].strip()
            if content:
                kept.append(Statement(content, "####", at, line[1]))
    return kept


def json_answers(text: str) -> list[Statement]:
    """The value of an "answer" key in the last JSON object, bare or in a code fence."""
    keys = list(_JSON_KEY.finditer(text))
    if not keys:
        return []
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    for key in reversed(keys[-3:]):
        at = key.start()
        for _ in range(8):  # the object may be nested in others
            at = text.rfind("{", max(0, at - 20_000), at)
            if at < 0:
                break
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                continue
            answer = _json_answer(value)
            if answer is not None and end > key.end():
                return [Statement(answer, "JSON", at, end)]
    return []


def _json_answer(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    lowered = {str(k).lower(): v for k, v in value.items()}
    for key in _JSON_KEYS:
        if key in lowered:
            answer = lowered[key]
            if isinstance(answer, dict):
                return _json_answer(answer)
            if isinstance(answer, list):
                return ", ".join(map(str, answer))
            return (
                {True: "true", False: "false", None: ""}.get(answer, str(answer))
                if not isinstance(answer, str)
                else answer
            )
    return None


def phrases(text: str) -> list[Statement]:
    """What follows "the answer is", "answer:" and their kin up to the end of the sentence; and "... is the answer"."""
    kept: list[Statement] = []
    for word in list(_ANSWER.finditer(text))[-_MOST_PHRASES:]:
        after = _AFTER_ANSWER.match(text, word.end())
        if after is None:
            continue
        start = after.end()
        start, end = _sentence(text, start)
        content = text[start:end].strip().strip("*_` ") if end > start else ""
        gap = (after["gap"] or "").lower()
        if after["not"] or re.search(r"n['’]t\b|\b(?:not|cannot|never)\b", gap):
            content = "not " + content
        elif re.search(r"\b(?:may|might|could)\b", gap):
            content = "maybe " + content
        before = text[max(0, word.start() - 60) : word.start()]
        if _DENIED_CLAIM.search(before):
            content = "not " + content
        elif _SUPPOSED.search(before):
            content = "maybe " + content
        if _is_question(text, word.start()) and text[end : end + 1] == "?":
            content += "?"
        elif text[end : end + 1] == "?":
            content += "?"
        if content:
            kept.append(Statement(content, "answer is", word.start(), max(end, start)))
    for match in list(_IS_THE_ANSWER.finditer(text))[-_MOST_PHRASES:]:
        start = _sentence_start(text, match.start())
        content = text[start : match.start()].strip()
        follows = re.compile(r"\s*(?:not\b|\?)").match(text, match.end())
        if content and follows is None:
            kept.append(Statement(content, "is the answer", start, match.end()))
    return sorted(kept, key=lambda s: s.start)


_DENIED_CLAIM = re.compile(
    r"(?:\bdoubt\w*|\b(?:not|n['’]t) (?:think|believe|say|claim|mean|true|the case|sure|certain|clear|convinced"
    r"|correct|right|obvious)\b|"
    r"(?:do|does|did|is|was|can|could|would)n['’]t (?:think|believe|say|claim|mean|true|sure|certain|follow)\b"
    r"|\b(?:wrong|false|incorrect|impossible|unlikely|"
    r"mistake\w*|deny|denies|reject\w*)\b(?: to (?:say|think|claim|believe))?)[^.?!\n]{0,25}$",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|unless|whether|suppose|supposing|assume|assuming|say|imagine|wonder|you(?:'d| would| might| may)? think|"
    r"one (?:might|may|could|would) (?:think|say)|(?:might|may|could) (?:think|say|seem)|would be|guess whether"
    r"|check (?:if|that|whether)|maybe|perhaps|possibly)"
    r"\s+(?:that\s+)?(?:the|my|our|your|this|that)?\s*(?:final |correct |right |real )*$",
    re.IGNORECASE,
)
_CORRECTION_LEAD = re.compile(
    r"(?:[\s,.:;!?)—–*'\"-]|(?:no|nope|wait|oh|hmm+|actually|sorry|rather|oops|i meant?|make that|should be|it "
    r"should be)\b)*",
    re.I,
)


def corrections(text: str, start: int) -> list[Statement]:
    """The sentences behind the words that take something back, in order."""
    start = _CORRECTION_LEAD.match(text, start).end()  # type: ignore[union-attr]
    return [Statement(s.text, "last line", start, len(text)) for s in reversed(last_lines(text[start:], most=50))]


def _is_question(text: str, at: int) -> bool:
    return (
        re.search(
            r"\b(?:is|could|can|would|might)\s+(?:the|my|this|that)\s+(?:\w+\s+)?$", text[max(0, at - 40) : at], re.I
        )
        is not None
    )


def _sentence(text: str, start: int) -> tuple[int, int]:
    """From a place to the end of its sentence or line; the next line with words on it where this one is empty."""
    size = len(text)
    while True:
        end = text.find("\n", start)
        end = size if end < 0 else end
        if text[start:end].strip(" \t*_`:#$\\[]()-•|\r") or end >= size:
            break
        start = end + 1
    return start, sentence_end(text, start, min(end, start + _LONGEST_SENTENCE))


def sentence_end(text: str, start: int, limit: int) -> int:
    """Where the sentence that begins at `start` ends, at `limit` at the latest: abbreviations end none."""
    for match in _SENTENCE_END.finditer(text, start, limit):
        if match[0] == "." and _ABBREVIATION.search(text, max(start, match.start() - 8), match.end()):
            rest = text[match.end() : limit].strip()
            if not rest or rest[0].islower() or rest[0].isdigit() or rest[0] in "$€£(":
                continue
        if text[start : match.start()].strip(" *_`\"'()[]$\\-•"):
            return match.start()
    return limit


def _sentence_start(text: str, at: int) -> int:
    start = text.rfind("\n", max(0, at - 400), at) + 1 or max(0, at - 400)
    for match in _SENTENCE_END.finditer(text, start, at):
        start = match.end()
    return start


def box_rows(text: str) -> list[Statement]:
    """The boxes, those that stand in a row (nothing but commas, "and", "x =" between) as one list."""
    rows: list[Statement] = []
    for box in boxes(text):
        if not box.text or _REJECTED_BEFORE.search(text[max(0, box.start - 30) : box.start]):
            continue
        if _REJECTED_AFTER.match(text, box.end):
            continue
        if rows and box.start - rows[-1].end <= 60 and _ROW.fullmatch(text, rows[-1].end, box.start):
            last = rows[-1]
            named = re.search(r"(?<![A-Za-z])[A-Za-z]\s*=\s*$", text[max(0, box.start - 6) : box.start].rstrip("$\\( "))
            if last.text.split(", ")[-1] != box.text or named:
                joined = last.text if last.text == box.text else f"{last.text}, {box.text}"
                rows[-1] = Statement(joined, "boxes" if joined != box.text else "box", last.start, box.end)
            else:
                rows[-1] = Statement(last.text, last.rule, last.start, box.end)
            continue
        rows.append(box)
    return rows


def last_lines(text: str, most: int = 6) -> list[Statement]:
    """The sentences at the end of the text, the last one first; display mathematics is one line."""
    kept: list[Statement] = []
    lines = [line for line in _lines(text) if text[line[0] : line[1]].strip(" \t*_`#$\\[]()-•|\r~=")]
    for start, end in reversed(lines[-most:]):
        start = max(start, end - 20 * _LONGEST_SENTENCE)
        at, sentences = start, []
        while at < end:
            stop = sentence_end(text, at, end)
            stop = stop + 1 if stop < end else end
            if text[at:stop].strip():
                sentences.append(Statement(text[at:stop].strip(), "last line", at, stop))
            at = stop
        kept += reversed(sentences)
    return kept


def _lines(text: str) -> list[tuple[int, int]]:
    lines, start = [], 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        lines.append((start, end))
        start = end + 1
    return lines


_RETRACTED = re.compile(
    r"(?:^|(?<=[.!?\n;:—–}$>)-])|(?<=\*\*))[\s$\\\])*_>\"'`(},]{0,12}"
    r"(?:(?:oh|hmm+|hm|ah|oops|but|and),?\s*)?"
    r"(?:wait\b|hold on\b|no(?=\s*[,.!:;—–-]|\s+wait|\s+(?:it|that|this)\b|\s*$)|nope\b|actually\b|scratch that\b"
    r"|correction\b|"
    r"strike that\b|sorry\b|on second thought\b|i (?:made|was|have made)\s+(?:a |an )?(?:mistake|error|wrong"
    r"|arithmetic|miscalculat)|"
    r"(?:that|this|it|which)(?:'s| is| was| can't be| cannot be| isn't| does not| doesn't)\s*(?:\w+\s+)?(?:wrong"
    r"|incorrect|not right|not correct|right\?|"
    r"a mistake|an error|mistaken|false|not the answer|not my answer)|let me (?:redo|recompute|recalculate|correct"
    r"|reconsider|fix)|"
    r"that (?:can't|cannot) be|oops\b)",
    re.IGNORECASE,
)
_RETRACTED_INSIDE = re.compile(
    r",?\s*(?:but|and|which|though|although)\s+(?:that|this|it|which|)\s*(?:'s|is|was|seems|looks)?\s*(?:wrong"
    r"|incorrect|not right|not correct|a mistake)",
    re.I,
)
_CONFIRMED = re.compile(
    r"\b(?:correct|right|yes|indeed|confirmed|confirms|checks out|consistent|verified|matches|stands|fine)\b",
    re.IGNORECASE,
)
_UNCONFIRMED = re.compile(r"n['’]t\b|\b(?:not|wrong|incorrect|no)\b", re.IGNORECASE)


_LOOKS_AGAIN = re.compile(
    r"(?<=[.!?\n])[\s*]{0,8}(?:hmm+\b|(?:let me|let's|i should|i'll) (?:re|double[- ]?)?(?:check|verify|examine"
    r"|think))[^\n]{0,400}?[.!?:]\s+"
    r"(?=(?:so|thus|therefore|hence|then it is|it is|it's|which gives)\b[^.\n]{0,40}\d)",
    re.IGNORECASE,
)


def second_look(text: str, start: int) -> int | None:
    """Where a conclusion begins that follows a second look at what was said; None where there is none."""
    match = _LOOKS_AGAIN.search(text, start, start + 3000)
    return match.end() if match is not None else None


def is_json(text: str) -> bool:
    """Whether the whole text is one JSON object."""
    text = text.strip().removeprefix("```json").strip("` \n")
    if not (text.startswith("{") and text.endswith("}")) or len(text) > 20_000:
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def opening(text: str, of: frozenset[str]) -> list[Statement]:
    """The first sentence of the text where it begins with one of these words and ends or pauses there."""
    match = re.compile(r"[\W_]{0,6}(\w+)(?=\s*[.,!;:—–\n*]|\s*$)").match(text)
    if match is None or match[1].casefold() not in of:
        return []
    end = sentence_end(text, match.start(1), min(len(text), match.end() + _LONGEST_SENTENCE))
    return [Statement(text[match.start(1) : end], "last line", match.start(), end)]


def retraction(text: str, start: int, *, words: bool = False) -> int | None:
    """Where the text after `start` takes back what was said: the end of the last word that does; None where none does.

    A doubt that ends in "yes, that is right" takes nothing back; nor does a "no" where the answers are `words`.
    """
    last: re.Match[str] | None = None
    for match in _RETRACTED.finditer(text, start):
        before = text[max(start, match.start() - 200) : match.start()].rstrip(" \n*\"')")
        if words and re.match(r"\W*no\b(?!\s+wait)", match[0], re.IGNORECASE):
            continue
        if before.endswith("?") and match[0].strip(" \n*\"')").lower().startswith("no") and before.strip("? \n"):
            if re.search(r"[.!\n]\s*\S+[^.!\n]*\?$", "." + before) and len(before.strip(" ?")) > 1:
                continue  # "Could it be 40? No."
        last = match
    if last is None:
        inside = _RETRACTED_INSIDE.match(text, start)
        return inside.end() if inside is not None else None
    rest = text[last.end() :]
    if _CONFIRMED.search(rest) and not _UNCONFIRMED.search(rest) and not re.search(r"\d|\\boxed", rest):
        return None
    return last.end()
