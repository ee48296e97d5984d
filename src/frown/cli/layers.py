"""`frown layers`: at which layer a label can be read."""

from __future__ import annotations

from pathlib import Path

from frown.cli.options import AsJson


def layers(
    model: str,
    *,
    data: Path,
    columns: str,
    positive: str | None = None,
    test_share: float = 0.3,
    units: int = 0,
    controls: int = 3,
    seed: int = 0,
    json_: AsJson = False,
) -> None:
    """Show at which layer of a model a label of texts can be read, beside the same under shuffled labels.

    Parameters
    ----------
    model
        A Hugging Face causal-LM folder, a folder of LoRA adapters, a hub name, or lab:NAME.
    data
        Rows with a text and a label each: JSONL, JSON, Parquet or CSV.
    columns
        Which column holds what, e.g. text=answer,label=emotion. With group=question, rows of one question stay
        together.
    positive
        The label to be read against all others. Not needed where there are two.
    test_share
        Share of the groups that the probes are tested on.
    units
        Width of a hidden layer of the probes; 0 for a linear probe.
    controls
        How many times the labels are shuffled.
    seed
        Of the split, the shuffles and the fits.
    """
    from rich.console import Console

    from frown.cli.output import print_json
    from frown.inspect.grade import parse_columns
    from frown.inspect.layers import Readout
    from frown.inspect.layers import layers as read_layers
    from frown.report.layers import layers_table

    readout = Readout(test_share, units, controls=controls, seed=seed)
    scores = read_layers(model, data, parse_columns(columns), positive=positive, readout=readout)
    if json_:
        print_json(scores)
    else:
        Console().print(layers_table(scores))
