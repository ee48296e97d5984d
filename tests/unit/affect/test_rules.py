"""What signals mean: the rules of the presets, each on a case made for it, and what cannot be read."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from frown.affect.appraisal import appraise, spread
from frown.affect.normalise import Normaliser
from frown.affect.rules import DEFAULT, LITERAL, PRESETS, Condition, Rule, rules_from, rules_named
from frown.affect.spikes import Detector, Shape
from frown.errors import FrownError
from frown.types import Rollout, Signals, Step, Task, Verdict

TASK = Task("t", ({"role": "user", "content": "q"},), "a")
STEPS = (Step(0, 2), Step(2, 4), Step(4, 6))


def rollout(*, steps=STEPS, verdict=None, **signals) -> Rollout:
    values = {name: np.asarray(v, np.float32) for name, v in signals.items()}
    s = values["surprisal"]
    return Rollout(TASK, 0, np.arange(2), np.arange(len(s)), -s, 1.0, "eos", "", steps, Signals(values), verdict)


def labels(appraisal):
    return [(s.label, s.start, s.end, s.step) for s in appraisal.spans]


def test_the_literal_preset_reads_entropy_as_frustration_and_low_confidence_as_doubt():
    quiet = [0.1, 0.12, 0.11, 0.1, 0.13, 0.1]
    entropy = [0.1, 0.12, 1.9, 0.1, 0.13, 0.1]
    a = appraise(rollout(surprisal=[*quiet[:5], 2.3], entropy=entropy), LITERAL)
    assert labels(a) == [("frustration", 2, 3, 1), ("doubt", 5, 6, 2)] and a.unread == ()
    doubt = a.spans[1]
    assert doubt.evidence == {"probability": pytest.approx(np.exp(-2.3), rel=1e-6)}
    assert doubt.intensity == pytest.approx(1 - np.exp(-2.3), rel=1e-6)
    assert 0.5 < a.spans[0].intensity < 1  # beyond the threshold, where it is one half


def test_ambivalence_is_two_likely_ways_and_nothing_else():
    s = np.full(6, 0.1)
    top = np.array([0.99, 0.48, 0.48, 0.3, 0.9, 0.5])
    margin = np.array([0.98, 0.05, 0.3, 0.01, 0.85, 0.14])  # two likeliest: 1, .91, .66, .59, .95, .86
    a = appraise(rollout(surprisal=s, top_probability=top, margin=margin))
    found = [x for x in a.spans if x.label == "ambivalence"]
    assert [(x.start, x.end, x.step) for x in found] == [(1, 2, 0), (5, 6, 2)]
    assert found[0].intensity == pytest.approx(0.95)
    assert found[0].evidence == {"margin": pytest.approx(0.05), "top_two": pytest.approx(0.91)}


def seen(**signals) -> Normaliser:
    rng = np.random.default_rng(0)
    batch = [Signals({n: rng.uniform(0, hi, 6).astype(np.float32) for n, hi in signals.items()}) for _ in range(99)]
    return Normaliser(signals=tuple(signals)).update(batch)


def test_confusion_needs_disagreement_and_an_uneven_distribution():
    r = rollout(surprisal=np.full(6, 0.1), varentropy=[0.1, 0.99, 0.1, 0.2, 0.99, 0.1])
    known = seen(varentropy=1.0)
    a = appraise(r, step_signals={"disagreement": [0.75, 0.75, 0.25]}, normaliser=known)
    assert labels(a) == [("confusion", 1, 2, 0)]
    span = a.spans[0]
    assert span.evidence["disagreement"] == 0.75 == span.intensity
    assert span.evidence["varentropy_quantile"] > 0.9 and span.valence <= 0
    unknown = appraise(r, step_signals={"disagreement": [np.nan] * 3}, normaliser=known)
    assert labels(unknown) == []  # nobody comparable is not "agrees", and not "disagrees" either


def test_frustration_asks_how_rare_an_entropy_is_in_training():
    r = rollout(surprisal=np.full(6, 0.1), entropy=[0.1, 0.2, 0.93, 0.99, 0.1, 0.93])
    a = appraise(r, normaliser=seen(entropy=1.0))
    assert labels(a) == [("frustration", 2, 4, 1)]  # entered at .95, left at .9; (5, 6) never entered
    assert appraise(r, normaliser=seen(entropy=100.0)).spans == ()  # the same values, common in another training


def test_confidence_needs_a_whole_step_and_a_verdict():
    s = [0.01, 0.02, 0.01, 0.5, 0.03, 0.01]
    r = rollout(surprisal=s, verdict=Verdict(0.0, step_right=(True, True, False)))
    a = appraise(r)
    assert labels(a) == [("confidence", 0, 2, 0), ("overconfidence", 4, 6, 2)]
    assert a.spans[1].evidence == {"surprisal": pytest.approx(0.03), "right": 0.0}
    assert a.spans[1].intensity == pytest.approx(np.exp(-0.03), rel=1e-6)
    whole = appraise(replace(r, verdict=Verdict(0.0)))  # nobody judged the steps: the answer's verdict, for all of it
    assert labels(whole) == [("overconfidence", 0, 2, 0), ("overconfidence", 4, 6, 2)]


def test_rules_that_cannot_be_read_are_named_with_their_reason():
    a = appraise(rollout(surprisal=np.full(6, 0.01)))
    assert set(a.unread) == {
        "frustration: no signal 'entropy'",
        "confusion: no signal 'disagreement'",
        "ambivalence: no signal 'margin'",
        "overconfidence: the answer was not judged",
        "confidence: the answer was not judged",
    }
    entropy = appraise(rollout(surprisal=np.full(6, 0.01), entropy=np.ones(6)))
    assert "frustration: no running quantiles of 'entropy'" in entropy.unread
    unscored = appraise(rollout(surprisal=np.full(6, 0.01), verdict=Verdict.unscored("timeout")))
    assert "confidence: the answer was not judged" in unscored.unread and unscored.spans == ()
    bare = appraise(rollout(surprisal=np.full(6, 0.01), steps=(), verdict=Verdict(1.0)))
    assert "confidence: the answer has no steps" in bare.unread


def test_a_span_lies_in_one_step():
    a = appraise(rollout(surprisal=[0, 1, 1, 0, 0, 0]))
    assert labels(a) == [("doubt", 1, 2, 0), ("doubt", 2, 3, 1)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_data(name):
    text = json.dumps([asdict(rule) for rule in PRESETS[name]])
    assert rules_from(json.loads(text), "here") == PRESETS[name] == rules_named(name)


def test_rules_from_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[rule]]\nlabel = "doubt"\nintensity = "unlikely"\nvad = [0.0, 0.5, 0.0, "mine"]\nshape = {snap = true}\n'
        'conditions = [{signal = "surprisal", detector = {kind = "share", enter = 0.7}}]\n'
    )
    (rule,) = rules_named(str(file))
    assert rule.conditions == (Condition("surprisal", Detector("share", 0.7)),) and rule.shape == Shape(snap=True)
    a = appraise(rollout(surprisal=[0, 0, 0, 2, 0, 3]), [rule])
    assert labels(a) == [("doubt", 2, 4, 1), ("doubt", 4, 6, 2)] and a.spans[0].arousal == 0.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[[rule]]\nlabel = "gloom"\n', "rule|label"),
        ('[[rule]]\nlabel = "doubt"\nintensty = "share"\n', "0"),
        ("x = 1\n", r"\[\[rule\]\]"),
        ("= 3\n", "cannot read"),
    ],
)
def test_bad_rules_are_one_line(tmp_path, text, named):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(FrownError, match=named) as error:
        rules_named(str(file))
    assert "\n" not in str(error.value) and "bad.toml" in str(error.value)
    with pytest.raises(FrownError, match="literal, default"):
        rules_named("litteral")


def test_a_rule_without_a_condition_has_no_evidence():
    with pytest.raises(ValueError, match="evidence"):
        Rule("doubt", (), "share", DEFAULT[0].vad)


def test_step_signals_have_one_value_a_step():
    with pytest.raises(ValueError, match="2 for 3"):
        spread([1.0, 2.0], STEPS, 6)
