"""Timing of `frown look` on a large run: the first screen, and a new rollout.

    python experiments/look_scale.py make FOLDER [--rollouts 100000] [--tokens 1000] [--files 200]
    python experiments/look_scale.py measure FOLDER [--opens 200]

`make` writes a run of random rollouts in the columns that training writes, signals in full float32 precision (some
6 GB at the default size). `measure` starts the real command, reads over HTTP, and, where playwright and a Chromium
are, looks with a browser; it prints seconds. Delete the folder afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frown.store import rollouts

SIGNALS = ("surprisal", "entropy", "varentropy", "top_probability", "margin", "self_certainty")
TEACHER = ("weight", "log_ratio", "teacher_entropy", "divergence")
GROUP, STEPS = 8, 25
CHROMIUM = Path(os.environ.get("FROWN_CHROMIUM", "/usr/bin/chromium"))


def make(folder: Path, count: int, tokens: int, files: int) -> None:
    """Write `files` training steps of rollouts; the prompts come again every 10 steps, as epochs of a data set."""
    (folder / "rollouts").mkdir(parents=True)
    rng = np.random.default_rng(0)
    vocabulary = pa.array([f" word{k}" for k in range(5000)])
    schema = rollouts.schema(SIGNALS)
    for step in range(1, files + 1):
        n = count // files
        table = _table(schema, step, n, tokens, vocabulary, rng)
        file = folder / "rollouts" / f"step={step:06d}.parquet"
        pq.write_table(table, file, compression="zstd", row_group_size=rollouts.ROW_GROUP)
    size = sum(f.stat().st_size for f in (folder / "rollouts").iterdir())
    print(f"{files} files, {count // files * files} rollouts of {tokens} tokens, {size / 1e9:.2f} GB")


def _table(
    schema: pa.Schema, step: int, n: int, tokens: int, vocabulary: pa.Array, rng: np.random.Generator
) -> pa.Table:
    def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        offsets = np.arange(0, len(values) + 1, len(values) // n, dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(values, kind))

    ids = rng.integers(0, len(vocabulary), n * tokens)
    surprisal = rng.gamma(0.3, 1.0, n * tokens).astype(np.float32)
    words = vocabulary.take(pa.array(ids))
    texts = ["".join(words[k * tokens : (k + 1) * tokens].to_pylist()) for k in range(n)]
    tasks = [f"{(step % 10) * n // GROUP + k // GROUP:016x}" for k in range(n)]
    length = tokens // STEPS
    starts = np.tile(np.arange(0, tokens, length)[:STEPS], n)
    right = rng.random(n * STEPS) < 0.9
    doubt = surprisal.reshape(n, STEPS, length).max(2).ravel()
    pairs = lists(np.stack([starts, starts + length], 1).ravel(), pa.int64())
    nested = pa.ListArray.from_arrays(
        np.arange(0, n * STEPS + 1, STEPS, dtype=np.int32),
        pa.ListArray.from_arrays(np.arange(0, n * STEPS * 2 + 1, 2, dtype=np.int32), pairs.flatten()),
    )
    part = {"kind": "critique", "text": "look at step 3", "steps": [2], "verdict": False, "attempt": False}
    spans = [
        [
            {"start": int(a), "end": int(a) + 2, "step": int(a) // length, "label": "doubt", "intensity": 0.9,
             "valence": -0.6, "arousal": 0.6, "dominance": -0.4, "evidence": '{"surprisal": 2.5}'}
            for a in sorted(rng.integers(0, tokens - 2, 12))
        ]
        for _ in range(n)
    ]  # fmt: skip
    columns = {
        "task": tasks,
        "question": [f"What is the answer to question {t}? Think step by step and give it at the end." for t in tasks],
        "prompt": [f"<user>question {t}<assistant>" for t in tasks],
        "task_messages": [json.dumps([{"role": "user", "content": f"Question {t}"}]) for t in tasks],
        "task_answer": ["4"] * n,
        "task_data": ["{}"] * n,
        "context_ids": [[1, 2, 3]] * n,
        "unread": [[]] * n,
        "source": ["full"] * n,
        "group": np.arange(n) // GROUP,
        "policy_step": np.full(n, step),
        "text": texts,
        "stop": ["eos"] * n,
        "length": np.full(n, tokens),
        "temperature": np.ones(n, np.float32),
        "prompt_ids": [[1, 2, 3]] * n,
        "ids": lists(ids, pa.int64()),
        "logp": lists(-surprisal, pa.float32()),
        "steps": nested,
        "score": right.reshape(n, STEPS).all(1).astype(np.float32),
        "verdict": ["judged"] * n,
        "well_formed": [True] * n,
        "step_right": lists(right, pa.bool_()),
        "step_doubt": lists(doubt, pa.float32()),
        "spans": spans,
        "tokens": pa.ListArray.from_arrays(np.arange(0, n * tokens + 1, tokens, dtype=np.int32), words),
        "teacher_prompt": [f"<user>question {t}\nA colleague says: look at step 3.<assistant>" for t in tasks],
        "feedback": [[part]] * n,
        "signal_surprisal": lists(surprisal, pa.float32()),
        **{f"signal_{s}": lists(rng.random(n * tokens, np.float32), pa.float32()) for s in SIGNALS[1:]},
        **{s: lists(rng.standard_normal(n * tokens, np.float32), pa.float32()) for s in TEACHER},
    }
    arrays = []
    for f in schema:
        column = columns.get(f.name)
        values = pa.nulls(n, f.type) if column is None else column
        arrays.append(values.cast(f.type) if isinstance(values, pa.Array) else pa.array(values, f.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def measure(folder: Path, opens: int) -> None:
    """Start `frown look` on a run and time it."""
    print(f"{os.getloadavg()[0]:.1f} processes ran on {os.cpu_count()} cores when this began")
    began = time.perf_counter()
    command = [sys.executable, "-m", "frown.cli.app", "look", str(folder), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        first = server.stdout.readline().split()
        url, count = first[-1], int(first[0])
        _say("from the command to its link", [time.perf_counter() - began])
        print(f"{'... in processor time':42} {_processor_seconds(server.pid):.3f} s")
        rng = np.random.default_rng(1)
        looks = rng.integers(0, count, opens)
        if CHROMIUM.is_file():
            _browse(url, began, looks[: opens // 4])
        _say("overview over HTTP", [_timed(f"{url}api/overview")])
        _say("a random rollout over HTTP", [_timed(f"{url}api/page?at={i}") for i in looks])
        _say("its history over HTTP", [_timed(f"{url}api/history?at={i}") for i in looks[: opens // 4]])
        _say("a search through all texts", [_timed(f"{url}api/search?q=word123%20word77")])
        print(f"{'processor time of the server, start included':42} {_processor_seconds(server.pid):.2f} s")
        peak = Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split("\n")[0].strip()
        print(f"{'peak memory of the server':42} {peak}")
    finally:
        server.terminate()
        server.wait()


def _processor_seconds(process: int) -> float:
    """Of a running process, in user and system mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _timed(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        json.loads(answer.read())
    return time.perf_counter() - began


def _browse(url: str, began: float, looks: np.ndarray) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        loaded = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector("#answer .t")
        done = time.perf_counter()
        print(f"{'first screen in the browser':42} {done - loaded:.3f} s from the link on")
        # One rollout after another, each timed in the page: from the address to the tokens on the screen.
        name = "location.hash.split('&')[0]"
        times = []
        for at in looks.tolist():
            page.evaluate(f"document.getElementById('list').scrollTop = {at} * 58")
            page.wait_for_timeout(100)
            times.append(
                page.evaluate(
                    f"""async () => {{
                      const rows = document.querySelectorAll('#list .row[aria-selected=false]');
                      const was = {name}, began = performance.now();
                      rows[Math.floor(rows.length / 2)].click();
                      const next = () => new Promise((done) => setTimeout(done, 1));
                      while ({name} === was && performance.now() - began < 10000) await next();
                      await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
                      return (performance.now() - began) / 1000;
                    }}"""
                )
            )
        _say("a rollout in the browser, until drawn", times)
        browser.close()


def _say(what: str, seconds: list[float]) -> None:
    median, high, most = np.median(seconds), np.quantile(seconds, 0.95), np.max(seconds)
    tail = f"   95%: {high:.3f} s   most: {most:.3f} s   ({len(seconds)})" if len(seconds) > 1 else ""
    print(f"{what:42} {median:.3f} s{tail}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "measure"])
    parser.add_argument("folder", type=Path)
    for name, usual in (("rollouts", 100_000), ("tokens", 1000), ("files", 200), ("opens", 200)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folder, arguments.rollouts, arguments.tokens, arguments.files)
    else:
        measure(arguments.folder, arguments.opens)


if __name__ == "__main__":
    main()
