"""Logs of other programs as rollouts, and rollouts for other programs: there and back again."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.cli.app import main
from frown.errors import FrownError
from frown.evals.calibration import auroc, ece
from frown.interchange.answer import LoggedToken, signals_of_top
from frown.interchange.exports import to_inspect, to_parquet
from frown.interchange.imports import as_run, import_rollouts, is_foreign
from frown.interchange.measures import measure
from frown.interchange.messages import clean
from frown.store.rollouts import read_rollouts, write_rollouts
from frown.viewer.columns import GRAVITY
from frown.viewer.index import read_index
from frown.viewer.page import page, record_at
from look_runs import comparison, hostile

TOKENS = [("1+1", -0.1), ("=", -0.01), ("3", -1.5), (".\n", -0.2), ("So", -0.05), (" 3", -0.3)]


def openai_token(text, logp, k=2):
    top = [(text, logp), ("other", -3.0), ("more", -4.0)][:k]
    held = {"token": text, "logprob": logp, "bytes": list(text.encode())}
    return held | {"top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in top]}


def chat(tokens=TOKENS, k=2, **more):
    content = [openai_token(*t, k) for t in tokens]
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "".join(t for t, _ in tokens)},
    }
    return {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}],
            "choices": [choice | {"logprobs": {"content": content}}], **more}  # fmt: skip


def completion():
    logs = {"tokens": [t for t, _ in TOKENS], "token_logprobs": [p for _, p in TOKENS]}
    logs["top_logprobs"] = [{t: p, "other": -3.0} for t, p in TOKENS]
    return {
        "prompt": "1+1?",
        "choices": [{"text": "".join(t for t, _ in TOKENS), "finish_reason": "length", "logprobs": logs}],
    }


def vllm():
    logs = [
        {str(k): {"logprob": p, "rank": 1, "decoded_token": t}, "900": {"logprob": -3.0, "rank": 2, "decoded_token": t}}
        for k, (t, p) in enumerate(TOKENS)
    ]
    text = "".join(t for t, _ in TOKENS)
    out = {"index": 0, "text": text, "token_ids": list(range(len(TOKENS))), "logprobs": logs, "finish_reason": "stop"}
    return {"request_id": "0", "prompt": "1+1?", "outputs": [out]}


def write(path, *records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def first(path, tmp_path):
    import_rollouts(path, tmp_path / "run")
    return read_rollouts(tmp_path / "run" / "rollouts" / "step=000000.parquet").values(0)


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        (chat(), "system: Be brief.\n\nuser: 1+1?"),
        (
            {
                "request": {"messages": [{"role": "user", "content": "1+1?"}]},
                "response": {"choices": chat()["choices"]},
            },
            None,
        ),
        ({"custom_id": "q1", "response": {"status_code": 200, "body": {"choices": chat()["choices"]}}}, ""),
        (completion(), None),
        (vllm(), None),
    ],
    ids=["chat", "pair", "batch", "completion", "vllm"],
)
def test_every_form_of_log_is_the_same_rollout(record, prompt, tmp_path):
    row = first(write(tmp_path / "log.jsonl", record), tmp_path)
    assert row["tokens"] == [t for t, _ in TOKENS] and row["text"] == "".join(row["tokens"])
    np.testing.assert_allclose(row["logp"], [p for _, p in TOKENS], rtol=1e-6)
    np.testing.assert_allclose(row["signal_surprisal"], [-p for _, p in TOKENS], rtol=1e-6)
    p = np.exp([p for _, p in TOKENS])
    np.testing.assert_allclose(row["signal_top_probability"], np.maximum(p, math.exp(-3)), rtol=1e-6)
    np.testing.assert_allclose(row["signal_margin"], np.abs(p - math.exp(-3)), rtol=1e-5)
    assert "signal_entropy" not in row and row["source"] == "topk:2"
    assert row["steps"] == [[0, 4], [4, 6]] and row["step_doubt"] == pytest.approx([1.5, 0.3])
    assert row["score"] is None and row["length"] == 6
    assert row["prompt"] == ({None: "user: 1+1?", "": None}.get(prompt, prompt))
    assert row["question"] == ("" if prompt == "" else "1+1?") and (prompt != "" or row["task"] == "q1")
    assert next(s["label"] for s in row["spans"]) == "doubt"
    assert row["ids"] == (list(range(6)) if "outputs" in record else None)


@given(st.lists(st.floats(0.01, 10.0), min_size=2, max_size=30), st.data())
def test_the_entropy_of_the_top_k_is_a_lower_bound(weights, data):
    """Against the entropy of the whole distribution, in float64; equal where all of it was logged."""
    p = np.array(weights) / np.sum(weights)
    order = np.argsort(-p)
    k = data.draw(st.integers(1, len(p)))
    at = data.draw(st.sampled_from(range(len(p))))
    top = tuple((int(j), float(np.log(p[j]))) for j in order[:k])
    values, source = signals_of_top([LoggedToken(b"x", float(np.log(p[at])), top, at)])
    entropy = float(-(p * np.log(p)).sum())
    assert source == f"topk:{k}" and values["entropy_lower"][0] <= entropy + 1e-5
    if k == len(p):
        assert values["entropy_lower"][0] == pytest.approx(entropy, abs=1e-5)
        assert values["margin"][0] == pytest.approx(p[order[0]] - p[order[1]], abs=1e-6)
    assert values["top_probability"][0] == pytest.approx(p.max(), abs=1e-6)


def test_without_alternatives_there_is_doubt_alone(tmp_path):
    row = first(write(tmp_path / "log.jsonl", chat(k=0)), tmp_path)
    assert {n for n in row if n.startswith("signal_")} == {"signal_surprisal"} and row["source"] == "topk:0"


def test_tokens_that_split_a_character(tmp_path):
    tokens = [openai_token("Hi ", -0.1)]
    tokens += [{"token": f"bytes:\\x{b:02x}", "logprob": -1.0, "bytes": [b], "top_logprobs": []} for b in "😀".encode()]
    record = chat()
    record["choices"][0]["message"]["content"] = "Hi 😀"
    record["choices"][0]["logprobs"]["content"] = tokens
    row = first(write(tmp_path / "a.jsonl", record), tmp_path)
    assert row["text"] == "Hi 😀" and row["tokens"] == ["Hi ", *["\ufffd"] * 4]
    for token in tokens[1:]:
        token["bytes"] = None  # some servers tell by the escaped name alone
    (tmp_path / "again").mkdir()
    assert first(write(tmp_path / "b.jsonl", record), tmp_path / "again")["text"] == "Hi 😀"
    found = read_index(tmp_path / "run")
    assert page(found, 0)["fragments"] == [(1, 5, "😀")]


def test_text_alone_and_half_a_surrogate(tmp_path):
    record = {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url"}]}],
              "choices": [{"message": {"content": "a\ud800b"}, "finish_reason": "stop"}], "score": 1}  # fmt: skip
    row = first(write(tmp_path / "log.jsonl", record), tmp_path)
    assert (
        row["text"] == "a\ufffdb"
        and row["tokens"] is None
        and row["question"] == "see[image_url]"
        and row["score"] == 1.0
    )
    assert clean("\ude00\ud83d x 😀") == "\ufffd\ufffd x 😀"


@pytest.mark.parametrize(
    ("record", "kind", "why"),
    [
        ({"x": 1}, "rows", "no 'choices'"),
        (
            {"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [-1, -2]}}]},
            "logprobs",
            "1 tokens",
        ),
        (chat(tokens=[("a", 0.5), ("b", -1.0)]), "tokens", "is 0.5"),
        (chat(tokens=[("a", float("nan"))]), "tokens", "is nan"),
        (chat(score=3), "scores", "score 3"),
        ({"choices": [{"message": "no"}]}, "answers", "without a message"),
    ],
)
def test_what_cannot_be_read_costs_itself_and_is_counted(record, kind, why, tmp_path):
    made = import_rollouts(write(tmp_path / "log.jsonl", chat(), record), tmp_path / "run")
    assert made.omissions.counts[kind] == 1 and made.answers == (1 if kind in ("rows", "answers") else 2)
    assert made.omissions.first[kind].startswith("line 2: ") and why in made.omissions.first[kind]


def test_a_file_in_which_nothing_can_be_read_is_an_error_with_its_reason(tmp_path):
    with pytest.raises(FrownError, match="no answer that can be read.*2 rows.*line 1: no 'choices'") as caught:
        import_rollouts(write(tmp_path / "log.jsonl", {"x": 1}, {"y": 1}), tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def trl(folder, rewards, step=5):
    """As trl 1.16's GRPOTrainer.log writes it: through pandas, one file a step."""
    rows = {"step": [step] * 4, "prompt": [[{"role": "user", "content": f"q{k // 2}"}] for k in range(4)],
            "completion": [[{"role": "assistant", "content": f"a{k}"}] for k in range(4)], **rewards,
            "extracted": ["x"] * 4, "advantage": [0.5, -0.5, 1.0, -1.0]}  # fmt: skip
    (folder / "completions").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "completions" / f"completions_{step:05d}.parquet")
    return folder


