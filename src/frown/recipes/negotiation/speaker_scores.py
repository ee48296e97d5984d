"""Scores of speakers on held-out moments and in the game; figures over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frown.evals.figures import as_json
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import mean_of_samples
from frown.recipes.negotiation import speech, spoken, teach
from frown.recipes.negotiation.evaluate import Scores, summarise, utility_gains
from frown.recipes.negotiation.game import Floats
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.listener import hear
from frown.recipes.negotiation.play import uniform
from frown.recipes.negotiation.selection import HELD_OUT, figure, gap
from frown.recipes.negotiation.speech import Moment, Speaker

if TYPE_CHECKING:
    from rich.table import Table as RichTable

JUDGED = 20
"""Held-out moments of each test scenario that every speaker is judged on."""
COMPARED = {
    "random, jpo": ("random, first model", "random, sft", "random, jpo, scores shuffled"),
    "random, sft": ("random, first model", "random, sft on random turns"),
    "selection, jpo": (
        *("selection, first model", "random, jpo", "neutral, jpo", "best fixed, jpo", "neutral, jpo, emotion-free"),
        *("selection, sft", "selection, dpo"),
    ),
    "selection from labels, jpo": ("selection from labels, first model", "neutral, jpo", "neutral, jpo, emotion-free"),
}
"""Whose utilities are compared: an arm of the game less others."""


@dataclass(frozen=True, eq=False)
class SpeakerScores:
    """One speaker on the held-out moments: [N scenarios, JUDGED] each.

    `score` 1 to 10; `offer_correct`, `tone_correct`: whether the offer and the tone are the ones asked for, by the
    language's own grammar (by the listener, where the speaker does not keep to that language); `grammar`: whether it
    does; `distance` nats a token to the model after SFT, NaN for speakers that are no model after it.
    """

    score: Floats
    offer_correct: Floats
    tone_correct: Floats
    grammar: Floats
    insults: Floats
    distance: Floats


@dataclass(frozen=True, eq=False)
class ExpressionResult:
    """The results of one seed."""

    speakers: dict[str, SpeakerScores]
    """By arm, on the held-out moments."""
    play: dict[str, Scores]
    """By "choice of emotion, arm", in the game."""
    trainings: dict[str, teach.TrainingResult]
    sweep: dict[str, float]
    """Turns, their mean score, that of the turns SFT learnt from, and the share of those that end a dialogue."""
    loss: float | None
    """Of the lab-size model's first training at its end, nats a token."""


