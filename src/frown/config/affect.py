"""What the student's own signals mean, and what is made of that."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class NoteConfig(Config):
    """The affect note: what a teacher is told of the student's own affect (`method.feedback` with "affect")."""

    mode: Literal["emotion", "plain", "numbers", "paraphrase", "content_free", "weighed", "resolved"] = "plain"
    """emotion: "At step 3 you were very doubtful."; plain: the same without emotion words; numbers: the evidence alone;
    paraphrase: the steps in neutral words; content_free: as many sentences that say nothing of the answer; weighed:
    what the student and its siblings considered there; resolved: what the outcome makes of that (what a right answer
    wrote there, what else was considered in a wrong one). The lab's models know one word for pointing, so the first
    four are one and the same to them."""
    most: int | None = Field(None, ge=1)
    """Most steps a note speaks about, the most intense first."""
    options_per_step: int = Field(2, ge=2)
    """Most texts of a step that a weighed note names, the student's own before its siblings'."""
    options: Literal["considered", "siblings", "random", "none"] = "considered"
    """What a weighed or resolved note names beside what was written: all that was truly considered; what siblings wrote
    alone; or (controls) as many results that were written at other steps of the batch, or nothing."""


class WeightConfig(Config):
    """How much each token counts, in the distillation loss and in the policy gradient. Every choice has mean one over
    the tokens that count."""

    by: Literal["none", "signal", "top_share", "quadrant"] = "none"
    """signal: more where a signal of the student is large; top_share: only the tokens with the largest values of it
    (80/20, arXiv 2506.01939); quadrant: by doubt and truth."""
    signal: str = "entropy"
    """Which signal of the student's: entropy, surprisal, varentropy."""
    strength: float = Field(1.0, ge=0)
    """w = 1 + strength x / mean(x)."""
    share: float = Field(0.2, gt=0, le=1)
    """top_share: the share of tokens that count."""
    confident_wrong: float = Field(2.0, ge=0)
    """quadrant: weight where the student was sure, and wrong."""
    doubt_wrong: float = Field(1.0, ge=0)
    """quadrant: weight where it doubted, and was wrong."""
    doubt_right: float = Field(0.5, ge=0)
    """quadrant: weight where it doubted, and was right."""
    confident_right: float = Field(1.0, ge=0)
    """quadrant: weight where it was sure, and right."""
    teacher_beta: float = Field(0.0, ge=0)
    """Less weight where the *teacher* is unsure: exp(-beta H_teacher), 1/nats (SRPO, arXiv 2604.02288)."""


class AffectConfig(Config):
    """What the student's own signals mean, and what is made of that besides aiming a critic."""

    rules: str = "default"
    """Which rules turn signals into labelled spans: "default", "literal" (entropy spike = frustration, low confidence =
    doubt), or a TOML file of rules."""
    control: Literal["off", "none", "shuffled_spans", "shuffled_labels", "random_spans", "position_only", "oracle"] = (
        "off"
    )
    """A transform of every appraisal before anything uses it; `frown.affect.controls` says what each keeps. Weights
    by a signal are then dealt out anew over the same tokens."""
    note: NoteConfig = NoteConfig()
    weight: WeightConfig = WeightConfig()
    reward: float = 0.0
    """Added to the reward: this times the mean log-probability of an answer's own tokens. It pays for feeling sure,
    right or wrong; docs/results/affect.md shows what it does to calibration. Off by default, and meant to stay off."""
