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


def blocks(named: Sequence[tuple[str, str]]) -> Blocks:
    """Each text, made harmless and stripped, in a block that says its name."""
    held = [(name, harmless(text).strip()) for name, text in named]
    mark = hashlib.sha256(json.dumps(held).encode()).hexdigest()[:12]
    return Blocks(mark, [f"[{mark} begin {name}]\n{text}\n[{mark} end]" for name, text in held])


def harmless(text: str) -> str:
    """A text that can be sent (lone surrogates become question marks) and that no chat template's tokenizer takes for
    the end of a turn: a space goes into what looks like a control token."""
    return _CONTROL.sub(r"\g<0> ", text.encode("utf-8", "replace").decode())