def test_trl_completions(tmp_path):
    source = trl(trl(tmp_path / "out", {"accuracy": [1.0, 0.0, 1.0, None]}, 5), {"accuracy": [1.0] * 4}, 10)
    assert is_foreign(source) and is_foreign(source / "completions" / "completions_00005.parquet")
    made = import_rollouts(source, tmp_path / "run")
    assert (made.answers, made.with_logprobs, made.unscored) == (8, 0, 1)
    found = read_index(tmp_path / "run")
    assert sorted(set(found.step.tolist())) == [5, 10] and len(found.tasks) == 2 and found.questions[0] == "q0"
    assert [GRAVITY[q] for q in found.quadrant] == ["unknown"] * 8 and np.isnan(found.score[3])
    shown = page(found, 1)
    assert shown["tokens"] == ["a1"] and shown["verdict"] == "accuracy 0, advantage -0.5" and found.length[1] == -1
    two = trl(tmp_path / "two", {"accuracy": [1.0] * 4, "format": [0.0] * 4})
    assert import_rollouts(two, tmp_path / "run2").unscored == 4
    assert import_rollouts(two, tmp_path / "run3", score="accuracy").unscored == 0
    with pytest.raises(FrownError, match="no reward 'joy'; there are accuracy, format"):
        import_rollouts(two, tmp_path / "run4", score="joy")


