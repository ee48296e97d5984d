"""The parts of a page for whoever checks it: all final figures, each seed, settings, warnings, how to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from frown.config import RunConfig, flat
from frown.evals.wording import decimal
from frown.report import numbers
from frown.report.blocks import Block, Cell, Code, Details, Item, Points, Row, Section, Table, Text, absent
from frown.report.material import Material
from frown.report.question import OF_RIGHT_AND_WRONG, figure

FIGURES = (
    ("avg_at_k", "Avg@{k}", "mean score of {k} samples", 2),
    ("heldout_avg_at_k", "Avg@{k}, held out", "on prompts unlike the trained ones", 2),
    ("auc", "Area under the curve", "mean of it on the way", 2),
    ("pass_at_k", "pass@{k}", "at least one of {k} right", 2),
    ("maj_at_k", "maj@{k}", "the most common answer right", 2),
    ("well_formed", "Well-formed", "share of answers", 2),
    ("strict_accuracy", "Right and well-formed", "share of answers; less than right ones: some are in another form", 2),
    ("process_accuracy", "All steps right", "share of answers", 2),
    ("right_answer_wrong_step", "Wrong step, right answer", "share of right answers; lower is better", 3),
    ("suppression", "Suppression", "share of doubtful wrong steps now sure and wrong; lower is better", 2),
    ("length", "Length", "tokens an answer", 1),
    ("truncated", "Cut at the token limit", "share of answers; lower is better", 2),
    ("entropy", "Entropy", "nats a token", 3),
    ("surprisal", "Surprisal (doubt)", "nats a token", 3),
)
PER_SEED = (
    ("step", "Last step", lambda v: str(v)),
    ("avg_at_k", "Avg@k", lambda v: decimal(v, 3)),
    ("heldout_avg_at_k", "Held out", lambda v: decimal(v, 3)),
    ("ece", "ECE", lambda v: decimal(v, 3)),
    ("brier", "Brier", lambda v: decimal(v, 3)),
    ("entropy", "Entropy", lambda v: decimal(v, 3)),
    ("comments", "Comments", numbers.amount),
    ("seconds", "Time", numbers.duration),
)


def _distinguishes_form(arms: Mapping[str, Any]) -> bool:
    """Whether some answer of some arm was right in another form than the one asked for."""
    both = [(a["strict_accuracy"], a["avg_at_k"]) for a in arms.values() if a["strict_accuracy"] and a["avg_at_k"]]
    return any(strict["mean"] < right["mean"] - 1e-9 for strict, right in both)


def finals(m: Material) -> Section:
    """Every figure of the last evaluation, and each seed."""
    s = m.summary
    arms, k = s["arms"], s["k"] or "k"
    rows = [Row("Finished seeds", [Cell(str(len(a["seeds"]))) for a in arms.values()])]
    rows += [
        Row(
            m.measure if key == "avg_at_k" else name.format(k=k),
            [figure(a[key], digits) for a in arms.values()],
            hint.format(k=k),
        )
        for key, name, hint, digits in FIGURES
        if any(a[key] for a in arms.values()) and not (m.graded and key in OF_RIGHT_AND_WRONG)
        if key != "strict_accuracy" or _distinguishes_form(arms)
    ]
    rows.append(Row("Unscored", [Cell(str(a["unscored"])) for a in arms.values()], "samples left out"))
    per_seed = [x for x in PER_SEED if not (m.graded and x[0] in OF_RIGHT_AND_WRONG)]
    heads = [m.measure if m.graded and key == "avg_at_k" else head for key, head, _ in per_seed]
    seeds = [
        Row(f"{name}, seed {r['seed']}", [Cell(show(r[key])) for key, _, show in per_seed])
        for name, a in arms.items()
        for r in a["runs"]
    ]
    note = (
        f"Intervals resample prompts and seeds ({s['bootstrap']['resamples']} times). With few seeds, their part is "
        "coarse and too small. A dash: it cannot be estimated. Each figure is defined in docs/summary.md."
    )
    blocks: list[Block] = [Table(["Mean and 95% interval", *arms], rows), Text(note, note=True)]
    if seeds:
        blocks.append(Details("Each seed", (Table(["", *heads], seeds),)))
    return Section("Final figures", blocks)


def warnings(m: Material) -> Section:
    """What failed, what was warned of, what was counted."""
    s = m.summary
    blocks: list[Block] = []
    if s["failures"]:
        rows = [
            Row(
                f"{f['arm']}, seed {f['seed']}",
                [
                    Cell(f["status"]),
                    Cell("none" if f["last_step"] is None else f"step {f['last_step']}"),
                    Cell(f["message"]),
                ],
            )
            for f in s["failures"]
        ]
        blocks += [
            Text("Runs that did not finish are left out of every figure above."),
            Table(["", "Status", "Last evaluation", "Message"], rows, words=True),
        ]
    if s["warnings"]:
        blocks.append(Points([Item(str(w)) for w in s["warnings"]]))
    counted = [
        Item(f"{name}: " + ", ".join(f"{key} {numbers.amount(v)}" for key, v in a["counters"].items()))
        for name, a in s["arms"].items()
        if a["counters"]
    ]
    if counted:
        blocks.append(Details("Counted on the way, all seeds together", (Points(counted),)))
    return Section("Failures and warnings", blocks or (Text("None."),), id="warnings")


def trouble(summary: Mapping[str, Any]) -> str:
    """How many runs failed and how many warnings there are; "" for none."""
    parts = (
        (summary["failures"], "run did not finish", "runs did not finish"),
        (summary["warnings"], "warning", "warnings"),
    )
    return " and ".join(f"{len(items)} {one if len(items) == 1 else many}" for items, one, many in parts if items)


def settings(m: Material) -> Section:
    """In which settings the arms differ; of a single run, which are not the defaults."""
    config = m.summary["config"]
    if m.kind == "comparison":
        changes = {name: flat(arm) for name, arm in config.get("arms", {}).items() if isinstance(arm, Mapping)}
        base = flat(config.get("base", {}))
        keys = sorted({key for arm in changes.values() for key in arm})
        rows = [Row(key, [Cell(_text(arm.get(key, base.get(key)))) for arm in changes.values()]) for key in keys]
        if not rows:
            return absent("What the arms do differently", "The summary holds no settings of the arms.")
        return Section("What the arms do differently", (Table(["Setting", *changes], rows, words=True),))
    if m.kind == "training run":
        usual, here = flat(RunConfig().model_dump(mode="json")), flat(config)
        rows = [
            Row(key, [Cell(_text(usual.get(key))), Cell(_text(v))]) for key, v in here.items() if usual.get(key) != v
        ]
        if not rows:
            return absent("Settings", "Every setting is the default.")
        return Section("Settings that are not the defaults", (Table(["Setting", "default", "here"], rows, words=True),))
    rows = [Row(key, [Cell(_text(v))]) for key, v in flat({k: v for k, v in config.items() if k != "task"}).items()]
    return Section("Settings", (Table(["Setting", ""], rows, words=True),))


def again(m: Material) -> Section:
    """Environment and the commands to make it again."""
    return made_by(m.summary["environment"], m.summary["config"], f"frown report {m.path}", m.summary["config_digest"])


def made_by(environment: Mapping[str, Any], config: Any, redraw: str, digest: str = "") -> Section:
    """Commands, versions and machine, and the whole configuration."""
    command = environment.get("command")
    rows = [Row(str(key), [Cell(_text(value))]) for key, value in environment.items() if key != "command"]
    blocks: list[Block] = [
        Code(f"{command}\n{redraw}") if command else Text("What it was made with was not written down.", note=True)
    ]
    if rows:
        blocks.append(Table(["Environment", ""], rows, words=True))
    if config:
        blocks.append(Details(f"Config {digest}", (Code(json.dumps(config, indent=2, ensure_ascii=False)),)))
    return Section("Environment, and how to make this again", blocks)


def _text(value: Any) -> str:
    """Text as it is, a flat mapping as "name value, name value", anything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return numbers.MISSING
    if isinstance(value, Mapping) and not any(isinstance(v, (dict, list)) for v in value.values()):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return json.dumps(value, ensure_ascii=False)
