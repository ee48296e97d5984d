"""Small pretrained models, where somebody has brought them: FROWN_REAL_MODELS names the folder, .models otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paths import ROOT
from tiny import DATA

MODELS = Path(os.environ.get("FROWN_REAL_MODELS") or ROOT / ".models")


def real_model(name: str) -> Path:
    """The folder or file of a model, e.g. "smollm2-135m"; the test is skipped where it is not there."""
    place = MODELS / name
    if not place.exists():
        pytest.skip(f"{place} is not there: bring the model, or name the folder of models by FROWN_REAL_MODELS")
    return place


def gsm8k(split: str) -> Path:
    """The rows of a split of GSM8K; the test is skipped where they are not there."""
    file = DATA / "gsm8k" / f"{split}.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is not there: GSM8K lies beside the checkout where it is shared")
    return file
