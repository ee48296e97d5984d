"""`frown export`: a run's rollouts as one Parquet file, or as logs that inspect_ai reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from frown.errors import FrownError
from frown.viewer.index import Index
from frown.viewer.page import read_row


def to_parquet(index: Index, target: Path) -> int:
    """Write all rollouts to one file, with their `arm`, `seed`, `split` and `step` as columns; returns how many.

    A column that some files lack is null there. Files are read one after the other.
    Raises FrownError where the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [index.files[n].path for n in np.unique(index.file).tolist()]
    own = pa.schema([("arm", pa.string()), ("seed", pa.int64()), ("split", pa.string()), ("step", pa.int64())])
    schema = pa.unify_schemas([own, *(pq.read_schema(p).remove_metadata() for p in paths)])
    part = target.with_name(f".{target.name}.part")
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for number in np.unique(index.file).tolist():
                file, at = index.files[number], index.file == number
                table = pq.read_table(file.path).replace_schema_metadata()
                n, runs = table.num_rows, [index.runs[r] for r in index.run[at].tolist()]
                known = {"arm": [r.arm for r in runs], "seed": [r.seed for r in runs]}
                known |= {"split": [index.splits[s] for s in index.split[at]], "step": index.step[at].tolist()}
                columns = [
                    pa.array(known[f.name], f.type) if f.name in known
                    else table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(n, f.type)
                    for f in schema
                ]  # fmt: skip
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=64)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FrownError(f"cannot write {target}: {error.strerror or error}") from None
    return len(index)


def to_inspect(index: Index, folder: Path) -> list[Path]:
    """Write one log a run into a folder and return their paths; read them with inspect_ai, or `inspect view`.

    A sample is a rollout: its tokens with their log-probabilities, the verifier's score where there is one, and
    as metadata its steps, spans and feedback. Raises FrownError without inspect_ai, or where nothing can be written.
    """
    try:
        from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, write_eval_log
    except ImportError:
        raise FrownError("exporting to inspect needs inspect_ai: pip install inspect-ai") from None
    found = []
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
        found.append(path)
    return found


def _samples(index: Index, run: int) -> Iterator[Any]:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    seen: Counter[str] = Counter()
    for i in range(len(index)):
        if index.run[i] != run:
            continue
        row = read_row(*index.place(i))
        name = f"{index.splits[index.split[i]]}/{index.step[i]}/{index.tasks[index.task[i]]}"
        seen[name] += 1
        question, text = row.get("question") or "", row.get("text") or ""
        reply = ChatMessageAssistant(content=text)
        choice = ChatCompletionChoice(
            message=reply, stop_reason="max_tokens" if row.get("stop") == "length" else "stop", logprobs=_logprobs(row)
        )
        score = row.get("score")
        yield EvalSample(
            id=name,
            epoch=seen[name],
            input=question,
            target="",
            messages=[ChatMessageUser(content=question), reply],
            output=ModelOutput(model=f"frown/{index.runs[run].key}", choices=[choice]),
            scores=None
            if score is None
            else {"verifier": Score(value=score, answer=row.get("answer"), explanation=row.get("verdict") or None)},
            metadata={
                "key": index.key(i),
                **{n: row.get(n) for n in ("steps", "step_right", "step_doubt", "spans", "feedback", "teacher_prompt")},
            },
        )


def _logprobs(row: dict[str, Any]) -> Any:
    from inspect_ai.model import Logprob, Logprobs

    tokens, logp = row.get("tokens"), row.get("logp")
    if not tokens or logp is None or len(logp) != len(tokens):
        return None
    own = row.get("sampled") or [True] * len(tokens)
    return Logprobs(content=[Logprob(token=t, logprob=v) for t, v, mine in zip(tokens, logp, own, strict=True) if mine])
