"""Graded samples on the disk: one Parquet file an evaluation (`frown.evals.samples` has their columns)."""

from __future__ import annotations

from pathlib import Path

from frown.errors import FrownError, first_line
from frown.evals.samples import GradedSamples
from frown.store.files import write_whole


def write_samples(path: Path, samples: GradedSamples) -> None:
    """Write graded samples, whole or not at all. Raises FrownError where the disk refuses it."""
    import pyarrow.parquet as pq

    write_whole(path, lambda part: pq.write_table(samples.to_table(), part, compression="zstd"))


def read_samples(path: Path) -> GradedSamples:
    """Read graded samples. Raises FrownError for a file that cannot be read or holds none."""
    import pyarrow.parquet as pq

    try:
        return GradedSamples.from_table(pq.read_table(path), str(path))
    except FrownError:
        raise
    except Exception as error:  # whatever a broken file makes pyarrow, and broken columns numpy raise
        raise FrownError(f"{path} holds no graded samples: {first_line(error)}; evaluate again") from None
