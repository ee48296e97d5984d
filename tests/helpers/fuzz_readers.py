"""Every reader of files, with the inputs that it is fuzzed from: a table of name -> `Reader`.

A reader makes its seeds once (`seeds`), writes one mutated input into an empty folder (`make`), and reads it (`read`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import fuzz_mutations as mutate
from fuzz_mutations import pick


class Input(NamedTuple):
    """One mutated input."""

    path: Path
    rows: int | None = None
    """How many rows it has, where that can be told without reading it."""
    intact: Collection[str] = ()
    """Marks of the rows that nobody touched: they have to come out, or the whole input has to be refused."""
    more: Any = None


class Count(NamedTuple):
    """What came of an input."""

    read: int
    reported: int = 0
    """What was left out and said to be."""
    marks: Collection[str] = ()
    """Marks of the rows that came out."""


@dataclass(frozen=True)
class Reader:
    seeds: Callable[[Path], Any]
    """Makes the inputs to start from; the folder is for those that are files."""
    make: Callable[[Random, Any, Path], Input]
    read: Callable[[Input], Count]
    parts: bool = True
    """Whether one bad row costs itself alone."""


READERS: dict[str, Reader] = {}


def _no_seeds(folder: Path) -> None:
    return None


# -- data files ----------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"question": "What is 2+3?", "answer": "5"},
    {"question": 'Wie viel?\nZwei Zeilen, "in Worten"', "answer": "1.234,5", "solution": "so", "system": "Be brief."},
    {"question": [{"role": "user", "content": "1+1?"}], "answer": 2, "tests": ["assert f(1) == 2"]},
    {"question": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "answer": 0.5},
    {"question": [{"from": "human", "value": "who?"}], "answer": [{"role": "assistant", "content": "me"}]},
    {"question": "nested", "answer": "x", "reward_model": {"ground_truth": "7", "style": "rule"}},
    {"question": [{"role": "user", "content": [{"type": "text", "text": "parts"}]}], "answer": "a"},
]
COLUMNS = {"question": "question", "answer": "answer", "solution": "solution", "system": "system"}
PLAIN = [{"question": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(6)]


def _marked(rng: Random, rows: Sequence[dict[str, Any]], n: int) -> tuple[list[Any], list[str]]:
    """`n` rows of which one or two are mutated, and the marks of the others: their ids."""
    values: list[Any] = [{**pick(rng, rows), "mark": f"m{i}"} for i in range(n)]
    touched = {rng.randrange(n) for _ in range(pick(rng, (1, 2)))}
    for i in touched:
        values[i] = mutate.of_value(rng, values[i])
    return values, [f"m{i}" for i in range(n) if i not in touched]


def _json_lines(rng: Random, values: Sequence[Any]) -> bytes:
    lines = [mutate.json_text(rng, v) for v in values]
    return "".join(line + pick(rng, ("\n", "\n", "\n\n", "\r\n")) for line in lines).encode("utf-8", "surrogatepass")


def _utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _jsonl(rng: Random, rows: Sequence[dict[str, Any]], path: Path, n: int = 5) -> Input:
    if rng.randrange(3) == 0:
        raw = mutate.of_bytes(rng, _json_lines(rng, [pick(rng, rows) for _ in range(n)]), [_json_lines(rng, ROWS)])
        path.write_bytes(raw)
        marked = raw.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
        lines = (
            None
            if marked
            else sum(1 for line in raw.split(b"\n") if line.decode("utf-8", "replace").strip("\ufeff").strip())
        )
        return Input(path, lines)
    values, intact = _marked(rng, rows, n)
    path.write_bytes(_json_lines(rng, values))
    return Input(path, len(values), intact)


def _make_jsonl(rng: Random, seeds: Any, place: Path) -> Input:
    return _jsonl(rng, ROWS, place / pick(rng, ("rows.jsonl", "rows.txt", "rows", "rows.ndjson")))


def _make_json(rng: Random, seeds: Any, place: Path) -> Input:
    path = place / "rows.json"
    if rng.randrange(2):
        path.write_bytes(mutate.json_file(rng, json.dumps(ROWS, indent=pick(rng, (None, 1))).encode()))
        return Input(path)
    values, intact = _marked(rng, ROWS, 5)
    path.write_bytes(mutate.json_text(rng, values).encode("utf-8", "surrogatepass"))
    return Input(path, len(values), intact)


def _make_csv(rng: Random, seeds: Any, place: Path) -> Input:
    separator = pick(rng, (",", ";", "\t", "|"))
    text = io.StringIO()
    cells = [["question", "answer", "solution", "system", "mark"]]
    cells += [[f"q {i}, and", str(i), 'a "so"\nb', "", f"m{i}"] for i in range(5)]
    touched = {rng.randrange(1, 6)}
    if rng.randrange(3):
        for i in touched:
            row = mutate.of_value(rng, cells[i])
            cells[i] = [str(c) for c in row] if isinstance(row, list) else [str(row)]
    rows = sum(bool(row) for row in cells[1:])
    csv.writer(text, delimiter=separator, lineterminator=pick(rng, ("\n", "\r\n"))).writerows(cells)
    raw = (pick(rng, ("", "", f"sep={separator}\n")) + text.getvalue()).encode("utf-8", "surrogatepass")
    path = place / pick(rng, ("rows.csv", "rows.tsv"))
    if rng.randrange(2):
        path.write_bytes(mutate.of_bytes(rng, raw))
        return Input(path)
    path.write_bytes(raw)
    return Input(path, rows, [f"m{i}" for i in range(5) if i + 1 not in touched])


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows])


def _write_parquet(rng: Random, table: pa.Table, path: Path) -> Input:
    """A table, mutated as a table or as a file."""
    if rng.randrange(2):
        table = mutate.of_table(rng, table)
        pq.write_table(table, path, row_group_size=pick(rng, (1, 2, 100)))
        return Input(path, table.num_rows)
    pq.write_table(table, path, row_group_size=pick(rng, (1, 2, 100)))
    path.write_bytes(mutate.of_bytes(rng, path.read_bytes()))
    return Input(path)


def _make_parquet(rng: Random, seeds: Any, place: Path) -> Input:
    verl = [
        {"prompt": [{"role": "user", "content": f"q{i}"}], "reward_model": {"ground_truth": str(i)}} for i in range(4)
    ]
    table = _table(pick(rng, (PLAIN, [ROWS[2], ROWS[2]], [ROWS[0], ROWS[5]], verl)))
    return _write_parquet(rng, table, place / pick(rng, ("rows.parquet", "rows.jsonl")))


PACKINGS = ("gz", "zst", "bz2", "xz", "lz4")


def _make_packed(rng: Random, seeds: Any, place: Path) -> Input:
    """Compressed JSONL or CSV: of what is cut short nothing may be taken for the whole."""
    packing = pick(rng, PACKINGS)
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in PLAIN * pick(rng, (1, 50)))
    whole = mutate.packed(packing, raw)
    path = place / f"rows.jsonl.{pick(rng, (packing, packing, 'gz'))}"
    if rng.randrange(3) == 0:
        path.write_bytes(whole[: rng.randrange(len(whole) + 1)])
        return Input(path, raw.count(b"\n"))
    if rng.randrange(3) == 0:
        twice = packing != "lz4" and rng.randrange(2)  # two members one after the other
        path.write_bytes(whole + (whole if twice else b""))
        return Input(path, raw.count(b"\n") * (1 + bool(twice)))
    path.write_bytes(mutate.of_bytes(rng, whole, [mutate.packed(p, raw) for p in PACKINGS]))
    return Input(path)


def _make_folder(rng: Random, seeds: Any, place: Path) -> Input:
    """Shards of a data set, one thing wrong with them, named as a folder, a split or a pattern."""
    folder, kind = place / "data", pick(rng, ("jsonl", "csv", "parquet", "json", "jsonl.gz"))
    folder.mkdir()
    form = pick(rng, ("train-{i:05d}-of-00003", "train-{i:05d}-of-00003", "part-{i}", "train", "test/{i:04d}"))
    for i in range(3):
        name = form.format(i=i) if rng.randrange(9) else pick(rng, ("train-00000-of-00002", "test-0", f"part-{i}"))
        path = folder / f"{name}.{kind}"
        path.parent.mkdir(exist_ok=True)
        if kind == "parquet":
            pq.write_table(_table(PLAIN), path)
        elif kind == "csv":
            path.write_text("question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in PLAIN))
        else:
            text = json.dumps(PLAIN) if kind == "json" else "".join(json.dumps(r) + "\n" for r in PLAIN)
            path.write_bytes(mutate.packed("gz", text.encode()) if kind.endswith("gz") else text.encode())
    if rng.randrange(4) == 0:
        (folder / pick(rng, ("state.json", "dataset_dict.json", "README.md", "x.csv"))).write_bytes(
            pick(rng, (b"{}", b'{"splits": ["train"]}', b"[" * 3000, b"", b"\xff"))
        )
    mutate.of_folder(rng, folder, lambda r, p: p.write_bytes(mutate.of_bytes(r, p.read_bytes())))
    source = pick(
        rng,
        ("data", "data", "data@train", "data@x", "data/*", "data/**/*." + kind, "data/train-*", "data/[", "data/\x00"),
    )
    return Input(place / source)


def _read_data(case: Input) -> Count:
    from frown.errors import FrownError
    from frown.tasks.data import read_tasks
    from frown.tasks.rows import read_rows

    bad: list[FrownError] = []
    rows = read_rows(case.path, bad.append)
    columns = COLUMNS if any("system" in row.values for row in rows) else {}
    if any("reward_model" in row.values for row in rows):
        columns = {"question": pick(Random(len(rows)), ("prompt", "question")), "answer": "reward_model.ground_truth"}
    try:
        tasks, report = read_tasks(case.path, columns, skip=True)
    except FrownError as error:
        _one_line(error)
    else:
        assert report.rows == len(rows) + len(bad), f"{report.rows} of {len(rows)} + {len(bad)} rows are reported"
        assert report.rows == len(tasks) + report.duplicates + report.bad, f"{report} does not add up"
        _lines(report.notes)
    for error in bad:
        _one_line(error)
    return Count(len(rows), len(bad), [row.values.get("mark") for row in rows])


def _one_line(error: Exception) -> None:
    """Check that an error is what a person can be shown: one line that is not endless."""
    _lines([str(error)])


def _lines(texts: Sequence[str]) -> None:
    for text in texts:
        assert len(text.splitlines()) == 1 and text.strip(), f"not one line: {text!r:.300}"
        assert len(text) < 3000, f"a line of {len(text)} characters: {text[:200]!r}"


READERS |= {
    "data.jsonl": Reader(_no_seeds, _make_jsonl, _read_data),
    "data.json": Reader(_no_seeds, _make_json, _read_data),
    "data.csv": Reader(_no_seeds, _make_csv, _read_data),
    "data.parquet": Reader(_no_seeds, _make_parquet, _read_data),
    "data.packed": Reader(_no_seeds, _make_packed, _read_data),
    "data.folder": Reader(_no_seeds, _make_folder, _read_data),
}

GRADED = [
    {"completion": "The answer is \\boxed{5}.", "answer": "5"},
    {"completion": "B", "answer": "(B)"},
    {"completion": None, "answer": "x"},
    {"completion": "no", "answer": "yes", "note": [1, {"a": None}]},
]


def _make_graded(rng: Random, seeds: Any, place: Path) -> Input:
    made = (
        _jsonl(rng, GRADED, place / "graded.jsonl", 4)
        if rng.randrange(3)
        else _write_parquet(rng, _table(GRADED), place / "g.parquet")
    )
    return made._replace(more=pick(rng, ("exact", "choice")))


def _read_graded(case: Input) -> Count:
    from frown.inspect.grade import grade_file

    out = case.path.with_name("out.jsonl")
    counts = grade_file(case.path, task=case.more, out=out)
    assert counts["right"] + counts["wrong"] + counts["unscored"] == counts["n"]
    written = out.read_bytes()
    assert written.count(b"\n") == counts["n"], "rows are missing in what was written"
    return Count(counts["n"], 0, [json.loads(line).get("mark") for line in written.splitlines()])


READERS["grade"] = Reader(_no_seeds, _make_graded, _read_graded, parts=False)

# -- logs ----------------------------------------------------------------------------------------------------------


def _logged(i: int) -> list[dict[str, Any]]:
    """One record of each form, whose answer is `m{i}`."""
    said, asked = f"m{i} is it", [{"role": "user", "content": "1+1?"}]
    top = [{"token": "m", "logprob": -0.1, "bytes": [109]}, {"token": "x", "logprob": -3.0, "bytes": None}]
    entries = [
        {"token": t, "logprob": -0.5, "bytes": list(t.encode()), "top_logprobs": top} for t in (f"m{i}", " is", " it")
    ]
    message = {"role": "assistant", "content": said}
    return [
        {
            "messages": asked,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": entries}}],
            "score": 1.0,
        },
        {
            "prompt": "1+1?",
            "choices": [
                {
                    "text": said,
                    "logprobs": {
                        "tokens": [f"m{i}", " is it"],
                        "token_logprobs": [-1, -2],
                        "top_logprobs": [{"a": -1.0}, None],
                    },
                }
            ],
        },
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": said}]}], "input": "1+1?"},
        {
            "request": {"messages": asked},
            "response": {"body": {"choices": [{"message": message}]}},
            "custom_id": f"r{i}",
        },
        {
            "prompt": "1+1?",
            "outputs": [
                {
                    "text": said,
                    "token_ids": [1, 2],
                    "logprobs": [
                        {"1": {"logprob": -1.0, "decoded_token": f"m{i}"}, "3": {"logprob": -2.0}},
                        {"2": {"logprob": -0.1, "decoded_token": " is it"}},
                    ],
                }
            ],
        },
        {
            "prompt": "1+1?",
            "content": said,
            "completion_probabilities": [{"content": said, "probs": [{"tok_str": said, "prob": 0.5}]}],
            "stop": True,
        },
        {
            "text": said,
            "meta_info": {
                "output_token_logprobs": [[-1.0, 5, f"m{i}"], [-0.5, 6, " is it"]],
                "output_top_logprobs": [[[-1.0, 5, None]], None],
                "finish_reason": {"type": "stop"},
            },
        },
        {"model": "m", "message": message, "done": True, "done_reason": "stop"},
        {
            "prompt": "1+1?",
            "response": said,
            "done": True,
            "logprobs": [{"token": said, "logprob": -0.5, "top_logprobs": []}],
        },
        {
            "doc_id": i,
            "arguments": {"gen_args_0": {"arg_0": "1+1?", "arg_1": {}}},
            "resps": [[said]],
            "filtered_resps": [said],
            "filter": "none",
            "metrics": ["exact_match"],
            "exact_match": 1.0,
            "doc_hash": f"h{i}",
        },
        {
            "messages": [
                *asked,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"function": {"name": f"m{i}", "arguments": "{}"}}],
                },
            ],
            "reward": 0.5,
        },
        {"prompt": "1+1?", "completion": said, "step": 3, "reward": 0.0},
    ]


def _make_log(rng: Random, seeds: Any, place: Path) -> Input:
    path = place / "log.jsonl"
    records = [pick(rng, _logged(i)) for i in range(5)]
    if rng.randrange(3) == 0:
        path.write_bytes(mutate.of_bytes(rng, _json_lines(rng, records)))
        return Input(path)
    touched = {rng.randrange(5) for _ in range(pick(rng, (1, 1, 2)))}
    values: list[Any] = [mutate.of_value(rng, r) if i in touched else r for i, r in enumerate(records)]
    path.write_bytes(_json_lines(rng, values))
    # A mutated record may have become a piece of a stream, to which whole ones do not belong.
    return Input(path, None, [f"m{i}" for i in range(5) if i not in touched])


def _read_log(case: Input) -> Count:
    from frown.interchange.chat import read_chats
    from frown.interchange.imports import as_run
    from frown.interchange.measures import measure
    from frown.viewer.index import read_index

    answers, omissions = read_chats(case.path)
    _lines(omissions.sentences())
    if os.path.getsize(case.path) % 4 == 0:  # dear: of some the whole way to the numbers
        with as_run(case.path) as run:
            measures = measure(read_index(run.path))
        json.dumps(measures, allow_nan=False)
        assert measures["rollouts"] == len(answers), "answers are missing in what was imported"
    return Count(len(answers), sum(omissions.counts.values()), {m for a in answers for m in _marks_in(a.text)})


def _marks_in(text: str) -> list[str]:
    return [f"m{i}" for i in range(5) if f"m{i}" in text]


READERS["log"] = Reader(_no_seeds, _make_log, _read_log)


def _make_completions(rng: Random, seeds: Any, place: Path) -> Input:
    rows = [
        {
            "step": i,
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": f"m{i}"}],
            "accuracy": 0.5,
            "advantage": 0.1,
        }
        for i in range(4)
    ]
    plain = [{"step": 1, "prompt": "q", "completion": f"m{i}", "a": 1.0, "b": 0.0, "advantage": None} for i in range(4)]
    return _write_parquet(rng, _table(pick(rng, (rows, plain))), place / "completions.parquet")


def _read_completions(case: Input) -> Count:
    from frown.interchange.imports import as_run
    from frown.interchange.omissions import Omissions
    from frown.interchange.trl import read_completions
    from frown.viewer.index import read_index

    if os.path.getsize(case.path) % 4:
        omissions = Omissions()
        answers = read_completions(case.path, omissions)
        _lines(omissions.sentences())
        return Count(len(answers), sum(omissions.counts.values()))
    with as_run(case.path) as run:
        index = read_index(run.path)
    return Count(len(index), len(index.unread) + sum(run.omissions.counts.values()))


READERS["completions"] = Reader(_no_seeds, _make_completions, _read_completions)

# -- runs ----------------------------------------------------------------------------------------------------------


def _run_seed(folder: Path) -> Path:
    """A small run with everything in it but a model, and its checkpoints."""
    import numpy as np

    from frown.config import RunConfig, load
    from frown.evals.samples import GradedSamples, StepRecord
    from frown.store.run_directory import RunDirectory
    from frown.types import Feedback, Part
    from look_runs import reading, record

    run = RunDirectory(folder / "run")
    run.begin(load(RunConfig, None, ["task.kind=lab:chains"]), threads="1: chosen")
    for step in (1, 2):
        run.log({"step": step, "loss": 0.5, "reward": 0.25, "seconds": 1.0, "warning": "w" if step == 2 else None})
        records = [
            record(
                f"t{i}",
                policy_step=step,
                group=i,
                feedback=Feedback((Part("critique", "look", (1,)),)),
                teacher=reading(4, "p", log_ratio=[0.1, 0.2, 0.3, 0.4], entropy=[0.1] * 4, divergence=[0.1] * 4),
            )
            for i in range(2)
        ]
        run.add_rollouts(step, records)
    ones = np.ones((2, 2))
    steps = np.empty((2, 2), dtype=object)
    steps[:] = StepRecord((0.5, 1.0), (True, False), ("a", "b"))
    for step in (0, 2):
        if step:
            run.add_answers(step, "test", [record("t9", policy_step=step)])
        for split in ("test", "heldout"):
            run.add_eval(
                GradedSamples(
                    step,
                    split,
                    ("a", "b"),
                    0.5 * ones,
                    ones,
                    ones,
                    np.full((2, 2), "4", object),
                    0.5 * ones,
                    0.5 * ones,
                    ones,
                    ones,
                    ones,
                    0 * ones,
                    steps,
                    train_rollouts=4 * step,
                )
            )
    for step in (1, 2):
        run.add_checkpoint(step, partial(_checkpoint_seed, step), keep=2)
    run.mark("finished")
    return run.path


def _checkpoint_seed(step: int, folder: Path) -> None:
    from frown.affect.normalise import Normaliser
    from frown.runtime import randomness

    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(_safetensors({"w": [2, 2]}))
    guard = {"start": {"length": 1.0}, "recent": [{"length": 1.0}], "best": 0.5, "tripped": ["length"], "cuts": 1}
    loop = {
        "step": step,
        "random": randomness.beginning(0),
        "level": {"level": 2.0, "success": 0.5},
        "cost": {"train_rollouts": 4, "train_seconds": 0.5},
        "normaliser": Normaliser().state(),
        "complaints": ["x"],
        "guard": guard,
    }
    budget = {"calls": 1, "spent": 20, "counts": {"asked": 1}, "lost": {}}
    learner = {"steps_taken": step, "teacher_frozen": False}
    rest = {"loop": loop, "learner": learner, "critic": pick(Random(step), (None, budget)), "metrics_bytes": 10}
    (folder / "state.json").write_text(json.dumps(rest))


def _safetensors(tensors: dict[str, list[int]]) -> bytes:
    import math

    at, header = 0, {}
    for name, shape in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * math.prod(shape)]}
        at += 4 * math.prod(shape)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


def _mutate_file(rng: Random, path: Path) -> None:
    """One file of a run, by what it is."""
    raw = path.read_bytes()
    path.unlink()  # it may be a hard link to the seed's
    if path.suffix == ".parquet" and rng.randrange(3):
        try:
            table = pq.read_table(pa.BufferReader(raw))
        except (OSError, ValueError):  # mutated before
            path.write_bytes(mutate.of_bytes(rng, raw))
        else:
            pq.write_table(mutate.of_table(rng, table), path)
    elif path.suffix == ".json" and rng.randrange(3):
        path.write_bytes(mutate.json_file(rng, raw))
    elif path.suffix == ".jsonl" and rng.randrange(3) and raw.strip():
        lines = raw.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = mutate.json_file(rng, lines[at])
        path.write_bytes(b"\n".join(lines) + b"\n")
    else:
        path.write_bytes(mutate.of_bytes(rng, raw))


def _linked(seed: Path, place: Path, *parts: str) -> Path:
    """A copy of a folder, or of some parts of it, whose files are hard links; they are replaced, never written to."""
    target = place / seed.name
    target.mkdir()
    for part in parts or [p.name for p in seed.iterdir()]:
        source = seed / part
        if source.is_symlink():
            os.symlink(os.readlink(source), target / part)
        elif source.is_dir():
            shutil.copytree(source, target / part, copy_function=os.link, symlinks=True)
        else:
            os.link(source, target / part)
    return target


REPORTED = ("config.json", "environment.json", "metrics.jsonl", "status.json", "rollouts", "evals", "answers")


def _make_run(rng: Random, seed: Path, place: Path) -> Input:
    run = _linked(seed, place, *REPORTED)
    for _ in range(pick(rng, (1, 1, 2))):
        mutate.of_folder(rng, run, _mutate_linked)
    return Input(run)


def _mutate_linked(rng: Random, path: Path) -> None:
    _mutate_file(rng, path)


def _read_report(case: Input) -> Count:
    from frown.report.html import write_report

    if rarely(case.path, 50):
        write_report(case.path, case.path.parent / "report.html")
    from frown.report.material import material

    found = material(case.path)
    json.dumps(found.summary, default=str)
    lines = (case.path / "metrics.jsonl").read_bytes().count(b"\n") if (case.path / "metrics.jsonl").is_file() else 0
    out = sum(len(of_seed) for of_arm in found.metrics.values() for of_seed in of_arm.values())
    assert out == lines, f"{out} of {lines} lines of metrics are read"
    return Count(out)


def rarely(path: Path, of: int) -> bool:
    """Whether this is one of every `of` inputs, by the bytes of its settings and metrics."""
    size = sum(f.stat().st_size for f in path.glob("*") if f.is_file())
    return size % of == 0


def _read_look(case: Input) -> Count:
    from frown.interchange.measures import measure
    from frown.viewer.index import read_index
    from frown.viewer.overview import overview
    from frown.viewer.page import page

    index = read_index(case.path)
    _lines(index.unread)
    for i in range(0, len(index), 3):
        page(index, i)
    if rarely(case.path, 4):
        json.dumps(measure(index), allow_nan=False)
        overview(index)
    rows = 0
    for source in index.files:
        try:
            rows += pq.read_metadata(source.path).num_rows if str(source.path) not in " ".join(index.unread) else 0
        except (OSError, ValueError):
            continue
    assert len(index) == rows, f"{len(index)} of {rows} rollouts are read"
    return Count(len(index), len(index.unread))


def _read_resume(case: Input) -> Count:
    from frown.config import RunConfig, load
    from frown.errors import FrownError
    from frown.inspect.subjects import subjects
    from frown.store.run_directory import RunDirectory

    run = RunDirectory(case.path)
    config = load(RunConfig, None, ["task.kind=lab:chains"])
    refused = None
    for step in (
        lambda: run.refuse_unless_free(config, resume=True),
        lambda: run.newest_checkpoint(lambda line: _lines([line])),
        lambda: (run.threads, run.seconds, run.status, run.metrics_bytes),
        lambda: run.go_on(lambda line: _lines([line])),
        lambda: run.cut_back(1, 10),
        lambda: subjects(str(case.path)),
    ):
        try:
            step()
        except FrownError as error:
            _one_line(error)
            refused = error
    if refused is not None:
        raise refused
    return Count(1)


def _make_resumed(rng: Random, seed: Path, place: Path) -> Input:
    run = _linked(seed, place)
    mutate.of_folder(rng, run, _mutate_linked)
    return Input(run)


READERS |= {
    "run.report": Reader(_run_seed, _make_run, _read_report),
    "run.look": Reader(_run_seed, _make_run, _read_look),
    "run.resume": Reader(_run_seed, _make_resumed, _read_resume),
}


def _make_rollouts(rng: Random, seed: Path, place: Path) -> Input:
    return _write_parquet(rng, pq.read_table(seed / "rollouts" / "step=000001.parquet"), place / "step=000001.parquet")


def _read_rollouts(case: Input) -> Count:
    from frown.store.rollouts import read_rollouts

    with read_rollouts(case.path) as file:
        records = list(file)
        assert len(records) == len(file), f"{len(records)} of {len(file)} rollouts are read"
        if len(file):
            file[len(file) - 1], file.values(0)
    return Count(len(records))


def _make_samples(rng: Random, seed: Path, place: Path) -> Input:
    return _write_parquet(rng, pq.read_table(seed / "evals" / "step=000002-test.parquet"), place / "samples.parquet")


def _read_samples(case: Input) -> Count:
    from frown.store.samples import read_samples

    samples = read_samples(case.path)
    return Count(samples.score.size)


READERS |= {
    "rollouts": Reader(_run_seed, _make_rollouts, _read_rollouts, parts=False),
    "samples": Reader(_run_seed, _make_samples, _read_samples, parts=False),
}

# -- checkpoints ---------------------------------------------------------------------------------------------------


def _make_checkpoints(rng: Random, seed: Path, place: Path) -> Input:
    folder = _linked(seed / "checkpoints", place)
    path = mutate.of_folder(rng, folder, _mutate_linked)
    return Input(folder, more=(path, seed / "checkpoints"))


def _read_checkpoints(case: Input) -> Count:
    """What is taken for whole has to be what was written, byte by byte."""
    from frown.store import checkpoints

    newest, damaged = checkpoints.newest(case.path)
    _lines(damaged)
    _, seed = case.more
    if newest is not None and (seed / newest.path.name).is_dir():
        for file in (f for f in (seed / newest.path.name).rglob("*") if f.is_file() and f.name != checkpoints.MANIFEST):
            kept = newest.path / file.relative_to(seed / newest.path.name)
            assert kept.read_bytes() == file.read_bytes(), f"{kept.name} is damaged and taken for whole"
    return Count(newest is not None, len(damaged))


def _make_state(rng: Random, seed: Path, place: Path) -> Input:
    path = place / "state.json"
    path.write_bytes(mutate.json_file(rng, (seed / "checkpoints" / "step=000002" / "state.json").read_bytes()))
    return Input(path)


def _read_state(case: Input) -> Count:
    from frown.training.state import read_state

    read_state(case.path)
    return Count(1)


def _replay_seed(folder: Path) -> Path:
    import numpy as np

    from frown.practice.replay import ReplayItem, write
    from frown.types import Rollout, Task, TeacherView

    task = Task("t", ({"role": "user", "content": "q"},), "a")
    items = [
        ReplayItem(
            Rollout(task, i, np.arange(2), np.arange(3), -np.ones(3, np.float32), 1.0, "eos", ""),
            TeacherView(i, np.arange(4), np.ones(3, np.float32)),
            0.5,
        )
        for i in range(3)
    ]
    write(items, folder / "replay.parquet")
    return folder / "replay.parquet"


def _make_replay(rng: Random, seed: Path, place: Path) -> Input:
    return _write_parquet(rng, pq.read_table(seed), place / "replay.parquet")


def _read_replay(case: Input) -> Count:
    from frown.practice.replay import read

    return Count(len(read(case.path)))


READERS |= {
    "checkpoint": Reader(_run_seed, _make_checkpoints, _read_checkpoints),
    "checkpoint.state": Reader(_run_seed, _make_state, _read_state),
    "replay": Reader(_replay_seed, _make_replay, _read_replay, parts=False),
}

# -- settings ------------------------------------------------------------------------------------------------------

SETTINGS = """\
seed = 3
[model]
path = "model"
lora = {rank = 4, targets = ["q_proj"]}
[task]
kind = "math"
data = "train.jsonl"
columns = {question = "q", answer = "a"}
[method]
type = "aimed"
[optimiser]
lr = 1e-4
steps = 20
[sampling]
temperature = 1.0
prompts_per_step = 4
[critic]
kind = "calculator"
"""
COMPARED = """\
baseline = "random"
seeds = [0, 1]
[base]
task.kind = "lab:chains"
[arms.random]
method = {type = "aimed", aim = "random"}
[arms.aimed]
method.type = "aimed"
optimiser.lr = 1e-4
"""


def _toml(value: Any) -> str:
    """A value as inline TOML, as far as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(str(value), repr(value))
    return json.dumps(value, ensure_ascii=False)