def to_data(result: ExpressionResult) -> dict[str, Any]:
    """The results of one seed as plain data, NaN as None."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return np.where(np.isnan(value), None, value).tolist()  # type: ignore[call-overload]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    out: dict[str, Any] = plain(asdict(result))
    return out


def from_data(data: Mapping[str, Any]) -> ExpressionResult:
    """`as_data`, read back. Raises KeyError, TypeError, ValueError or AttributeError where it is something else."""

    def arrays(columns: Mapping[str, Any]) -> dict[str, Floats]:
        return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}

    return ExpressionResult(
        {arm: SpeakerScores(**arrays(of)) for arm, of in data["speakers"].items()},
        {arm: Scores(**arrays(of)) for arm, of in data["play"].items()},
        {arm: teach.TrainingResult(*of) for arm, of in data["trainings"].items()},
        data["sweep"],
        data["loss"],
    )


def held_out_moments(speaker: Speaker, where: spoken.Stage, repeats: int, seed: int) -> list[Moment]:
    """JUDGED moments of each scenario, drawn from dialogues of a speaker with random emotions: different ones, unless a
    scenario's dialogues have fewer turns."""
    rng = np.random.default_rng(seed)
    turns = spoken.play(speaker, uniform(len(where.emotions)), where, HELD_OUT + seed, repeats).turns
    groups = np.array([t.dialogue // repeats for t in turns])
    of_each = [np.flatnonzero(groups == g) for g in range(len(where.scenarios))]
    return [turns[i].moment for at in of_each for i in rng.choice(at, JUDGED, replace=len(at) < JUDGED)]


def score_speaker(texts: Sequence[str], moments: Sequence[Moment], distance: Floats | None = None) -> SpeakerScores:
    """Score what is said at the held-out moments; `distance` [N] of each utterance, where there is one."""
    columns = [_measure(text, moment) for text, moment in zip(texts, moments, strict=True)]
    far = np.full(len(texts), np.nan) if distance is None else distance
    return SpeakerScores(
        *(np.asarray(c, dtype=np.float64).reshape(-1, JUDGED) for c in (*zip(*columns, strict=True), far))
    )


def _measure(text: str, moment: Moment) -> tuple[float, bool, bool, bool, bool]:
    perception, parsed = hear(text, moment.unit), speech.parse(text)
    asked = frozenset({moment.card.name} - {"neutral"} if moment.card is not None else ())
    offer_correct = perception.offer == moment.offer
    emotions = perception.emotions
    if parsed is not None:
        offer_correct, emotions = parsed.amounts == (speech.amount(moment.offer, moment.unit),), parsed.emotions
    return (
        judge(moment, text),
        offer_correct,
        emotions - {"contempt"} == asked,
        parsed is not None,
        "contempt" in emotions,
    )


def results(config: Mapping[str, Any], seed_results: Sequence[ExpressionResult]) -> dict[str, Any]:
    """The figures over seeds, as JSON data."""
    using = draws(len(seed_results), len(next(iter(seed_results[0].speakers.values())).score))

    def column(arm: str, name: str) -> Floats:
        return np.stack([getattr(d.speakers[arm], name) for d in seed_results])

    names = list(SpeakerScores.__dataclass_fields__)
    arms = {arm: [d.play[arm] for d in seed_results] for arm in seed_results[0].play}
    over = {}
    for arm in seed_results[0].speakers:
        others = [o for o in ("first model", "sft") if o in seed_results[0].speakers and o != arm and arm != "no flaw"]
        over[arm] = {
            o: as_json(difference(mean_of_samples, (column(arm, "score"),), (column(o, "score"),), using=using))
            for o in others
        }
    return {
        "config": dict(config),
        "speakers": {
            arm: {n: as_json(interval(mean_of_samples, column(arm, n), using=using)) for n in names}
            for arm in seed_results[0].speakers
        },
        "gain_in_score_over": over,
        "play": {arm: summarise(of) for arm, of in arms.items()},
        "gain_in_utility_over": {
            arm: utility_gains(arms, arm, [o for o in others if o in arms])
            for arm, others in COMPARED.items()
            if arm in arms
        },
        "trainings": {
            arm: [{"steps": d.trainings[arm].steps, "stopped": d.trainings[arm].stopped} for d in seed_results]
            for arm in seed_results[0].trainings
        },
        "sweep": {name: float(np.mean([d.sweep[name] for d in seed_results])) for name in seed_results[0].sweep},
        "first_loss": [d.loss for d in seed_results],
    }


def scores_table(results: Mapping[str, Any]) -> RichTable:
    """One row a speaker: judged score, offer and tone as asked for, insults, distance, with 95 % intervals."""
    return _table(
        results["speakers"], {"score": 2, "offer_correct": 3, "tone_correct": 3, "insults": 3, "distance": 3}, "speaker"
    )


def play_table(results: Mapping[str, Any]) -> RichTable:
    """One row a choice of emotion and speaker: utility, success and exchanges, with 95 % intervals."""
    return _table(results["play"], {"utility": 3, "success": 3, "rounds": 1}, "emotion, speaker")


def _table(rows: Mapping[str, Any], columns: Mapping[str, int], head: str) -> RichTable:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = Table(box=box.SIMPLE_HEAD)
    out.add_column(head)
    for name in columns:
        out.add_column(name, justify="right")
    for name, of_row in rows.items():
        out.add_row(escape(name), *(escape(figure(of_row[c], digits)) for c, digits in columns.items()))
    return out


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The results in sentences."""
    bound = results["config"]["learning"]["kl_bound"]
    lines = []
    for arm in ("jpo", "dpo"):
        if arm in results["speakers"]:
            gain, far = results["gain_in_score_over"][arm]["sft"], results["speakers"][arm]["distance"]
            lines.append(
                f"Judged score of {arm.upper()} less SFT, {figure(far)} nats a token from it (bound {bound:g}): "
                f"{gap(gain, 2)}."
            )
    for arm, others in results["gain_in_utility_over"].items():
        lines += [f"Utility of ({arm}) less ({o}): {gap(g)}." for o, g in others.items()]
    return lines
