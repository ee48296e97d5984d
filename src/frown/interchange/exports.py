"""`frown export`: a run's rollouts as one Parquet file, or as logs that inspect_ai reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from frown.errors import FrownError
from frown.store.record import Origin, RolloutRecord
from frown.store.rollouts import gather_rollouts
from frown.types import Verdict
from frown.viewer.index import Index
from frown.viewer.page import page, record_at


def to_parquet(index: Index, target: Path) -> int:
    """Write all rollouts to one file, each with its origin; returns how many.

    Files are read one after the other. Raises FrownError where the file cannot be written.
    """
    gather_rollouts({index.files[n].path: _origins(index, n) for n in np.unique(index.file).tolist()}, target)
    return len(index)


def _origins(index: Index, number: int) -> list[Origin]:
    """Where the rollouts of one file are from, in their order."""
    rows = np.flatnonzero(index.file == number)
    runs = [index.runs[r] for r in index.run[rows]]
    places = zip(runs, index.split[rows], index.step[rows].tolist(), strict=True)
    return [Origin(run.arm, run.seed, index.splits[split], step) for run, split, step in places]


def to_inspect(index: Index, folder: Path) -> list[Path]:
    """Write one log a run into a folder and return their paths; read them with inspect_ai, or `inspect view`.

    A sample is a rollout: its tokens with their log-probabilities, the verifier's score where there is one, and
    as metadata its steps, spans and feedback. Raises FrownError without inspect_ai, or where nothing can be written.
    """
    try:
        from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, write_eval_log
    except ImportError:
        raise FrownError("exporting to inspect needs inspect_ai: pip install inspect-ai") from None
    paths = []
    for number, run in enumerate(index.runs):
        samples = list(_samples(index, number))
        spec = EvalSpec(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            task=run.key,
            model=f"frown/{run.key}",
            dataset=EvalDataset(name=index.name, samples=len(samples)),
            config=EvalConfig(),
        )
        path = folder / f"{run.key.replace('/', '-')}.eval"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_eval_log(EvalLog(status="success", eval=spec, samples=samples), path)
        except OSError as error:
            raise FrownError(f"cannot write {path}: {error.strerror or error}") from None
        paths.append(path)
    return paths


def _samples(index: Index, run: int) -> Iterator[Any]:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput

    epochs: Counter[str] = Counter()
    for i in np.flatnonzero(index.run == run).tolist():
        record, shown = record_at(index, i), page(index, i)
        name = f"{index.splits[index.split[i]]}/{index.step[i]}/{index.tasks[index.task[i]]}"
        epochs[name] += 1
        reply = ChatMessageAssistant(content=shown["text"])
        yield EvalSample(
            id=name,
            epoch=epochs[name],
            input=shown["question"],
            target="",
            messages=[ChatMessageUser(content=shown["question"]), reply],
            output=ModelOutput(model=f"frown/{index.runs[run].key}", choices=[_choice(record, reply)]),
            scores=_scores(record.rollout.verdict),
            metadata={
                "key": shown["key"],
                "steps": [list(step) for step in record.rollout.steps],
                "step_right": None if record.rollout.verdict is None else record.rollout.verdict.step_right,
                "step_doubt": record.appraisal.step_doubt,
                **{name: shown[name] for name in ("spans", "feedback", "teacher_prompt")},
            },
        )


def _choice(record: RolloutRecord, reply: Any) -> Any:
    from inspect_ai.model import ChatCompletionChoice

    stop: Any = "max_tokens" if record.rollout.truncated else "stop"
    return ChatCompletionChoice(message=reply, stop_reason=stop, logprobs=_logprobs(record))


def _scores(verdict: Verdict | None) -> Any:
    from inspect_ai.scorer import Score

    if verdict is None or not verdict.scored:
        return None
    return {"verifier": Score(value=verdict.score, answer=verdict.answer, explanation=verdict.message or None)}


def _logprobs(record: RolloutRecord) -> Any:
    """The log-probabilities of the tokens that the policy sampled; None where they are unknown."""
    from inspect_ai.model import Logprob, Logprobs

    tokens, rollout = record.tokens, record.rollout
    if not tokens or "logp" in record.unknown or len(rollout.logp) != len(tokens):
        return None
    values = zip(tokens, rollout.logp.tolist(), rollout.own, strict=True)
    return Logprobs(
        content=[Logprob(token=token, logprob=logp) for token, logp, own in values if own and np.isfinite(logp)]
    )