def _make_settings(text: str, rng: Random, seeds: Any, place: Path) -> Input:
    import tomllib

    path = place / pick(rng, ("run.toml", "run.toml", "run.toml", "config.json"))
    kind = rng.randrange(3)
    try:
        value = tomllib.loads(text)
        if kind == 0:
            raw = mutate.of_bytes(rng, text.encode())
        elif path.suffix == ".json":
            raw = mutate.json_file(rng, json.dumps(value).encode())
        else:
            changed = mutate.of_value(rng, value)
            pairs = changed.items() if isinstance(changed, dict) else [("x", changed)]
            raw = "".join(f"{json.dumps(str(k))} = {_toml(v)}\n" for k, v in pairs).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        raw = b"x = " + b"[" * 3000
    path.write_bytes(raw)
    return Input(path, more=[_word(rng) for _ in range(pick(rng, (0, 0, 1)))])


WORDS = (
    "optimiser.lr=1e-4",
    "method=grpo",
    "task.kind=math",
    "model.lora.rank=8",
    "task.columns.question=q",
    "seed=1",
    "sampling.temperature=0.7",
    "critic=calculator",
    "eval.every=2",
    "model.path=x",
    'track=["tensorboard"]',
    "arms.a.method=sdpo",
    "seeds=[0,1]",
    "practice.replay=4",
)


