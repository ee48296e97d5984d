"""From settings to figures, for how to say it: a first speaker, a sweep, SFT, JPO and DPO, and what each is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frown.config import Config, LoraConfig
from frown.engine.model import resolve
from frown.errors import FrownError
from frown.evals.figures import as_json
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import mean_of_samples
from frown.recipes.negotiation import expresser, iql, language, recipe, scenarios, speech, spoken, teach
from frown.recipes.negotiation import play as stage
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import Scores, figures, gains, scores
from frown.recipes.negotiation.game import Floats, Rules
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.listener import hear
from frown.recipes.negotiation.logs import Reward, step_rewards, transitions
from frown.recipes.negotiation.partner import Tactic
from frown.recipes.negotiation.speech import Moment, Speaker
from frown.store import write_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from torch import Tensor

    from frown.engine.local import LocalEngine

EMOTIONS = cards("ekman7")
"""The listener knows words for these."""
AT = places(EMOTIONS)
RULES = Rules()
JUDGED = 20
"""Held-out moments of each test scenario that every speaker is judged on."""
WATCHED = 64
"""Moments of the sweep at which the KL bound is watched."""
PLAYED = {
    "sft": ("selection",),
    "jpo": ("neutral", "random", "best fixed", "selection", "optimum"),
    "dpo": ("selection",),
}
"""Which choices of emotion an arm plays with."""
COMPARED = {
    "random, jpo": ("random, first model", "random, sft", "random, jpo, scores shuffled"),
    "selection, jpo": (
        *("selection, first model", "random, jpo", "neutral, jpo", "best fixed, jpo", "neutral, jpo, emotion-free"),
        *("selection, sft", "selection, dpo"),
    ),
}
"""Whose utilities are compared: an arm of the game less others."""
Arm = Literal[
    "sft", "jpo", "dpo", "jpo, good turns alone", "sft on random turns", "jpo, scores shuffled", "emotion-free"
]


class ExpressConfig(Config):
    """Who speaks, with whom, and what the speaker learns from."""

    scenario: Literal["varied", "credit", "disaster", "hospital", "sleep"] = "varied"
    data: Path | None = None
    """The folder with the scenario tables; varied needs none."""
    model: str | None = None
    """A chat model: a Hugging Face folder or hub name. None: one of the lab's size is made for each seed."""
    lora: LoraConfig = LoraConfig()
    most_tokens: int = Field(default=expresser.MOST_TOKENS, ge=4)
    """Of an utterance."""
    tactics: tuple[Tactic, ...] = Field(default=("victim",), min_length=1)
    """Of the partners, in turn over scenarios."""
    inert: bool = False
    """Emotions do nothing."""
    reward: Reward = "utility"
    """By which SFT chooses its turns. ["paper"]"""
    first: int = Field(default=600, ge=1)
    """Steps of the lab-size model's first training, 32 turns each."""
    dialogues: int = Field(default=400, ge=1)
    """In the sweep, spread over the training scenarios (at least one for each)."""
    repeats: int = Field(default=10, ge=1)
    """Test dialogues a scenario."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    arms: tuple[Arm, ...] = ("sft", "jpo", "dpo")
    """What is trained. emotion-free: a first model, a sweep and JPO of its own, without cards and tones."""
    learning: teach.TeachSettings = teach.TeachSettings()
    selector: iql.IqlSettings = iql.IqlSettings()


class Sweep(NamedTuple):
    """Logged turns: who said what, in the model's tokens, and what it earned and was judged."""

    held: spoken.Spoken
    said: list[expresser.Line]
    groups: NDArray[np.int64]
    """[M] the scenario of each turn."""
    scores: Floats
    """[M] by the judge, 1 to 10."""
    rewards: Floats
    """[M] of the step."""
    returns: Floats
    """[M] of the turn's dialogue."""


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


def table(config: ExpressConfig) -> scenarios.Table:
    """The scenarios that a configuration names."""
    if config.scenario == "varied":
        return scenarios.varied()
    return recipe.table(recipe.NegotiationConfig(scenario=config.scenario, data=config.data))


def run(
    config: ExpressConfig, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[Expressed]]:
    """Everything a configuration asks for, models and adapters into `folder`: results as JSON data, and by seed."""
    train, test = scenarios.split(table(config))
    if not train or not test:
        raise FrownError(f"scenario {config.scenario!r} leaves {len(train)} rows to learn from and {len(test)} to test")
    if config.model is not None:
        resolve(config.model)  # before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrownError(f"cannot write to {folder}: {error}") from None
    done = [once(config, train, test, seed, folder / f"seed-{seed}", say) for seed in config.seeds]
    return results(config, done), done


