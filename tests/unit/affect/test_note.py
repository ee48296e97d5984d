"""What a teacher is told, and the controls that could prove it wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.affect.appraisal import appraise, step_at
from frown.affect.controls import LABELS, controlled, oracle, shuffled_labels, shuffled_spans
from frown.affect.note import TROUBLE, Mode, note, resolve, sibling_choices, weigh_up
from frown.types import Appraisal, Rollout, Signals, Span, Step, Task, Verdict

TASK = Task("t", ({"role": "user", "content": "q"},), "a")


def rng(seed=0):
    return np.random.default_rng(seed)


def rollout(steps, length, text="", verdict=None, group=0) -> Rollout:
    s = np.ones(length, np.float32)
    return Rollout(
        TASK,
        group,
        np.arange(2),
        np.arange(length),
        -s,
        1.0,
        "eos",
        text,
        tuple(steps),
        Signals({"surprisal": s}),
        verdict,
    )


@st.composite
def cases(draw):
    """A rollout of tiled steps (some tokens may follow the last), and an appraisal whose spans lie in one each."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    ends = np.cumsum(sizes).tolist()
    steps = [Step(end - n, end) for n, end in zip(sizes, ends, strict=True)]
    r = rollout(steps, ends[-1] + draw(st.integers(0, 3)))
    spans = []
    for _ in range(draw(st.integers(0, 6))):
        i = draw(st.integers(0, len(steps) - 1))
        a = draw(st.integers(steps[i].start, steps[i].end - 1))
        b = draw(st.integers(a + 1, steps[i].end))
        spans.append(Span(a, b, draw(st.sampled_from(LABELS)), draw(st.floats(0, 1)), {"x": draw(st.floats(0, 9))}, i))
    if len(r.ids) > ends[-1] and draw(st.booleans()):
        spans.append(Span(ends[-1], len(r.ids), "doubt", 0.5, {"x": 1.0}, None))
    spans.sort(key=lambda s: (s.start, s.end))
    doubt = draw(st.lists(st.floats(0, 9), min_size=len(steps), max_size=len(steps)))
    return r, Appraisal(tuple(spans), tuple(doubt), ("a rule: a reason",))


def pointed(appraisal):
    return {s.step for s in appraisal.spans if s.step is not None}


# -- controls ------------------------------------------------------------------------------------------------------


@given(cases(), st.integers(0, 99))
def test_shuffling_spans_keeps_labels_lengths_evidence_and_the_number_of_steps(case, seed):
    r, a = case
    b = shuffled_spans(a, r, rng(seed))

    def kept(x):
        return Counter((s.label, s.end - s.start, s.intensity, s.evidence["x"], s.step is None) for s in x.spans)

    assert kept(a) == kept(b) and len(pointed(a)) == len(pointed(b))
    assert sorted(a.step_doubt) == sorted(b.step_doubt) and b.unread == a.unread
    for s in b.spans:
        assert 0 <= s.start < s.end <= len(r.ids)
        if s.step is not None and s.end - s.start <= r.steps[s.step].end - r.steps[s.step].start:
            assert step_at(r.steps, s.start) == s.step == step_at(r.steps, s.end - 1)
    told = {s.step: a.step_doubt[s.step] for s in a.spans if s.step is not None}
    for step, doubt in told.items():  # the doubt of a step goes where its spans go
        assert any(b.step_doubt[t.step] == doubt for t in b.spans if t.step is not None), step


def test_shuffled_spans_are_even_over_steps():
    r = rollout([Step(i, i + 1) for i in range(4)], 4)
    a = Appraisal((Span(0, 1, "doubt", 1.0, {"x": 1.0}, 0),), (1.0, 0.0, 0.0, 0.0))
    g = rng()
    where = np.bincount([shuffled_spans(a, r, g).spans[0].start for _ in range(4000)], minlength=4)
    assert abs(where - 1000).max() < 5 * np.sqrt(4000 * 3 / 16)


@given(cases(), st.integers(0, 99))
def test_shuffling_labels_keeps_places_and_the_multiset_of_labels(case, seed):
    _, a = case
    b = shuffled_labels(a, rng(seed))
    assert [(s.start, s.end, s.step, s.intensity, s.evidence) for s in a.spans] == [
        (s.start, s.end, s.step, s.intensity, s.evidence) for s in b.spans
    ]
    assert Counter(s.label for s in a.spans) == Counter(s.label for s in b.spans)
    assert a.step_doubt == b.step_doubt


