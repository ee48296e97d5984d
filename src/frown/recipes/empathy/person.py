"""A simulated person as a partner of conversations (`conversation.partner.type = "person"`): by rules, or played by a
model, here or behind an endpoint. A conversation's score is how the person feels at its end (RLVER's reward)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from frown.config.conversation import PartnerConfig
from frown.config.critic import AskedModelConfig
from frown.dialogue.conversation import Dialogue
from frown.dialogue.session import PartnerSession
from frown.recipes.empathy.language import in_words
from frown.recipes.empathy.presets import PRESETS
from frown.recipes.empathy.profile import profiles, task_of
from frown.recipes.empathy.user import MANNERS, SentientUser
from frown.recipes.empathy.wording import ENGLISH, WORDINGS, Wording
from frown.types import Task, Verdict

if TYPE_CHECKING:
    from frown.recipes.empathy.spoken_user import SpokenUser

PEOPLE = {"train": 500, "test": 100}
"""People of each split."""


class PersonConfig(PartnerConfig):
    """A person whose feelings pay: by rules, or played by a model."""

    type: Literal["person"] = "person"
    manner: Literal["plain", "soothable", "sceptic"] = "plain"
    """How a person by rules takes what is said."""
    model: AskedModelConfig | None = None
    """The model that plays the person. None: a person by rules."""
    preset: Literal["rlver", "sage"] = "rlver"
    """Whose constants: RLVER's training or SAGE's benchmark."""
    profiles: Path | None = None
    """Folder of RLVER's train_profile.jsonl and test_profile.jsonl. None: profiles are drawn at random."""
    wording: Literal["lab", "english"] = "english"
    """In which words a person by rules speaks: English, or the lab's, for a model of the lab's size."""
    task_weight: float = Field(0.0, ge=0, le=1)
    """Share of a verifiable task in the score: of a person by rules, the share of turns that keep to its topic."""

    @model_validator(mode="after")
    def _goes_together(self) -> PersonConfig:
        if self.model is not None and self.task_weight:
            raise ValueError("task_weight is for a person by rules, whose topics are known")
        return self

    @property
    def words(self) -> Wording:
        """How the person speaks; one played by a model in English."""
        return WORDINGS[self.wording] if self.model is None else ENGLISH

    @contextmanager
    def open(self) -> Iterator[PartnerSession]:
        """The person, and everybody that it can be."""
        if self.model is None:
            user = SentientUser(MANNERS[self.manner], PRESETS[self.preset], self.words)
            yield self._session(user)
            return
        from frown.dialogue.voice import Voice
        from frown.recipes.empathy.spoken_user import SpokenUser

        voice = Voice(self.model)
        spoken = SpokenUser(voice, PRESETS[self.preset])

        def statistics() -> dict[str, Any]:
            return {**voice.report(), "unread_feelings": spoken.unread}

        try:
            yield replace(self._session(spoken), statistics=statistics)
        finally:
            voice.close()

    def _session(self, user: SentientUser | SpokenUser) -> PartnerSession:
        return PartnerSession(
            name="empathy",
            partner=user,
            train=self._tasks("train"),
            test=self._tasks("test"),
            turns=PRESETS[self.preset].turns,
            judge=self._judge if self.task_weight else None,
            unknown_words='with a model that `frown recipe empathy model` made, use --wording lab (wording = "lab")',
        )

    def _tasks(self, split: Literal["train", "test"]) -> list[Task]:
        people = profiles(self.profiles, split, PEOPLE[split])
        own = self.model is not None and self.profiles is not None  # then profiles bring their own first words
        return [task_of(p if own else in_words(p, self.words)) for p in people]

    def _judge(self, dialogue: Dialogue) -> Verdict:
        from frown.recipes.empathy.model_policy import on_topic

        weight = self.task_weight
        score = (1.0 - weight) * dialogue.verdict.score + weight * on_topic(dialogue, self.words)
        return replace(dialogue.verdict, score=score)
