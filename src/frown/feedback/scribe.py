"""The faithful scribe: a student's own answer, put right, as the context of its self-teacher.

Step-aligned feedback (Kara and Ersoy 2026, arXiv 2606.11173): right steps stand verbatim, the earliest wrong one is
never quoted but replaced by its correction, and the answer goes on from there. There a model writes the whole text;
here it is built from verdicts on steps, so that every critic, symbolic or not, is put into the same form.
"""

from __future__ import annotations

from collections.abc import Sequence

from frown.critics.base import Comment

LONGEST = 400
"""Characters of a step that an answer cut at its limit keeps: the rest of it wandered, or it would have ended."""


def scribe(
    steps: Sequence[str], comments: Sequence[Comment], continuation: str = "", *, truncated: bool = False
) -> str:
    """The answer put right.

    `steps`: as written, in order. `comments`: a critic's word on some of them. Steps confirmed stand verbatim, up to
    the earliest one found wrong; its comment, the correction, stands in its place, and after it the critic's
    `continuation`, or nothing: what the student wrote after an error follows from that error. Steps that nobody judged
    may be wrong and are left out. A fully right answer is reproduced. Of a `truncated` one each step is condensed to
    its first `LONGEST` characters, so that there is room to finish.
    """
    by_step = {c.step: c for c in comments}
    kept: list[str] = []
    for i, text in enumerate(steps):
        comment = by_step.get(i)
        if comment is None:
            continue
        if not comment.right:
            kept += [comment.text, continuation]
            break
        kept.append(condensed(text) if truncated else text)
    else:
        kept.append(continuation)
    return "\n".join(k.strip("\n") for k in kept if k.strip())


def condensed(text: str) -> str:
    """A step cut to its first characters, at a space, with a mark where something is missing."""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rsplit(maxsplit=1)[0] + " [...]"
