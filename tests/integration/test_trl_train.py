"""`FrownSDPOTrainer` end to end: on the lab's model, with LoRA, with functions and critics, in two processes."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from paths import HELPERS, ROOT
from tiny import byte_model

pytest.importorskip("trl")
pytest.importorskip("peft")
from peft import LoraConfig
from transformers import TrainerCallback

import trl_two
from frown.affect.appraisal import step_peaks
from frown.config import AffectConfig, FeedbackConfig, WeightConfig
from frown.critics.base import Comment, Review
from frown.errors import FrownError
from frown.lab.base import model_path
from frown.lab.environment import LabEnvironment
from frown.methods import SDPO, Aimed, Critique
from frown.policy.text import completion_text, token_steps
from frown.trl import FrownSDPOTrainer, rows_of
from frown.trl.context import WEIGHT
from frown.trl.rows import task_of
from frown.types import Feedback, Part
from trl_setup import PROMPTS, every_other, launched, settings, train_quietly, trainer

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("trl_sdpo", ROOT / "examples" / "trl_sdpo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lab_trainer(tmp_path, more, **changes):
    environment = LabEnvironment("chains")
    rows = rows_of(environment.train_tasks(np.random.default_rng(0), 8))
    more = {"environment": environment, **more}
    base = {"max_completion_length": 64, "distillation_mode": "full_logits", "max_steps": 2}
    return trainer(FrownSDPOTrainer, model_path("chains-0"), tmp_path, rows=rows, more=more, **(base | changes))


# -- runs ----------------------------------------------------------------------------------------------------------


def test_defaults_on_the_lab_model(tmp_path):
    rows = rows_of(LabEnvironment("chains").train_tasks(np.random.default_rng(0), 8))
    made = trainer(FrownSDPOTrainer, model_path("chains-0"), tmp_path, rows=rows, max_completion_length=64, max_steps=3)
    start = torch.cat([p.detach().flatten().clone() for p in made.model.parameters()])
    lines = train_quietly(made)
    assert len(lines) == 3 and all(np.isfinite(line["loss"]) for line in lines)
    assert {"frown/entropy", "frown/doubt", "frown/divergence"} <= set(lines[0])
    assert not torch.equal(start, torch.cat([p.detach().flatten() for p in made.model.parameters()]))


def test_the_example_runs_and_asks_for_one_comment_an_answer(example, tmp_path):
    made = example.train(str(tmp_path), max_steps=1)
    [line] = [x for x in made.state.log_history if "loss" in x]
    assert line["frown/comments"] == 8 and line["grad_norm"] > 0


def test_the_loss_of_an_aimed_comment_falls_on_the_most_doubtful_step_alone(example, tmp_path):
    made = lab_trainer(tmp_path, {"method": example.AIMED}, gradient_accumulation_steps=1)
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    taken = made._prepare_inputs([row for row in made.train_dataset.select([0]) for _ in range(4)])
    signals = made.policy_signals(taken)
    environment, tokenizer = LabEnvironment("chains"), made._tokenizer
    expected = torch.zeros_like(taken[WEIGHT])
    for i, length in enumerate(taken["raw_completion_lengths"].tolist()):
        ids = taken["completion_ids"][i, :length].tolist()
        text = completion_text(tokenizer, ids[: -1 if ids[-1] in made.eos_token_ids else None])
        steps = token_steps(tokenizer, ids, text, environment.steps(text))
        a, b = steps[int(np.argmax(step_peaks(signals[i]["surprisal"], steps)))]
        expected[i, a:b] = 1
    assert torch.equal(taken[WEIGHT], expected) and 0 < expected.sum() < taken["completion_mask"].sum()

    pair = made._compute_teacher_student_logits(made.model, made.teacher_model, taken)
    pair.student.hidden.retain_grad()
    made._compute_self_distillation_loss(made.model, taken, pair).backward()
    end = pair.student.hidden.shape[1]
    assert torch.equal(pair.student.hidden.grad.abs().sum(-1) > 0, expected[:, :end] > 0)
    assert not expected[:, end:].any()


def test_lora_with_an_averaged_teacher(tmp_path, example):
    """Three real steps: the teacher's weights are the mean, by the closed form, of the merged ones of each step."""
    rate = 0.3
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    made = lab_trainer(
        tmp_path, {"method": example.AIMED}, peft_config=lora, teacher_update_rate=rate, max_steps=3, save_steps=3,
        save_strategy="steps",
    )  # fmt: skip
    inner = made.model.get_base_model().model.layers[1].self_attn.q_proj
    deltas = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            deltas.append(inner.get_delta_weight("default").detach().clone())

    made.add_callback(Watch())
    made.train()
    share = [rate * (1 - rate) ** (2 - k) for k in range(3)]
    expected = sum(s * d for s, d in zip(share, deltas, strict=True))
    found = made.teacher_model.model.layers[1].self_attn.q_proj.weight - inner.base_layer.weight
    assert expected.abs().max() > 1e-5
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)

    # Going on from the checkpoint: a fourth step, to a teacher that remembers the first three.
    checkpoint = tmp_path / "out" / "checkpoint-3"
    again = lab_trainer(tmp_path, {"method": example.AIMED}, peft_config=lora, teacher_update_rate=rate, max_steps=4)
    inner = again.model.get_base_model().model.layers[1].self_attn.q_proj
    again.train(resume_from_checkpoint=str(checkpoint))
    assert again.state.global_step == 4
    expected = (1 - rate) * found + rate * inner.get_delta_weight("default")
    later = again.teacher_model.model.layers[1].self_attn.q_proj.weight - inner.base_layer.weight
    torch.testing.assert_close(later, expected, rtol=1e-3, atol=1e-6)
    (checkpoint / "frown_teacher.safetensors").unlink()
    with pytest.raises(FrownError, match="frown_teacher"):
        again._load_optimizer_and_scheduler(str(checkpoint))