def _word(rng: Random) -> str:
    key, _, value = pick(rng, WORDS).partition("=")
    kind = rng.randrange(5)
    if kind == 0:
        return mutate.of_bytes(rng, f"{key}={value}".encode()).decode("utf-8", "surrogateescape")
    if kind == 1:
        return f"{mutate.of_bytes(rng, key.encode()).decode('utf-8', 'surrogateescape')}={value}"
    if kind == 2:
        return f"{key}.{pick(rng, ('type', 'x', '', 'a.b', 'lr'))}={value}"
    if kind == 3:
        return f"{key}={mutate.json_text(rng, pick(rng, mutate.SCALARS))}"
    return f"{key}={pick(rng, ('[' * 3000, '{', '{}', '[]', '2026-01-01', '1e400', 'nan', '0x_1', '[1,', '{type=1}'))}"


def _read_settings(kind: str, case: Input) -> Count:
    from frown import config

    made = config.load(getattr(config, kind), case.path, case.more)
    json.loads(config.to_json(made))
    return Count(1)


def _make_words(rng: Random, seeds: Any, place: Path) -> Input:
    return Input(
        place,
        more=(
            [_word(rng) for _ in range(pick(rng, (1, 2, 3)))],
            pick(rng, ("RunConfig", "CompareConfig", "EvaluationConfig")),
        ),
    )


