"""Conversations: who the policy talks to, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from frown.config.base import AnyClass, Config, Variant, member_of

if TYPE_CHECKING:
    from frown.dialogue.session import PartnerSession


class PartnerConfig(Variant):
    """Who the policy talks to. A partner of one's own is a subclass of this, named by an entry point of the group
    "frown.partners"."""

    group: ClassVar[str] = "frown.partners"

    @classmethod
    def builtin(cls) -> Mapping[str, AnyClass]:
        """frown's own partners."""
        from frown.dialogue.partners import BUILTIN

        return BUILTIN

    def open(self) -> AbstractContextManager[PartnerSession]:
        """The partner, ready to talk, with the conversations that it opens; what it holds is let go of at the end.

        Raises FrownError where it cannot be had.
        """
        raise NotImplementedError


AnyPartner = Annotated[SerializeAsAny[PartnerConfig], BeforeValidator(lambda value: member_of(PartnerConfig, value))]


class ConversationConfig(Config):
    """What is practised where `task.kind` is "conversation"."""

    partner: AnyPartner
    """Who the policy talks to: "scripted", "model", or what an installed package adds ("person" of the empathy
    recipe)."""
    turns: int | None = Field(None, ge=1)
    """Most turns of the policy in a conversation. None: as many as its partner usually takes."""
    history: Literal["verbatim", "kept", "template"] = "verbatim"
    """What the policy reads of its earlier turns. verbatim: what it sampled, and a chat template that would rewrite it
    (take out <think>, say) is an error. kept: what it sampled, whatever the template would make of it. template: what
    the template makes of it; the turns of a conversation are then trained one by one, each with the advantage of the
    whole."""
