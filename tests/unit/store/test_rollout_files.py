"""The rollouts of a run as other tools read them: Parquet files with one schema."""

from __future__ import annotations

import numpy as np
import pyarrow.dataset as ds
import pytest

from frown.config import RunConfig, load
from frown.losses.advantages import group_advantages
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from small_run import SMALL

pytestmark = pytest.mark.slow

STEPS, ROLLOUTS = 3, 8
"""Rollouts of each step."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollouts") / "run"
    mixed = ["method=sdpo", "method.distillation=0.5", f"optimiser.steps={STEPS}", "sampling.responses_per_prompt=4"]
    train(load(RunConfig, None, [*SMALL, *mixed]), folder)
    return folder


def advantages_of(scores: list[list[float]]) -> np.ndarray:
    """[groups of rollouts, in order] -> one advantage a rollout."""
    return group_advantages(np.array(scores)).ravel()


def test_datasets_reads_all_steps_together(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = str(run / "rollouts" / "*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert rows.num_rows == STEPS * ROLLOUTS
    assert {"signal_entropy", "spans", "feedback", "advantage", "teacher_prompt"} <= set(rows.column_names)
    by_step = [rows.select(range(i * ROLLOUTS, (i + 1) * ROLLOUTS)) for i in range(STEPS)]
    for step in by_step:
        expected = advantages_of(np.reshape(step["score"], (-1, 4)).tolist())
        for row, advantage in zip(step, expected, strict=True):
            assert len(row["advantage"]) == len(row["ids"]) == len(row["signal_entropy"])
            np.testing.assert_allclose(row["advantage"], advantage, rtol=1e-6)
    assert any(any(row["advantage"]) for row in rows)


def test_duckdb_reads_all_steps_together(run):
    duckdb = pytest.importorskip("duckdb")
    files = f"read_parquet('{run}/rollouts/*.parquet', filename=true)"
    tokens, right = duckdb.sql(f"SELECT sum(len(ids)), avg(score) FROM {files}").fetchall()[0]
    lines = [m for m in RunDirectory(run).metrics() if "loss" in m]
    assert tokens == lines[-1]["train_tokens"]
    assert right == pytest.approx(np.mean([m["train_accuracy"] for m in lines]))
    doubt = duckdb.sql(
        f"SELECT filename, -sum(list_sum(logp)) / sum(len(logp)) FROM {files} GROUP BY filename ORDER BY filename"
    ).fetchall()
    assert [d for _, d in doubt] == pytest.approx([m["doubt"] for m in lines], rel=1e-5)
    spans = duckdb.sql(
        f"SELECT count(*) FROM (SELECT unnest(spans) AS s FROM {files}) WHERE s.intensity BETWEEN 0 AND 1"
    )
    written = ds.dataset(run / "rollouts").to_table(columns=["spans"]).to_pylist()
    assert spans.fetchall()[0][0] == sum(len(row["spans"]) for row in written)
    told = duckdb.sql(f"SELECT count(*) FROM {files} WHERE len(feedback) > 0 AND teacher_prompt IS NOT NULL")
    assert told.fetchall()[0][0] == sum(m["views"] for m in lines) > 0
