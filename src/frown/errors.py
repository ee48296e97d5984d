"""The errors a person can mend: one line that names the thing and what to do about it."""


class FrownError(Exception):
    """Something a person can mend. The command line prints the message alone and exits with status 2.

    The message names the thing that is wrong (file, line, key, value) and the mend, in one line.
    """


class NotFinite(FrownError):
    """A number that ought to be finite is not: training has diverged. The loop adds which step it was."""


class Elsewhere(FrownError):
    """What another process of this run could not do. That one says what and why."""


def printable(text: str) -> str:
    """A text of others as one short line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def first_line(error: BaseException) -> str:
    """What an exception of another library says, in one line; its type where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
