"""`frown layers`: at which layer of a model a label of texts can be read.

A probe is trained on the hidden states at the last token of each text, layer by layer, and tested on texts that it has
not seen. The control is the same under shuffled labels (after Hewitt & Liang 2019, arXiv 1909.03368): what it scores is
what a readout scores on any labels of that many rows. That a label can be read says that the information is there, not
that the model uses it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError
from frown.evals.figures import number
from frown.evals.ranking import auroc
from frown.tasks.columns import value_of
from frown.tasks.rows import SourceRow, read_rows, text_of

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = ("text", "label", "group")
_BATCH_TOKENS = 4096
_FEWEST = 10
"""Rows with the label, and without it."""


@dataclass(frozen=True)
class Readout:
    """How a probe is fitted, tested and controlled."""

    test_share: float = 0.3
    """Of the groups, in (0, 1)."""
    units: int = 0
    """Width of a layer between; 0 is linear."""
    l2: float = 1e-2
    controls: int = 3
    """How many times the labels are shuffled."""
    seed: int = 0


class LayerScore(NamedTuple):
    """How well a label can be read at one layer, on groups that the probe was not fitted on."""

    layer: int
    depth: float
    """Relative, in [0, 1]."""
    auroc: float
    """Chance is 0.5; NaN where the test rows have one label only."""
    shuffled: tuple[float, ...]
    """The same with the labels of all rows permuted, once a control."""


def layers(
    model_path: str,
    data: Path,
    columns: Mapping[str, str],
    *,
    positive: str | None = None,
    readout: Readout | None = None,
) -> dict[str, Any]:
    """How well a label of texts can be read at every layer of a model, as JSON data.

    Args:
        model_path: as everywhere: a folder, a hub name, or lab:NAME.
        data: rows.
        columns: where `text` and `label` stand, and `group` where rows belong together (answers to one question): whole
            groups are tested on. Without it rows with the same text are a group.
        positive: the label to be read; may be left out where there are two labels.
        readout: None for a linear probe with three controls.

    Returns {"model", "label", "positive", "rows", "with_label", "test_rows", "best", "layers": [{"layer", "depth",
    "auroc", "shuffled"}]}; layer 0 is the embeddings. `best` is chosen on the test rows: its figure is a little too
    good. Cost: one forward pass over the texts, (layers + 1) (1 + controls) fits.

    Raises FrownError for a mistake in the arguments or the rows, and for texts that do not fit the model's context.
    """
    names = _column_names(columns)
    rows = read_rows(data)
    texts = [text_of(row, names["text"]) for row in rows]
    labels = [_label(row, names["label"]) for row in rows]
    groups = [_label(row, names["group"]) for row in rows] if "group" in names else texts
    name = _positive(labels, positive, data)
    y = np.array([label == name for label in labels], dtype=np.float64)
    if min(y.sum(), len(y) - y.sum()) < _FEWEST:
        raise FrownError(f"{data} has {int(y.sum())} rows labelled {name!r} of {len(y)}; give {_FEWEST} of either")
    how = readout or Readout()
    test = rows_to_test(groups, how.test_share, np.random.default_rng(how.seed))
    if len(set(y[~test])) < 2:
        raise FrownError(f"the rows of {data} that a probe is fitted on all have one label; give more groups")
    scores = layer_scores(_hidden_states(model_path, texts, rows), y, test, names["label"], how)
    readable = [s for s in scores if np.isfinite(s.auroc)]
    return {
        "model": model_path,
        "label": names["label"],
        "positive": name,
        "rows": len(y),
        "with_label": int(y.sum()),
        "test_rows": int(test.sum()),
        "best": max(readable, key=lambda s: s.auroc).layer if readable else None,
        "layers": [
            {
                "layer": s.layer,
                "depth": number(s.depth),
                "auroc": number(s.auroc),
                "shuffled": [number(a) for a in s.shuffled],
            }
            for s in scores
        ],
    }


def layer_scores(
    hidden: Tensor, y: NDArray[np.float64], test: NDArray[np.bool_], label: str, readout: Readout
) -> list[LayerScore]:
    """The AUROC of a probe on the test rows at every layer, beside the same under shuffled labels.

    `hidden`: [layers + 1, N, H]; `y`: [N] of 0 and 1; `test`: bool[N]; `label`: the name of what is read.
    """
    import torch

    from frown.signals.probe import ProbeTarget, fit

    rng = np.random.default_rng(readout.seed)
    trials = [y, *(rng.permutation(y) for _ in range(readout.controls))]
    fit_on, test_on = torch.as_tensor(np.flatnonzero(~test)), torch.as_tensor(np.flatnonzero(test))
    count = hidden.shape[0] - 1
    scores = []
    for layer, states in enumerate(hidden):
        target = ProbeTarget(label, layer, count, states.shape[1])
        areas = []
        for trial in trials:
            if len(set(trial[~test])) < 2:  # a shuffle may leave one label alone
                areas.append(float("nan"))
                continue
            probe = fit(states[fit_on], trial[~test], target, units=readout.units, l2=readout.l2, seed=readout.seed)
            areas.append(_auroc(probe.predict(states[test_on]).numpy(), trial[test]))
        scores.append(LayerScore(layer, target.depth, areas[0], tuple(areas[1:])))
    return scores


def rows_to_test(groups: Sequence[Hashable], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows to test on: bool[N], a share of the groups (not of the rows), whole; one group at least is not.

    Raises FrownError for fewer than two groups, or a share outside (0, 1).
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2 or not 0.0 < share < 1.0:
        raise FrownError(f"a test takes a share in (0, 1) of at least two groups, got {share} of {len(names)}")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = {names[i] for i in rng.permutation(len(names))[:count]}
    return np.array([g in chosen for g in groups], dtype=np.bool_)


def _hidden_states(model_path: str, texts: Sequence[str], rows: Sequence[SourceRow]) -> Tensor:
    """The states at the last token of each text, [layers + 1, N, H], float32 on the CPU."""
    import torch

    from frown.config import ModelConfig
    from frown.policy import load as models
    from frown.runtime.threads import settle
    from frown.signals.probe import hidden_states

    model, tokenizer, *_ = models.load(ModelConfig(path=model_path))
    model.eval()
    settle(model)
    limit = models.context_length(model)
    ids = [tokenizer(text, add_special_tokens=True)["input_ids"] for text in texts]
    for row, tokens in zip(rows, ids, strict=True):
        if not tokens:
            raise FrownError(f"{row.place}: the text has no tokens under this model's tokenizer")
        if limit is not None and len(tokens) > limit:
            raise FrownError(f"{row.place}: a text of {len(tokens)} tokens does not fit the model's context of {limit}")
    device = next(model.parameters()).device
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts: list[Tensor] = []
    at = 0
    while at < len(order):
        batch = order[at : at + 1]
        while at + len(batch) < len(order) and len(ids[order[at + len(batch)]]) * (len(batch) + 1) <= _BATCH_TOKENS:
            batch.append(order[at + len(batch)])
        at += len(batch)
        padded = torch.zeros((len(batch), max(len(ids[i]) for i in batch)), dtype=torch.long)
        for row_of_batch, i in enumerate(batch):
            padded[row_of_batch, : len(ids[i])] = torch.as_tensor(ids[i])
        last = torch.tensor([len(ids[i]) - 1 for i in batch], device=device)
        with torch.no_grad():
            states = hidden_states(models.backbone(model), padded.to(device), torch.arange(len(batch)), last)
        parts.append(states.float().cpu())
    places = torch.empty(len(order), dtype=torch.long)
    places[torch.as_tensor(order)] = torch.arange(len(order))
    return torch.cat(parts, 1)[:, places]


def _column_names(columns: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise FrownError(f"columns: there is no {unknown[0]!r}, only {', '.join(COLUMNS)}")
    missing = [name for name in COLUMNS[:2] if name not in columns]
    if missing:
        raise FrownError(f"columns: say where {missing[0]} stands, as in text=answer,label=emotion")
    return dict(columns)


def _label(row: SourceRow, column: str) -> str:
    """A label as text: a string as it is, a number or a boolean as JSON writes it."""
    value = value_of(row.place, row.values, column)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return text_of(row, column)


def _positive(labels: Sequence[str], positive: str | None, data: Path) -> str:
    """The label to be read; of two the last in order (1 of 0 and 1)."""
    counts = Counter(labels)
    shown = ", ".join(repr(name) for name, _ in counts.most_common(8))
    if positive is not None:
        if positive not in counts:
            raise FrownError(f"no row of {data} is labelled {positive!r}; there are {shown}")
        return positive
    if len(counts) != 2:
        raise FrownError(f"{data} has {len(counts)} labels ({shown}); say with --positive which one is to be read")
    return max(counts)


def _auroc(score: NDArray[Any], label: NDArray[Any]) -> float:
    """Of rows [M] that stand for themselves."""
    return float(auroc(score[None], label[None], np.zeros((1, len(label)))))
