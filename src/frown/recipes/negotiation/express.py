"""From settings to figures, for how to say it: a first speaker, a sweep, SFT, JPO and DPO, and what each is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from frown.config import Config, LoraConfig, Seeds
from frown.errors import FrownError, first_line
from frown.policy.load import ADAPTER, resolve
from frown.recipes.negotiation import expresser, iql, language, recipe, scenarios, speech, spoken, teach
from frown.recipes.negotiation import play as stage
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import Scores, scores
from frown.recipes.negotiation.game import Floats, Rules
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.logs import Reward, step_rewards, transitions
from frown.recipes.negotiation.measure import Expressed, Judged, as_data, from_data, held_out, judged, results
from frown.recipes.negotiation.partner import Tactic
from frown.recipes.negotiation.speech import Moment, Speaker
from frown.store.files import write_text
from frown.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from frown.learner.learner import Learner

EMOTIONS = cards("ekman7")
"""The listener knows words for these."""
AT = places(EMOTIONS)
RULES = Rules()
WATCHED = 64
"""Moments of the sweep at which the KL bound is watched."""
LABELLED = 2000
"""Dialogues of the game of labels, where nothing is said, that the other selector learns from (`frown negotiate`)."""
PLAYED = {
    "sft": ("random", "selection"),
    "jpo": ("neutral", "random", "best fixed", "selection", "selection from labels", "optimum"),
    "dpo": ("random", "selection"),
    "sft on random turns": ("random",),
    "jpo, scores shuffled": ("random",),
}
"""Which choices of emotion an arm plays with."""
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
    seeds: Seeds = (0, 1, 2)
    arms: tuple[Arm, ...] = Field(default=("sft", "jpo", "dpo"), min_length=1)
    """What is trained. emotion-free: a first model, a sweep and JPO of its own, without cards and tones."""
    learning: teach.TeachSettings = teach.TeachSettings()
    selector: iql.IqlSettings = iql.IqlSettings()

    @model_validator(mode="after")
    def _data_is_read(self) -> ExpressConfig:
        recipe.refuse_data(self.scenario, self.data, "varied")
        return self


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


def table(config: ExpressConfig) -> scenarios.Table:
    """The scenarios that a configuration names."""
    if config.scenario == "varied":
        return scenarios.varied()
    return recipe.table(recipe.NegotiationConfig(scenario=config.scenario, data=config.data))


def run(
    config: ExpressConfig, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[Expressed]]:
    """Everything a configuration asks for, models and adapters into `folder`: results as JSON data, and by seed.

    Each seed is written as soon as it is done, and not run again. FrownError where the folder holds other ones.
    """
    train, test = scenarios.split(table(config))
    if not train or not test:
        raise FrownError(f"scenario {config.scenario!r} leaves {len(train)} rows to learn from and {len(test)} to test")
    if config.model is not None and (resolve(config.model) / ADAPTER).is_file():  # said before anything is written
        raise FrownError(
            f"model {config.model} is a folder of LoRA adapters, and others are trained here: merge them first "
            "(merge_and_unload and save_pretrained of peft)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrownError(f"cannot write to {folder}: {error}") from None
    done = []
    for seed in config.seeds:
        file = folder / f"seed-{seed}.json"
        found = _kept(file, config)
        if found is None:
            found = once(config, train, test, seed, folder / f"seed-{seed}", say)
            _write(file, {"config": _without_seeds(config), "found": as_data(found)})
        done.append(found)
    return results(config.model_dump(mode="json"), done), done


def _kept(file: Path, config: ExpressConfig) -> Expressed | None:
    """What an earlier attempt left of a seed."""
    if not file.exists():
        return None
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        same, found = held["config"] == _without_seeds(config), from_data(held["found"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FrownError(f"{file} cannot be read: {first_line(error)}; delete it to make it anew") from None
    if not same:
        raise FrownError(f"{file} is of other settings; choose another --out")
    return found


def _without_seeds(config: ExpressConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"seeds"})


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
    speaker = expresser.speaker_of(first.policy)
    sweep = sweep_of(first, here, max(1, config.dialogues // len(train)), config.reward, seed)
    moments = held_out(speaker, there, config.repeats, seed)
    say(f"seed {seed}: {len(sweep.said)} turns of the first model judged {sweep.scores.mean():.2f}")
    about = _about(sweep, config.learning.best)
    policies = _policies(config, train, test, sweep, seed)
    seen: dict[str, Judged] = {}
    played: dict[str, Scores] = {}
    trainings: dict[str, teach.Taught] = {}

    def play(speaker: Speaker, who: str, names: Sequence[str], where: spoken.Stage) -> None:
        for name in names:
            talks = spoken.play(speaker, policies[name], where, recipe.TESTED + seed, config.repeats).played.talks
            played[f"{name}, {who}"] = scores(talks, config.repeats)

    for who, by in (("no flaw", speech.perfect), ("first model", speaker)):
        seen[who] = judged(by(moments, seed), moments)
        play(by, who, list(policies), there)

    def teach_arms(
        first: Learner, sweep: Sweep, arms: Sequence[str], moments: Sequence[Moment], where: spoken.Stage
    ) -> None:
        for arm, learner, taught, snapshot in trained(config, first, sweep, arms, seed):
            who = arm if where.cards else f"{arm}, emotion-free"
            seen[who], trainings[who] = _judged(arm, learner, snapshot, moments, seed), taught
            play(expresser.speaker_of(learner.policy), who, PLAYED.get(arm, ()) if where.cards else ["neutral"], where)
            learner.save(folder / who.replace(", ", "-").replace(" ", "-"))
            say(f"seed {seed}: {who}, {taught.steps} steps, judged {seen[who].score.mean():.2f}")

    teach_arms(first, sweep, config.arms, moments, there)
    if "emotion-free" in config.arms:
        without = [replace(s, cards=False) for s in (here, there)]
        plain, _ = _first(config, without[0], without[1], folder / "first-emotion-free", seed)
        sweep = sweep_of(plain, without[0], max(1, config.dialogues // len(train)), config.reward, seed)
        teach_arms(plain, sweep, ("jpo",), [m._replace(card=None) for m in moments], without[1])
    return Expressed(seen, played, trainings, about, loss)


def _judged(arm: str, learner: Learner, snapshot: Sequence[Tensor], moments: Sequence[Moment], seed: int) -> Judged:
    said = expresser.sampled(learner.policy, moments, seed)
    away = expresser.distance(learner, snapshot, said) if arm.startswith(("jpo", "dpo")) else None
    return judged([expresser.aloud(r) for r in said], moments, away)


def trained(
    config: ExpressConfig, first: Learner, sweep: Sweep, arms: Sequence[str], seed: int
) -> Iterator[tuple[str, Learner, teach.Taught, list[Tensor]]]:
    """SFT and then every other arm, each from fresh adapters on the first model: its name, the model, what became of
    the training, and the weights after SFT. JPO and DPO go on from those."""
    how = config.learning
    path = first.config.model.path
    best = teach.best_turns(sweep.rewards, sweep.returns, how.best)
    watched = [t.moment for t in sweep.held.turns[:: max(1, len(sweep.said) // WATCHED)]][:WATCHED]
    advantages = teach.by_group(sweep.groups, sweep.scores)
    rng = np.random.default_rng(seed)
    pairs = teach.pairs_of(sweep.groups, sweep.scores, how.pairs, how.least_gap, rng) if "dpo" in arms else []
    snapshot: list[Tensor] = []
    for arm in dict.fromkeys(("sft", *(a for a in arms if a != "emotion-free"))):
        if arm.startswith("sft"):
            which = best if arm == "sft" else rng.choice(len(sweep.said), len(best), replace=False)
            steps = teach.steps_of(len(which), how.batch, how.sft_epochs)
            learner = expresser.learner_of(path, config.lora, how.sft_rate, steps, seed, config.most_tokens)
            taught = teach.sft(learner, [sweep.said[i] for i in which], how, seed)
            snapshot = expresser.weights(learner) if arm == "sft" else snapshot
        elif arm == "dpo":
            learner = _after_sft(config, path, how.dpo_rate, len(pairs), snapshot, seed)
            taught = teach.dpo(learner, sweep.said, pairs, how, watched, seed)
        else:
            learner = _after_sft(config, path, how.rate, len(sweep.said), snapshot, seed)
            mixed = teach.by_group(sweep.groups, rng.permutation(sweep.scores)) if "shuffled" in arm else advantages
            alone = how.model_copy(update={"negative": 0.0}) if "good turns" in arm else how
            taught = teach.jpo(learner, sweep.said, mixed, alone, watched, seed)
        yield arm, learner, taught, snapshot


def _after_sft(
    config: ExpressConfig, path: str, rate: float, count: int, snapshot: Sequence[Tensor], seed: int
) -> Learner:
    steps = teach.steps_of(count, config.learning.batch, config.learning.epochs)
    learner = expresser.learner_of(path, config.lora, rate, steps, seed, config.most_tokens)
    expresser.put(learner, snapshot)
    return learner


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
) -> tuple[Learner, float | None]:
    """The model that everything begins with, and the loss at which it was made, if it was."""
    loss, path = None, config.model
    if path is None:
        everywhere = (*here.scenarios, *there.scenarios)
        loss = language.base_model(folder, everywhere, EMOTIONS, config.first, seed, cards=here.cards)
        path = str(folder)
    return expresser.learner_of(path, None, config.learning.rate, 1, seed, config.most_tokens), loss


def _policies(
    config: ExpressConfig,
    train: Sequence[scenarios.Scenario],
    test: Sequence[scenarios.Scenario],
    sweep: Sweep,
    seed: int,
) -> dict[str, stage.Policy]:
    """Which emotion to show: baselines, selectors that learnt from the sweep and from the game of labels, the best."""
    count = len(EMOTIONS)
    learnt, tested = (stage.world(s, config.tactics, AT, RULES, inert=config.inert) for s in (train, test))
    labelled = stage.play(stage.uniform(count), learnt, seed, max(1, LABELLED // len(train)))

    def selects(played: stage.Played) -> stage.Policy:
        logs = transitions(played, AT, "onehot", RULES, "utility")
        return iql.selects(iql.train(logs, count, config.selector, seed), AT, "onehot", RULES)

    return {
        "neutral": stage.fixed([card.name for card in EMOTIONS].index("neutral"), count),
        "random": stage.uniform(count),
        "best fixed": stage.fixed(stage.best_fixed(learnt), count),
        "selection": selects(sweep.held.played),
        "selection from labels": selects(labelled),
        "optimum": stage.optimal(tested, config.repeats),
    }


def sweep_of(learner: Learner, where: spoken.Stage, repeats: int, reward: Reward, seed: int) -> Sweep:
    """Dialogues with random emotions, judged turn by turn."""
    said: list[Rollout] = []  # in the order of turns

    def speak(moments: Sequence[Moment], seed: int) -> list[str]:
        new = expresser.sampled(learner.policy, moments, seed)
        said.extend(new)
        return [expresser.aloud(r) for r in new]

    held = spoken.play(speak, stage.uniform(len(EMOTIONS)), where, seed, repeats)
    rewards = step_rewards(held.played.talks, where.rules, reward)
    dialogue, step = np.array([(t.dialogue, t.exchange) for t in held.turns]).T
    return Sweep(
        held,
        [expresser.as_said(r) for r in said],
        dialogue // repeats,
        np.array([judge(t.moment, t.text) for t in held.turns], dtype=np.float64),
        rewards[dialogue, step],
        rewards.sum(axis=1)[dialogue],
    )


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """results.json. FrownError where the folder cannot be written."""
    _write(folder / "results.json", found)


def _write(file: Path, found: Mapping[str, Any]) -> None:
    try:
        write_text(file, json.dumps(found, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise FrownError(f"cannot write to {file.parent}: {error}") from None
