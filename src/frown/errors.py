"""The errors a person can mend: one line that names the thing and what to do about it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence


class FrownError(Exception):
    """Something a person can mend. The command line prints the message alone and exits with status 2.

    The message names the thing that is wrong (file, line, key, value) and the mend, in one line: whatever others wrote
    in it, characters that cannot be shown are escaped, and of an endless one the middle is left out.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_one_line(message))


class NotFinite(FrownError):
    """A number that ought to be finite is not: training has diverged. The loop adds which step it was."""


class Elsewhere(FrownError):
    """What another process of this run could not do. That one says what and why."""


_MOST = 1600
"""Characters of an error that a person is shown."""


def _one_line(text: str) -> str:
    shown = text if len(text) <= _MOST else f"{text[: _MOST - 500]} [...] {text[-500:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def printable(text: str) -> str:
    """A text of others as one short line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def first_line(error: BaseException) -> str:
    """What an exception of another library says, as its first useful line; its type where it says nothing.

    Of a traceback in the message that is its last line; a heading ("Error(s) in loading state_dict for X:") is joined
    with what it heads; "An error occurred" and its like give way to what follows, or to the error's cause.
    """
    if isinstance(error, BaseExceptionGroup):
        return first_line(error.exceptions[0])
    lines = [line for line in str(error).splitlines() if any(c.isalnum() for c in line)]
    if isinstance(error, KeyError):  # its message is the key alone
        return f"no {' '.join(lines) or 'such key'}"
    if line := _last_of_traceback(lines) or _first_useful([line.strip() for line in lines]):
        return line
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        return first_line(cause)
    return lines[0].strip() if lines else type(error).__name__


_EMPTY_WORDS = re.compile(
    r"\d{3} (Client|Server) Error\. \(Request ID.*|(An|Some|The following) (unexpected |unknown )?errors? "
    r"(occurred|happened|was raised|were raised)\b[^:]*|(The above exception was|During handling of) .*|"
    r"Caught \w+ in .*|Something went wrong\W*|(See|Look at) the (original |full )?(errors?|traceback)\b.*",
    re.IGNORECASE,
)
"""Lines that say that there was an error, but not which."""
_COUNT_OF_ERRORS = re.compile(r"\d+ validation errors? for .*")
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"\s*[\w.]*(Error|Exception|Interrupt|Exit|Failure)\b.*")


def _last_of_traceback(lines: Sequence[str]) -> str | None:
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    if not starts:
        return None
    raised = [i for i in range(starts[-1] + 1, len(lines)) if _RAISED.fullmatch(lines[i])]
    return _first_useful([line.strip() for line in lines[raised[0] :]]) if raised else None


def _first_useful(lines: Sequence[str]) -> str | None:
    """`lines` hold no space around them."""
    lines = [line for line in lines if not _EMPTY_WORDS.fullmatch(line) and _TRACEBACK not in line]
    if len(lines) > 2 and _COUNT_OF_ERRORS.fullmatch(lines[0]):  # pydantic: the field, then what is wrong with it
        return f"{lines[1]}: {lines[2]}"
    for end, line in enumerate(lines, start=1):
        if not line.endswith((":", ",")):
            return " ".join(lines[:end])
    return " ".join(lines) or None


def whole(error: BaseException) -> str:
    """Everything that an error and those that it came from say, with their tracebacks, the first cause first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__  # also what `from None` hides
    return "\n".join("".join(traceback.format_exception(e, chain=False)) for e in reversed(chain))