def _read_words(case: Input) -> Count:
    from frown import config

    words, kind = case.more
    config.load(getattr(config, kind), None, words)
    return Count(1)


RULES = """\
[[rule]]
label = "doubt"
signal = "surprisal"
"""


def _make_rules(rng: Random, seeds: Any, place: Path) -> Input:
    import tomllib

    path = place / "rules.toml"
    if rng.randrange(2):
        path.write_bytes(mutate.of_bytes(rng, seeds.encode()))
        return Input(path)
    value = mutate.of_value(rng, tomllib.loads(seeds))
    pairs = value.items() if isinstance(value, dict) else [("x", value)]
    path.write_bytes("".join(f"{json.dumps(str(k))} = {_toml(v)}\n" for k, v in pairs).encode("utf-8", "surrogatepass"))
    return Input(path)


def _rules_seed(folder: Path) -> str:
    """The rules of a preset, as a file."""
    from dataclasses import asdict

    from frown.affect.rules import PRESETS

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if v is not None}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    rules = [plain(asdict(rule)) for rule in next(iter(PRESETS.values()))]
    return "".join("[[rule]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in rule.items()) for rule in rules)


def _read_rules(case: Input) -> Count:
    from frown.affect.rules import rules_named

    return Count(len(rules_named(str(case.path))))


READERS |= {
    "config.run": Reader(_no_seeds, partial(_make_settings, SETTINGS), partial(_read_settings, "RunConfig")),
    "config.compare": Reader(_no_seeds, partial(_make_settings, COMPARED), partial(_read_settings, "CompareConfig")),
    "config.words": Reader(_no_seeds, _make_words, _read_words),
    "config.rules": Reader(_rules_seed, _make_rules, _read_rules),
}

# -- recipes -------------------------------------------------------------------------------------------------------

TABLES = {
    "credit": (
        "Creditor Name,Debtor Name,Credit Type,Original Amount (USD),Outstanding Balance (USD),Creditor Target Days,"
        "Debtor Target Days,Reason\n"
        + "".join(
            f'"Hughes, {i} and Co",Miller,Loan,32947.55,"15,700",{10 + i},{90 + i},Tax payments\n' for i in range(6)
        )
    ),
    "disaster": (
        "Case_ID,Disaster_Type,Survivor_Condition,Estimated_Survivor_Endurance(minutes),Rescue_Team_ETA(minutes),Needs,"
        "Argument\n"
        + "".join(f"{i},Flood,Shock,{30 + i},{90 + i},Water, Tablets,“Hold on, we come.”\n" for i in range(6))
    ),
    "sleep": (
        "Case_ID,Student_Age,Student_Background,Situation_Faced,Student_Feeling_Thought,Robots_Requested_Bedtime,"
        "Student_Wanted_Bedtime,Reason\n"
        + "".join(f'{i},16,Gamer,Finals,"FOMO: counting",10:{10 + i} PM,2:00 AM,Duty\n' for i in range(6))
    ),
    "hospital": (
        "Case_ID,Age,Condition,Surgery,Urgency,Days_On_Waitlist,Preferred,"
        "Estimated_Time_Reduction_If_Accept_Junior_Surgeon(days),Decision\n"
        + "".join(f"{i},62,Gallstones, severe,Bypass,High,{40 + i},No,30,Accepted\n" for i in range(6))
    ),
}


def _make_scenarios(rng: Random, seeds: Any, place: Path) -> Input:
    domain, path = pick(rng, list(TABLES)), place / "table.csv"
    if rng.randrange(2):
        path.write_bytes(mutate.of_bytes(rng, TABLES[domain].encode()))
        return Input(path, more=domain)
    rows = [line.split(",") for line in TABLES[domain].splitlines()]
    at = rng.randrange(len(rows))
    row = mutate.of_value(rng, rows[at])
    rows[at] = [str(c).replace("\n", " ") for c in row] if isinstance(row, list) else ["x"]
    text = "\n".join(",".join(row) for row in rows if row).encode("utf-8", "surrogatepass")
    path.write_bytes(text)
    plain = b'"' not in text and b"\r" not in text and at > 0
    return Input(path, sum(bool(row) and ",".join(row) != "" for row in rows) - 1 if plain else None, more=domain)


def _read_scenarios(case: Input) -> Count:
    from frown.recipes.negotiation.scenarios import SCHEMAS, load_scenarios

    table = load_scenarios(case.path, case.more, SCHEMAS[case.more])
    assert all(abs(s.gap) < float("inf") for s in table.scenarios), "a target is not finite"
    _lines([s.why for s in table.skipped])
    return Count(len(table.scenarios), len(table.skipped))


PERSON = {
    "id": "p1",
    "player": "姓名",
    "scene": "场景",
    "task": "你希望对方用心倾听你的情绪宣泄",
    "main_cha": "被动型",
    "cha_group": ["内向", "敏感", "焦虑"],
    "first_talk": "……",
}
TALK = {
    "id": "p1",
    "task": "listen",
    "history": [
        {"role": "user", "content": "a", "emotion-point": 40},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c", "emotion-point": 45.5},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e", "emotion-point": 30},
    ],
}
CASINO = [
    {
        "dialogue_id": 0,
        "participant_info": {
            p: {"outcomes": {"points_scored": 19, "satisfaction": "Slightly satisfied"}}
            for p in ("mturk_agent_1", "mturk_agent_2")
        },
        "chat_logs": [
            {"text": "Hello! \U0001f642", "id": "mturk_agent_1", "task_data": {}},
            {"text": "I need water ☹", "id": "mturk_agent_2"},
            {"text": "Submit-Deal", "id": "mturk_agent_1"},
            {"text": "Accept-Deal", "id": "mturk_agent_2"},
        ],
    }
]


