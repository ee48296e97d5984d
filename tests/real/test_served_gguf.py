"""A quantised model behind llama.cpp's server as a critic, as docs/tutorials/critic.md has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from frown.cli.app import main
from frown.config import EndpointConfig, ModelCriticConfig
from frown.store.rollouts import read_rollouts
from frown.store.run_directory import RunDirectory
from parrot_critic import request
from paths import ROOT
from real_models import MODELS, real_model

GGUF = "qwen2.5-coder-1.5b.gguf"
SMALLER = "qwen2.5-coder-0.5b.gguf"


@pytest.fixture(scope="module")
def served():
    """Address and name of the model."""
    pytest.importorskip("xllamacpp", reason="serving a GGUF file needs pip install xllamacpp")
    pytest.importorskip("openai", reason='needs pip install "frown[critics]"')
    file = real_model(SMALLER if not (MODELS / GGUF).exists() and (MODELS / SMALLER).exists() else GGUF)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "serve_gguf.py"), str(file), "--port", "0", "--threads", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    line = next((line for line in process.stdout if " serves " in line), "")
    address = re.match(r"(http://127\.0\.0\.1:\d+/v1) serves (.+)", line)
    assert address is not None, line
    yield address[1], address[2]
    process.kill()
    process.wait()
    process.stdout.close()


def endpoint(served) -> dict:
    address, name = served
    return {"base_url": address, "model": name, "key_variable": "", "timeout": 600.0, "deadline": 600.0}


def test_a_served_model_judges_steps_in_the_form_that_it_is_asked_for(served):
    from frown.critics.model.endpoint import endpoint_critic

    critic = endpoint_critic(ModelCriticConfig(endpoint=EndpointConfig(**endpoint(served)), max_new_tokens=256))
    [review] = critic.review([request("2+3 = 5", "5*4 = 45")])
    assert not review.lost and [comment.step for comment in review.comments] == [0, 1]
    counts = critic.statistics
    assert counts.answered == 1 and not counts.lost and counts.prompt_tokens > 100 and counts.completion_tokens > 10


@pytest.mark.usefixtures("few_answers")
def test_its_comments_are_what_a_student_is_taught(served, smollm2, rows, tmp_path):
    pytest.importorskip("peft")
    words = [f"critic.model.endpoint.{key}={value}" for key, value in endpoint(served).items()]
    out = tmp_path / "run"
    main(["train", "--model", str(smollm2), "--task", "math", "--data", str(rows), "--out", str(out), "--method",
          "critique", "method.to=all", "model.lora.rank=4", "optimiser.steps=1", "eval.prompts=1", "eval.samples=1",
          "sampling.prompts_per_step=1", "sampling.responses_per_prompt=1", "sampling.max_new_tokens=48",
          "critic.kind=model", "critic.model.max_new_tokens=256", *words])  # fmt: skip
    [step] = [m for m in RunDirectory(out).metrics() if "loss" in m]
    assert step["train_comments"] >= 1 and step["views"] == 1 and step["grad_norm"] > 0
    told = [part.text for record in read_rollouts(next((out / "rollouts").iterdir())) for part in record.feedback.parts]
    assert told and all(told)
