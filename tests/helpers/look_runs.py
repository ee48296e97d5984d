"""Runs that the tests of the trace viewer make: one by hand, one hostile, one real."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from frown.store.run_directory import write_rollouts

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


def row(
    task="t0", tokens=("a", "b", "c", "d"), *, steps=((0, 2), (2, 4)), doubt=(0.1, 2.0), right=(False, True), **more
):
    """A rollout as `write_rollouts` takes it; each token's surprisal is its step's doubt at the step's first token."""
    surprisal = [0.01] * len(tokens)
    for (a, _), d in zip(steps, doubt, strict=True):
        surprisal[a] = d
    return {
        "task": task, "question": f"What is {task}?", "prompt": f"<user>What is {task}?<assistant>", "group": 0,
        "policy_step": 1, "text": "".join(tokens), "stop": "eos", "length": len(tokens), "temperature": 1.0,
        "ids": list(range(len(tokens))), "logp": [-s for s in surprisal], "steps": [list(s) for s in steps],
        "score": 1.0 if right and all(right) else 0.0, "verdict": "judged", "answer": "4", "well_formed": True,
        "step_right": None if right is None else list(right), "step_doubt": list(doubt), "unread": [],
        "spans": [span(a, b, k) for k, ((a, b), d) in enumerate(zip(steps, doubt, strict=True)) if d > 0.7],
        "feedback": [], "tokens": list(tokens), "signal_surprisal": surprisal,
        "signal_entropy": [0.5] * len(tokens), "signal_margin": [0.9] * len(tokens),
    } | more  # fmt: skip


def conversation(folder: Path) -> Path:
    """A run with one conversation of two turns, of which the second is doubtful, and hostile words of the other."""
    tokens = ["assure", "<end>", "<end><user>", TAGS[0], "<assistant>", "ask", "work", "<end>"]
    sampled = [True, True, False, False, False, True, True, True]
    surprisal = [0.1, 0.2, None, None, None, 2.0, 0.3, 0.1]
    (folder / "rollouts").mkdir(parents=True)
    hostile_row = row(
        "talk", tokens, steps=((0, 2), (5, 8)), doubt=(0.2, 2.0), right=None, sampled=sampled, step_reward=[7.0, -3.5],
        signal_surprisal=surprisal, signal_entropy=surprisal, signal_margin=None, score=0.4, text="assure\n\nask work",
        logp=[0.0 if s is None else -s for s in surprisal], advantage=[0.5, 0.5, 0.0, 0.0, 0.0, -0.5, -0.5, -0.5],
        spans=[span(5, 6, 1)], verdict="", answer=None,
    )  # fmt: skip
    write_rollouts(folder / "rollouts" / "step=000001.parquet", [hostile_row, row("plain")])
    return folder


def span(start, end, step, label="doubt", evidence=None):
    evidence_json = json.dumps({"surprisal": 2.0} if evidence is None else evidence)
    return {"start": start, "end": end, "step": step, "label": label, "intensity": 0.8, "evidence": evidence_json,
            "valence": -0.6, "arousal": 0.6, "dominance": -0.4}  # fmt: skip


def comparison(folder: Path) -> Path:
    """Two arms of one seed; two prompts; training steps 1 and 2 and evaluations at 0 and 2."""
    for arm, shift in (("aimed", 0.0), ("grpo", 0.05)):
        run = folder / "runs" / arm / "seed0"
        (run / "rollouts").mkdir(parents=True)
        (run / "answers").mkdir()
        for step in (1, 2):
            rows = [
                row(f"t{k // 2}", doubt=(0.1 + shift + 0.1 * k, 2.0), right=(k % 2 == 0, True), group=k // 2,
                    policy_step=step, step_state=["s0", "s1"])
                for k in range(4)
            ]  # fmt: skip
            rows[0] |= {
                "feedback": [{"kind": "critique", "text": "look at <b>b</b>", "steps": [1]},
                             {"kind": "sibling", "text": "abcd", "steps": None}],
                "teacher_prompt": "What is t0? A colleague wrote: abcd.", "weight": [0.0, 0.0, 1.0, 1.0],
                "log_ratio": [None, None, -1.5, 2.5], "teacher_entropy": [0.1, 0.2, 0.3, 0.4],
                "divergence": [None, None, 0.2, 0.1],
            }  # fmt: skip
            write_rollouts(run / "rollouts" / f"step={step:06d}.parquet", rows)
        for step, right in ((0, (False, False)), (2, (True, False))):
            doubt = (2.5, 1.0) if step == 0 else (0.1, 0.2)
            answers = [row("t9", doubt=doubt, right=right, step_state=["s0", "s1"], policy_step=step) for _ in range(3)]
            write_rollouts(run / "answers" / f"step={step:06d}-test.parquet", answers)
    return folder


def hostile(folder: Path) -> Path:
    """A run of texts that nobody should trust."""
    (folder / "rollouts").mkdir(parents=True)
    tokens = [*TAGS, *UNSEEN, *WORDS]
    n = len(tokens)
    parts = [{"kind": "critique", "text": t, "steps": [0]} for t in TAGS[:3]]
    bad = row(
        TAGS[0], tokens, steps=((0, n),), doubt=(2.0,), right=(False,), feedback=parts, question="".join(TAGS),
        prompt="".join(TAGS), teacher_prompt="".join(TAGS) + "\u202e", verdict=TAGS[1], answer=TAGS[2],
        unread=[TAGS[0]],
        spans=[span(0, 2, 0, evidence={TAGS[0]: 1.0}), span(3, 5, 0, label="confusion")], stop="length",
    )  # fmt: skip
    split = row("split", ["Hi ", "\ufffd", "\ufffd", "\ufffd", "\ufffd", "!", "\ufffd"], steps=((0, 7),), doubt=(1.0,),
                right=None, text="Hi 😀!\ufffd")  # fmt: skip
    long = row("long", ["x" * 1_000_000, "end"], steps=((0, 2),), doubt=(1.0,), right=None)
    many = row("many", ["word "] * 20_000, steps=((0, 20_000),), doubt=(1.0,), right=None)
    empty = row("empty", [], steps=(), doubt=(), right=None, signal_surprisal=[], signal_entropy=[], signal_margin=[])
    write_rollouts(folder / "rollouts" / "step=000001.parquet", [bad, split, long, many, empty])
    _without_utf8(folder / "rollouts" / "step=000002.parquet")
    (folder / "rollouts" / "step=000003.parquet").write_bytes(b"PAR1 this is no Parquet")
    return folder


def _without_utf8(path: Path) -> None:
    """A file whose texts are bytes that are no UTF-8: a lone surrogate, and a character cut in two."""
    raw = pa.array([b"\xed\xa0\x80 lone", b"cut \xf0\x9f"], pa.binary())
    text = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2])
    tokens = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), text)
    pq.write_table(pa.table({"task": text, "question": text, "text": text, "tokens": tokens}), path)
