"""The words of a sentence that states a number, or does not: denials, bounds, doubts, reasons, results."""

from __future__ import annotations

import re

_WORDS_THAT = {
    "negate": "not never neither nor cannot without isnt wont except excluding",
    "hedge": "maybe perhaps possibly might either potentially unsure presumably? arguably hopefully",
    "approximate": "about approximately approx approx. around roughly circa ca ca. some ungefähr etwa environ "
    "aproximadamente",
    "contrast": "not never instead rather unlike versus vs except excluding",
    "result": (
        "is are was were be being been equals equal gets get got makes make made gives give gave needs need needed "
        "has have "
        "had costs cost earns earn earned pays pay paid spends spend spent takes take took leaves leave left "
        "totals total "
        "totalling totaling sold sells sell remains remain remaining becomes become weighs weigh contains contain "
        "owes owe "
        "saves save saved travels travel travelled traveled walks walk walked reads read eats eat ate drinks drink "
        "receives receive received obtains obtain obtained yields yield produces produce produced buys buy bought "
        "find finds found requires require uses use used collects collect collected works work worked runs run ran "
        "covers cover covered drives drive drove lasts last lost loses lose won wins win ist sind es est son sont "
        "reaches reach charges charge makes raised raises scored scores grew grows"
    ),
    "adjunct": (
        "in after for over within at on by during every from with of per each between since until when before through "
        "across among into than out under above below day week year month hour minute step chapter page part question "
        "case grade number room day" 
    ),
    "conclude": "so therefore thus hence then consequently thereby giving making yielding leaving also daher "
    "folglich donc",
    "explain": (
        "because since as which where given when if while though although due after meaning whereas who assuming using "
        "with including considering once unless until before whether weil da car porque"
    ),
    "lead": (
        "the a an is are was it its that this these those thus so equal equals to be been exactly simply just "
        "clearly obviously "
        "actually indeed therefore hence only precisely value number given by find found then we get have has i "
        "think believe "
        "ich denke glaube would should must will can final answer my our your correct amount result sum x y n t "
        "final therefore there they he she you i'd say i'll go probably likely surely certainly definitely "
        "es ist sind la le el il réponse respuesta ok okay well yes and option going now approximate approximately "
        "namely "
        "about around roughly circa ca overall altogether altogether, it's that's there's they're he's she's i'm going "
        "estimate estimated expected calculated computed determined of total worth"
    ),
    "filler": "the a an of exactly only just about approximately roughly around another other else maybe perhaps "
    "possibly "
    "even instead rather also then i mean say both all so total",
    "alternative": "or and to through till until alternatively also plus then followed und oder ou et y o bis "
    "versus vs & nor",
    "comparison": "more less greater fewer higher lower larger smaller bigger longer shorter older younger better over",
}  # fmt: skip
WORDS = {name: frozenset(words.replace("?", "").split()) for name, words in _WORDS_THAT.items()}
BOUND_LEFT = re.compile(
    r"(?:\b(?:more|less|greater|fewer|higher|lower|larger|smaller|bigger|longer|shorter|older|younger|better|other"
    r"|heavier)"
    r" than(?: or equal to)?|\bat (?:the )?(?:very )?(?:least|most|minimum|maximum)|\b(?:over|under|above|below"
    r"|exceeds?|"
    r"exceeding|beyond|almost|nearly|upwards of|up to|close to|minimum of|maximum of|as (?:many|much|few|little) as|"
    r"not? (?:more|less|fewer)|within|between|anywhere from|mehr als|weniger als|mindestens|höchstens|más de|menos de|"
    r"plus de|moins de|near|past|half of|half|twice|double|triple|thrice|square of|cube of|root of|reciprocal of|"
    r"negative of|opposite of|inverse of|multiple of|factor of|divisible by|approaches|approaching|tends to|wrong))"
    r"(?: (?:about|exactly|only|the|a|an|around|just|or equal to|to))*$"
)
DENIED_LEFT = re.compile(
    r"\b(?:nobody|no one|nothing|anything but|doubt\w*|no longer|far from|nowhere near|impossible|unlikely|hardly"
    r"|scarcely|wrong"
    r"|incorrect|false|rejects?|rejected|ruled? out|"
    r"mistake\w*|other than|everything but|all but|refus\w+|avoid\w*|excludes?|fails?)\b[^,;]{0,30}$"
)
BOUND_RIGHT = re.compile(
    r"^[,(]?\s*(?:or|and)\s+(?:more|less|fewer|greater|above|below|over|under|higher|lower|larger|smaller|bigger"
    r"|up|beyond|"
    r"so many|better|older|younger|longer|shorter|later|earlier)\b(?!\s+than)|^\s*\+(?!\s*[-/]?\s*\d)|^\s*(?:at "
    r"(?:the )?"
    r"(?:very )?(?:least|most)|minimum|maximum|max|min|tops)\b|^[,(]?\s*(?:at (?:the )?(?:very )?(?:least|most))\b"
    r"|^\s*plus\s*$"
)
_WRONG = (
    r"(?:wrong|incorrect|false|impossible|invalid|mistaken|excluded|ruled out|rejected|too (?:big|small|large"
    r"|much|many|few|low|high))"
)
_NOT_IT = (
    r"(?:not|n't|never)\b(?=\s*(?:$|[.,;!)]|(?:be |quite |at all )?(?:right|correct|the (?:answer|solution|result"
    r"|value|right|correct|"
    r"final)|it\b|true|valid|possible|my|our|what|a solution|an answer|acceptable|allowed)))"
)
DENIED_RIGHT = re.compile(
    rf"^\s*(?:\w+\s+){{0,3}}?(?:is|was|are|were|would be|seems|can|could|will|must|should"
    rf"|looks)\b\s*(?:\w+\s+){{0,2}}?(?:{_WRONG}\b|{_NOT_IT})"
    rf"|^\s*(?:\w+\s+){{0,2}}?(?:cannot|can't|isn't|wasn't|aren't|won't)\b(?=\s*(?:$|[.,;!)]|be\b|(?:the|right"
    rf"|correct|it|true|valid|possible|a solution)\b))"
    rf"|^[\s,(–—-]*(?:no|nope|{_WRONG})\b[\s).!]*$"
    rf"|^[\s,(–—-]*(?:which|that|and that|but that|but it|this)\s+(?:(?:is|was|would be|can|could)\s*(?:{_WRONG}\b"
    rf"|not\b|n't)|(?:isn't|wasn't|can't|cannot)\b)"
    r"|^\s*(?:fails|failed|doesn't work|does not work|doesn't fit|does not fit)\b"
)
HEDGED_RIGHT = re.compile(
    r"^[\s,(–—-]*(?:maybe|perhaps|possibly|not sure|unsure|i'm not sure|but i'm not sure|i am not sure|but i am "
    r"not sure|"
    r"(?:is|was) (?:just |only |merely )?(?:a |my |an? \w+ )?(?:guess|placeholder|typo|mistake)|or something|or "
    r"whatever|if i'm not|but not sure|though not sure|i guess not)\b"
)
RETRACTION = frozenset("wait no nope actually oops sorry correction rather scratch hmm hm strike".split())
