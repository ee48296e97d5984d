"""Which TRL this is written for. Its SDPO is experimental and may change in any release."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from frown.errors import FrownError

AT_LEAST, BELOW = (1, 16), (1, 17)
MEND = 'pip install "frown[trl]"'


def check_installed() -> None:
    """Raise FrownError unless TRL is installed in a version within the range."""
    try:
        installed = version("trl")
    except PackageNotFoundError:
        raise FrownError(f"frown.trl needs TRL, which is not installed: {MEND}") from None
    check(installed)


def check(installed: str) -> None:
    """Raise FrownError unless a version, such as "1.16.0", lies within the range."""
    parts = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    if not AT_LEAST <= parts < BELOW:
        low, high = (".".join(map(str, bound)) for bound in (AT_LEAST, BELOW))
        raise FrownError(f"frown.trl is written for trl >= {low}, < {high}, and {installed} is installed: {MEND}")
