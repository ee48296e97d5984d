"""The rules of the game, its cards and tables, and dynamic programming against brute force."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.errors import FrownError
from frown.recipes.negotiation import game, optimum, partner, scenarios
from frown.recipes.negotiation.emotions import CARDS, Taxonomy, cards, places, prompt
from paths import SHARED

TABLES = SHARED / "data" / "negotiation"


# ---- cards


def test_taxonomies_have_their_sizes_and_one_template():
    assert [len(cards(t)) for t in get_args(Taxonomy)] == [7, 10, 28]
    prompts = [prompt(card) for card in CARDS.values()]
    assert len(set(prompts)) == len(CARDS) and len({card.vad[:3] for card in CARDS.values()}) == len(CARDS)
    assert {p.count(".") for p in prompts} == {3}
    words = [len(p.split()) for p in prompts]
    assert max(words) - min(words) <= 5  # no emotion gets a longer instruction than another
    assert np.abs(places(cards("goemotions28"))).max() <= 1.0


# ---- tables


def write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


DISASTER = """Case_ID,Disaster_Type,Survivor_Condition,Estimated_Survivor_Endurance(minutes),Rescue_Team_ETA(minutes),\
Critical_Needs,Key_Negotiation_Argument_By_RoboDog
1,Quake,Trapped,90,120,Water, Blankets,“Hold on, they are near. Breathe, slowly.”
2,Forest, Lost_in_fog,200,300,Rope, Light,“I see you, do not move.”
3,Quake,Trapped,Variable,100,Comfort,“I am here.”
4,Quake,Trapped,97,100,Comfort,“Soon.”
"""


def test_commas_that_nobody_quoted_are_mended(tmp_path):
    table = scenarios.load_scenarios(write(tmp_path, DISASTER), "disaster", scenarios.SCHEMAS["disaster"])
    first, second = table.scenarios
    assert (first.ours, first.theirs, first.unit) == (120.0, 90.0, "minutes")
    assert first.facts["Critical_Needs"] == "Water, Blankets"
    assert first.facts["Key_Negotiation_Argument_By_RoboDog"] == "“Hold on, they are near. Breathe, slowly.”"
    assert second.facts["Survivor_Condition"] == "Lost_in_fog"  # a cell of its own that begins with a space
    assert [out.row for out in table.skipped] == [3, 4]
    assert "nothing to negotiate" in table.skipped[1].why


HOSPITAL_HEAD = (
    "Case_ID,Patient_Age,Patient_Condition,Required_Surgery,Urgency_Level,Days_On_Waitlist,"
    "Preferred_Surgeon_Available,Recommended_Surgeon_Experience_Level,Surgeon_Availability_Reason,Risk_If_Delayed,"
    "Patient_Reason_For_Urgency,Hospital_Suggestion,"
    "Estimated_Time_Reduction_If_Accept_Junior_Surgeon(days),Decision_Point\n"
)


def test_a_row_that_lacks_a_cell_keeps_its_numbers_and_goes_without_names(tmp_path):
    rows = (
        "1,62,Heart,Bypass,High,45,No,Senior,Booked,Risk,Pain, no work,See another, soon,30,Accepted\n"
        "2,40,Knee,Repair,Low,65,No,Senior,Risk, pain,Wants sport,Another can do it,40,Declined, waiting\n"
    )
    table = scenarios.load_scenarios(write(tmp_path, HOSPITAL_HEAD + rows), "hospital", scenarios.SCHEMAS["hospital"])
    assert [(s.ours, s.theirs) for s in table.scenarios] == [(15.0, 45.0), (25.0, 65.0)]
    assert table.scenarios[0].facts["Patient_Reason_For_Urgency"] == "Pain, no work"
    assert table.scenarios[1].facts == {}


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("9:00 PM", 0), ("10:30 PM", 90), ("12:00 AM", 180), (" 2:15 AM ", 315), ("8:30 PM", -30), ("N/A", None),
     ("25:00 PM", None)],
)  # fmt: skip
def test_a_night_does_not_break_at_midnight(text, minutes):
    assert scenarios.minutes_after_nine(text) == minutes


def test_a_table_of_ones_own_and_one_that_does_not_fit(tmp_path):
    own = scenarios.Schema("money", {"ask": 1, "bid": 2}, scenarios.number, lambda ask, bid: (ask, bid))
    path = write(tmp_path, 'id,ask,bid\n1,"12,000",9000\n')
    [one] = scenarios.load_scenarios(path, "flat", own).scenarios
    assert (one.ours, one.theirs, one.gap, one.name) == (12000.0, 9000.0, 3000.0, "flat-1")
    with pytest.raises(FrownError, match="no column 'Creditor Target Days'"):
        scenarios.load_scenarios(path, "credit", scenarios.SCHEMAS["credit"])
    with pytest.raises(FrownError, match="cannot read"):
        scenarios.load_scenarios(tmp_path / "none.csv", "credit", own)


@pytest.mark.skipif(not TABLES.is_dir(), reason="the four scenario tables are not here")
@pytest.mark.parametrize(
    ("domain", "kept", "unnamed"), [("credit", 100, 0), ("disaster", 98, 0), ("hospital", 59, 34), ("sleep", 97, 0)]
)
def test_the_four_tables(domain, kept, unnamed):
    table = scenarios.load_scenarios(TABLES / scenarios.FILES[domain], domain, scenarios.SCHEMAS[domain])
    assert len(table.scenarios) == kept and len(table.skipped) == 100 - kept
    assert sum(not s.facts for s in table.scenarios) == unnamed
    train, test = scenarios.split(table)
    assert len(train) + len(test) == kept and all(int(s.name.split("-")[1]) > 80 for s in test)


# ---- rules


RULES = game.Rules()


def play(ours, theirs, offers, rules=RULES, left=None):
    dialogues = game.open_dialogues(np.array([ours]), np.array([theirs]))
    for i, (a, b) in enumerate(offers):
        gone = np.array([left == i])
        dialogues = game.exchange(dialogues, np.array([0]), np.array([a]), np.array([b]), gone, rules)
    return dialogues


def test_offers_that_meet_are_a_deal_at_the_last_word():
    dialogues = play(20.0, 120.0, [(20.0, 90.0), (30.0, 60.0), (50.0, 55.0), (0.0, 0.0)])
    assert dialogues.status[0] == game.DEAL and dialogues.lasted[0] == 3
    assert game.utility(dialogues)[0] == pytest.approx(0.65)  # (120 - 55) / 100
    assert dialogues.theirs[0, -1] == 55.0 and dialogues.shown[0, -1] == -1  # nothing happens after the end


def test_no_deal_is_worth_nothing():
    late = play(20.0, 120.0, [(20.0, 60.0)] * 15)
    assert late.status[0] == game.NO_DEAL and late.lasted[0] == 15 and game.utility(late)[0] == 0.0
    gone = play(20.0, 120.0, [(20.0, 60.0), (20.0, 25.0)], left=1)
    assert gone.status[0] == game.NO_DEAL and gone.lasted[0] == 2 and game.utility(gone)[0] == 0.0
    assert gone.theirs[0, -1] == 60.0  # who leaves makes no offer


@given(st.floats(-500, 500), st.floats(1, 300), st.sampled_from([-1, 1]), st.floats(0, 1), st.floats(0, 1))
def test_utility_does_not_care_for_unit_place_or_direction(at, gap, sign, share, more):
    ours, theirs = at, at + sign * gap
    offer = theirs + share * (ours - theirs)
    dialogues = play(ours, theirs, [(offer, offer)], game.Rules(tolerance=gap / 1000))
    assert dialogues.status[0] == game.DEAL
    assert game.utility(dialogues)[0] == pytest.approx(share, abs=1e-9)
    mirror = game.mirror(dialogues, dialogues.shown)
    assert game.utility(mirror)[0] == pytest.approx(1.0 - share, abs=1e-9)


def test_stalemate_counts_exchanges_without_a_move():
    dialogues = play(0.0, 100.0, [(0.0, 90.0), (0.0, 90.0), (0.0, 90.5), (0.0, 80.0), (0.0, 80.0)])
    assert [int(game.stall_count(game.up_to(dialogues, t))[0]) for t in range(6)] == [0, 0, 1, 2, 0, 1]


# ---- the optimum


def tiny(emotions=2, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.dirichlet(np.ones(partner.DRAWS + 1), size=(partner.LEVELS, emotions))
    return partner.ReplyModel(steps, rng.uniform(0, 0.3, (partner.LEVELS, emotions)))


def expectation(reply_model, ours, meet, choose, t=0, k=0, s=0):
    """The value of a policy (a function of the state) by walking every branch: no tables, no backward induction."""
    if t == len(ours):
        return 0.0
    a, total = choose(t, k, s), 0.0
    for n, chance in enumerate(reply_model.steps[s, a]):
        offer = min(int(ours[t]), partner.STEPS - k)
        to = min(k + n, partner.STEPS - offer)
        if to + offer >= partner.STEPS - meet:
            later = to / partner.STEPS
        else:
            later = expectation(
                reply_model, ours, meet, choose, t + 1, to, 0 if to > k else min(s + 1, partner.LEVELS - 1)
            )
        total += (1 - reply_model.leave[s, a]) * chance * later
    return total


def reachable(reply_model, ours, meet):
    found = {(0, 0, 0)}
    edge = {(0, 0, 0)}
    for t in range(len(ours) - 1):
        now = set()
        for _, k, s in edge:
            for n in range(partner.DRAWS + 1):
                offer = min(int(ours[t]), partner.STEPS - k)
                to = min(k + n, partner.STEPS - offer)
                if to + offer < partner.STEPS - meet:
                    now.add((t + 1, to, 0 if to > k else min(s + 1, partner.LEVELS - 1)))
        found |= now
        edge = now
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_dynamic_programming_finds_what_enumerating_every_policy_finds(seed):
    """Three exchanges, two emotions: every policy over the states that can be reached, each by walking every branch."""
    reply_model, ours, meet = tiny(seed=seed), np.array([15, 16, 17]), 1
    states = reachable(reply_model, ours, meet)
    policies = [dict(zip(states, chosen, strict=True)) for chosen in product(range(2), repeat=len(states))]
    best = max(expectation(reply_model, ours, meet, lambda *state, p=policy: p[state]) for policy in policies)
    assert 8 <= len(states) <= 12
    assert optimum.solve(reply_model, ours, meet).start == pytest.approx(best, abs=1e-12)


def test_values_under_a_policy_and_the_best_fixed_emotion():
    reply_model, ours = tiny(emotions=3), np.array([9, 10, 12, 13])
    values = [expectation(reply_model, ours, 2, lambda t, k, s, a=a: a) for a in range(3)]
    for a, value in enumerate(values):
        assert optimum.solve(reply_model, ours, 2, np.eye(3)[a]).start == pytest.approx(value, abs=1e-12)
    a, value = optimum.best_fixed(reply_model, ours, 2)
    assert a == int(np.argmax(values)) and value == pytest.approx(max(values))


@pytest.mark.parametrize("tactic", partner.TACTICS)
def test_the_best_emotion_depends_on_the_state_and_in_the_inert_mode_on_nothing(tactic):
    at, ours = places(cards("ekman7")), partner.our_offers(15)
    alive = optimum.solve(partner.reply_model(tactic, at), ours, 1)
    assert alive.q[2, 4, 0].argmax() != alive.q[2, 4, 1].argmax()
    assert alive.start > 1.03 * optimum.best_fixed(partner.reply_model(tactic, at), ours, 1)[1]
    inert = optimum.solve(partner.reply_model(tactic, at, inert=True), ours, 1)
    assert np.ptp(inert.q, axis=-1).max() == 0.0
