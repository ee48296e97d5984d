"""What may be told: leaks, budgets of tokens, reasoning, and who is entitled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.feedback.disclosure import CUT, allowed, leak, reasoning_ends, shortened, without_reasoning
from frown.lab.environment import LabEnvironment
from frown.methods.base import Classroom
from frown.policy.policy import policy_of
from frown.policy.text import prompt_ids
from frown.tasks.load import load_environment
from frown.tasks.rollouts import judge
from frown.tasks.wording import English
from frown.teacher.views import look
from frown.types import Feedback, Part, Rollout, Task
from tiny import byte_model

TASK = Task("t", ({"role": "user", "content": "What is 40 + 2?"},), "42", solution="40 + 2 = 42")


@pytest.mark.parametrize(
    ("part", "gives"),
    [
        (Part("sibling", "anything"), "gold"),
        (Part("reference", "anything"), "gold"),
        (Part("outcome", "The answer is wrong."), "verdict"),
        (Part("outcome", "Expected 42, got 41."), "gold"),
        (Part("outcome", "Expected 142 or 421."), "verdict"),
        (Part("critique", "Step 2 forgets the carry.", (1,)), "verdict"),
        (Part("critique", "Step 2: the sum is 42.", (1,)), "gold"),
        (Part("affect", "At step 3 you were doubtful.", (2,)), "none"),
        (Part("affect", "Step 3 may well read x.", (2,), verdict=True), "verdict"),
        (Part("affect", "You weighed 41 and 42.", (2,)), "gold"),
    ],
)
def test_what_a_part_gives_away(part, gives):
    assert leak(part, TASK) == gives


def test_parts_that_give_away_too_much_are_withheld_and_counted():
    said = Feedback((Part("reference", "r"), Part("outcome", "wrong"), Part("affect", "step 1", (0,))))
    assert [p.kind for p in allowed(said, TASK, "verdict").feedback.parts] == ["outcome", "affect"]
    assert allowed(said, TASK, "none") == (Feedback(said.parts[2:]), 2)
    assert allowed(said, TASK, "gold") == (said, 0)


def chars(text):
    return [ord(c) for c in text]


def text_of(ids):
    return "".join(map(chr, ids))


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(1, 60))
def test_a_budget_keeps_whole_parts_then_one_that_says_it_is_cut(texts, most):
    parts = tuple(Part("critique", t, (i,)) for i, t in enumerate(texts))
    kept, cut, left_out = shortened(Feedback(parts), most, chars, text_of)
    assert sum(len(p.text) for p in kept.parts) <= most
    assert len(kept.parts) + left_out == len(parts)
    whole = kept.parts[: len(kept.parts) - cut]
    assert whole == parts[: len(whole)]
    if cut:
        said = kept.parts[-1].text
        assert said.endswith(CUT) and parts[len(whole)].text.startswith(said.removesuffix(CUT))
    elif left_out:
        assert sum(map(len, texts[: len(whole) + 1])) > most
    assert left_out or cut or sum(map(len, texts)) <= most


def test_a_vocabulary_that_cannot_write_the_mark_cuts_without_it():
    kept, cut, _ = shortened(Feedback((Part("critique", "12345678"),)), 4, lambda t: [int(c) for c in t if c.isdigit()],
                             lambda ids: "".join(map(str, ids)))  # fmt: skip
    assert cut == 1 and kept.parts[0].text == "1234"


@pytest.mark.parametrize(
    ("text", "shown", "ends"),
    [
        ("<think>hm\n</think>\n\nIt is 4.", "It is 4.", 18),
        ("hm, so\n</think>It is 4.", "It is 4.", 15),
        ("<think>never ends", "", 17),
        ("It is 4.", "It is 4.", 0),
        ("a <think>b</think> c <think>d</think> e", "a c e", 37),
        ("", "", 0),
    ],
)
def test_reasoning_is_taken_off(text, shown, ends):
    assert without_reasoning(text) == shown
    assert reasoning_ends(text) == ends


# -- token for token ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


CONVERSATIONS = {
    "plain": ({"role": "user", "content": "What is 40 + 2?"},),
    "system": ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 40 + 2?"}),
    "turns": (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "What is 40 + 2?"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("text", ["so 2", "{x} %s <|im_end|>", "é 🙂 \u200f", "\n\n"])
def test_student_and_teacher_differ_in_the_last_user_turn_alone(folder, name, text):
    policy = policy_of(parse(RunConfig, {"model": {"path": str(folder)}, "task": {"kind": "exact"}}, "test"))
    task = Task("t", CONVERSATIONS[name], "42")
    student = prompt_ids(policy.tokenizer, task.messages)
    same = prompt_ids(policy.tokenizer, English().teacher_messages(task, Feedback()))
    assert same.tolist() == student.tolist()
    teacher = prompt_ids(policy.tokenizer, English().teacher_messages(task, Feedback((Part("critique", text, (0,)),))))
    before = policy.decode(student).rpartition("What is 40 + 2?")
    after = policy.decode(teacher)
    # The same beginning, the same end with the mark behind which the answer stands.
    assert after.startswith(before[0] + before[1]) and after.endswith(before[2])


@pytest.mark.parametrize(("own", "first"), [("learn", 0), ("skip", len("<think>so</think>"))])
@pytest.mark.parametrize("stop", ["eos", "length"])
def test_the_students_own_reasoning_is_learnt_from_or_not_and_its_tokens_stay(folder, own, first, stop):
    values = {"model": {"path": str(folder)}, "method": "opsd", "feedback": {"own_reasoning": own}}
    config = parse(RunConfig, {**values, "task": {"kind": "exact"}}, "test")
    policy = policy_of(config)
    text = "<think>so</think>it is 4"
    ids = np.array([*policy.encode(text), *([policy.eos_ids[0]] if stop == "eos" else [])])
    task = Task("t", CONVERSATIONS["plain"], "42", solution="r")
    r = Rollout(task, 0, prompt_ids(policy.tokenizer, task.messages), ids, np.zeros(len(ids)), 1.0, stop, text)
    environment = LabEnvironment("chains")  # its wording does not matter here
    feedback = [Feedback((Part("reference", "r"),))]
    [view], unfit = look(
        [r], feedback, environment, policy, None,
        loss_on="answer", anchor=0.0, own_reasoning=config.feedback.own_reasoning,
    )  # fmt: skip
    assert unfit == 0 and len(view.weight) == len(ids)
    assert (view.weight != 0).tolist() == [t >= first for t in range(len(ids))]


def lesson(**changes):
    values = {
        "model": {"path": "lab:chains-0"},
        "task": {"kind": "lab:chains"},
        "sampling": {"prompts_per_step": 6, "responses_per_prompt": 4, "max_new_tokens": 48},
    }
    config = parse(RunConfig, values | changes, "test")
    policy, environment = policy_of(config), load_environment(config.task)
    tasks = environment.train_tasks(np.random.default_rng(0), 6)
    rollouts = judge(policy.sample(tasks, 4, seed=1, temperature=1.0), environment, policy)
    room = Classroom(config, environment, policy, np.random.default_rng(0), environment.critic)
    return rollouts, config.method.teach(rollouts, room)


def test_who_is_told_and_what_it_gives_away_is_counted():
    rollouts, made = lesson(method={"type": "critique", "to": "wrong"})
    assert [bool(f.parts) for f in made.feedback] == [not r.verdict.right for r in rollouts]
    assert made.counts["told_gold"] + made.counts["told_verdict"] == sum(bool(f.parts) for f in made.feedback)
    rollouts, made = lesson(method="opsd", feedback={"leak": "verdict"})
    assert not made.views and made.counts["parts_withheld"] == len(rollouts)


def test_a_budget_of_tokens_cuts_what_the_teacher_reads_and_never_the_answer():
    rollouts, whole = lesson(method="critique")
    _, tight = lesson(method="critique", feedback={"max_tokens": 14})
    assert tight.counts["parts_cut"] > 0 and tight.counts["parts_left_out"] > 0
    for a, b in zip(whole.views, tight.views, strict=True):
        assert len(a.context_ids) - len(b.context_ids) > 0
        assert len(a.weight) == len(b.weight) == len(rollouts[a.rollout].ids)


def test_kinds_that_the_lab_cannot_read_together_are_named():
    with pytest.raises(FrownError, match="one kind of feedback at a time, not reference and critique"):
        lesson(method={"type": "sdpo", "feedback": ["reference+critique"]})


@pytest.mark.parametrize(
    ("feedback", "says"),
    [(["critic"], "no feedback 'critic'; did you mean 'critique'"), (["sibling", "sibling+outcome"], "named once")],
)
def test_nonsense_in_feedback_parts_is_one_line(feedback, says):
    with pytest.raises(FrownError, match=says):
        parse(RunConfig, {"method": {"type": "sdpo", "feedback": feedback}}, "test")
