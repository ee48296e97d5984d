"""Feedback and teacher views: who is told what, and where the loss lies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from frown.critics.base import Comment, Request, Review
from frown.feedback.compose import by_function, compose
from frown.methods import SDPO
from frown.teacher.views import views
from frown.types import Appraisal, Feedback, Part, Rollout, Signals, Step, Task, Verdict

TASK = Task("t", ({"role": "user", "content": "q"},), "a", solution="worked")


class Echo:
    """A critic that says which step it was asked about."""

    def review(self, requests: Sequence[Request]) -> list[Review]:
        self.heard = [q.text for q in requests]
        return [
            Review(lost="out of reach") if q.text == "lost" else
            Review(tuple(Comment(s, True, f"{q.text}:{s}") for s in q.asked))
            for q in requests
        ]  # fmt: skip


def rollout(text: str, right: bool | None, group: int = 0) -> Rollout:
    verdict = Verdict.unscored("?") if right is None else Verdict(float(right), message="" if right else "no")
    surprisal = np.array([0, 0, 2, 0], np.float32)
    return Rollout(
        TASK, group, np.arange(2), np.arange(4), -surprisal, 1.0, "eos", text, (Step(0, 2), Step(2, 4)),
        Signals({"surprisal": surprisal, "entropy": surprisal}), verdict,
    )  # fmt: skip


def composed(rollouts, kinds, asked=None, notes=None, seed=0, critic=None, to="all", **policy):
    asked = asked or [()] * len(rollouts)
    return compose(
        rollouts,
        [kind.split("+") for kind in kinds],
        requests=[Request(TASK, r.text, ("0", "1"), a) if a else None for r, a in zip(rollouts, asked, strict=True)],
        notes=notes or [None] * len(rollouts),
        critic=critic or Echo(),
        rng=np.random.default_rng(seed),
        selected=SDPO(to=to).select(rollouts),
        **policy,
    )


def told(*args, **more):
    return composed(*args, **more).feedback


def test_a_sibling_is_a_right_answer_of_another_rollout_of_the_same_group():
    rollouts = [
        rollout("a", True),
        rollout("b", False),
        rollout("c", None),
        rollout("d", True, 1),
        rollout("e", False, 2),
    ]
    for seed in range(20):
        said = told(rollouts, ["sibling"], seed=seed)
        assert [[p.text for p in f.parts] for f in said] == [[], ["a"], ["a"], [], []]


def test_siblings_are_drawn_evenly():
    rollouts = [rollout("a", True), rollout("b", True), rollout("c", False)]
    seen = [told(rollouts, ["sibling"], seed=s)[2].parts[0].text for s in range(200)]
    assert 60 < seen.count("a") < 140


def test_the_first_kind_that_a_rollout_can_have_is_taken():
    rollouts = [rollout("a", True), rollout("b", False)]
    said = told(rollouts, ["sibling", "outcome"])
    assert [[(p.kind, p.text) for p in f.parts] for f in said] == [[], [("sibling", "a")]]
    said = told(rollouts, ["outcome", "reference"])
    assert [[p.kind for p in f.parts] for f in said] == [["reference"], ["outcome"]]
    assert told([rollout("c", None)], ["outcome"])[0].parts == ()  # unscored is not wrong


def test_a_critique_keeps_which_comment_is_about_which_step():
    said = told([rollout("a", False)], ["critique"], asked=[(1,)])[0]
    assert said.parts == (Part("critique", "a:1", (1,)),) and said.steps == (1,)


def test_a_critic_hears_everything_at_once_but_nothing_about_answers_that_have_feedback():
    critic = Echo()
    rollouts = [rollout("a", True), rollout("b", False), rollout("c", False, 1), rollout("d", False, 1)]
    said = composed(rollouts, ["sibling", "critique"], asked=[(0,), (0,), (1,), ()], critic=critic)
    assert critic.heard == ["a", "c"]
    assert [[p.kind for p in f.parts] for f in said.feedback] == [["critique"], ["sibling"], ["critique"], []]


def test_a_lost_critique_costs_its_own_rollout_its_feedback_and_is_said():
    rollouts = [rollout("lost", False), rollout("b", False)]
    said = composed(rollouts, ["critique", "outcome"], asked=[(0,), (1,)])
    assert said.lost == ["out of reach"]
    assert [[p.kind for p in f.parts] for f in said.feedback] == [["outcome"], ["critique"]]


def test_kinds_of_one_course_are_given_together_as_far_as_they_apply():
    rollouts = [rollout("a", True), rollout("b", False), rollout("c", None, 1)]
    said = told(rollouts, ["sibling+outcome", "reference"])
    assert [[p.kind for p in f.parts] for f in said] == [["reference"], ["sibling", "outcome"], ["reference"]]


def test_only_those_judged_wrong_or_right_are_told():
    rollouts = [rollout("a", True), rollout("b", False), rollout("c", None)]
    for to, expected in (("all", [1, 1, 1]), ("wrong", [0, 1, 0]), ("right", [1, 0, 0])):
        assert [len(f.parts) for f in told(rollouts, ["reference"], to=to)] == expected


def test_a_demonstration_is_shown_without_its_reasoning_unless_asked_for():
    rollouts = [rollout("<think>hm</think>4", True), rollout("b", False)]
    assert told(rollouts, ["sibling"])[1].parts[0].text == "4"
    assert told(rollouts, ["sibling"], strip_reasoning=False)[1].parts[0].text == "<think>hm</think>4"


def test_a_note_is_given_where_there_is_one_and_else_the_next_kind():
    note = Part("affect", "look at step 2", (1,))
    said = told([rollout("a", False), rollout("b", False)], ["affect", "outcome"], notes=[note, None])
    assert said[0].parts == (note,) and [p.kind for p in said[1].parts] == ["outcome"]


def test_feedback_filters_by_provenance():
    both = Feedback((Part("critique", "x", (0,)), Part("outcome", "y")))
    assert both.only("critique").steps == (0,) and both.steps is None


def test_the_loss_is_confined_to_commented_steps_only_when_asked():
    rollouts = [rollout("a", False), rollout("b", False), rollout("c", False)]
    said = [Feedback((Part("critique", "x", (1,)),)), Feedback((Part("sibling", "x"),)), Feedback()]
    contexts = [np.arange(5), np.arange(6), None]
    confined = views(rollouts, said, contexts, loss_on="commented", rng=np.random.default_rng(0))
    assert [v.rollout for v in confined] == [0, 1]
    assert confined[0].weight.tolist() == [0, 0, 1, 1] and confined[1].weight.tolist() == [1, 1, 1, 1]
    others = views(rollouts, said, contexts, loss_on="others", rng=np.random.default_rng(0))
    assert others[0].weight.tolist() == [1, 1, 0, 0] and others[1].weight.tolist() == [1, 1, 1, 1]
    anchored = views(rollouts, said, contexts, loss_on="commented", rng=np.random.default_rng(0), anchor=0.25)
    assert anchored[0].weight.tolist() == [0.25, 0.25, 1, 1]
    everywhere = views(rollouts, said, contexts, loss_on="answer", rng=np.random.default_rng(0))
    assert all(v.weight.all() for v in everywhere)


def test_a_function_of_ones_own_hears_of_each_rollout_its_group_and_its_appraisal_at_once():
    rollouts = [rollout("a", True), rollout("b", False), rollout("c", False, 1)]
    appraisals = [Appraisal(step_doubt=(float(i),)) for i in range(3)]
    waiting = []

    async def said(task, r, group, appraisal):
        waiting.append(r.text)
        await asyncio.sleep(0.01)
        assert len(waiting) == 3, "they wait side by side"
        right = [g.text for g in group if g.verdict.right]
        return Feedback((Part("sibling", f"{right} {appraisal.step_doubt[0]}"),))

    found = by_function(rollouts, appraisals, said, [0, 1, 2])
    assert [f.parts[0].text for f in found.feedback] == ["['a'] 0.0", "['a'] 1.0", "[] 2.0"] and found.lost == []
    waiting[:] = ["", ""]
    assert [len(f.parts) for f in by_function(rollouts[:2], appraisals[:2], said, [1]).feedback] == [0, 1]


def test_a_function_that_fails_costs_its_own_rollout_the_feedback():
    def said(task, r, group, appraisal):
        if r.text == "a":
            raise KeyError("nobody home")
        return None if r.text == "b" else Feedback((Part("outcome", "x"),))

    rollouts = [rollout("a", True), rollout("b", False), rollout("c", False)]
    found = by_function(rollouts, [Appraisal()] * 3, said, [0, 1, 2])
    assert [len(f.parts) for f in found.feedback] == [0, 0, 1]
    assert len(found.lost) == 2 and "nobody home" in found.lost[0] and "NoneType, not Feedback" in found.lost[1]


def test_a_function_of_ones_own_works_where_an_event_loop_is_running():
    async def notebook():
        return by_function([rollout("a", True)], [Appraisal()], lambda *_: Feedback((Part("outcome", "x"),)), [0])

    assert len(asyncio.run(notebook()).feedback[0].parts) == 1
