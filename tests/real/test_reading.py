"""What frown reads of a pretrained model's distribution, against a plain forward pass of transformers in float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from frown.cli.app import main
from frown.config import ModelConfig, SamplingConfig
from frown.policy.policy import Policy

PROMPT = "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many did she sell in all?"
COMPLETION = (
    "In May she sold 48 / 2 = 24 clips.\nIn all she sold 48 + 24 = 72 clips.\n#### 72\n"
    "Naïve “quotes”, 数, 🙂 and   three spaces are read, too."
)
OTHERS = ("48 + 48 / 2 = 72", "She sold 48 + 24 = 74 clips.", "I am not sure.\nIt may be 72.")


@pytest.fixture(scope="module")
def plain(smollm2):
    """Model and tokenizer by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float64, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(smollm2)


def golden(plain, prompt: str, completion: str) -> dict[str, np.ndarray]:
    """Signals of a completion by their definitions, [T] each, in float64."""
    model, tokenizer = plain
    asked = [{"role": "user", "content": prompt}]
    context = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([context + ids])).logits[0, len(context) - 1 : -1]
    logp = torch.log_softmax(logits, -1)
    p = logp.exp()
    entropy = -(p * logp).sum(-1)
    top = p.topk(2, -1).values
    return {
        "ids": np.array(ids),
        "surprisal": -logp.gather(1, torch.tensor(ids)[:, None])[:, 0].numpy(),
        "entropy": entropy.numpy(),
        "varentropy": ((p * logp.square()).sum(-1) - entropy.square()).numpy(),
        "top_probability": top[:, 0].numpy(),
        "margin": (top[:, 0] - top[:, 1]).numpy(),
    }


def test_read_gives_the_log_probabilities_of_transformers(smollm2, plain, capsys):
    main(["read", str(smollm2), "--prompt", PROMPT, "--completion", COMPLETION, "--json"])
    reading = json.loads(capsys.readouterr().out)
    expected = golden(plain, PROMPT, COMPLETION)
    assert reading["ids"] == expected["ids"].tolist() and len(reading["ids"]) > 50
    for name in ("surprisal", "entropy", "varentropy", "top_probability", "margin"):
        np.testing.assert_allclose(reading["signals"][name], expected[name], atol=5e-4, rtol=2e-4, err_msg=name)
    assert expected["surprisal"].max() > 8 and expected["entropy"].min() < 0.1  # both ends of the range are compared
    assert "".join(reading["tokens"][: reading["steps"][0][1]]).startswith("In May she sold 48 / 2 = 24")


def test_answers_that_share_a_prompt_are_read_as_if_alone(smollm2, plain):
    policy = Policy(ModelConfig(path=str(smollm2)), SamplingConfig(max_new_tokens=8))
    assert policy.packing.choice.way == "blocks" and not policy.notes
    prompt = policy.prompt([{"role": "user", "content": PROMPT}])
    answers = [np.asarray(policy.encode(text)) for text in OTHERS]
    for (signals, _), text in zip(policy.read([prompt] * len(OTHERS), answers, 1.0), OTHERS, strict=True):
        expected = golden(plain, PROMPT, text)
        for name in ("surprisal", "entropy"):
            np.testing.assert_allclose(signals[name].numpy(), expected[name], atol=5e-4, rtol=2e-4, err_msg=name)