def test_trl_names_its_columns_so():
    """The columns that we read are those that trl's trainer writes."""
    import inspect

    trainer = pytest.importorskip("trl.trainer.grpo_trainer", reason="trl is not installed")
    written = inspect.getsource(trainer.GRPOTrainer.log)
    for column in ('"step"', '"prompt"', '"completion"', '"advantage"', "completions_{", "to_parquet"):
        assert column in written


def test_looking_at_a_log_leaves_nothing_behind(tmp_path):
    path = write(tmp_path / "log.jsonl", chat(), chat())
    with as_run(path) as run:
        assert len(read_index(run.path)) == 2 and run.path != path
    assert not run.path.exists() and list(tmp_path.iterdir()) == [path]
    with as_run(tmp_path / "nowhere") as same:
        assert same.path == tmp_path / "nowhere"


def test_what_is_there_is_not_written_over(tmp_path):
    path = write(tmp_path / "log.jsonl", chat())
    with pytest.raises(FrownError, match="not empty"):
        import_rollouts(path, tmp_path)
    with pytest.raises(FrownError, match="not there"):
        import_rollouts(tmp_path / "x.jsonl", tmp_path / "run")
    with pytest.raises(FrownError, match="holds no completions"):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
        import_rollouts(tmp_path / "x.parquet", tmp_path / "run")


@pytest.mark.slow
def test_an_exported_file_is_the_run(tmp_path):
    index = read_index(comparison(tmp_path / "demo"))
    assert to_parquet(index, tmp_path / "all.parquet") == len(index)
    again = read_index(tmp_path / "all.parquet")
    assert again.runs == index.runs and again.splits == index.splits and len(again) == len(index)
    for name in ("run", "split", "step", "score", "quadrant", "quadrants", "doubt", "labels", "length", "group"):
        np.testing.assert_array_equal(getattr(again, name), getattr(index, name), err_msg=name)
    for i in range(len(index)):
        one, other = page(index, i), page(again, i)
        assert {**one, "key": ""} == {**other, "key": ""}
    assert measure(again) == measure(index)
    with pytest.raises(FrownError, match="cannot write"):
        to_parquet(index, tmp_path / "nowhere" / "x.parquet")


