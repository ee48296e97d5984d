"""What the tests on pretrained models share."""

from functools import partial
from pathlib import Path

import pytest

from frown.inspect import probe
from frown.training import preflight
from real_models import gsm8k, real_model


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return real_model("smollm2-135m")


@pytest.fixture(scope="session")
def rows(tmp_path_factory) -> Path:
    """Twelve short rows of GSM8K with their worked solutions."""
    lines = sorted(gsm8k("train").read_text(encoding="utf-8").splitlines()[:200], key=len)[:12]
    file = tmp_path_factory.mktemp("gsm8k") / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def few_answers(monkeypatch):
    """Four answers of student and teacher are compared before training, instead of 128 whatever a step has."""
    for module in (preflight, probe):
        monkeypatch.setattr(module, "teacher_gap", partial(preflight.teacher_gap, most=4))