@pytest.mark.slow
@given(
    cases(), st.sampled_from(["shuffled_spans", "shuffled_labels", "random_spans", "position_only"]), st.integers(0, 9)
)
def test_controls_point_at_as_many_steps_with_as_many_spans(case, control, seed):
    r, a = case
    b = controlled(a, r, control, rng(seed))
    assert len(pointed(a)) == len(pointed(b))
    inside = [s for s in a.spans if s.step is not None]
    assert len(b.spans) == (len(inside) if control == "position_only" else len(a.spans))
    assert len(b.step_doubt) == len(a.step_doubt)
    assert controlled(a, r, control, rng(seed)) == b  # seeded


def test_labels_do_move_and_take_their_place_in_the_affect_space_along():
    spans = tuple(
        Span(i, i + 1, label, 0.5, {"x": 1.0}, None, v)
        for i, (label, v) in enumerate([("doubt", -0.6), ("confidence", 0.8)])
    )
    g = rng()
    first = [shuffled_labels(Appraisal(spans), g).spans[0] for _ in range(1000)]
    assert {(s.label, s.valence) for s in first} == {("doubt", -0.6), ("confidence", 0.8)}
    assert abs(sum(s.label == "doubt" for s in first) - 500) < 5 * np.sqrt(250)


def test_position_only_points_at_the_end_whatever_was_read():
    r = rollout([Step(i, i + 2) for i in range(0, 8, 2)], 8)
    a = Appraisal(
        (Span(0, 1, "doubt", 0.2, {"x": 1.0}, 0), Span(2, 3, "confusion", 0.9, {"x": 2.0}, 1)), (5.0, 4.0, 0.0, 0.0)
    )
    b = controlled(a, r, "position_only", rng())
    assert [(s.label, s.start, s.end, s.step) for s in b.spans] == [("doubt", 4, 6, 2), ("confusion", 6, 8, 3)]
    assert b.step_doubt == (0.25, 0.5, 0.75, 1.0)


def test_oracle_marks_exactly_the_wrong_steps_or_says_why_not():
    steps = [Step(0, 2), Step(2, 4), Step(4, 6)]
    a = oracle(rollout(steps, 6, verdict=Verdict(0.0, step_right=(True, False, False))))
    assert [(s.start, s.end, s.step) for s in a.spans] == [(2, 4, 1), (4, 6, 2)] and a.step_doubt == (0, 1, 1)
    blind = oracle(rollout(steps, 6, verdict=Verdict(0.0)))
    assert blind.spans == () and "nobody judged" in blind.unread[0]


@pytest.mark.slow
@given(cases())
def test_none_says_nothing(case):
    r, a = case
    nothing = controlled(a, r, "none", rng())
    assert nothing.spans == () and nothing.step_doubt == ()


# -- notes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(cases(), st.sampled_from(get_args(Mode)), st.text("0123456789@=;+-ab ", min_size=4, max_size=40))
def test_a_note_never_quotes(case, mode, text):
    r, a = case
    steps = [text[i : i + 6] for i in range(0, len(text), 6)]
    said = note(a, mode).text
    assert all(s not in said for s in steps if len(s.strip()) >= 4)
    # It is made without the text: whatever stood in the answer, the words are these.
    assert note(appraise(replace(r, text=text)), mode) == note(appraise(replace(r, text="")), mode)


@given(cases(), st.sampled_from(get_args(Mode)), st.integers(1, 4))
def test_a_note_has_a_sentence_for_each_of_the_most_intense_steps(case, mode, most):
    _, a = case
    troubled = [s for s in a.spans if s.label in TROUBLE]
    n = note(a, mode, most=most)
    steps = {s.step for s in troubled if s.step is not None}
    assert len(n.steps) == min(most, len(steps)) and set(n.steps) <= steps
    assert n.left_out == sum(s.step is None for s in troubled)
    sentences = [s for s in n.text.replace(". ", ".\n").split("\n") if s]
    assert len(sentences) == len(n.steps)
    if mode == "content_free":
        assert not any(c.isdigit() for c in n.text)
    else:
        assert all(f"tep {step + 1}" in s for step, s in zip(n.steps, sentences, strict=True))
    peak = {step: max(s.intensity for s in troubled if s.step == step) for step in steps}
    assert all(peak[i] >= peak[o] for i in n.steps for o in steps - set(n.steps))