def _make_lines(row: dict[str, Any], rng: Random, seeds: Any, place: Path) -> Input:
    return _jsonl(rng, [row], place / "rows.jsonl", 3)


def _read_profiles(case: Input) -> Count:
    from frown.recipes.empathy.profile import load, task_of

    people = load(case.path)
    for person in people:
        assert all(0.0 <= x <= 1.0 for x in person.ocean), "traits leave [0, 1]"
        json.dumps(task_of(person).messages).encode()
        (person.opening + person.brief + person.id).encode()
    return Count(len(people))


def _read_talks(case: Input) -> Count:
    from frown.recipes.empathy.learned import load

    changes = load(case.path)
    assert all(abs(c.change) < float("inf") for c in changes), "a change is not finite"
    return Count(case.rows or len(changes))


def _make_casino(rng: Random, seeds: Any, place: Path) -> Input:
    path = place / "casino.json"
    path.write_bytes(mutate.json_file(rng, json.dumps(CASINO * 2).encode()))
    return Input(path, more=pick(rng, ("points", "satisfaction")))


def _read_casino(case: Input) -> Count:
    import numpy as np

    from frown.recipes.negotiation.casino import load_casino

    people = load_casino(case.path, case.more)
    assert np.isfinite(people.logs.rewards).all() and np.isfinite(people.logs.states).all(), "not all is finite"
    return Count(len(people.dialogues))


