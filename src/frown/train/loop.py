"""The training loop: sample, judge, read, give feedback, look as the teacher, one loss, one step.

    prompts  <- what is practised next                                          curriculum
    answers  <- the policy, G to each of P prompts                              policy.sample
    verdicts <- the environment                                                 environment.verify
    lesson   <- spans of affect, a critic aimed at the doubtful steps,
                feedback, and the same answers behind a context that holds it   lesson.prepare
    loss     <- d * divergence(student, teacher) + (1 - d) * policy gradient    learner.learn

Deviations from SDPO as published (arXiv 2601.20802): the whole vocabulary instead of the top K; a sibling is drawn
evenly among the right ones; one optimiser step a batch, so no importance ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.critics.model import ModelCritic
from frown.errors import FrownError, NotFinite
from frown.feedback.compose import FeedbackFunction
from frown.learner.learner import Learner
from frown.learner.objective import ObjectiveFunction
from frown.policy.policy import Policy
from frown.practice import prompts as curriculum
from frown.practice import replay as rehearsal
from frown.runtime import randomness as streams
from frown.runtime.randomness import FEEDBACK, PRACTICE, PREFLIGHT, PROMPTS, seed_of
from frown.store.run_directory import RunDirectory
from frown.tasks.base import Environment
from frown.train.credit import advantages
from frown.train.evaluation import judge
from frown.train.guard import Trip, in_force, watch
from frown.train.lesson import Lesson, SignalFunction, noisy_spread, prepare
from frown.train.preflight import teacher_gap
from frown.train.record import keep_rollouts, measure, spend, step_metrics
from frown.train.rescue import rescue
from frown.train.routing import routed
from frown.train.state import LoopState, beginning, save
from frown.types import Rollout, TeacherView

Warn = Callable[[str], None]

NOBODY_TOLD = (
    "at the first step no rollout got any feedback, so nothing was distilled: check feedback.parts (a reference needs "
    "worked solutions, a sibling a right answer in the group)"
)


def train(
    config: RunConfig,
    learner: Learner,
    environment: Environment,
    run: RunDirectory,
    warn: Warn = lambda line: None,
    critic: Critic | None = None,
    feedback: FeedbackFunction | None = None,
    state: LoopState | None = None,
    signal: SignalFunction | None = None,
    objective: ObjectiveFunction | None = None,
) -> None:
    """Train one policy, writing everything to its run directory.

    `critic`: who comments on single steps. `state`: where to go on (`frown.train.state.load`); None begins. The
    functions of one's own (`feedback`, `signal`, `objective`) are those of `frown.train.run.execute`.
    """
    last, policy = config.optimiser.steps, learner.policy
    if state is None:
        state = beginning(config, environment)
        for line in (*environment.notes, *policy.notes):
            warn(line)
            run.log({"step": 0, "note": line})
        measure(policy, environment, run, config, 0, state.cost, warn, state.normaliser)
        save(state, learner, critic, run, config)
    while state.step < last:
        step, now = state.step + 1, in_force(config, state.guard)
        try:
            state, seen = train_step(state, now, learner, environment, run, warn, critic, feedback, signal, objective)
            if is_due(step, config.eval.every, last):
                accuracy = measure(policy, environment, run, config, step, state.cost, warn, state.normaliser)
                seen |= {"dev_accuracy": accuracy.get("dev")}
            guard, trips = watch(state.guard, step, seen, config.guard)
            state = replace(state, guard=guard)
        except NotFinite as error:
            if "rollback" not in config.guard.actions:
                wrong = f"step {step}: {error}; lower optimiser.lr (the last good checkpoint is kept)"
                raise FrownError(wrong) from error
            state, trips = replace(state, step=step), (Trip("finite", None, None, step),)
        if trips:
            state = rescue(state, trips, config, learner, critic, run, warn)
        if is_due(state.step, config.checkpoint.every or config.eval.every, last):
            save(state, learner, critic, run, now)
    if policy.steps_taken < last:
        idle = last - policy.steps_taken
        warn(f"{idle} of {last} steps had nothing to learn from and changed no weight")
        run.log({"step": last, "idle_steps": idle})


def train_step(
    state: LoopState,
    config: RunConfig,
    learner: Learner,
    environment: Environment,
    run: RunDirectory,
    warn: Warn,
    critic: Critic | None,
    feedback: FeedbackFunction | None,
    signal: SignalFunction | None,
    objective: ObjectiveFunction | None,
) -> tuple[LoopState, dict[str, Any]]:
    """One batch of fresh answers, one step of the optimiser: the state after it, and its metrics. Both and the rollouts
    are in the run directory.

    Raises NotFinite, before the weights move, where the loss or its gradient is not finite.
    """
    started, policy = time.perf_counter(), learner.policy
    step, practice, rng = state.step + 1, config.affect.practice, streams.generators(state.random)
    flow, _ = curriculum.beginning(practice, environment) or (None, None)
    G, temperature = config.sampling.responses_per_prompt, config.sampling.temperature
    tasks = curriculum.draw(environment, config, rng[PROMPTS], state.level)
    answers = policy.sample(tasks, G, seed=seed_of(config.seed, step), temperature=temperature)
    answers = judge(answers, environment, policy)
    normaliser = state.normaliser.update([r.signals for r in answers if r.signals is not None])
    rollouts = curriculum.select(answers, config.sampling.prompts_per_step, practice, rng[PRACTICE])
    scores = np.array([r.verdict.score if r.verdict else np.nan for r in rollouts])

    spread = noisy_spread(rollouts, config.feedback.critique, policy, rng[FEEDBACK])

    def told() -> tuple[Lesson, np.random.Generator]:
        lesson = prepare(
            rollouts,
            config,
            environment,
            policy,
            rng[FEEDBACK],
            critic=critic,
            normaliser=normaliser,
            function=feedback,
            signal=signal,
            spread=spread,
        )
        return lesson, rng[FEEDBACK]

    lesson, rng[FEEDBACK] = policy.ranks.from_first(told)  # a critic is asked once
    if step == 1 and config.objective.distillation > 0:
        began = time.perf_counter()
        check_teacher(config, policy, environment, run, rollouts, lesson.views, warn)
        started += time.perf_counter() - began  # a check, not training

    again = rehearsal.choose(state.kept, practice.rehearse, practice.rehearse_by, rng[PRACTICE])
    old = [replace(state.kept[i].view, rollout=len(rollouts) + j) for j, i in enumerate(again)]
    credit = advantages(rollouts, lesson.appraisals, scores, config, rng[FEEDBACK])
    if config.objective.blend == "route":
        taught, credit = routed(rollouts, lesson.views, credit)
        lesson = lesson._replace(views=taught)
    rehearsed = [state.kept[i].rollout for i in again]
    nothing = [np.zeros(len(r.ids), np.float32) for r in rehearsed]  # rehearsed: distilled alone
    update = learner.learn(
        [*rollouts, *rehearsed],
        [*lesson.views, *old],
        [*credit, *nothing],
        distillation=config.objective.distillation,
        objective=objective,
        lr_factor=0.5**state.guard.rollbacks,
    )

    kept, level = state.kept, state.level
    if flow is not None and level is not None:
        level = curriculum.progress(level, flow, rollouts, lesson.appraisals)
    if practice.rehearse:
        new = [(rehearsal.needed(rollouts[v.rollout]), v) for v in lesson.views]
        kept = rehearsal.remember(kept, again, new, [seen["divergence"] for seen in update.views])
    cost = spend(state.cost, answers, lesson.feedback, time.perf_counter() - started)
    for why in sorted(set(lesson.lost) - state.complaints):
        warn(f"step {step}: a critique was lost: {why}")
    counts: dict[str, Any] = {"views": len(lesson.views), **lesson.counts, "rehearsed": len(again)}
    counts |= {"weighted_tokens": weighted_tokens(lesson.views)}
    counts |= {} if state.level is None else {"level": state.level.level}
    counts |= {} if not isinstance(critic, ModelCritic) else {"critic": critic.statistics.as_json()}
    seen = {**step_metrics(rollouts, scores), **counts, **update.averages, "grad_norm": update.gradient_norm}
    if config.guard.kl is not None and "kl_to_start" not in seen:
        seen["kl_to_start"] = learner.kl_to_start(rollouts)
    run.log({"step": step, **seen, **cost._asdict()})
    if config.keep_rollouts:
        keep_rollouts(run, step, rollouts, lesson, credit, update.views, policy)
    after = LoopState(
        step=step,
        random=streams.states(rng),
        level=level,
        cost=cost,
        normaliser=normaliser,
        kept=kept,
        complaints=state.complaints | set(lesson.lost),
        guard=state.guard,
    )
    return after, seen


def is_due(step: int, every: int, last: int) -> bool:
    """Whether something that is done every so many steps, and after the last, is done now."""
    return step % every == 0 or step == last


def check_teacher(
    config: RunConfig,
    policy: Policy,
    environment: Environment,
    run: RunDirectory,
    rollouts: Sequence[Rollout],
    views: Sequence[TeacherView],
    warn: Warn,
) -> None:
    """Say so when the teacher is not shown to be better than the student it is about to teach."""
    gap = teacher_gap(policy, environment, rollouts, views, seed=seed_of(config.seed, 1, PREFLIGHT))
    warning = gap.warning if gap else NOBODY_TOLD if not views else None
    if warning:
        warn(warning)
    run.log({"step": 0, "teacher_gap": gap._asdict() if gap else None, "warning": warning})


def weighted_tokens(views: Sequence[TeacherView]) -> int:
    """Tokens that the distillation loss lies on."""
    return int(sum(np.count_nonzero(v.weight) for v in views))


def check(config: RunConfig, critic: Critic | None) -> None:
    """Refuse a run that could not learn as configured, before anything is loaded."""
    if config.objective.distillation > 0 and set(config.feedback.kinds) <= {"critique"} and critic is None:
        raise FrownError(
            f"task.kind = {config.task.kind!r} has no critic: name one (feedback.critique.critic), or use other "
            "feedback.parts"
        )
