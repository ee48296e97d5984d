"""What the tests on pretrained models share."""

from pathlib import Path

import pytest

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
