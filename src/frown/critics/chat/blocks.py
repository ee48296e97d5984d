"""Texts of others in a prompt, as data in delimited blocks.

The mark of the blocks is a hash of all that stands in them, so no text can contain the mark of its own block and close
it early.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

_CONTROL = re.compile(r"<(?=\||/?(?:s|bos|eos|pad|start_of_turn|end_of_turn)>)|\[(?=/?INST\])")


class Blocks(NamedTuple):
    """Texts in blocks, and the mark that begins and ends each."""

    mark: str
    shown: list[str]


def delimit(named: Sequence[tuple[str, str]]) -> Blocks:
    """Put each text, sanitised and stripped, in a block that says its name."""
    sanitised = [(name, sanitise(text).strip()) for name, text in named]
    mark = hashlib.sha256(json.dumps(sanitised).encode()).hexdigest()[:12]
    return Blocks(mark, [f"[{mark} begin {name}]\n{text}\n[{mark} end]" for name, text in sanitised])


def sanitise(text: str) -> str:
    """Make a text safe to send: lone surrogates become question marks, and a space goes into what a chat template's
    tokenizer could take for a control token, the end of a turn among them."""
    return _CONTROL.sub(r"\g<0> ", text.encode("utf-8", "replace").decode())