def once(
    config: ExpressConfig,
    train: Sequence[scenarios.Scenario],
    test: Sequence[scenarios.Scenario],
    seed: int,
    folder: Path,
    say: Callable[[str], None],
) -> Expressed:
    """One seed: first model, sweep, every arm from the same start, held-out judging, play."""
    here, there = (spoken.Stage(tuple(s), config.tactics, EMOTIONS, RULES, config.inert) for s in (train, test))
    first, loss = _first(config, here, there, folder / "first", seed)
    speaker = expresser.speaker_of(first)
    sweep = sweep_of(first, here, max(1, config.dialogues // len(train)), config.reward, seed)
    moments = held_out(speaker, there, config.repeats, seed)
    say(f"seed {seed}: {len(sweep.said)} turns of the first model judged {sweep.scores.mean():.2f}")
    about = _about(sweep, config.learning.best)
    policies = _policies(config, train, test, sweep, seed)
    seen: dict[str, Judged] = {}
    played: dict[str, Scores] = {}
    trainings: dict[str, teach.Taught] = {}

    def play(speaker: Speaker, who: str, names: Sequence[str], where: spoken.Stage = there) -> None:
        for name in names:
            talks = spoken.play(speaker, policies[name], where, recipe.TESTED + seed, config.repeats).played.talks
            played[f"{name}, {who}"] = scores(talks, config.repeats)

    for who, by in (("no flaw", speech.perfect), ("first model", speaker)):
        seen[who] = judged(by(moments, seed), moments)
        play(by, who, list(policies))
    for arm, engine, taught, snapshot in trained(config, first, sweep, config.arms, seed):
        speaker = expresser.speaker_of(engine)
        away = expresser.distance(engine, snapshot, moments, seed) if arm.startswith(("jpo", "dpo")) else None
        seen[arm], trainings[arm] = judged(speaker(moments, seed), moments, away), taught
        play(speaker, arm, PLAYED.get(arm, ()))
        engine.save(folder / arm.replace(", ", "-").replace(" ", "-"))
        say(f"seed {seed}: {arm}, {taught.steps} steps, judged {seen[arm].score.mean():.2f}")
    if "emotion-free" in config.arms:
        without = [replace(s, cards=False) for s in (here, there)]
        plain, _ = _first(config, without[0], without[1], folder / "first-emotion-free", seed)
        sweep = sweep_of(plain, without[0], max(1, config.dialogues // len(train)), config.reward, seed)
        bare = [m._replace(card=None) for m in moments]
        for arm, engine, taught, snapshot in trained(config, plain, sweep, ("jpo",), seed):
            speaker, who = expresser.speaker_of(engine), f"{arm}, emotion-free"
            away = expresser.distance(engine, snapshot, bare, seed) if arm == "jpo" else None
            seen[who], trainings[who] = judged(speaker(bare, seed), bare, away), taught
            play(speaker, who, ["neutral"], without[1])
            engine.save(folder / who.replace(", ", "-"))
            say(f"seed {seed}: {who}, {taught.steps} steps, judged {seen[who].score.mean():.2f}")
    return Expressed(seen, played, trainings, about, loss)


def trained(
    config: ExpressConfig, first: LocalEngine, sweep: Sweep, arms: Sequence[str], seed: int
) -> Iterator[tuple[str, LocalEngine, teach.Taught, list[Tensor]]]:
    """SFT and then every other arm, each from fresh adapters on the first model: its name, the model, what became of
    the training, and the weights after SFT. JPO and DPO go on from those."""
    how = config.learning
    path = first.config.model.path
    best = teach.best_turns(sweep.rewards, sweep.returns, how.best)
    watched = [t.moment for t in sweep.held.turns[:: max(1, len(sweep.said) // WATCHED)]][:WATCHED]
    advantages = teach.by_group(sweep.groups, sweep.scores)
    rng = np.random.default_rng(seed)
    snapshot: list[Tensor] = []
    for arm in dict.fromkeys(("sft", *(a for a in arms if a != "emotion-free"))):
        if arm.startswith("sft"):
            which = best if arm == "sft" else rng.choice(len(sweep.said), len(best), replace=False)
            steps = teach.steps_of(len(which), how.batch, how.sft_epochs)
            engine = expresser.engine_of(path, config.lora, how.sft_rate, steps, seed, config.most_tokens)
            taught = teach.sft(engine, [sweep.said[i] for i in which], how, seed)
            snapshot = expresser.weights(engine) if arm == "sft" else snapshot
        elif arm == "dpo":
            pairs = teach.pairs_of(sweep.groups, sweep.scores, how.pairs, how.least_gap, rng)
            engine = _after_sft(config, path, how.dpo_rate, len(pairs), snapshot, seed)
            taught = teach.dpo(engine, sweep.said, pairs, how, watched, seed)
        else:
            engine = _after_sft(config, path, how.rate, len(sweep.said), snapshot, seed)
            mixed = teach.by_group(sweep.groups, rng.permutation(sweep.scores)) if "shuffled" in arm else advantages
            alone = how.model_copy(update={"negative": 0.0}) if "good turns" in arm else how
            taught = teach.jpo(engine, sweep.said, mixed, alone, watched, seed)
        yield arm, engine, taught, snapshot


def _after_sft(
    config: ExpressConfig, path: str, rate: float, count: int, snapshot: Sequence[Tensor], seed: int
) -> LocalEngine:
    steps = teach.steps_of(count, config.learning.batch, config.learning.epochs)
    engine = expresser.engine_of(path, config.lora, rate, steps, seed, config.most_tokens)
    expresser.put(engine, snapshot)
    return engine


def _about(sweep: Sweep, share: float) -> dict[str, float]:
    best = teach.best_turns(sweep.rewards, sweep.returns, share)
    lasted = sweep.held.played.talks.lasted
    last = np.array([t.exchange == lasted[t.dialogue] - 1 for t in sweep.held.turns])
    return {
        "turns": float(len(sweep.said)),
        "score": float(sweep.scores.mean()),
        "best_score": float(sweep.scores[best].mean()),
        "best_last": float(last[best].mean()),
    }


def _first(
    config: ExpressConfig, here: spoken.Stage, there: spoken.Stage, folder: Path, seed: int
) -> tuple[LocalEngine, float | None]:
    """The model that everything begins with, and the loss at which it was made, if it was."""
    loss, path = None, config.model
    if path is None:
        everywhere = (*here.scenarios, *there.scenarios)
        loss = language.base_model(folder, everywhere, EMOTIONS, config.first, seed, cards=here.cards)
        path = str(folder)
    return expresser.engine_of(path, None, config.learning.rate, 1, seed, config.most_tokens), loss


def _policies(
    config: ExpressConfig,
    train: Sequence[scenarios.Scenario],
    test: Sequence[scenarios.Scenario],
    sweep: Sweep,
    seed: int,
) -> dict[str, stage.Policy]:
    """Which emotion to show: baselines, the selector that learnt from the sweep, and the best there is."""
    logs = transitions(sweep.held.played, AT, "onehot", RULES, "utility")
    selector, count = iql.train(logs, len(EMOTIONS), config.selector, seed), len(EMOTIONS)
    learnt, tested = (stage.world(s, config.tactics, AT, RULES, inert=config.inert) for s in (train, test))
    return {
        "neutral": stage.fixed([card.name for card in EMOTIONS].index("neutral"), count),
        "random": stage.uniform(count),
        "best fixed": stage.fixed(stage.best_fixed(learnt), count),
        "selection": iql.selects(selector, AT, "onehot", RULES),
        "optimum": stage.optimal(tested, config.repeats),
    }


def sweep_of(engine: LocalEngine, where: spoken.Stage, repeats: int, reward: Reward, seed: int) -> Sweep:
    """Dialogues with random emotions, judged turn by turn."""
    held = spoken.play(expresser.speaker_of(engine), stage.uniform(len(EMOTIONS)), where, seed, repeats)
    rewards = step_rewards(held.played.talks, where.rules, reward)
    dialogue, step = np.array([(t.dialogue, t.exchange) for t in held.turns]).T
    return Sweep(
        held,
        expresser.lines(engine, [t.moment for t in held.turns], [t.text for t in held.turns]),
        dialogue // repeats,
        np.array([judge(t.moment, t.text) for t in held.turns], dtype=np.float64),
        rewards[dialogue, step],
        rewards.sum(axis=1)[dialogue],
    )


def held_out(speaker: Speaker, where: spoken.Stage, repeats: int, seed: int) -> list[Moment]:
    """JUDGED moments of each scenario, drawn from dialogues of a speaker with random emotions."""
    rng = np.random.default_rng(seed)
    turns = spoken.play(speaker, stage.uniform(len(EMOTIONS)), where, recipe.HELD_OUT + seed, repeats).turns
    groups = np.array([t.dialogue // repeats for t in turns])
    return [
        turns[i].moment for g in range(len(where.scenarios)) for i in rng.choice(np.flatnonzero(groups == g), JUDGED)
    ]


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


def results(config: ExpressConfig, done: Sequence[Expressed]) -> dict[str, Any]:
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
        "config": config.model_dump(mode="json"),
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
        out.add_row(escape(name), *(escape(recipe.figure(of_row[c], digits)) for c, digits in columns.items()))
    return out


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the figures come to, in words."""
    bound = found["config"]["learning"]["kl_bound"]
    lines = []
    for arm in ("jpo", "dpo"):
        if arm in found["judged"]:
            gain, far = found["gain_in_score_over"][arm]["sft"], found["judged"][arm]["distance"]
            lines.append(
                f"Judged score of {arm.upper()} less SFT: {recipe.figure(gain, 2, sign=True)}, at "
                f"{recipe.figure(far)} nats a token from it (bound {bound:g})."
            )
    for arm, others in found["gain_in_utility_over"].items():
        lines += [f"Utility of ({arm}) less ({o}): {recipe.figure(g, sign=True)}." for o, g in others.items()]
    return lines


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """results.json. FrownError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "results.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise FrownError(f"cannot write to {folder}: {error}") from None
