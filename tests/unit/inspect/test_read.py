"""`frown read`: one value a token, equal to a plain float64 forward; and its face in the terminal."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from rich.console import Console

import tiny
from frown.errors import FrownError
from frown.inspect.read import read
from frown.policy.text import token_texts
from frown.report.reading import render, shade, visible

SIGNALS = {"surprisal", "entropy", "varentropy", "top_probability", "margin", "self_certainty", "effective_choices"}
PROMPT, COMPLETION = "What is 2 + 2?", "Two and two.\nSo it is 4, or café 🙂."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.byte_model(tmp_path_factory.mktemp("models") / "byte", hidden=16, context=128)


@pytest.fixture(scope="module")
def sharp(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, sure of some tokens and not of others."""

    return _changed(folder, tmp_path_factory.mktemp("models") / "sharp", lambda m: m.model.norm.weight.data.mul_(30))


def _changed(folder: Path, to: Path, change) -> Path:
    from transformers import AutoModelForCausalLM

    shutil.copytree(folder, to)
    model = AutoModelForCausalLM.from_pretrained(folder)
    change(model)
    model.save_pretrained(to)
    return to


def oracle(folder: Path, context: list[int], ids: list[int], temperature: float) -> dict[str, np.ndarray]:
    """The whole model in float64, its own logits, and scipy's definitions."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *ids]])).logits[0, len(context) - 1 : -1].numpy()
    logp = scipy.special.log_softmax(logits / temperature, -1)
    p, h, top = np.exp(logp), scipy.stats.entropy(np.exp(logp), axis=-1), np.sort(np.exp(logp), -1)
    return {
        "surprisal": -logp[np.arange(len(ids)), ids],
        "entropy": h,
        "varentropy": (p * (logp + h[:, None]) ** 2).sum(-1),
        "top_probability": top[:, -1],
        "margin": top[:, -1] - top[:, -2],
        "self_certainty": scipy.stats.entropy(np.full_like(p, 1 / p.shape[-1]), p, axis=-1),
        "effective_choices": np.exp(h),
    }


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_signals_are_those_of_a_plain_float64_forward(sharp: Path, temperature: float) -> None:
    found = read(str(sharp), PROMPT, COMPLETION, temperature=temperature)
    assert set(found["signals"]) == SIGNALS and found["temperature"] == temperature
    for name, expected in oracle(sharp, found["context_ids"], found["ids"], temperature).items():
        np.testing.assert_allclose(found["signals"][name], expected, rtol=2e-4, atol=2e-5, err_msg=name)


def test_one_value_a_token_and_the_prompt_under_the_chat_template(folder: Path) -> None:
    from transformers import AutoTokenizer

    found = read(str(folder), PROMPT, COMPLETION)
    n = len(COMPLETION.encode())
    assert len(found["tokens"]) == len(found["ids"]) == n
    assert {len(v) for v in found["signals"].values()} == {n}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(found["context_ids"]) == f"<|user|>{PROMPT}<|end|><|assistant|>"
    assert tokenizer.decode(found["ids"]) == COMPLETION
    assert "".join(found["tokens"]).replace("�", "") == COMPLETION.replace("é", "").replace("🙂", "")
    assert found["tokens"].count("�") == 2 + 4
    assert found["steps"] == [[0, 13], [13, n]]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_spans_are_the_appraisals_with_their_evidence(sharp: Path) -> None:
    found = read(str(sharp), PROMPT, COMPLETION)
    assert found["spans"] and isinstance(found["unread"], list)
    for span in found["spans"]:
        assert set(span) >= {
            "start",
            "end",
            "label",
            "intensity",
            "evidence",
            "step",
            "valence",
            "arousal",
            "dominance",
        }
        assert 0 <= span["start"] < span["end"] <= len(found["ids"]) and span["evidence"]
        if span["step"] is not None:
            start, end = found["steps"][span["step"]]
            assert start <= span["start"] < end


def test_a_head_that_does_more_than_a_product_is_read_from_the_models_own_logits(tmp_path: Path) -> None:
    from transformers import GPTJConfig, GPTJForCausalLM

    tiny.byte_model(tmp_path / "gptj", hidden=16)
    vocabulary = json.loads((tmp_path / "gptj" / "config.json").read_text())["vocab_size"]
    torch.manual_seed(1)
    model = GPTJForCausalLM(
        GPTJConfig(vocab_size=vocabulary, n_embd=16, n_layer=1, n_head=2, rotary_dim=4, n_positions=128)
    )
    model.lm_head.bias.data.normal_(std=2.0)
    model.save_pretrained(tmp_path / "gptj")
    found = read(str(tmp_path / "gptj"), "Hello", "Goodbye.", temperature=0.7)
    for name, expected in oracle(tmp_path / "gptj", found["context_ids"], found["ids"], 0.7).items():
        np.testing.assert_allclose(found["signals"][name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"completion": ""}, "completion is empty"),
        ({"completion": "x" * 200}, "do not fit the model's context of 128"),
        ({"temperature": 0.0}, "temperature = 0.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"steps": "words"}, "steps = 'words'"),
        ({"prompt": "\udce9t\udce9"}, "prompt is not Unicode text at character 0"),
        ({"model_path": "/no/such/model"}, "does not exist"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(folder: Path, arguments: dict, told: str) -> None:
    given = {"model_path": str(folder), "prompt": "a", "completion": "b", **arguments}
    with pytest.raises(FrownError, match=told) as error:
        read(given.pop("model_path"), given.pop("prompt"), given.pop("completion"), **given)
    assert "\n" not in str(error.value)


def test_logits_that_are_not_finite_are_an_error_not_a_signal(folder: Path, tmp_path: Path) -> None:
    broken = _changed(folder, tmp_path / "nan", lambda m: m.model.norm.weight.data.fill_(float("nan")))
    with pytest.raises(FrownError, match="not finite at token 0"):
        read(str(broken), "a", "b")


def test_a_sentencepiece_token_keeps_its_space() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"▁the": 0, "▁cat": 1, "s": 2}, unk_token="s"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    assert token_texts(PreTrainedTokenizerFast(tokenizer_object=inner), [0, 1, 2]) == [" the", " cat", "s"]


# -- in the terminal -------------------------------------------------------------------------------------------


def shown(result: dict, **how) -> str:
    out = io.StringIO()
    Console(file=out, width=100, **how).print(render(result))
    return out.getvalue()


def result_of(tokens: list[str], surprisal: list[float]) -> dict:
    from frown.types import Span

    n = len(tokens)
    names = ("entropy", "top_probability", "margin")
    span = Span(1, 2, "doubt", 0.5, {"surprisal": surprisal[1]}, step=0)
    return {
        "tokens": tokens,
        "ids": list(range(n)),
        "context_ids": [0],
        "signals": {"surprisal": surprisal, **{name: [0.25] * n for name in names}},
        "spans": [{**vars(span), "evidence": dict(span.evidence)}],
        "steps": [[0, n]],
        "unread": ["confusion: needs [siblings]"],
        "temperature": 1.0,
    }


def test_a_reading_shows_the_text_the_most_surprising_token_and_the_spans(sharp: Path) -> None:
    found = read(str(sharp), PROMPT, COMPLETION)
    page = shown(found)
    n, worst = len(found["ids"]), int(np.argmax(found["signals"]["surprisal"]))
    assert "Two and two.⏎\nSo it is 4" in page
    assert f"most surprising 10 of {n} tokens" in page and f"{found['signals']['surprisal'][worst]:.3f}" in page
    assert f"of {len(found['spans'])} spans" in page and found["spans"][0]["label"] in page


def test_untrusted_text_is_shown_and_never_obeyed() -> None:
    evil = ["[bold]x[/bold]", "\x1b[31mred\x1b]0;title\x07", "\r\b", "\u202eabc", "[/]", "\u2028"]
    page = shown(result_of(evil, [0.0, 5.0, 1.0, 2.0, 3.0, 4.0]))
    assert "not read: confusion: needs [siblings]" in page
    assert "[bold]x[/bold]" in page and "[/]" in page
    assert r"\x1b[31mred\x1b]0;title\x07" in page and r"\x0d\x08" in page and r"\u202eabc" in page
    assert not set("\x1b\x07\r\b\u202e\u2028") & set(page)


def test_shades_follow_the_probability() -> None:
    assert [shade(-np.log(p)) for p in (1.0, 0.9001, 0.6, 0.2, 0.01, 0.0001)] == [
        "dim",
        "dim",
        "",
        "yellow",
        "bold red",
        "bold red",
    ]
    assert shade(1e4) == "bold red"
    page = shown(result_of(["sure", "odd"], [0.0, 5.0]), force_terminal=True, color_system="standard")
    assert "\x1b[2msure" in page and "\x1b[1;31modd" in page
    assert visible("a\tb\n") == "a\\x09b⏎\n"
