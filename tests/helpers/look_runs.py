"""Runs that the tests of the trace viewer make: one by hand, one hostile, one real."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frown.store.record import RolloutRecord, TeacherReading
from frown.store.rollouts import write_rollouts
from frown.types import Appraisal, Feedback, Part, Rollout, Signals, Span, Step, Task, Verdict

NAN = float("nan")

TAGS = ["<script>window.hit=1</script>", "</script><script>window.hit=2</script>", "<img src=x onerror=window.hit=3>"]
TAGS += ["<!--", "]]>", "&lt;b&gt;", "{{data}}", "{{script}}", "javascript:window.hit=4", '" onmouseover="window.hit=5']
UNSEEN = [
    "a\u200bb",
    "\u202egnihton",
    "\u2066x\u2069",
    "\ufeff",
    "\x00",
    "\x1b[31m",
    "\r",
    "\u2028",
    "\u3164",
    "\ue000",
    "\xa0",
]
WORDS = ["שלום", "مرحبا", "Z͑ͫ̓ͪ̂ͫ̽", "👩‍👩‍👧", " ", "", "\n", "\t"]


BY_STEPS = object()
"""A score: 1 where every step is right, else 0."""


def record(
    task="t0", tokens=("a", "b", "c", "d"), *, steps=((0, 2), (2, 4)), doubt=(0.1, 2.0), right=(False, True),
    score=BY_STEPS, state=None, question=None, prompt=None, text=None, logp=None, signals=None, spans=None,
    verdict="judged", answer="4", unread=(), **more,
):  # fmt: skip
    """A rollout; each token's surprisal is its step's doubt at the step's first token. `more`: other fields."""
    n, asked = len(tokens), f"What is {task}?" if question is None else question
    surprisal = np.full(n, 0.01, np.float32)
    for (a, _), d in zip(steps, doubt, strict=True):
        surprisal[a] = d
    given = {"entropy": np.full(n, 0.5), "margin": np.full(n, 0.9), "surprisal": surprisal} | (signals or {})
    score = float(bool(right) and all(right)) if score is BY_STEPS else score
    judged = Verdict(
        np.nan if score is None else score, score is not None, verdict, answer, step_right=right, step_state=state
    )
    usual = {"group": 0, "policy_step": 1, "stop": "eos", "temperature": 1.0, "prompt_ids": np.arange(3)}
    usual |= {"ids": np.arange(n), "logp": -surprisal if logp is None else np.array(logp, np.float32)}
    of_rollout = {f.name for f in fields(Rollout)}
    rollout = Rollout(
        Task(task, ({"role": "user", "content": asked},), "4"), text="".join(tokens) if text is None else text,
        steps=tuple(Step(*s) for s in steps), verdict=judged,
        signals=Signals({name: np.array(v, np.float32) for name, v in given.items() if v is not None}),
        **usual | {name: value for name, value in more.items() if name in of_rollout},
    )  # fmt: skip
    if spans is None:
        spans = [span(a, b, k) for k, ((a, b), d) in enumerate(zip(steps, doubt, strict=True)) if d > 0.7]
    return RolloutRecord(
        rollout, Appraisal(tuple(spans), tuple(doubt), tuple(unread)), tokens=tuple(tokens),
        prompt=f"<user>{asked}<assistant>" if prompt is None else prompt,
        **{name: value for name, value in more.items() if name not in of_rollout},
    )  # fmt: skip


def conversation(folder: Path) -> Path:
    """A run with one conversation of two turns, of which the second is doubtful, and hostile words of the other."""
    tokens = ["assure", "<end>", "<end><user>", TAGS[0], "<assistant>", "ask", "work", "<end>"]
    sampled = np.array([True, True, False, False, False, True, True, True])
    surprisal = np.array([0.1, 0.2, NAN, NAN, NAN, 2.0, 0.3, 0.1])
    (folder / "rollouts").mkdir(parents=True)
    talk = record(
        "talk", tokens, steps=((0, 2), (5, 8)), doubt=(0.2, 2.0), right=None, sampled=sampled, earned=(7.0, -3.5),
        signals={"surprisal": surprisal, "entropy": surprisal, "margin": None}, score=0.4, text="assure\n\nask work",
        logp=-np.nan_to_num(surprisal), advantage=np.array([0.5, 0.5, 0.0, 0.0, 0.0, -0.5, -0.5, -0.5], np.float32),
        spans=[span(5, 6, 1)], verdict="", answer=None,
    )  # fmt: skip
    write_rollouts(folder / "rollouts" / "step=000001.parquet", [talk, record("plain")])
    return folder


