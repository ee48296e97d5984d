"""`frown import`: rollouts of other programs."""

from __future__ import annotations

from pathlib import Path


def import_(source: Path, *, out: Path, score: str | None = None) -> None:
    """Make a run directory of answers that another program logged, for look, read and export.

    Parameters
    ----------
    source
        Chat logs of an OpenAI-style server or vLLM (.jsonl), TRL's completions (.parquet), or TRL's output folder.
    out
        Where to write it.
    score
        Of TRL's rewards, the one that says whether an answer is right.
    """
    from frown.interchange.imports import import_rollouts

    counts = import_rollouts(source, out, score=score)
    print(f"{out}: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items()))
