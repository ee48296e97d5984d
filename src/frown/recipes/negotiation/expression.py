"""The expression half, from settings to results: a first model, a sweep, SFT, JPO and DPO, judged and played."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from frown.config import Config, LoraConfig, Seeds
from frown.errors import FrownError
from frown.policy.folder import ADAPTER, resolve
from frown.recipes.negotiation import iql, language, play, scenarios, selection, speaker_model, speech, spoken, teach
from frown.recipes.negotiation.arms import Arm, TrainedArm, train_arms
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import Scores, scores
from frown.recipes.negotiation.game import Rules
from frown.recipes.negotiation.logs import Reward, transitions
from frown.recipes.negotiation.partner import Tactic
from frown.recipes.negotiation.speaker_scores import (
    ExpressionResult,
    SpeakerScores,
    from_data,
    held_out_moments,
    results,
    score_speaker,
    to_data,
)
from frown.recipes.negotiation.speech import Moment, Speaker
from frown.recipes.negotiation.sweep import Sweep, make_sweep, summarise_sweep
from frown.store.files import write_text
from frown.store.results import load_or_make

if TYPE_CHECKING:
    from frown.learner.learner import Learner

EMOTIONS = cards("ekman7")
"""The listener knows words for these."""
AT = places(EMOTIONS)
RULES = Rules()
LABELLED = 2000
"""Dialogues of the game of labels, without words, that the other selector learns from (see `selection`)."""
PLAYED_WITH = {
    "sft": ("random", "selection"),
    "jpo": ("neutral", "random", "best fixed", "selection", "selection from labels", "optimum"),
    "dpo": ("random", "selection"),
    "sft on random turns": ("random",),
    "jpo, scores shuffled": ("random",),
}
"""Which choices of emotion an arm plays with."""


class ExpressionConfig(Config):
    """Settings: who speaks, with whom, and what the speaker learns from."""

    scenario: Literal["varied", "credit", "disaster", "hospital", "sleep"] = "varied"
    data: Path | None = None
    """The folder with the scenario tables; varied needs none."""
    model: str | None = None
    """A chat model: a Hugging Face folder or hub name. None: one of the lab's size is made for each seed."""
    lora: LoraConfig = LoraConfig()
    max_new_tokens: int = Field(default=speaker_model.MAX_NEW_TOKENS, ge=4)
    """Of an utterance."""
    tactics: tuple[Tactic, ...] = Field(default=("victim",), min_length=1)
    """Of the partners, in turn over scenarios."""
    inert: bool = False
    """Emotions do nothing."""
    reward: Reward = "utility"
    """By which SFT chooses its turns. ["paper"]"""
    base_steps: int = Field(default=600, ge=1)
    """Steps of the training that makes the lab-size model, 32 turns each."""
    dialogues: int = Field(default=400, ge=1)
    """In the sweep, spread over the training scenarios (at least one for each)."""
    repeats: int = Field(default=10, ge=1)
    """Test dialogues a scenario."""
    seeds: Seeds = (0, 1, 2)
    arms: tuple[Arm, ...] = Field(default=("sft", "jpo", "dpo"), min_length=1)
    """What is trained; see `arms.Arm`."""
    learning: teach.TeachConfig = teach.TeachConfig()
    selector: iql.IqlConfig = iql.IqlConfig()

    @model_validator(mode="after")
    def _data_is_read(self) -> ExpressionConfig:
        selection.check_data_flag(self.scenario, self.data, "varied")
        return self


def load_table(config: ExpressionConfig) -> scenarios.Table:
    """The scenarios that a configuration names."""
    if config.scenario == "varied":
        return scenarios.varied()
    return selection.load_table(selection.SelectionConfig(scenario=config.scenario, data=config.data))


def run(
    config: ExpressionConfig, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[ExpressionResult]]:
    """Run every seed of a configuration: the results as JSON data, and those of each seed.

    Models and adapters are written into `folder`, and each seed as soon as it is done; it is not run again. Raises
    FrownError where the folder holds seeds of other settings.
    """
    train, test = scenarios.split(load_table(config))
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
    settings = config.model_dump(mode="json", exclude={"seeds"})
    seed_results = []
    for seed in config.seeds:
        file = folder / f"seed-{seed}.json"
        make = partial(run_seed, config, train, test, seed, folder / f"seed-{seed}", say)
        seed_results.append(load_or_make(file, settings, make, to_data, from_data))
    return results(config.model_dump(mode="json"), seed_results), seed_results


