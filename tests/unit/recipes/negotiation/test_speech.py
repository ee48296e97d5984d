"""What is said and heard in the game: amounts, the language's grammar, the listener, the judge, and the spoken game."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.recipes.negotiation import listener, play, scenarios, speaker_scores, speech, spoken
from frown.recipes.negotiation.emotions import cards, places, prompt
from frown.recipes.negotiation.game import DEAL, NO_DEAL, OPEN, Rules, open_dialogues, utility
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.offers import read_offer
from frown.recipes.negotiation.scenarios import Scenario
from paths import SHARED

pytestmark = pytest.mark.slow

EMOTIONS = cards("ekman7")
AT = places(EMOTIONS)
TABLES = SHARED / "data" / "negotiation"
TRAIN, TEST = scenarios.split(scenarios.varied())


def moment(card="anger", unit="days", offer=45.0, said="", ours=(20.0, 30.0), theirs=(120.0, 100.0)):
    known = {c.name: c for c in EMOTIONS}
    return speech.Moment(unit, ours, theirs, offer, known.get(card), said, "I can do 100 days.")


def stage(scenes=TEST, tactics=("victim",), **more):
    return spoken.Stage(tuple(scenes), tactics, EMOTIONS, Rules(), **more)


# ---- words


@given(st.sampled_from(["days", "minutes", "percent", "money", "number"]), st.integers(0, 999))
def test_an_amount_is_read_back(unit, value):
    for form in (*speech.OFFERS, speech.GIVING_IN):
        assert read_offer(form.format(speech.amount(float(value), unit)), unit) == value


@given(st.integers(-120, 7 * 60))
def test_a_time_is_read_back(value):
    for form in speech.OFFERS:
        assert read_offer(form.format(speech.amount(float(value), "clock")), "clock") == value


def test_the_prompt_holds_what_a_speaker_needs_and_one_article():
    text = " ".join(m["content"] for m in speech.messages(moment(said="I can do 30 days.")))
    for piece in ("You want less, they want more.", "target: 20 days", "last offer: 30 days", "this offer now: 45 days",
                  'You said: "I can do 30 days."', 'They said: "I can do 100 days."', prompt(EMOTIONS[0])):  # fmt: skip
        assert piece in text
    assert "in an angry tone" in text
    bare = " ".join(m["content"] for m in speech.messages(moment(card=None)))
    assert "Emotional" not in bare and "You have said nothing yet." in bare


@given(st.integers(0, 2**31), st.sampled_from(EMOTIONS), st.sampled_from(["days", "minutes", "money", "clock"]))
def test_who_does_as_told_is_understood_by_grammar_listener_and_judge(seed, card, unit):
    """The grammar and the listener share no code; the judge asks the listener."""
    known = moment(card.name, unit)
    [text] = speech.perfect([known], seed)
    asked = {card.name} - {"neutral"}
    assert speech.parse(text) == speech.ParsedUtterance(frozenset(asked), (speech.amount(45.0, unit),))
    heard = listener.hear(text, unit)
    assert heard.offer == 45.0 and heard.emotions == asked and np.array_equal(heard.place, card.vad[:3])
    assert judge(known, text) == 10


def test_speakers_of_mixed_skill_have_the_flaws_that_are_said():
    known = [moment(c.name, said="I can do 30 days. It is fair.") for c in EMOTIONS[:6]] * 1000
    texts = speech.mixed(known, 0)
    parsed = [speech.parse(t) for t in texts]
    repeats = np.array([t == k.own_text for t, k in zip(texts, known, strict=True)])
    fresh = [(k, p) for k, p, r in zip(known, parsed, repeats, strict=True) if not r]
    told = np.mean([p.amounts == ("45 days",) for _, p in fresh])
    silent = np.mean([p.amounts == () for _, p in fresh])
    gives_in = np.mean([p.amounts == ("100 days",) for _, p in fresh])
    toned = np.mean([p.emotions - {"contempt"} == {k.card.name} for k, p in fresh])
    flat = np.mean([not p.emotions - {"contempt"} for _, p in fresh])
    insults = np.mean(["contempt" in p.emotions for _, p in fresh])
    found = (repeats.mean(), told, silent, gives_in, toned, flat, insults)
    assert found == pytest.approx((0.07, 0.6, 0.15, 0.1, 0.5, 0.2, 0.1), abs=0.025)
    bare = speech.mixed([k._replace(card=None) for k in known], 0)
    assert all(speech.parse(t).emotions <= {"contempt"} for t in bare)


@pytest.mark.parametrize("text", ["", "I can do 45 days", "I can do 45 days. Indeed.", "i can do 45 days.", "45 days."])
def test_other_sentences_are_not_of_the_language(text):
    assert (speech.parse(text) is None) == bool(text)


def test_what_is_heard_is_a_mean_of_places():
    heard = listener.hear("I am glad. You are a fool.", "days")
    glad, contempt = (np.array(card.vad[:3]) for card in (EMOTIONS[3], cards("izard10")[6]))
    assert np.allclose(heard.place, (glad + contempt) / 2) and heard.insults == 1 and heard.offer is None
    assert not listener.hear("The gladiator's saddle.", "days").emotions  # whole words


# ---- the judge


@pytest.mark.parametrize(
    ("text", "score"),
    [("I am furious. I can do 45 days.", 10), ("I can do 45 days.", 8), ("I am glad. I can do 45 days.", 7),
     ("I am furious.", 6), ("I am furious. I can do 30 days.", 8), ("I am furious. Fine, I accept 100 days.", 7),
     ("You are a fool. I am furious. I can do 45 days.", 9), ("I am furious. I can do 40 days. I can do 45 days.", 9),
     ("You are a liar. I am glad. I am furious.", 2)],
)  # fmt: skip
def test_points_of_the_judge(text, score):
    assert judge(moment(said="Let us see."), text) == score


def test_the_judge_dislikes_repetition_and_knows_which_side_is_ours():
    assert judge(moment(said="I am furious. I can do 45 days."), "I am furious. I can do 45 days.") == 9
    more = moment(ours=(120.0, 110.0), theirs=(20.0, 30.0), offer=100.0)
    assert judge(more, "I am furious. I can do 110 days.") == 8 and judge(more, "I am furious. I can do 90 days.") == 7
    assert judge(moment(card=None), "I can do 45 days.") == 10 and judge(moment(card=None), "I am sad.") == 3


# ---- the game in words


@pytest.mark.parametrize("inert", [False, True])
@pytest.mark.parametrize("tactics", [("victim",), ("threat", "vanilla", "pressure")])
def test_with_a_speaker_without_flaws_it_is_the_game_of_labels(tactics, inert):
    """Every offer, status and chance is the same: what is heard moves the partner, and it hears what was chosen."""
    for policy in (play.uniform(7), play.fixed(0, 7)):
        labels = play.play(policy, play.world(TEST, tactics, AT, Rules(), inert=inert), 3, 3)
        words = spoken.play(speech.perfect, policy, stage(tactics=tactics, inert=inert), 3, 3)
        for name in ("ours", "theirs", "shown", "status", "lasted"):
            assert np.array_equal(getattr(labels.dialogues, name), getattr(words.episodes.dialogues, name))
        assert np.array_equal(labels.chance, words.episodes.chance)
        assert len(words.turns) == labels.dialogues.lasted.sum()


def says(text):
    return lambda moments, seed: [text] * len(moments)


ONE = Scenario("one-1", "days", 20.0, 120.0, {})


def test_who_makes_no_offer_is_made_none():
    held = spoken.play(says("It is fair."), play.uniform(7), stage([ONE]), 0, 50).episodes.dialogues
    assert (held.status == NO_DEAL).all() and (held.theirs == 120.0).all() and (held.ours == 20.0).all()
    assert held.lasted.mean() < 15  # a stalemate, in which some leave


def test_who_gives_in_pays_for_it_and_who_gives_more_pays_no_more():
    for text, paid in (
        ("Fine, I accept 120 days.", 120.0),
        ("I can do 100 days.", 100.0),
        ("I can do 500 days.", 120.0),
    ):
        held = spoken.play(says(text), play.fixed(6, 7), stage([ONE]), 0, 20).episodes.dialogues
        deal = held.status == DEAL
        assert deal.mean() > 0.5 and held.lasted[deal].max() <= 15
        assert (held.theirs[deal, 1:].max(axis=1) <= 120.0).all()
        if text.startswith("Fine") or "500" in text:
            assert (held.theirs[deal, -1] == paid).all() and not utility(held).any()


def test_another_tone_moves_them_as_that_emotion_does():
    """Told to be angry and heard as glad, in every exchange: the game of a negotiator who shows joy."""

    def glad(moments, seed):
        return speech.perfect([m._replace(card=EMOTIONS[3]) for m in moments], seed)

    heard = spoken.play(glad, play.fixed(0, 7), stage(), 5, 2).episodes.dialogues
    joyful = play.play(play.fixed(3, 7), play.world(TEST, ["victim"], AT, Rules()), 5, 2).dialogues
    assert np.array_equal(heard.theirs, joyful.theirs) and np.array_equal(heard.status, joyful.status)
    assert set(heard.shown[:, 0]) == {0}


def test_cards_are_withheld_where_the_stage_says_so():
    turns = spoken.play(speech.perfect, play.uniform(7), stage(cards=False), 0, 1).turns
    assert {t.moment.card for t in turns} == {None} and not any(t.perception.place.any() for t in turns)


@pytest.mark.skipif(not TABLES.is_dir(), reason="the four scenario tables are not here")
@pytest.mark.parametrize("domain", ["credit", "disaster", "hospital", "sleep"])
def test_the_four_tables_can_be_spoken_of(domain):
    """Their lattices are not whole: offers are told to the unit, and dialogues end as they do without words."""
    path = TABLES / scenarios.FILES[domain]
    scenes = scenarios.split(scenarios.load_scenarios(path, domain, scenarios.SCHEMAS[domain]))[1]
    labels = play.play(play.uniform(7), play.world(scenes, ["victim"], AT, Rules()), 0, 2).dialogues
    words = spoken.play(speech.perfect, play.uniform(7), stage(scenes), 0, 2)
    assert np.abs(labels.theirs - words.episodes.dialogues.theirs).max() <= 0.5 + 1e-9
    assert np.array_equal(labels.status, words.episodes.dialogues.status)
    assert all(t.perception.offer == t.moment.offer for t in words.turns)


def test_held_out_moments_are_different_turns():
    moments = speaker_scores.held_out_moments(speech.mixed, stage(TEST), 10, 0)
    each = [moments[i : i + speaker_scores.JUDGED] for i in range(0, len(moments), speaker_scores.JUDGED)]
    assert len(each) == len(TEST)
    assert all(len({id(m) for m in of}) == speaker_scores.JUDGED for of in each)


def test_scenarios_are_varied_and_whole():
    table = scenarios.varied()
    assert len(TRAIN) == 80 and len(TEST) == 20 and {s.unit for s in table.scenarios} == {"days", "minutes", "money"}
    assert len({(s.unit, s.ours, s.theirs) for s in scenarios.varied(192).scenarios}) == 192  # none is in both halves
    assert [(s.unit, s.ours) for s in scenarios.varied(100).scenarios] == [(s.unit, s.ours) for s in table.scenarios]
    assert all((k * (s.ours - s.theirs) / 20 + s.theirs) % 5 == 0 for s in table.scenarios for k in range(21))
    with pytest.raises(ValueError, match="192"):
        scenarios.varied(193)
    assert {abs(s.gap) for s in table.scenarios} == {100.0, 200.0} and any(s.ours > s.theirs for s in table.scenarios)
    assert open_dialogues(np.array([1.0]), np.array([2.0])).status[0] == OPEN
