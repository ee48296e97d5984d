"""What a report is drawn from: the files of a run, a comparison, an evaluation or a probe, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from frown.errors import FrownError
from frown.evals.profile import JudgedAnswer, profile
from frown.evals.summary import SCHEMA
from frown.report.again import command
from frown.store.files import parse_json
from frown.store.run_directory import RunDirectory
from frown.store.run_reader import run_name

Kind = Literal["training run", "comparison", "evaluation"]
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


@dataclass(frozen=True)
class Material:
    """What is known of a run, a comparison or an evaluation."""

    kind: Kind
    path: Path
    summary: Mapping[str, Any]
    metrics: Mapping[str, Mapping[int, list[Mapping[str, Any]]]] = field(default_factory=dict)
    """Arm -> seed -> the lines of its metrics.jsonl."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Arm -> feedback -> `frown.evals.profile.profile` of the rollouts that were told it."""
    graded: bool = False
    """Whether any score on disk lies between 0 and 1: then a score is a grade, and says neither right nor wrong."""

    @property
    def measure(self) -> str:
        """What the mean score of the k samples is called where it stands alone."""
        return "Mean reward" if self.graded else f"Avg@{self.summary['k'] or 'k'}"


def material(path: Path) -> Material:
    """What the folder of a run, a comparison or an evaluation holds. Raises FrownError for any other."""
    if (path / "status.json").is_file() and (path / "config.json").is_file():
        runs = {run_name(path): {_seed(path): RunDirectory(path)}}
        return Material("training run", path, _of_run(path), _metrics(runs), _profiles(runs), _graded([path / "evals"]))
    if other := results_of_another(path):
        raise FrownError(other)
    summary = load_summary(path / "summary.json")
    if (path / "samples").is_dir():
        return Material("evaluation", path, summary, graded=_graded([path / "samples"]))
    runs = {arm: dict(_seeds(path / "runs" / arm)) for arm in summary["arms"] if _is_name(arm)}
    evals = [run.path / "evals" for seeds in runs.values() for run in seeds.values()]
    return Material("comparison", path, summary, _metrics(runs), _profiles(runs), _graded(evals))


def results_of_another(path: Path) -> str:
    """What to read in a folder that a command of a recipe filled, which brings its own report; "" of any other."""
    if (path / "summary.json").exists() or not (path / "results.json").is_file():
        return ""
    read = "results.json" + (", or the report that is there already, report.html" * (path / "report.html").is_file())
    look = any((path / part).is_dir() for part in ("rollouts", "answers"))
    more = f"; `frown look {path}` shows its rollouts" if look else ""
    return f"{path} holds results of another command: read {read}{more}"


def load_summary(source: Path) -> dict[str, Any]:
    """The summary in a file, with its schema and top-level keys checked; FrownError where they are wrong."""
    summary = read_json(source, "the report is drawn from it, finish the run first")
    version = summary.get("schema") if isinstance(summary, dict) else None
    if version != SCHEMA:
        raise FrownError(f"{source} has schema {version!r}, this version reads {SCHEMA}; summarise the runs again")
    missing = _KEYS - set(summary)
    if missing:
        raise FrownError(f"{source} lacks {', '.join(sorted(missing))}; summarise the runs again")
    return dict(summary)


def read_json(source: Path, why: str) -> Any:
    """The JSON in a file. Raises FrownError where it cannot be read; `why`: what it is needed for."""
    try:
        return parse_json(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FrownError(f"{source} is not there; {why}") from None
    except OSError as error:
        raise FrownError(f"{source} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise FrownError(f"{source} is not JSON ({error}); write it again") from None


def _of_run(path: Path) -> dict[str, Any]:
    """The summary of a single training run."""
    from frown.comparison.cells import result_of
    from frown.evals.summary import summarise

    name = run_name(path)
    config = read_json(path / "config.json", "the run's settings are in it")
    try:
        environment = RunDirectory(path).machine()
    except FrownError:
        environment = {}
    environment["command"] = command(path)
    return summarise([result_of(name, _seed(path), path)], baseline=name, config=config, environment=environment)


def _seed(path: Path) -> int:
    return int(read_json(path / "config.json", "the run's settings are in it").get("seed", 0))


def _is_name(arm: str) -> bool:
    """Whether an arm's name is one that a comparison gives a folder to; a summary is anybody's text."""
    return arm.replace("-", "").replace("_", "").isalnum()


def _seeds(folder: Path) -> Iterator[tuple[int, RunDirectory]]:
    for path in sorted(folder.glob("seed*")):
        if path.name.removeprefix("seed").isdigit():
            yield int(path.name.removeprefix("seed")), RunDirectory(path)


def _graded(folders: Iterable[Path]) -> bool:
    """Whether any sample kept in these folders has a score between 0 and 1."""
    import numpy as np
    import pyarrow.parquet as pq

    for file in (f for folder in folders for f in sorted(folder.glob("*.parquet"))):
        try:
            score = np.array(pq.read_table(file, columns=["score"])["score"].to_pylist(), dtype=np.float64)
        except (OSError, ValueError, KeyError):
            continue  # every figure is the summary's: what cannot be read here only names none of them
        if ((score > 0) & (score < 1)).any():
            return True
    return False


def _metrics(runs: Mapping[str, Mapping[int, RunDirectory]]) -> dict[str, dict[int, list[Mapping[str, Any]]]]:
    return {arm: {seed: list(run.metrics()) for seed, run in seeds.items()} for arm, seeds in runs.items()}


def _profiles(runs: Mapping[str, Mapping[int, RunDirectory]]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for arm, seeds in runs.items():
        answers_by_kind: dict[str, list[JudgedAnswer]] = {}
        for run in seeds.values():
            for kind, answer in run.advantages():
                answers_by_kind.setdefault(kind, []).append(answer)
        out[arm] = {kind: profile(answers) for kind, answers in sorted(answers_by_kind.items())}
    return out