def run_seed(
    config: ExpressionConfig,
    train: Sequence[scenarios.Scenario],
    test: Sequence[scenarios.Scenario],
    seed: int,
    folder: Path,
    say: Callable[[str], None],
) -> ExpressionResult:
    """Run one seed: first model, sweep, every arm from the same start, held-out judging, play."""
    stages = [spoken.Stage(tuple(s), config.tactics, EMOTIONS, RULES, config.inert) for s in (train, test)]
    first, loss = _first_model(config, stages, folder / "first", seed)
    speaker = speaker_model.make_speaker(first.policy)
    repeats = max(1, config.dialogues // len(train))
    sweep = make_sweep(first.policy, stages[0], repeats, config.reward, seed)
    moments = held_out_moments(speaker, stages[1], config.repeats, seed)
    say(f"seed {seed}: {len(sweep.lines)} turns of the first model judged {sweep.scores.mean():.2f}")
    seed_result = ExpressionResult({}, {}, {}, summarise_sweep(sweep, config.learning.sft_share), loss)
    policies = _policies(config, train, test, sweep, seed)
    for name, by_rule in (("no flaw", speech.perfect), ("first model", speaker)):
        seed_result.speakers[name] = score_speaker(by_rule(moments, seed), moments)
        seed_result.play.update(_play(by_rule, name, policies, stages[1], config.repeats, seed))

    def run_arms(
        first: Learner, sweep: Sweep, arms: Sequence[str], moments: Sequence[Moment], stage: spoken.Stage
    ) -> None:
        path = first.config.model.path
        for arm in train_arms(path, config.lora, config.max_new_tokens, config.learning, sweep, arms, seed):
            name = arm.name if stage.cards else f"{arm.name}, emotion-free"
            seed_result.speakers[name], seed_result.trainings[name] = _score(arm, moments, seed), arm.training
            choices = PLAYED_WITH.get(arm.name, ()) if stage.cards else ["neutral"]
            trained = speaker_model.make_speaker(arm.learner.policy)
            seed_result.play.update(
                _play(trained, name, {c: policies[c] for c in choices}, stage, config.repeats, seed)
            )
            arm.learner.save(folder / name.replace(", ", "-").replace(" ", "-"))
            score = seed_result.speakers[name].score.mean()
            say(f"seed {seed}: {name}, {arm.training.steps} steps, judged {score:.2f}")

    run_arms(first, sweep, config.arms, moments, stages[1])
    if "emotion-free" in config.arms:
        stages = [replace(s, cards=False) for s in stages]
        first, _ = _first_model(config, stages, folder / "first-emotion-free", seed)
        sweep = make_sweep(first.policy, stages[0], repeats, config.reward, seed)
        run_arms(first, sweep, ("jpo",), [m._replace(card=None) for m in moments], stages[1])
    return seed_result


def _score(arm: TrainedArm, moments: Sequence[Moment], seed: int) -> SpeakerScores:
    """Score a trained arm on held-out moments; of JPO and DPO with the distance to the model after SFT."""
    rollouts = speaker_model.sample_utterances(arm.learner.policy, moments, seed)
    distance = None
    if arm.name.startswith(("jpo", "dpo")):
        distance = speaker_model.kl_distance(arm.learner, arm.sft_weights, rollouts)
    return score_speaker([speaker_model.spoken_text(r) for r in rollouts], moments, distance)


def _play(
    speaker: Speaker, name: str, policies: Mapping[str, play.Policy], stage: spoken.Stage, repeats: int, seed: int
) -> dict[str, Scores]:
    """Scores of a speaker in the game with each choice of emotion, by "choice, speaker"."""
    by_arm = {}
    for choice, policy in policies.items():
        transcripts = spoken.play(speaker, policy, stage, selection.TESTED + seed, repeats)
        by_arm[f"{choice}, {name}"] = scores(transcripts.episodes.dialogues, repeats)
    return by_arm


def _first_model(
    config: ExpressionConfig, stages: Sequence[spoken.Stage], folder: Path, seed: int
) -> tuple[Learner, float | None]:
    """The model that everything begins with, and its loss, if it was made here."""
    loss, path = None, config.model
    if path is None:
        everywhere = [s for stage in stages for s in stage.scenarios]
        loss = language.base_model(folder, everywhere, EMOTIONS, config.base_steps, seed, cards=stages[0].cards)
        path = str(folder)
    return speaker_model.make_learner(path, None, config.learning.jpo_lr, 1, seed, config.max_new_tokens), loss


def _policies(
    config: ExpressionConfig,
    train: Sequence[scenarios.Scenario],
    test: Sequence[scenarios.Scenario],
    sweep: Sweep,
    seed: int,
) -> dict[str, play.Policy]:
    """Choices of emotion by name: baselines, selectors trained on the sweep and on the game of labels, the optimum."""
    count = len(EMOTIONS)
    train_world, test_world = (play.world(s, config.tactics, AT, RULES, inert=config.inert) for s in (train, test))
    labelled = play.play(play.uniform(count), train_world, seed, max(1, LABELLED // len(train)))

    def train_selector(episodes: play.Episodes) -> play.Policy:
        logs = transitions(episodes, AT, "onehot", RULES, "utility")
        return iql.greedy_policy(iql.train(logs, count, config.selector, seed), AT, "onehot", RULES)

    return {
        "neutral": play.fixed([card.name for card in EMOTIONS].index("neutral"), count),
        "random": play.uniform(count),
        "best fixed": play.fixed(play.best_fixed(train_world), count),
        "selection": train_selector(sweep.transcripts.episodes),
        "selection from labels": train_selector(labelled),
        "optimum": play.optimal(test_world, config.repeats),
    }


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Write results.json. Raises FrownError where the folder cannot be written."""
    write_text(folder / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
