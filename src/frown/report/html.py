"""report.html: one self-contained page, drawn from summary.json alone.

Arm names, messages and settings are other people's text: the template escapes everything, the charts escape what
they print, and the page's content policy allows neither scripts nor anything from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.evals.summary import SCHEMA
from frown.evals.wording import decimal
from frown.report import fate, numbers
from frown.report.chart import Point, Series, line_chart, swatch

_KEYS = {
    "schema",
    "compared",
    "baseline",
    "k",
    "prompts",
    "steps",
    "threshold",
    "bootstrap",
    "arms",
    "pairs",
    "failures",
    "warnings",
    "config",
    "config_digest",
    "environment",
}
FIGURES = (
    ("avg_at_k", "Avg@{k}", "mean score of {k} samples", 2),
    ("heldout_avg_at_k", "Avg@{k}, held out", "on prompts unlike the trained ones", 2),
    ("auc", "Area under the curve", "mean Avg@{k} on the way", 2),
    ("pass_at_k", "pass@{k}", "at least one of {k} right", 2),
    ("maj_at_k", "maj@{k}", "the most common answer right", 2),
    ("well_formed", "Well-formed", "share of answers", 2),
    ("truncated", "Cut at the token limit", "share of answers; lower is better", 2),
    ("process_accuracy", "All steps right", "share of answers", 2),
    ("suppression", "Suppression", "share of doubtful wrong steps now sure and wrong; lower is better", 2),
    ("right_answer_wrong_step", "Wrong step, right answer", "share of right answers; lower is better", 3),
    ("ece", "ECE, agreement", "10 equal bins; lower is better", 3),
    ("brier", "Brier, agreement", "lower is better", 3),
    ("ece_min_probability", "ECE, weakest token", "10 equal bins; lower is better", 3),
    ("brier_min_probability", "Brier, weakest token", "lower is better", 3),
    ("auroc_min_probability", "AUROC, weakest token", "are right answers surer? .5 is chance", 2),
    ("entropy", "Entropy", "nats a token", 3),
    ("surprisal", "Surprisal (doubt)", "nats a token", 3),
)
COSTS = (
    ("comments", "Comments bought", numbers.amount),
    ("rollouts", "Rollouts", numbers.amount),
    ("generated_tokens", "Tokens generated", numbers.amount),
    ("seconds", "Time, evaluations included", numbers.duration),
)
TO_THRESHOLD = (
    ("steps_to_threshold", "Steps", numbers.amount),
    ("comments_to_threshold", "Comments", numbers.amount),
    ("tokens_to_threshold", "Tokens", numbers.amount),
    ("seconds_to_threshold", "Training time", numbers.duration),
)


def write_report(run_dir: str | Path) -> Path:
    """Write run_dir/report.html from run_dir/summary.json and return its path.

    Raises FrownError when summary.json is missing, is not JSON, or is not a summary of this version.
    """
    run_dir = Path(run_dir)
    source = run_dir / "summary.json"
    summary = load_summary(source)
    try:
        page = render(summary)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise FrownError(
            f"{source} is not a complete summary ({type(error).__name__}: {error}); summarise the runs again"
        ) from error
    target = run_dir / "report.html"
    target.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    return target


def load_summary(source: Path) -> dict[str, Any]:
    """The summary in a file, with its schema and top-level keys checked; FrownError where they are wrong."""
    try:
        summary = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FrownError(f"{source} is not there; the report is drawn from it, finish the run first") from None
    except OSError as error:
        raise FrownError(f"{source} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FrownError(f"{source} is not JSON ({error}); write the summary again") from None
    found = summary.get("schema") if isinstance(summary, dict) else None
    if found != SCHEMA:
        raise FrownError(f"{source} has schema {found!r}, this version reads {SCHEMA}; summarise the runs again")
    missing = _KEYS - set(summary)
    if missing:
        raise FrownError(f"{source} lacks {', '.join(sorted(missing))}; summarise the runs again")
    return summary


def render(summary: Mapping[str, Any]) -> str:
    """The page as text, a pure function of the summary."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    arms = list(summary["arms"].values())
    k = summary["k"] or "k"
    styles = {name: i for i, name in enumerate(_by_style(summary))}
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return env.get_template("page.html.jinja").render(
        s=summary,
        heading=_heading(summary),
        arms=summary["arms"],
        k=k,
        legend=[(name, Markup(swatch(i))) for name, i in styles.items()],
        charts=[(title, note, Markup(svg)) for title, note, svg in _charts(summary, styles)],
        comparisons=_comparisons(summary),
        suppression=fate.sentences(summary),
        fates=fate.rows(summary),
        figures=[
            (name.format(k=k), hint.format(k=k), _cells(summary, key, digits)) for key, name, hint, digits in FIGURES
        ],
        trouble=" and ".join(
            _counted(len(found), one, many)
            for found, one, many in (
                (summary["failures"], "run did not finish", "runs did not finish"),
                (summary["warnings"], "warning", "warnings"),
            )
            if found
        ),
        costs=[(name, [_cost_cell(a[key], unit) for a in arms]) for key, name, unit in COSTS],
        to_threshold=[(name, [_threshold_cell(a, key, unit) for a in arms]) for key, name, unit in TO_THRESHOLD]
        if summary["threshold"] is not None
        else [],
        decimal=decimal,
        amount=numbers.amount,
        duration=numbers.duration,
        as_text=_as_text,
        config=json.dumps(summary["config"], indent=2, ensure_ascii=False),
    )


