"""The corpus: its tokenizer, and that a context informs only where it speaks."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.lab.chains import CHAINS
from frown.lab.columns import COLUMNS
from frown.lab.corpus import (
    CARELESSNESS,
    HEED,
    KINDS,
    LENGTHS,
    TRUTH_WEIGHED,
    batches,
    draw_document,
    training_ids,
)
from frown.lab.text import ANSWER_MARK, BOS, EOS, IDS, UNK, VOCABULARY, encode, make_tokenizer, prompt_ids

pytestmark = pytest.mark.slow

FAMILIES = [CHAINS, COLUMNS]
NAMES = [f.name for f in FAMILIES]
TOKENIZER = make_tokenizer()


@given(st.text("".join(v for v in VOCABULARY if len(v) == 1), max_size=80))
def test_round_trip(text):
    ids = TOKENIZER(text)["input_ids"]
    assert ids == encode(text)
    assert TOKENIZER.decode(ids) == text


@given(st.text(max_size=30))
def test_unknown_characters_do_not_crash(text):
    ids = TOKENIZER(text.replace("<", "("))["input_ids"]
    assert len(ids) == len(text) and max(ids, default=0) < len(VOCABULARY)


def test_unknown_is_unk():
    assert TOKENIZER("7 é\n")["input_ids"] == [IDS["7"]] + [IDS[UNK]] * 3


def test_chat_template():
    user = {"role": "user", "content": "Q7@3+8*6|C!7@3=4"}
    ids = TOKENIZER.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    assert ids == prompt_ids("Q7@3+8*6", "C!7@3=4")
    assert TOKENIZER.decode(ids) == f"{BOS}Q7@3+8*6|C!7@3=4{ANSWER_MARK}"
    whole = TOKENIZER.apply_chat_template([user, {"role": "assistant", "content": "@3=4"}], return_dict=False)
    assert whole == ids + encode("@3=4" + EOS)
    assert TOKENIZER.decode(whole[len(ids) :], skip_special_tokens=True) == "@3=4"
    assert TOKENIZER.eos_token_id == IDS[EOS] and TOKENIZER.padding_side == "left"


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_documents_fit_and_read_back(family):
    rng = random.Random(0)
    for kind in KINDS:
        for _ in range(100):
            d = draw_document(family, rng, kind)
            ids, n = training_ids(family, d)
            assert len(ids) <= 512 and IDS[UNK] not in ids
            assert "".join(VOCABULARY[i] for i in ids[:n]).endswith(ANSWER_MARK)
            answer = "".join(VOCABULARY[i] for i in ids[n:])
            assert answer.endswith(EOS) and family.read_answer(d.problem, answer) == (d.results, True)
            assert family.split_of(d.problem) == "base"


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_shares(family):
    rng = random.Random(1)
    documents = [draw_document(family, rng) for _ in range(4000)]
    for of, shares in ((lambda d: d.kind, KINDS), (lambda d: len(d.problem.items), LENGTHS)):
        assert sum(shares.values()) == pytest.approx(1.0)
        for key, share in shares.items():
            found = sum(of(d) == key for d in documents) / len(documents)
            assert abs(found - share) < 4 * (share * (1 - share) / len(documents)) ** 0.5


def expected_slip(family, check):
    """Probability that a plain attempt slips at a step, averaged over how careless writers are."""
    usual = family.usual_slip(check.state, check.item)[0]
    chances = [min(0.95, usual * care) for care in CARELESSNESS]
    return np.mean([p + (1 - p) * 0.02 * care for p, care in zip(chances, CARELESSNESS, strict=True)])


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
@pytest.mark.parametrize("kind", ["none", "critique", "pointer", "weighed", "retry"])
def test_a_revision_is_a_rewrite(family, kind):
    """Away from what was spoken about a writer slips as often and believes the same as in a plain attempt.

    Held against the closed form step by step: critics speak more often about steps that are slipped at and
    about contested entries, so what they leave out is another mix of steps than in a plain attempt.
    """
    rng = random.Random(0)
    slips, knowledge = [], []
    for _ in range(2500):
        d = draw_document(family, rng, kind)
        checks = family.check(d.problem, d.results, d.belief)
        for c, spoken_of in zip(checks, d.spoken_of, strict=True):
            if not spoken_of:
                slips.append((not c.right) - expected_slip(family, c))
                pair = family.pair(c.state, c.item)
                if pair:
                    agrees = d.belief[pair] == family.prior.common[pair]
                    knowledge.append(agrees - (1 - family.prior.contested[pair]))
    for residuals in map(np.array, (slips, knowledge)):
        assert len(residuals) > 500
        assert abs(residuals.mean()) < 4 * residuals.std() / len(residuals) ** 0.5


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
@pytest.mark.parametrize("kind", ["reference", "alternative", "critique"])
def test_what_is_said_is_heeded(family, kind):
    """Where the context states a fact that fits, the writer takes it over."""
    rng, followed = random.Random(2), []
    for _ in range(800):
        d = draw_document(family, rng, kind)
        rows = d.context[1:].split(";") if kind == "reference" else d.context[1:].split("!")[1:]
        state = d.problem.start
        for item, result, spoken_of in zip(d.problem.items, d.results, d.spoken_of, strict=True):
            if spoken_of:
                quote = family.quote(state, item)
                said = {r.split("=")[1] for r in rows if r.split("=")[0] == quote}
                assert said
                followed.append(family.result_text(result) in said)
            state = family.state_of(result)
    share, n = sum(followed) / len(followed), len(followed)
    assert share > HEED - 4 * (HEED * (1 - HEED) / n) ** 0.5


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_weighed_notes_hold_the_truth_as_often_as_they_say(family):
    rng, held = random.Random(3), []
    for _ in range(3000):
        d = draw_document(family, rng, "weighed")
        options = dict(row.split("=") for row in d.context[1:].split("?")[1:])
        state = d.problem.start
        for item, result, spoken_of in zip(d.problem.items, d.results, d.spoken_of, strict=True):
            if spoken_of:
                values = options[family.quote(state, item)].split("/")
                assert len(set(values)) == 2
                held.append(family.result_text(result) in values)
            state = family.state_of(result)
    # The writer takes the truth over with probability HEED, else may still write one of the two values.
    low, share, n = HEED * TRUTH_WEIGHED, sum(held) / len(held), len(held)
    error = (low * (1 - low) / n) ** 0.5
    assert low - 4 * error < share < low + (1 - HEED) + 4 * error


@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_batches_are_alike_in_length_and_repeat(seed):
    first, again = (next(batches(CHAINS, random.Random(seed), 8, pool=16)) for _ in range(2))
    assert first == again and len(first) == 8
    lengths = [len(ids) for ids, _ in first]
    assert lengths == sorted(lengths)
