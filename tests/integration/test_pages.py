"""The pages of the project: what a reader is shown is what was written."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from paths import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("src/**/*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_table_has_a_head(page):
    """An empty line within a table ends it, and what follows is shown as text."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for is_table, block in groupby(lines, lambda line: line.startswith("|")):
        rows = list(block)
        if is_table:
            assert len(rows) > 1 and re.fullmatch(r"\|( *:?-+:? *\|)+", rows[1].strip()), rows[0]
