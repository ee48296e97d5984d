"""What a lesson needs of a policy: frown's own, or another trainer's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from frown.types import Ints, Message


class Reader(Protocol):
    """Between texts and tokens of one policy."""

    @property
    def tokenizer(self) -> Any:
        """A Hugging Face tokenizer."""
        ...

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation as token ids up to where its answer begins."""
        ...

    def encode(self, text: str) -> list[int]:
        """A piece of text as tokens, without any that mark a beginning or an end."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text."""
        ...

    def fits(self, context: Ints) -> bool:
        """Whether an answer fits behind a context."""
        ...
