"""The bundled base models: loadable, reproducible, and honest about what context does."""

import numpy as np
import pytest
import torch

from frown.errors import FrownError
from frown.lab import base
from frown.lab.build import main
from frown.lab.card import CONTEXTS, FailedAnswer, _cluster_se, _right_probability, accuracy, teacher_quality
from frown.lab.chains import CHAINS
from frown.lab.columns import COLUMNS
from frown.lab.environment import LabEnvironment
from frown.lab.family import get_family
from frown.lab.text import IDS, encode, prompt_ids

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
QUICK = {
    name: CONTEXTS[name]
    for name in (
        "none",
        "critique, every step",
        "control: off-target critique",
        "control: empty critique",
    )
}


@pytest.fixture(scope="module", params=base.MODELS)
def bundled(request):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = base.model_path(request.param)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    return request.param, model, AutoTokenizer.from_pretrained(path)


def test_loads_and_generates_like_any_model(bundled):
    name, model, tokenizer = bundled
    env = LabEnvironment(name.split("-")[0])
    tasks = env.test_tasks("dev", 16)
    ids = tokenizer.apply_chat_template(
        [list(t.messages) for t in tasks], add_generation_prompt=True, return_tensors="pt", padding=True
    )
    out = model.generate(**ids, do_sample=False)[:, ids["input_ids"].shape[1] :]
    verdicts = env.verify(tasks, tokenizer.batch_decode(out, skip_special_tokens=True))
    assert np.mean([v.well_formed for v in verdicts]) > 0.9
    assert model.config.model_type == "qwen3" and sum(p.numel() for p in model.parameters()) < 400_000


def test_a_prior_that_leaves_room_to_learn(bundled):
    name, model, _ = bundled
    now = accuracy(model, name.split("-")[0], problems=80, samples=4)
    assert 0.3 - 2 * now["accuracy_se"] < now["accuracy"] < 0.6 + 2 * now["accuracy_se"]
    assert now["well_formed"] > 0.9


def test_every_length_of_problem_is_known(bundled):
    name, model, _ = bundled
    for steps, least in ((2, 0.9), (3, 0.9), (7, 0.8), (11, 0.6), (15, 0.4)):
        now = accuracy(model, name.split("-")[0], steps, problems=20, samples=2)
        assert now["well_formed"] >= least, f"{steps} steps"


def test_context_helps_by_its_content(bundled):
    """A step-aligned critique helps at wrong steps; an off-target or an empty one does not."""
    name, model, _ = bundled
    table = teacher_quality(model, name.split("-")[0], problems=80, samples=8, contexts=QUICK)
    aligned = table["critique, every step"]
    assert aligned["first_wrong"]["n"] >= 150
    assert aligned["first_wrong"]["gain"] >= 0.25
    assert aligned["later_wrong"]["gain"] >= 0.15
    for control in ("control: off-target critique", "control: empty critique"):
        first = table[control]["first_wrong"]
        assert first["gain_se"] < 0.02
        assert abs(first["gain"]) <= 0.05 + first["gain_se"]


def test_the_card_is_there(bundled):
    text = (base.model_path(bundled[0]) / "README.md").read_text(encoding="utf-8")
    assert all(name in text for name in CONTEXTS) and "| heldout | 5 |" in text and "nan" not in text


def test_an_unknown_model_is_named():
    with pytest.raises(FrownError, match=r"'chains-9'; there are chains-0, chains-1, columns-0, columns-1"):
        base.model_path("chains-9")


def test_the_same_seed_gives_the_same_weights(tmp_path):
    recipe = base.Recipe(steps=3, stretch=2)
    first, again = (base.pretrain("columns", 0, recipe)[0].state_dict() for _ in range(2))
    other = base.pretrain("columns", 1, recipe)[0].state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_reporting_does_not_change_the_weights():
    """Progress checks sample from the model; they must leave training as it was."""
    recipe = base.Recipe(steps=3, stretch=2)

    def look(progress, model):
        accuracy(model, "chains", problems=2, samples=2)

    quiet = base.pretrain("chains", 0, recipe)[0].state_dict()
    watched = base.pretrain("chains", 0, recipe, look, every=1)[0].state_dict()
    assert all(torch.equal(quiet[k], watched[k]) for k in quiet)


def test_the_rate_warms_up_and_falls_to_its_floor():
    recipe = base.Recipe(warmup=100, floor=0.05)
    shares = [recipe.share_at(step, 1000) for step in range(1, 1001)]
    assert shares[49] == pytest.approx(0.5, rel=0.02) and max(shares) == shares[99]
    assert shares[-1] == pytest.approx(recipe.floor) and shares[100:] == sorted(shares[100:], reverse=True)


def test_a_large_base_has_ten_to_fifty_million_weights():
    assert 10e6 < sum(p.numel() for p in base.new_model(0, base.RECIPES["large"].size).parameters()) < 50e6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator here")
def test_building_on_an_accelerator_that_is_not_there_is_one_line(capsys, tmp_path):
    assert main(["--family", "chains", "--device", "cuda", "--out", str(tmp_path)]) == 2
    assert "--device cuda: there is no such accelerator" in capsys.readouterr().err


def test_build_names_a_wrong_family(capsys, tmp_path):
    assert main(["--family", "rows", "--out", str(tmp_path)]) == 2
    assert "no task family 'rows'" in capsys.readouterr().err


@pytest.mark.parametrize("family", [CHAINS, COLUMNS], ids=["chains", "columns"])
def test_probability_of_the_right_result_is_the_product_over_its_digits(family):
    """Against one plain forward pass a digit, with the right digits before it."""
    model = base.new_model(0).double().eval()
    rng = np.random.default_rng(0)
    tasks = LabEnvironment(family.name, 4).train_tasks(rng, 6)
    failed = []
    for i, t in enumerate(tasks):
        problem = family.read_question(t.question)
        results = tuple(int(r) for r in rng.integers(0, 10 if family is CHAINS else 20, 4))
        failed.append(FailedAnswer(i, problem, results, tuple(family.check(problem, results))))
    contexts = ["", "C", "X", "H?01", "C!7@3=4", ""]
    got = _right_probability(model, family, failed, contexts)
    want = []
    for answer, context in zip(failed, contexts, strict=True):
        rows = family.solution(answer.problem, answer.results).split(";")
        for i, check in enumerate(answer.checks):
            before = ";".join([*rows[:i], f"{family.quote(check.state, check.item)}="])
            p = 1.0
            for d, digit in enumerate(right := family.result_text(check.expected)):
                ids = prompt_ids(family.question(answer.problem), context) + encode(before + right[:d])
                with torch.no_grad():
                    p *= float(model(torch.tensor([ids])).logits[0, -1].softmax(-1)[IDS[digit]])
            want.append(p)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_standard_error_takes_groups_as_one():
    values = np.random.default_rng(0).normal(size=40)
    alone = _cluster_se(values, np.arange(40))
    assert alone == pytest.approx(values.std(ddof=1) / 40**0.5)
    copied = _cluster_se(np.repeat(values, 3), np.repeat(np.arange(40), 3))
    assert copied == pytest.approx(alone), "copies of an answer carry no new evidence"
    assert np.isnan(_cluster_se(values, np.zeros(40)))


def test_families_share_the_vocabulary():
    for name in ("chains", "columns"):
        family = get_family(name)
        for pair in family.environment:
            assert all(0 <= x <= 9 for x in pair)