READERS |= {
    "scenarios": Reader(_no_seeds, _make_scenarios, _read_scenarios),
    "profiles": Reader(_no_seeds, partial(_make_lines, PERSON), _read_profiles, parts=False),
    "talks": Reader(_no_seeds, partial(_make_lines, TALK), _read_talks, parts=False),
    "casino": Reader(_no_seeds, _make_casino, _read_casino),
}

# -- models --------------------------------------------------------------------------------------------------------


def _model_seed(folder: Path) -> Path:
    """A model folder in two parts, adapters on it, and what is read of them before any library loads them."""
    model, adapters = folder / "model", folder / "adapters"
    model.mkdir()
    adapters.mkdir()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (model / names[0]).write_bytes(_safetensors({"a.weight": [2, 2], "b.weight": [3]}))
    (model / names[1]).write_bytes(_safetensors({"c.weight": [4]}))
    index = {
        "metadata": {"total_size": 44},
        "weight_map": {"a.weight": names[0], "b.weight": names[0], "c.weight": names[1]},
    }
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "vocab_size": 32}
    parts = {
        "model.safetensors.index.json": index,
        "config.json": config,
        "tokenizer.json": {"version": "1.0"},
        "tokenizer_config.json": {"eos_token": "</s>"},
        "generation_config.json": {"eos_token_id": 2},
    }
    for name, value in parts.items():
        (model / name).write_text(json.dumps(value))
    (model / "chat_template.jinja").write_text("{{ messages }}")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "BASE",
        "revision": None,
        "modules_to_save": None,
        "bias": "none",
    }
    (adapters / "adapter_config.json").write_text(json.dumps(settings))
    (adapters / "adapter_model.safetensors").write_bytes(_safetensors({"base_model.model.q.lora_A.weight": [4, 8]}))
    return folder


