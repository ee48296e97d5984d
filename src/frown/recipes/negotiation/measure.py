"""What speakers are worth: judged on held-out moments, and in the game; figures over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frown.evals.figures import as_json
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import mean_of_samples
from frown.recipes.negotiation import speech, spoken, teach
from frown.recipes.negotiation.evaluate import Scores, figures, gains
from frown.recipes.negotiation.game import Floats
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.listener import hear
from frown.recipes.negotiation.play import uniform
from frown.recipes.negotiation.recipe import HELD_OUT, figure, gap
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
class Judged:
    """One speaker on the held-out moments: [N scenarios, JUDGED] each.

    `score` 1 to 10; `told` and `toned`: whether the offer and the tone are the ones asked for, by the language's own
    grammar (by the listener, where the speaker does not keep to that language); `grammar`: whether it does; `distance`
    nats a token to the model after SFT, NaN for speakers that are none.
    """

    score: Floats
    told: Floats
    toned: Floats
    grammar: Floats
    insults: Floats
    distance: Floats


@dataclass(frozen=True, eq=False)
class Expressed:
    """What one seed ends with."""

    judged: dict[str, Judged]
    played: dict[str, Scores]
    trainings: dict[str, teach.Taught]
    sweep: dict[str, float]
    """Turns, their mean score, that of the turns SFT learnt from, and the share of those that end a dialogue."""
    loss: float | None
    """Of the lab-size model's first training at its end, nats a token."""


def as_data(done: Expressed) -> dict[str, Any]:
    """What one seed ended with as plain data, NaN as None."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return np.where(np.isnan(value), None, value).tolist()  # type: ignore[call-overload]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    out: dict[str, Any] = plain(asdict(done))
    return out


def from_data(held: Mapping[str, Any]) -> Expressed:
    """`as_data`, read back. Raises KeyError, TypeError, ValueError or AttributeError where it is something else."""

    def arrays(columns: Mapping[str, Any]) -> dict[str, Floats]:
        return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}

    return Expressed(
        {arm: Judged(**arrays(of)) for arm, of in held["judged"].items()},
        {arm: Scores(**arrays(of)) for arm, of in held["played"].items()},
        {arm: teach.Taught(*of) for arm, of in held["trainings"].items()},
        held["sweep"],
        held["loss"],
    )


def held_out(speaker: Speaker, where: spoken.Stage, repeats: int, seed: int) -> list[Moment]:
    """JUDGED moments of each scenario, drawn from dialogues of a speaker with random emotions: different ones, unless a
    scenario's dialogues have fewer turns."""
    rng = np.random.default_rng(seed)
    turns = spoken.play(speaker, uniform(len(where.emotions)), where, HELD_OUT + seed, repeats).turns
    groups = np.array([t.dialogue // repeats for t in turns])
    of_each = [np.flatnonzero(groups == g) for g in range(len(where.scenarios))]
    return [turns[i].moment for at in of_each for i in rng.choice(at, JUDGED, replace=len(at) < JUDGED)]


def judged(texts: Sequence[str], moments: Sequence[Moment], away: Floats | None = None) -> Judged:
    """What is said at the held-out moments, measured; `away`: the distance of each utterance, where there is one."""
    columns = [_measured(text, moment) for text, moment in zip(texts, moments, strict=True)]
    far = np.full(len(texts), np.nan) if away is None else away
    return Judged(*(np.asarray(c, dtype=np.float64).reshape(-1, JUDGED) for c in (*zip(*columns, strict=True), far)))


def _measured(text: str, moment: Moment) -> tuple[float, bool, bool, bool, bool]:
    heard, parsed = hear(text, moment.unit), speech.parse(text)
    asked = frozenset({moment.card.name} - {"neutral"} if moment.card is not None else ())
    told = heard.offer == moment.offer
    emotions = heard.emotions
    if parsed is not None:
        told, emotions = parsed.amounts == (speech.amount(moment.offer, moment.unit),), parsed.emotions
    return (
        judge(moment, text), told, emotions - {"contempt"} == asked, parsed is not None, "contempt" in emotions,
    )  # fmt: skip


def results(config: Mapping[str, Any], done: Sequence[Expressed]) -> dict[str, Any]:
    """The figures over seeds, as JSON data."""
    using = draws(len(done), len(next(iter(done[0].judged.values())).score))

    def column(arm: str, name: str) -> Floats:
        return np.stack([getattr(d.judged[arm], name) for d in done])

    names = list(Judged.__dataclass_fields__)
    arms = {arm: [d.played[arm] for d in done] for arm in done[0].played}
    over = {}
    for arm in done[0].judged:
        others = [o for o in ("first model", "sft") if o in done[0].judged and o != arm and arm != "no flaw"]
        over[arm] = {
            o: as_json(difference(mean_of_samples, (column(arm, "score"),), (column(o, "score"),), using=using))
            for o in others
        }
    return {
        "config": dict(config),
        "judged": {
            arm: {n: as_json(interval(mean_of_samples, column(arm, n), using=using)) for n in names}
            for arm in done[0].judged
        },
        "gain_in_score_over": over,
        "play": {arm: figures(of) for arm, of in arms.items()},
        "gain_in_utility_over": {
            arm: gains(arms, arm, [o for o in others if o in arms]) for arm, others in COMPARED.items() if arm in arms
        },
        "trainings": {
            arm: [{"steps": d.trainings[arm].steps, "stopped": d.trainings[arm].stopped} for d in done]
            for arm in done[0].trainings
        },
        "sweep": {name: float(np.mean([d.sweep[name] for d in done])) for name in done[0].sweep},
        "first_loss": [d.loss for d in done],
    }


def judged_table(found: Mapping[str, Any]) -> RichTable:
    """One row a speaker: judged score, offer and tone as asked for, insults, distance, with 95 % intervals."""
    return _table(found["judged"], {"score": 2, "told": 3, "toned": 3, "insults": 3, "distance": 3}, "speaker")


def play_table(found: Mapping[str, Any]) -> RichTable:
    """One row a choice of emotion and speaker: utility, success and exchanges, with 95 % intervals."""
    return _table(found["play"], {"utility": 3, "success": 3, "rounds": 1}, "emotion, speaker")


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


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the figures come to, in words."""
    bound = found["config"]["learning"]["kl_bound"]
    lines = []
    for arm in ("jpo", "dpo"):
        if arm in found["judged"]:
            gain, far = found["gain_in_score_over"][arm]["sft"], found["judged"][arm]["distance"]
            lines.append(
                f"Judged score of {arm.upper()} less SFT, {figure(far)} nats a token from it (bound {bound:g}): "
                f"{gap(gain, 2)}."
            )
    for arm, others in found["gain_in_utility_over"].items():
        lines += [f"Utility of ({arm}) less ({o}): {gap(g)}." for o, g in others.items()]
    return lines
