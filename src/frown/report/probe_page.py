"""The page of a probe: would this policy learn from this feedback?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.evals.wording import decimal
from frown.report.background import made_by
from frown.report.blocks import Block, Cell, Item, Page, Row, Section, Table, Text
from frown.report.doubts import profile_blocks
from frown.report.material import read_json
from frown.report.numbers import MISSING, amount
from frown.report.probe import sentences
from frown.report.question import difference, figure


def page(file: Path) -> Page:
    """The page of what `frown probe --out FILE` wrote. Raises FrownError for another file."""
    results = read_json(file, "frown probe --out FILE writes it")
    if not isinstance(results, dict) or not {"headroom", "kinds", "answers"} <= set(results):
        raise FrownError(f"{file} is not what frown probe --out wrote; give it, or the folder of a run or comparison")
    room = results["headroom"]
    worth = [kind for kind, k in results["kinds"].items() if k["verdict"] == "worth trying"]
    return Page(
        kind="probe",
        question=f"Would {results['model']} learn from this feedback?",
        answer=[Item(text, kind in worth) for kind, text in zip(results["kinds"], sentences(results), strict=True)],
        table=Table(
            ["Told", "gap", "teacher", "student", "answers told", "verdict"],
            [Row(kind, _verdict(k)) for kind, k in results["kinds"].items()],
        ),
        about=(
            f"{results['answers']} answers to {results['prompts']} prompts of {results['task']}, accuracy "
            f"{decimal(room['accuracy'])}; nothing was learnt."
        ),
        trouble="",
        sections=[
            _headroom(room, results),
            Section("What the teacher said, and where", _profiles(results)),
            _localisation(results),
            _costs(results),
            made_by(results.get("environment", {}), results.get("config"), f"frown report {file}"),
        ],
    )


def _verdict(k: Mapping[str, Any]) -> list[Cell]:
    gap = k["gap"]
    if gap is None:
        figures = [Cell(MISSING)] * 3
    else:
        low, high = (gap["difference"] + sign * 1.96 * gap["standard_error"] for sign in (-1, 1))
        figures = [
            difference({"mean": gap["difference"], "ci95": [low, high]}),
            Cell(decimal(gap["teacher"])),
            Cell(decimal(gap["student"])),
        ]
    return [*figures, Cell(f"{k['coverage']:.0%}"), Cell(k["verdict"])]


def _headroom(room: Mapping[str, Any], results: Mapping[str, Any]) -> Section:
    names = (
        ("accuracy", "Accuracy of the student"),
        ("mixed", "Prompts sometimes right"),
        ("all_right", "Prompts always right"),
        ("all_wrong", "Prompts never right"),
    )
    rows = [Row(words, [Cell(decimal(room[key]))]) for key, words in names]
    rows.append(Row("Unscored answers", [Cell(str(room["unscored"]))]))
    return Section("Is there something left to learn?", (Table(["", "share"], rows),))


def _profiles(results: Mapping[str, Any]) -> list[Block]:
    return profile_blocks({"": {kind: k["profile"] for kind, k in results["kinds"].items()}})


def _localisation(results: Mapping[str, Any]) -> Section:
    kinds = results["kinds"]
    rows = [
        Row(
            kind,
            [
                figure(k["localisation"]["share"]),
                figure(k["localisation"]["share_of_tokens"]),
                figure(k["localisation"]["auroc"]),
                difference(k["advantage"]["wrong_steps"], 3),
                difference(k["advantage"]["right_steps"], 3),
            ],
        )
        for kind, k in kinds.items()
    ]
    head = ["Told", "at the first wrong step", "its tokens", "AUROC", "on wrong steps", "on right steps"]
    note = (
        "At the first wrong step: its share of all absolute advantage, beside its share of the tokens. AUROC: how well "
        "the advantage tells it from the right steps. On wrong and right steps: mean advantage, nats a token."
    )
    return Section("Does it know where the error is?", (Table(head, rows), Text(note, note=True)))


def _costs(results: Mapping[str, Any]) -> Section:
    rows = [
        Row(kind, [Cell(amount(k["cost"][key])) for key in ("teacher_tokens", "context_tokens", "comments")])
        for kind, k in results["kinds"].items()
    ]
    return Section(
        "What a training step would cost",
        (Table(["Told", "tokens the teacher reads", "of its contexts", "comments"], rows),),
    )