def test_inspect_reads_its_log(tmp_path):
    log = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed")
    index = read_index(comparison(tmp_path / "demo"))
    paths = to_inspect(index, tmp_path / "logs")
    assert [p.name for p in paths] == ["aimed-seed0.eval", "grpo-seed0.eval"]
    found = log.read_eval_log(paths[0])
    assert found.status == "success" and len(found.samples) == int((index.run == 0).sum())
    assert len({(s.id, s.epoch) for s in found.samples}) == len(found.samples)
    by_key = {s.metadata["key"]: s for s in found.samples}
    for i in np.flatnonzero(index.run == 0):
        sample, kept, shown = by_key[index.key(int(i))], record_at(index, int(i)), page(index, int(i))
        assert sample.output.completion == kept.rollout.text and sample.input == kept.rollout.task.question
        logprobs = sample.output.choices[0].logprobs.content
        assert [t.token for t in logprobs] == list(kept.tokens)
        np.testing.assert_allclose([t.logprob for t in logprobs], kept.rollout.logp)
        assert sample.scores["verifier"].value == kept.rollout.verdict.score
        assert sample.metadata["feedback"] == shown["feedback"] and sample.metadata["spans"] == shown["spans"]
    to_inspect(read_index(hostile(tmp_path / "bad")), tmp_path / "bad-logs")


def test_measures_are_those_of_the_evaluations(tmp_path):
    records = []
    rng = np.random.default_rng(0)
    for k in range(40):
        p = float(rng.uniform(0.2, 0.99))
        records.append(chat(tokens=[("a", math.log(p)), ("b", -0.001)], score=int(rng.random() < p), answer=str(k % 3))
                       | {"messages": [{"role": "user", "content": f"q{k // 4}"}]})  # fmt: skip
    with as_run(write(tmp_path / "log.jsonl", *records)) as run:
        index = read_index(run.path)
        found = measure(index)
        weakest = np.array([np.exp(record_at(index, i).rollout.logp.min()) for i in range(40)])[:, None]
    right = (index.score >= 1).astype(float)[:, None]
    got = found["calibration"]["min_probability"]
    assert (
        found["rollouts"] == found["scored"] == found["with_logprobs"] == got["answers"] == 40 and found["tokens"] == 80
    )
    assert got["ece"] == pytest.approx(ece(weakest, right)) and got["auroc"] == pytest.approx(auroc(weakest, right))
    share = [
        sum(r["answer"] == s["answer"] for s in records[k // 4 * 4 : k // 4 * 4 + 4]) / 4 for k, r in enumerate(records)
    ]
    agree = np.array(share)[:, None]
    assert found["calibration"]["agreement"]["ece"] == pytest.approx(ece(agree, right))


def without_logp(record):
    masked = replace(record.rollout, sampled=np.ones(len(record.tokens), np.bool_))
    return replace(record, rollout=masked, unknown=record.unknown - {"ids"} | {"logp"})


def test_a_mask_is_no_log_probability(tmp_path):
    """A file of conversations without log-probabilities."""
    with as_run(write(tmp_path / "log.jsonl", chat(score=1), chat(score=0))) as run:
        [file] = (run.path / "rollouts").glob("*.parquet")
        write_rollouts(file, [without_logp(record) for record in list(read_rollouts(file))])
        found = measure(read_index(run.path))
    assert found["rollouts"] == 2 and found["with_logprobs"] == found["tokens"] == 0 and found["surprisal"] is None
    assert found["calibration"]["min_probability"]["answers"] == 0


def test_the_commands(tmp_path, capsys):
    path = write(tmp_path / "log.jsonl", chat(score=0), chat(score=1))
    main(["look", str(path), "--text", "--signal", "entropy_lower"])
    out = capsys.readouterr().out
    assert "1+1?" in out and "2 of 2 rollouts" in out and "Entropy, at least" in out
    main(["look", str(path), "--out", str(tmp_path / "x.html"), "--most", "1"])
    assert "1 of 2 rollouts" in capsys.readouterr().out and (tmp_path / "x.html").stat().st_size > 10_000
    main(["read", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["scored"] == 2
    main(["read", str(path)])
    assert "AUROC" in capsys.readouterr().out
    main(["import", str(path), "--out", str(tmp_path / "run")])
    assert "2 answers, 2 with logprobs, 0 unscored" in capsys.readouterr().out
    main(["export", str(tmp_path / "run"), "--to", "parquet", "--out", str(tmp_path / "x.parquet")])
    assert "2 rollouts" in capsys.readouterr().out
    for wrong in (
        ["look", str(tmp_path / "no")],
        ["look", str(path), "--most", "0"],
        ["look", str(path), "--text", "--out", "x"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1