# -- what is told --------------------------------------------------------------------------------------------------


def test_a_function_hears_of_each_rollout_and_its_words_reach_the_teacher(model, tmp_path):
    heard = []

    async def feedback(task, rollout, group, appraisal):
        heard.append((task.answer, task.data["hint"], len(group), rollout.verdict.right, len(appraisal.step_doubt)))
        return Feedback((Part("outcome", f"hint: {task.data['hint']}"),) if rollout.verdict.right else ())

    rows = [{**row, "answer": "7", "hint": "look {twice}"} for row in PROMPTS]
    made = trainer(FrownSDPOTrainer, model, tmp_path, rows=rows, more={"feedback": feedback})
    made.model.train()
    taken = made._prepare_inputs([row for row in made.train_dataset.select([0]) for _ in range(4)])
    assert [h[:4] for h in heard] == [("7", "look {twice}", 4, i % 2 == 0) for i in range(4)]
    assert taken["self_distillation_mask"].tolist() == [1, 0, 1, 0]
    seen = made._tokenizer.batch_decode(taken["teacher_input_ids"])
    assert "your unsuccessful earlier attempt:\n\nhint: look {twice}" in seen[0] and "hint" not in seen[1]
    # The answer behind the teacher's context is the student's own, token by token.
    assert torch.equal(taken["teacher_input_ids"][:, -6:], taken["completion_ids"])


def test_plain_prompts_a_critic_of_ones_own_and_weights_by_affect(model, tmp_path):
    class Strict:
        asked = 0

        def review(self, requests):
            self.asked += len(requests)
            return [Review((Comment(r.asked[0], False, "no"),)) for r in requests]

    critic = Strict()
    rows = [{"prompt": row["prompt"][0]["content"]} for row in PROMPTS]
    more = {
        "method": Aimed(aim="entropy"),
        "critic": critic,
        "affect": AffectConfig(weight=WeightConfig(by="signal")),
    }
    made = trainer(FrownSDPOTrainer, model, tmp_path, rows=rows, more=more)
    lines = train_quietly(made)
    assert critic.asked == 8 == sum(line["frown/comments"] for line in lines)


def test_a_teacher_prompt_that_is_too_long_is_counted_not_cut(model, tmp_path):
    more = {"method": SDPO()}
    made = trainer(FrownSDPOTrainer, model, tmp_path, more=more, max_reprompt_len=20)
    lines = train_quietly(made)
    assert [line["frown/views_too_long"] for line in lines] == [4, 4] and lines[0]["loss"] == 0


def test_evaluation_has_a_loss(model, tmp_path):
    from datasets import Dataset

    args = settings(tmp_path, num_generations_eval=2, per_device_eval_batch_size=4)
    made = FrownSDPOTrainer(
        str(model),
        every_other,
        args,
        Dataset.from_list(PROMPTS),
        Dataset.from_list(PROMPTS[:2]),
        feedback=FeedbackConfig(),
    )
    found = made.evaluate()
    assert np.isfinite(found["eval_loss"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"critic": object()}, "nobody would ask the critic"),
        ({"method": Critique()}, "needs a critic"),
        ({"affect": AffectConfig(reward=0.1)}, "affect.reward"),
        ({"method": Aimed(aim="variance")}, "variance"),
    ],
)
def test_what_cannot_be_had_inside_trl_is_refused(model, tmp_path, more, message):
    with pytest.raises(FrownError, match=message):
        trainer(FrownSDPOTrainer, model, tmp_path, more=more)


def test_tasks_survive_the_way_through_a_data_set():
    from datasets import Dataset

    tasks = LabEnvironment("chains").train_tasks(np.random.default_rng(0), 4)
    again = [task_of(row) for row in Dataset.from_list(rows_of(tasks))]
    assert again == tasks and [t.data for t in again] == [t.data for t in tasks]


# -- two processes -------------------------------------------------------------------------------------------------


def test_two_processes_learn_what_one_learns_from_the_same_batch(model, tmp_path):
    """Also where one of them has nothing to learn from, and where a group is answered half here and half there."""
    (tmp_path / "two").mkdir()
    distributed = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    failed = launched([*distributed, str(HELPERS / "trl_two.py"), str(model), str(tmp_path / "two")])
    assert not failed, failed
    logs = json.loads((tmp_path / "two" / "log.json").read_text())
    assert set(logs) == set(trl_two.CASES)
    for case, two in logs.items():
        one = trl_two.run(str(model), tmp_path, case, 1)
        for a, b in zip(one["lines"], two["lines"], strict=True):
            assert a["loss"] > 0 and b == pytest.approx(a, rel=1e-4, abs=1e-7), case
        assert two["weights"] == pytest.approx(one["weights"], rel=1e-5, abs=1e-5), case