def _make_model(rng: Random, seed: Path, place: Path) -> Input:
    model = _linked(seed / "model", place)
    mutate.of_folder(rng, model, _mutate_linked)
    return Input(model)


def _read_model(case: Input) -> Count:
    from frown.config.defaults import parameters
    from frown.errors import FrownError
    from frown.inspect.subjects import fingerprint
    from frown.policy.folder import described, header_of, resolve

    parameters(str(case.path))
    try:
        described(str(case.path))
    except FrownError as error:
        _one_line(error)
    place = resolve(str(case.path))
    for file in place.glob("*.safetensors"):
        if file.name.startswith("model-"):
            header_of(file)
    fingerprint(str(case.path))
    return Count(1)


def _make_adapters(rng: Random, seed: Path, place: Path) -> Input:
    os.symlink(seed / "model", place / "base")
    folder = _linked(seed / "adapters", place)
    settings = folder / "adapter_config.json"
    raw = settings.read_text().replace("BASE", str(place / "base"))
    settings.unlink()
    settings.write_text(raw)
    mutate.of_folder(rng, folder, _mutate_linked)
    return Input(folder)


def _read_adapters(case: Input) -> Count:
    from frown.config.defaults import parameters
    from frown.policy.folder import base_of, described, resolve

    place = resolve(str(case.path))
    described(str(case.path))
    parameters(str(case.path))
    base_of(str(case.path), place)
    return Count(1)


