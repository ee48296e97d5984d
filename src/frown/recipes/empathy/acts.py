"""What an assistant can do in a turn, as dialogue acts, and which act a text is.

The acts refine the strategies of emotional support conversation (ESC: question, restatement, reflection of feelings,
self-disclosure, affirmation and reassurance, suggestions, information) so that each of RLVER's eight hidden needs has
one act that meets it. `assure` is the act that soothes: comfort and the claim to understand, without either.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Need = Literal["advice", "empathy", "praise", "growth", "listening", "analysis", "motives", "agreement"]
Act = Literal[
    "suggest", "reflect", "affirm", "guide", "acknowledge", "analyse", "explain", "agree", "ask", "follow_up", "assure"
]

NEEDS: tuple[Need, ...] = get_args(Need)
ACTS: tuple[Act, ...] = get_args(Act)
MEETS: dict[Need, Act] = dict(zip(NEEDS, ACTS[: len(NEEDS)], strict=True))
"""The act that meets each need."""
GROUNDING: tuple[Act, ...] = ("ask", "acknowledge", "follow_up")
"""Clarification, acknowledgement, follow-up (Shaikh et al. 2024, arXiv 2311.09144)."""
RATIONAL: tuple[Act, ...] = ("suggest", "analyse", "explain", "guide")
"""Acts that are premature before the need is understood: advice before listening does harm (arXiv 2312.10775)."""
CLAIMS: tuple[Act, ...] = ("suggest", "analyse", "explain", "assure")
"""Acts that say: I know what this is about."""
HEDGES: tuple[Act, ...] = ("ask", "follow_up")
"""Acts that say: I do not know yet."""

_CUES: tuple[tuple[Act, str], ...] = (
    ("assure", r"everything will be|it will all|don't worry|i understand exactly|一切都会|别担心|会好起来|完全理解"),
    ("follow_up", r"tell me more|what happened (?:then|next)|and then\?|多说一些|后来呢|再说说"),
    ("agree", r"you(?:'re| are) right|not your fault|you did nothing wrong|你没有错|不是你的错|你是对的"),
    ("affirm", r"proud of|well done|that took courage|impressive|你做得很|了不起|勇气"),
    ("guide", r"what have you learn|ask yourself|looking back|问问自己|回头看|反思"),
    ("explain", r"(?:he|she|they) (?:may|might|probably|perhaps)|(?:他|她|他们)(?:可能|也许|或许)"),
    ("analyse", r"on (?:the )?one hand|both sides|pros and cons|一方面|两面|利弊"),
    ("suggest", r"you could|try to|i suggest|why not|建议|可以试|不妨"),
    ("reflect", r"you (?:must )?feel|that sounds|must be (?:hard|painful)|感受|难受|委屈|一定很"),
    ("ask", r"\?|？"),
    ("acknowledge", r"i see|i hear you|mm-?hm|go on|我在听|嗯|我听到"),
)


def read(text: str) -> Act | None:
    """The act of a turn: the act's own name as a word, else the first of a few cues (English and Chinese) that fits;
    None where nothing does. A rule of thumb: what it cannot see is no act, and earns nothing."""
    lower = text.lower()
    named = [(m.start(), act) for act in ACTS if (m := re.search(rf"\b{act}\b", lower))]
    if named:
        return min(named)[1]
    return next((act for act, cue in _CUES if re.search(cue, lower)), None)