def _heading(summary: Mapping[str, Any]) -> str:
    others = [n for n in summary["arms"] if n != summary["baseline"]]
    return f"{', '.join(others)} against {summary['baseline']}" if others else summary["baseline"]


def _by_style(summary: Mapping[str, Any]) -> list[str]:
    """Arms in the order of their line styles: the baseline always has the plain one."""
    return [summary["baseline"], *(n for n in summary["arms"] if n != summary["baseline"])]


def _cells(summary: Mapping[str, Any], key: str, digits: int) -> list[tuple[str, str]]:
    arms = [{"suppression": None, **a} for a in summary["arms"].values()]  # summaries made before it was measured
    return [(numbers.mean(a[key], digits), numbers.bounds(a[key], digits)) for a in arms]


def _cost_cell(metric: Mapping[str, Any] | None, unit: Callable[[float | None], str]) -> tuple[str, str]:
    if metric is None:
        return numbers.MISSING, ""
    varies = metric["ci95"] is not None and metric["ci95"][0] != metric["ci95"][1]
    return unit(metric["mean"]), numbers.threshold_bounds(metric, unit) if varies else ""


def _threshold_cell(arm: Mapping[str, Any], key: str, unit: Callable[[float | None], str]) -> tuple[str, str]:
    """What an arm that buys no comments needs of them is nothing, reached or not."""
    if key == "comments_to_threshold" and arm["comments"] and arm["comments"]["mean"] == 0:
        return unit(0), ""
    return numbers.to_threshold(arm[key], len(arm["seeds"]), unit), numbers.threshold_bounds(arm[key], unit)


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _comparisons(summary: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Sentences by pair of arms, in the order of the summary."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pair in summary["pairs"]:
        groups.setdefault((pair["arm"], pair["baseline"]), []).append(pair)
    return [(f"{arm} against {other}", found) for (arm, other), found in groups.items()]


def _charts(summary: Mapping[str, Any], styles: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """(title, note, svg) of each learning curve."""
    k = summary["k"] or "k"

    def drawn(
        title: str, note: str, value: str | None, x: str, x_label: str, top: float | None
    ) -> tuple[str, str, str]:
        series = [Series(n, styles[n], _points(summary["arms"][n]["curve"], value, x)) for n in styles]
        return title, note, line_chart(series, x_label, f"{title} by {x_label}", top)

    step = "training step"
    charts = [
        drawn(f"Accuracy (Avg@{k})", "The axis runs from 0 to 1.", None, "step", step, 1.0),
        drawn(
            "Calibration error (ECE of agreement)",
            "Lower is better. Few samples bias it upwards, and its band more so.",
            "ece",
            "step",
            step,
            None,
        ),
        drawn(
            "Entropy, nats a token", "Falls as the policy grows sure, rightly or not.", "entropy", "step", step, None
        ),
    ]
    if any(p["generated_tokens"] for a in summary["arms"].values() for p in a["curve"]):
        charts.append(
            drawn(
                f"Accuracy (Avg@{k}) by cost",
                "The same accuracy, against what was generated to learn it.",
                None,
                "generated_tokens",
                "tokens generated for training",
                1.0,
            )
        )
    return charts


def _points(curve: list[Mapping[str, Any]], value: str | None, x: str) -> tuple[Point, ...]:
    found = [(p[x], p if value is None else p[value]) for p in curve]
    return tuple(Point(at, m["mean"], *(m["ci95"] or (None, None))) for at, m in found if m and m["mean"] is not None)


def _as_text(value: Any) -> str:
    """Text as it is, a flat mapping as "name value, name value", anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and not any(isinstance(v, (dict, list)) for v in value.values()):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return json.dumps(value, ensure_ascii=False)