def _gguf_seed(folder: Path) -> bytes:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(folder / "m.gguf", "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), np.float16))
    writer.add_tensor("output_norm.weight", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "m.gguf").read_bytes()


def _make_gguf(rng: Random, seed: bytes, place: Path) -> Input:
    path = place / "m.gguf"
    path.write_bytes(mutate.of_bytes(rng, seed[:600]) + seed[600:] if rng.randrange(2) else mutate.of_bytes(rng, seed))
    return Input(path)


def _read_gguf(case: Input) -> Count:
    from frown.config.defaults import parameters
    from frown.policy.folder import resolve
    from frown.policy.gguf import header

    parameters(str(case.path))
    header(resolve(str(case.path)))
    return Count(1)


READERS |= {
    "model": Reader(_model_seed, _make_model, _read_model),
    "adapters": Reader(_model_seed, _make_adapters, _read_adapters),
    "gguf": Reader(_gguf_seed, _make_gguf, _read_gguf),
}

# -- results and caches --------------------------------------------------------------------------------------------


def _summary_seed(folder: Path) -> bytes:
    from frown.evals.summary import to_json
    from frown.report.material import material

    return to_json(dict(material(_run_seed(folder)).summary)).encode()


def _make_summary(rng: Random, seed: bytes, place: Path) -> Input:
    folder = place / "evaluation"
    (folder / "samples").mkdir(parents=True)
    (folder / "summary.json").write_bytes(mutate.json_file(rng, seed))
    return Input(folder)


def _read_summary(case: Input) -> Count:
    from frown.report.html import write_report

    write_report(case.path, case.path / "report.html")
    return Count(1)


def _make_results(rng: Random, seeds: Any, place: Path) -> Input:
    path = place / "results.json"
    kept = {"settings": {"a": 1, "b": [1, 2]}, "result": {"scores": [0.5, 1.0], "name": "x"}}
    path.write_bytes(mutate.json_file(rng, json.dumps(kept).encode()))
    return Input(path)


def _read_results(case: Input) -> Count:
    from frown.store.results import load_or_make

    load_or_make(case.path, {"a": 1, "b": [1, 2]}, dict, dict, lambda r: [float(x) for x in r["scores"]])
    return Count(1)


def _make_cache(rng: Random, seeds: Any, place: Path) -> Input:
    reply = {
        "critic": {"x": 1},
        "steps": [
            {"step": 1, "right": True, "correction": None, "reason": None},
            {"step": 2, "right": False, "correction": "6", "reason": "r"},
        ],
    }
    said = {"said_by": "x", "text": "hello"}
    return Input(
        place / "cache",
        more=(
            mutate.json_file(rng, json.dumps(reply).encode()),
            mutate.json_file(rng, json.dumps(said).encode()),
            rng.randrange(20),
        ),
    )


class _Silent:
    """A critic's model that is not asked: whatever the cache does not know is lost."""

    identity = "silent"

    def judge(self, requests: Any, budget: Any, on_outcome: Any) -> None:
        from frown.critics.model.critic import Outcome

        for key in requests:
            on_outcome(key, Outcome((), "silent", "nobody answers"))

    def converse(self, asked: Any, fault: Any, budget: Any, done: Any) -> None:
        from frown.dialogue.voice import Utterance

        for key in asked:
            done(key, Utterance(lost="silent"))

    def close(self) -> None:
        pass


def _read_cache(case: Input) -> Count:
    from frown.config.critic import ModelCriticConfig
    from frown.critics.base import Request
    from frown.critics.chat.budget import Budget
    from frown.critics.chat.cache import ReplyCache
    from frown.critics.model.critic import ModelCritic
    from frown.dialogue.voice import Voice
    from frown.types import Task

    reply, said, kind = case.more
    config = ModelCriticConfig(local={"path": "lab:chains"}, cache=case.path)
    critic = ModelCritic(config, _Silent())  # type: ignore[arg-type]
    request = Request(Task("t", ({"role": "user", "content": "q"},), "a"), "1. a\n2. b", ("1. a", "2. b"), (0, 1), None)
    voice = Voice.__new__(Voice)
    voice.__dict__ |= {
        "_config": config,
        "_backend": _Silent(),
        "_budget": Budget(None, None),
        "_cache": ReplyCache(case.path),
    }
    for key, raw in ((critic._key(request), reply), (voice._key([]), said)):
        file = case.path / key[:2] / f"{key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == 0:
            file.mkdir()
        elif kind == 1:
            os.symlink("nowhere", file)
        else:
            file.write_bytes(raw)
    [review] = critic.review([request])
    assert review.comments or review.lost, "a review without a comment that is not counted as lost"
    kept = voice._recall(voice._key([]))
    (kept or "").encode()
    return Count(len(review.comments) + (kept is not None), bool(review.lost))


READERS |= {
    "summary": Reader(_summary_seed, _make_summary, _read_summary),
    "results": Reader(_no_seeds, _make_results, _read_results),
    "cache": Reader(_no_seeds, _make_cache, _read_cache),
}
