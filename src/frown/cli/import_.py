"""`frown import`: rollouts of other programs."""

from __future__ import annotations

from pathlib import Path


def import_(source: Path, *, out: Path, score: str | None = None) -> None:
    """Make a run directory of answers that another program logged, for look, read and export.

    Parameters
    ----------
    source
        Chat logs of vLLM, llama.cpp, SGLang, Ollama, OpenAI, LiteLLM or lm-eval (.jsonl, also compressed), TRL's
        completions (.parquet), or TRL's output folder.
    out
        Where to write it.
    score
        Of TRL's rewards, the one that says whether an answer is right.
    """
    from frown.cli.output import print_omissions
    from frown.interchange.imports import import_rollouts

    made = import_rollouts(source, out, score=score)
    print_omissions(made.omissions)
    print(f"{out}: {made.answers} answers, {made.with_logprobs} with logprobs, {made.unscored} unscored")