def span(start, end, step, label="doubt", evidence=None):
    return Span(start, end, label, 0.8, {"surprisal": 2.0} if evidence is None else evidence, step, -0.6, 0.6, -0.4)


def reading(n, prompt, **values):
    """What a teacher made of n tokens."""
    arrays = {name: np.array(v, np.float32) for name, v in values.items()}
    return TeacherReading(np.arange(9), **{"weight": np.ones(n, np.float32)} | arrays, prompt=prompt)


def comparison(folder: Path) -> Path:
    """Two arms of one seed; two prompts; training steps 1 and 2 and evaluations at 0 and 2."""
    for arm, shift in (("aimed", 0.0), ("grpo", 0.05)):
        run = folder / "runs" / arm / "seed0"
        (run / "rollouts").mkdir(parents=True)
        (run / "answers").mkdir()
        for step in (1, 2):
            records = [
                record(f"t{k // 2}", doubt=(0.1 + shift + 0.1 * k, 2.0), right=(k % 2 == 0, True), group=k // 2,
                       policy_step=step, state=("s0", "s1"))
                for k in range(4)
            ]  # fmt: skip
            parts = (Part("critique", "look at <b>b</b>", (1,)), Part("sibling", "abcd"))
            teacher = reading(
                4, "What is t0? A colleague wrote: abcd.", weight=[0, 0, 1, 1], log_ratio=[NAN, NAN, -1.5, 2.5],
                entropy=[0.1, 0.2, 0.3, 0.4], divergence=[NAN, NAN, 0.2, 0.1],
            )  # fmt: skip
            records[0] = replace(records[0], feedback=Feedback(parts), teacher=teacher)
            write_rollouts(run / "rollouts" / f"step={step:06d}.parquet", records)
        for step, right in ((0, (False, False)), (2, (True, False))):
            doubt = (2.5, 1.0) if step == 0 else (0.1, 0.2)
            answers = [record("t9", doubt=doubt, right=right, state=("s0", "s1"), policy_step=step) for _ in range(3)]
            write_rollouts(run / "answers" / f"step={step:06d}-test.parquet", answers)
    return folder


def hostile(folder: Path) -> Path:
    """A run of texts that nobody should trust."""
    (folder / "rollouts").mkdir(parents=True)
    tokens = [*TAGS, *UNSEEN, *WORDS]
    n = len(tokens)
    said = Feedback(tuple(Part("critique", t, (0,)) for t in TAGS[:3]))
    bad = record(
        TAGS[0], tokens, steps=((0, n),), doubt=(2.0,), right=(False,), feedback=said, question="".join(TAGS),
        prompt="".join(TAGS), teacher=reading(n, "".join(TAGS) + "\u202e"), verdict=TAGS[1], answer=TAGS[2],
        unread=[TAGS[0]],
        spans=[span(0, 2, 0, evidence={TAGS[0]: 1.0}), span(3, 5, 0, label="confusion")], stop="length",
    )  # fmt: skip
    split = record("split", ["Hi ", "\ufffd", "\ufffd", "\ufffd", "\ufffd", "!", "\ufffd"], steps=((0, 7),),
                   doubt=(1.0,), right=None, text="Hi 😀!\ufffd")  # fmt: skip
    long = record("long", ["x" * 1_000_000, "end"], steps=((0, 2),), doubt=(1.0,), right=None)
    many = record("many", ["word "] * 20_000, steps=((0, 20_000),), doubt=(1.0,), right=None)
    empty = record("empty", [], steps=(), doubt=(), right=None)
    write_rollouts(folder / "rollouts" / "step=000001.parquet", [bad, split, long, many, empty])
    _without_utf8(folder / "rollouts" / "step=000002.parquet")
    (folder / "rollouts" / "step=000003.parquet").write_bytes(b"PAR1 this is no Parquet")
    return folder


def _without_utf8(path: Path) -> None:
    """A file whose texts are bytes that are no UTF-8: a lone surrogate, and a character cut in two."""
    raw = pa.array([b"\xed\xa0\x80 lone", b"cut \xf0\x9f"], pa.binary())
    text = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2])
    tokens = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), text)
    write_rollouts(path, [record(t, ["x"], steps=(), doubt=(), right=None, score=None) for t in ("one", "two")])
    table = pq.read_table(path)
    for name, column in {"task": text, "question": text, "text": text, "tokens": tokens}.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    pq.write_table(table, path)