def test_the_modes_by_hand():
    a = Appraisal((Span(3, 4, "doubt", 0.9, {"surprisal": 2.302}, 2),))
    assert note(a, "emotion").text == "At step 3 you were very doubtful."
    assert note(a, "plain").text == "At step 3 what you wrote seemed very unlikely to you."
    assert note(a, "numbers").text == "Step 3: surprisal 2.30; intensity 0.90."
    assert note(a, "paraphrase").text == "Step 3 is worth another look."
    assert note(Appraisal(), "emotion") == ("", (), 0)


def test_of_several_spans_in_a_step_the_most_intense_speaks():
    spans = tuple(
        Span(i, i + 1, label, x, {"x": x}, 0) for i, (label, x) in enumerate([("doubt", 0.4), ("confusion", 0.5)])
    )
    for order in (spans, spans[::-1]):
        assert note(Appraisal(order), "emotion").text == "At step 1 you were confused."


def test_emotion_words_are_in_the_emotion_note_alone():
    spans = tuple(Span(i, i + 1, label, 0.5, {"x": 1.0}, i) for i, label in enumerate(TROUBLE))
    words = ("frustrat", "doubt", "confus", "torn")
    assert all(w in note(Appraisal(spans), "emotion").text for w in words)
    for mode in set(get_args(Mode)) - {"emotion"}:
        assert not any(w in note(Appraisal(spans), mode).text for w in words)


def test_a_note_keeps_verdicts_to_itself():
    a = Appraisal(
        (Span(0, 1, "overconfidence", 1.0, {"right": 0.0}, 0), Span(1, 2, "confidence", 1.0, {"right": 1.0}, 1))
    )
    assert note(a, "emotion").text == ""
    assert note(a, "emotion", labels=("confidence",)).steps == (1,)


# -- notes with content --------------------------------------------------------------------------------------------


def test_siblings_are_compared_in_the_same_state_of_the_same_group():
    def one(group, *states):
        return rollout([], 4, verdict=Verdict(0.0, step_state=states), group=group)

    rollouts = [one(0, "7", "4"), one(0, "7", "4"), one(0, "7", "9"), one(0, "7", "?"), one(1, "7", "4")]
    choices = [["4", "2"], ["4", "3"], ["9", "5"], ["8", "1"], ["0", "6"]]
    found = sibling_choices(rollouts, choices)
    assert found[0] == [("8", "9"), ("3",)]  # equally common ones in order
    assert found[2] == [("4", "8"), ()]  # the commonest first; nobody else was in state 9
    assert found[3] == [("4", "9"), ()] and found[4] == [(), ()]
    assert sibling_choices([rollout([], 4)], [["4"]]) == [[()]]  # no states: nothing is comparable


def test_right_siblings_alone_can_be_asked():
    def one(score):
        return rollout([], 4, verdict=Verdict(score, step_state=("7",)), group=0)

    rollouts, choices = [one(1.0), one(0.0), one(0.0)], [["4"], ["2"], ["3"]]
    assert sibling_choices(rollouts, choices, right=True) == [[()], [("4",)], [("4",)]]


def test_the_outcome_resolves_what_was_considered():
    own, others = [("a", "b"), ("c",), ("d", "e")], [(), (), ("f", "g")]
    assert resolve([0, 1, 2], own, others, True) == {0: ("a",), 1: ("c",), 2: ("d",)}
    # Of a wrong answer what it wrote is never said; what siblings wrote comes first; nothing else, nothing said.
    assert resolve([0, 1, 2], own, others, False) == {0: ("b",), 2: ("f",)}


@given(st.lists(st.lists(st.sampled_from("1234"), min_size=1, max_size=3), min_size=1, max_size=4), st.integers(0, 99))
def test_weighed_data_holds_what_was_considered_and_nothing_else(own, seed):
    others = [tuple("56"[: i % 3]) for i in range(len(own))]
    found = weigh_up(range(len(own)), own, others, rng(seed), most=3)
    for step, mine in enumerate(own):
        options = list(dict.fromkeys([*mine, *others[step]]))[:3]
        assert sorted(found.get(step, ())) == (sorted(options) if len(options) > 1 else [])


def test_the_place_of_an_option_does_not_say_which_was_written():
    g = rng()
    first = [weigh_up([0], [["1", "2"]], [("3",)], g)[0].index("1") for _ in range(3000)]
    assert abs(np.bincount(first, minlength=3) - 1000).max() < 5 * np.sqrt(3000 * 2 / 9)
