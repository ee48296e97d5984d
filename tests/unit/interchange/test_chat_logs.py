"""Chat logs as servers and harnesses write them: each is read, and what is broken in one costs itself alone."""

import gzip
import json
import math

import numpy as np
import pytest

from frown.errors import FrownError
from frown.interchange.chat import read_chats
from frown.interchange.imports import as_run, import_rollouts
from frown.interchange.measures import measure
from frown.store.rollouts import read_rollouts
from frown.viewer.index import read_index
from frown.viewer.page import page

ASKED = [{"role": "user", "content": "1+1?"}]
STAND_INS = [-9999, -9999.0, "-9999.0", -1e9, -3.4028234663852886e38]
NOT_KNOWN = [
    None,
    "-inf",
    "-Infinity",
    "NaN",
    math.nan,
    -math.inf,
    math.inf,
    0.5,
    True,
    "",
    "x",
    [],
    {},
    10**400,
    *STAND_INS,
]
ONE_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def entry(token, logprob=-0.5, top=(), **more):
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": list(top), **more}


def chat(content="a b", entries=None, message=None, **more):
    choice = {"index": 0, "finish_reason": "stop", "message": message or {"role": "assistant", "content": content}}
    choice["logprobs"] = None if entries is None else {"content": entries, "refusal": None}
    return {"messages": ASKED, "choices": [choice], **more}


def log(path, *records):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.fixture
def read(tmp_path):
    """The answers and the omissions of a log of these records."""
    return lambda *records: read_chats(log(tmp_path / "log.jsonl", *records))


def stored(tmp_path, *records):
    """What `frown import` writes of them, row by row."""
    import_rollouts(log(tmp_path / "log.jsonl", *records), tmp_path / "run")
    with read_rollouts(tmp_path / "run" / "rollouts" / "step=000000.parquet") as file:
        return [file.values(i) for i in range(len(file))]


# -- log-probabilities that are none -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NOT_KNOWN, ids=repr)
@pytest.mark.parametrize("form", ["chat", "legacy", "vllm", "sglang", "llama.cpp"])
def test_an_alternative_without_a_log_probability_is_left_out_and_counted(tmp_path, value, form):
    """It costs neither its token nor its neighbours."""
    tops = [[("a", -0.5), ("x", value), ("y", -2.0)], [("b", -0.1), ("z", -3.0), ("u", -4.0)]]
    if form == "chat":
        entries = [entry(t[0][0], t[0][1], [{"token": k, "logprob": v, "bytes": None} for k, v in t]) for t in tops]
        record = chat("ab", entries)
    elif form == "legacy":
        logs = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -0.1], "top_logprobs": [dict(t) for t in tops]}
        record = {"prompt": "1+1?", "choices": [{"text": "ab", "logprobs": logs}]}
    elif form == "vllm":
        logs = [{str(10 * i + j): {"logprob": v, "decoded_token": k} for j, (k, v) in enumerate(t)}
                for i, t in enumerate(tops)]  # fmt: skip
        record = {"prompt": "1+1?", "outputs": [{"text": "ab", "token_ids": [0, 10], "logprobs": logs}]}
    elif form == "sglang":
        meta = {"output_token_logprobs": [[-0.5, 0, "a"], [-0.1, 10, "b"]],
                "output_top_logprobs": [[[v, 10 * i + j, None] for j, (_, v) in enumerate(t)] for i, t in
                                        enumerate(tops)]}  # fmt: skip
        record = {"text": "ab", "meta_info": meta}
    else:
        parts = [{"id": 10 * i, "token": t[0][0], "bytes": [97], "logprob": t[0][1], "top_logprobs":
                  [{"id": 10 * i + j, "token": k, "logprob": v} for j, (k, v) in enumerate(t)]}
                 for i, t in enumerate(tops)]  # fmt: skip
        record = {"content": "ab", "stop_type": "eos", "completion_probabilities": parts}
        parts[1]["bytes"] = [98]
    answers, omissions = read_chats(log(tmp_path / "one.jsonl", record))
    assert omissions.counts == {"alternatives": 1} and omissions.first["alternatives"].startswith("line 1: ")
    assert [len(t.top) for t in answers[0].tokens] == [2, 3]
    row = stored(tmp_path, record)[0]
    assert row["text"] == "ab" and row["source"] == "topk:3"
    np.testing.assert_allclose(row["logp"], [-0.5, -0.1], rtol=1e-6)
    np.testing.assert_allclose(row["signal_top_probability"], np.exp([-0.5, -0.1]), rtol=1e-6)
    # What is left over of the first token, .26, might be the second likeliest token.
    np.testing.assert_allclose(row["signal_margin"], [np.nan, np.exp(-0.1) - np.exp(-3.0)], rtol=1e-5)


@pytest.mark.parametrize("value", NOT_KNOWN, ids=repr)
@pytest.mark.parametrize("form", ["chat", "legacy", "vllm", "sglang"])
def test_a_token_without_a_log_probability_keeps_its_place(tmp_path, value, form):
    if form == "chat":
        record = chat("a b c", [entry("a"), entry(" b", value), entry(" c", -0.25)])
    elif form == "legacy":
        logs = {"tokens": ["a", " b", " c"], "token_logprobs": [-0.5, value, -0.25], "top_logprobs": None}
        record = {"prompt": "q", "choices": [{"text": "a b c", "logprobs": logs}]}
    elif form == "vllm":
        logs = [{"0": {"logprob": -0.5, "decoded_token": "a"}}, {"1": {"logprob": value, "decoded_token": " b"}},
                {"2": {"logprob": -0.25, "decoded_token": " c"}}]  # fmt: skip
        record = {"prompt": "q", "outputs": [{"text": "a b c", "token_ids": [0, 1, 2], "logprobs": logs}]}
    else:
        triples = [[-0.5, 0, "a"], [value, 1, " b"], [-0.25, 2, " c"]]
        record = {"text": "a b c", "meta_info": {"output_token_logprobs": triples}}
    row = stored(tmp_path, record)[0]
    assert row["tokens"] == ["a", " b", " c"] and row["text"] == "a b c"
    np.testing.assert_allclose(row["logp"], [-0.5, np.nan, -0.25])
    index = read_index(tmp_path / "run")
    measures = measure(index)
    assert measures["with_logprobs"] == 1 and measures["tokens"] == 2
    assert measures["surprisal"] == pytest.approx(0.375)
    shown = page(index, 0)
    assert json.dumps(shown, allow_nan=False) and shown["tokens"] == row["tokens"]


def test_an_answer_whose_log_probabilities_are_all_unknown_is_its_text(read):
    [answer], omissions = read(chat("a b", [entry("a", None), entry(" b", -9999.0)]))
    assert answer.text == "a b" and answer.tokens is None and omissions.counts == {"tokens": 2}


@pytest.mark.parametrize("top", [None, [], {}, "x", 3], ids=repr)
def test_no_alternatives(read, top):
    [answer], omissions = read(chat("a", [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": top}]))
    assert answer.tokens[0].top == () and answer.tokens[0].logp == -0.5 and not omissions.counts
    [answer], _ = read(chat("a", [{"token": "a", "logprob": -0.5}]))
    assert answer.tokens[0].raw == b"a"


@pytest.mark.parametrize(
    "top",
    [
        [{"token": "b", "logprob": -1.0}, {"token": "c", "logprob": -2.0}],
        {"b": -1.0, "c": -2.0},
        {"b": {"logprob": -1.0}, "c": {"logprob": -2.0}},
    ],
    ids=["list", "dict", "dict of dicts"],
)
def test_alternatives_without_the_sampled_token(read, top):
    [answer], omissions = read(chat("a", [{"token": "a", "logprob": -3.0, "top_logprobs": top}]))
    assert dict(answer.tokens[0].top) == {b"b": -1.0, b"c": -2.0} and not omissions.counts


def test_a_sampled_token_is_known_by_its_alternatives(read):
    [answer], omissions = read(chat("a", [entry("a", None, [{"token": "a", "logprob": -0.5}])]))
    assert answer.tokens[0].logp == -0.5 and not omissions.counts


def test_one_token_without_alternatives_costs_no_other(tmp_path):
    top = [{"token": "a", "logprob": -0.5}, {"token": "x", "logprob": -2.0}]
    row = stored(tmp_path, chat("ab", [entry("a", -0.5, top), entry("b", -0.25, None or [])]))[0]
    assert row["signal_margin"][0] == pytest.approx(math.exp(-0.5) - math.exp(-2.0)) and np.isnan(
        row["signal_margin"][1]
    )


def test_where_nothing_is_left_over_the_margin_is_known(tmp_path):
    """A sampler that had one token to choose from: all others have -inf."""
    top = [{"token": "a", "logprob": 0.0}, {"token": "x", "logprob": -math.inf}]
    row = stored(tmp_path, chat("a", [entry("a", 0.0, top)]))[0]
    assert row["signal_margin"] == [1.0] and row["signal_entropy_lower"] == [0.0]


@pytest.mark.parametrize("logs", [{}, {"content": None}, {"content": []}, {"tokens": []}, [], None], ids=repr)
def test_no_log_probabilities_at_all(read, logs):
    record = chat("a b")
    record["choices"][0]["logprobs"] = logs
    [answer], omissions = read(record)
    assert answer.text == "a b" and answer.tokens is None and not omissions.counts


@pytest.mark.parametrize("bad", [None, 3, "x", []], ids=repr)
def test_an_entry_that_is_no_token_costs_itself(read, bad):
    [answer], omissions = read(chat("a b c", [entry("a"), bad, entry(" c")]))
    assert omissions.counts == {"tokens": 1} and answer.tokens[1].raw == b" b" and math.isnan(answer.tokens[1].logp)


@pytest.mark.parametrize("logs", ["x", 7, {"content": "x"}, {"content": 7}, {"tokens": ["a"], "token_logprobs": [1, 2]},
                                  {"tokens": 5, "token_logprobs": []}], ids=repr)  # fmt: skip
def test_log_probabilities_of_another_form_cost_themselves(read, logs):
    record = chat("a b")
    record["choices"][0]["logprobs"] = logs
    [answer], omissions = read(record)
    assert answer.text == "a b" and answer.tokens is None
    assert omissions.counts.keys() <= {"logprobs", "tokens"} and omissions.counts


# -- tokens and the text they wrote ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "more"),
    [
        ([{"token": f"\\x{b:02x}", "bytes": [b]} for b in "😀".encode()], {}),
        ([{"token": f"\\x{b:02x}", "bytes": None} for b in "😀".encode()], {}),
        ([{"token": f"\\x{b:02X}"} for b in "😀".encode()], {}),
        ([{"token": f"bytes:\\x{b:02x}"} for b in "😀".encode()], {}),
        ([{"token": f"<0x{b:02X}>", "bytes": list(f"<0x{b:02X}>".encode())} for b in "😀".encode()], {}),
        ([{"token": "\\xf0\\x9f\\x98", "bytes": None}, {"token": "\\x80", "bytes": None}], {}),
        ([{"token": "�", "bytes": list("�".encode())}] * 3, {}),
        ([{"token": "�", "bytes": None}] * 4, {}),
        ([{"token": "", "bytes": []}, {"token": "", "bytes": []}, {"token": "😀", "bytes": list("😀".encode())}], {}),
        ([{"token": "�", "bytes": [999]}] * 2, {}),
    ],
    ids=[
        "listed",
        "escaped",
        "capital",
        "prefixed",
        "bytes as names",
        "several",
        "broken 3",
        "broken 4",
        "late",
        "bad",
    ],
)
def test_tokens_that_split_a_character(tmp_path, pieces, more):
    entries = [entry("Hi "), *({**p, "logprob": -1.0, "top_logprobs": []} for p in pieces), entry(" you")]
    row = stored(tmp_path, chat("Hi 😀 you", entries))[0]
    assert row["text"] == "Hi 😀 you" and len(row["tokens"]) == len(pieces) + 2 == len(row["logp"])
    assert row["tokens"][0] == "Hi " and row["tokens"][-1] == " you"
    assert not np.isnan(row["logp"]).any()


@pytest.mark.parametrize("number", [-7, 2**63, 10**400])
def test_a_token_id_that_is_none_costs_the_log_probabilities(read, number):
    [answer], omissions = read({"text": "a", "meta_info": {"output_token_logprobs": [[-0.5, number, "a"]]}})
    assert answer.text == "a" and answer.tokens is None and omissions.counts == {"logprobs": 1}


def test_tokens_by_id_alone_keep_the_text(tmp_path):
    """vLLM's --return-tokens-as-token-ids, and outputs that were not decoded."""
    entries = [entry(f"token_id:{i}", -0.5, [entry(f"token_id:{i + 1}", -1.0)]) for i in (5, 7)]
    row = stored(tmp_path, chat("a b", entries))[0]
    assert row["text"] == "a b" and row["ids"] == [5, 7] and row["tokens"] == ["<5>", "<7>"]
    output = {"text": "", "token_ids": [5], "logprobs": [{"5": {"logprob": -0.5, "decoded_token": None}}]}
    (tmp_path / "again").mkdir()
    row = stored(tmp_path / "again", {"prompt": "q", "outputs": [output]})[0]
    assert row["ids"] == [5] and row["tokens"] == ["<5>"]


def test_special_tokens_stay_and_reasoning_that_was_taken_out_is_shown(read):
    [answer], _ = read(chat("a b", [entry("a b"), entry("<|im_end|>")]))
    assert b"".join(t.raw for t in answer.tokens) == b"a b<|im_end|>"
    message = {"role": "assistant", "content": "a b", "reasoning_content": "hm"}
    [answer], omissions = read(chat(message=message, entries=[entry("a"), entry(" b")]))
    assert answer.text == "<think>\nhm\n</think>\n\na b" and [t.raw for t in answer.tokens][1:] == [b"a", b" b"]
    assert math.isnan(answer.tokens[0].logp) and not omissions.counts


# -- messages ----------------------------------------------------------------------------------------------------------

CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "tool_calls": [CALL]}, ONE_CALL),
        ({"tool_calls": [CALL]}, ONE_CALL),
        ({"content": "", "tool_calls": [CALL]}, ONE_CALL),
        ({"content": "Let me look.", "tool_calls": [CALL]}, f"Let me look.\n{ONE_CALL}"),
        ({"content": None, "tool_calls": [CALL, CALL]}, f"{ONE_CALL}\n{ONE_CALL}"),
        ({"content": None, "function_call": CALL["function"]}, ONE_CALL),
        ({"content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}, ONE_CALL),
        ({"content": [{"type": "tool_use", "name": "weather", "input": {"city": "Paris"}}]}, ONE_CALL),
        ({"content": None, "tool_calls": [{"type": "custom", "custom": {"name": "sh", "input": "ls"}}]},
         '<tool_call>\n{"name": "sh", "arguments": "ls"}\n</tool_call>'),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"cut'}}]},
         '<tool_call>\n{"name": "f", "arguments": "{\\"cut"}\n</tool_call>'),
        ({"content": None, "refusal": "I cannot help with that."}, "I cannot help with that."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "No."),
        ({"content": [{"type": "text", "text": "see "}, {"type": "image_url", "image_url": {"url": "data:x"}}]},
         "see [image_url]"),
        ({"content": ["a", None, {"type": "text", "text": None}, {"text": "b"}]}, "ab"),
        ({"content": {"type": "text", "text": "a"}}, "a"),
        ({"content": None}, ""),
        ({"content": None, "tool_calls": None, "refusal": None, "function_call": None, "reasoning_content": None}, ""),
        ({"content": "a", "tool_calls": []}, "a"),
        ({"content": "2", "reasoning_content": "1+1"}, "<think>\n1+1\n</think>\n\n2"),
        ({"content": "2", "reasoning": "1+1"}, "<think>\n1+1\n</think>\n\n2"),
        ({"content": None, "reasoning_content": "1+1", "tool_calls": [CALL]},
         f"<think>\n1+1\n</think>\n\n\n{ONE_CALL}"),
        ({"content": "half \ud83d"}, "half \ufffd"),
    ],
)  # fmt: skip
def test_what_an_assistant_says(read, message, text):
    turn = {"role": "assistant", **message}
    for record in (chat(message=turn), {"messages": [*ASKED, turn]}, turn):
        [answer], omissions = read(record)
        assert answer.text == text and not omissions.counts
        assert "None" not in answer.text


def test_a_prompt_with_calls_and_results(read):
    """They are turns like others, and a turn that cannot be read is no end."""
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "12 degrees"},
    ]
    [answer], omissions = read(chat("cold") | {"messages": asked})
    assert [m["content"] for m in answer.messages] == ["Be brief.", "Weather?[image_url]", ONE_CALL, "12 degrees"]
    assert [m["role"] for m in answer.messages] == ["system", "user", "assistant", "tool"] and not omissions.counts
    [answer], omissions = read(chat("cold") | {"messages": 7})
    assert answer.messages == () and omissions.counts == {"messages": 1}
    [answer], _ = read(chat("cold") | {"messages": ["plain", {"content": "no role"}, None]})
    assert [m["content"] for m in answer.messages] == ["plain", "no role"]


def test_trl_calls_of_tools_in_parquet(tmp_path):
    """Parquet gives each turn the fields of all others, as null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = [
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "day": None}}},
            {"type": "function", "function": {"name": "time", "arguments": {"city": None, "day": "today"}}}]},
        {"role": "tool", "content": "12", "tool_calls": None},
        {"role": "assistant", "content": "Cold.", "tool_calls": None},
    ]  # fmt: skip
    rows = {"step": [1, 1, 1], "prompt": [ASKED] * 3, "completion": [turns, turns[:1], None], "reward": [1.0, 0.0, 0.5],
            "advantage": [0.0] * 3}  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "completions.parquet")
    import_rollouts(tmp_path / "completions.parquet", tmp_path / "run")
    file = read_rollouts(tmp_path / "run" / "rollouts" / "step=000001.parquet")
    time = '<tool_call>\n{"name": "time", "arguments": {"day": "today"}}\n</tool_call>'
    assert file.values(0)["text"] == f"{ONE_CALL}\n{time}\n12\nCold."
    assert file.values(1)["text"] == f"{ONE_CALL}\n{time}" and file.values(2)["text"] == ""


# -- servers -----------------------------------------------------------------------------------------------------------


def only(read, *records):
    [answer], omissions = read(*records)
    assert not omissions.counts, omissions
    return answer


def test_ollama(read):
    logs = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}]
    whole = {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": "Hi"}, "done": True,
             "done_reason": "length", "eval_count": 1, "logprobs": logs}  # fmt: skip
    answer = only(read, {**whole, "messages": ASKED})
    assert (
        answer.text == "Hi" and answer.cut and answer.tokens[0].logp == -0.1 and answer.messages[0]["content"] == "1+1?"
    )
    answer = only(read, {"prompt": "1+1?", "model": "m", "response": '{"a": 1}', "done": True, "done_reason": "stop"})
    assert answer.text == '{"a": 1}' and not answer.cut
    pieces = [{"model": "m", "message": {"role": "assistant", "content": t}, "done": False} for t in ("a", " b", " c")]
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    answers, omissions = read(*pieces, end, *pieces[:2], end, whole)
    assert [a.text for a in answers] == ["a b c", "a b", "Hi"] and not omissions.counts
    pieces = [{"response": t, "done": t == ""} for t in ("a", " b", "")]
    assert only(read, *pieces).text == "a b"
    assert only(read, {"request": {"messages": ASKED}, "response": whole}).messages[0]["content"] == "1+1?"
    calls = [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]
    assert (
        only(read, {"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": True}).text
        == ONE_CALL
    )


def test_llama_cpp(read):
    parts = [
        {
            "id": 5,
            "token": "Hi",
            "bytes": [72, 105],
            "logprob": -0.1,
            "top_logprobs": [
                {"id": 5, "token": "Hi", "bytes": [72, 105], "logprob": -0.1},
                {"id": 6, "token": "Ho", "logprob": -3.0},
            ],
        }
    ]
    body = {"index": 0, "content": "Hi", "tokens": [], "stop": True, "stop_type": "limit", "prompt": "1+1?",
            "completion_probabilities": parts}  # fmt: skip
    answer = only(read, body)
    assert answer.text == "Hi" and answer.cut and answer.tokens[0].id == 5 and answer.messages[0]["content"] == "1+1?"
    assert dict(answer.tokens[0].top) == {5: -0.1, 6: -3.0}
    old = [{"content": "Hi", "probs": [{"tok_str": "Hi", "prob": 0.5}, {"tok_str": "Ho", "prob": 0.25}]}]
    answer = only(read, {"content": "Hi", "stopped_limit": False, "stopped_eos": True, "completion_probabilities": old})
    assert answer.tokens[0].logp == pytest.approx(math.log(0.5))
    after = [{"id": 5, "token": "Hi", "prob": 1.0, "top_probs": [{"id": 5, "token": "Hi", "prob": 1.0},
                                                                {"id": 6, "token": "Ho", "prob": 0.0}]}]  # fmt: skip
    [answer], omissions = read({"content": "Hi", "stop_type": "eos", "completion_probabilities": after})
    assert answer.tokens[0].logp == 0.0 and omissions.counts == {"alternatives": 1}


def test_sglang(read):
    meta = {"id": "x", "finish_reason": {"type": "length", "length": 2}, "prompt_tokens": 3,
            "input_token_logprobs": [[None, 1, None], [-2.0, 2, None]],
            "output_token_logprobs": [[-0.1, 5, "Hi"], [-0.2, 6, " you"]],
            "output_top_logprobs": [[[-0.1, 5, "Hi"], [-3.0, 9, "Ho"]], None]}  # fmt: skip
    answer = only(
        read, {"request": {"text": "1+1?"}, "response": {"text": "Hi you", "output_ids": [5, 6], "meta_info": meta}}
    )
    assert answer.text == "Hi you" and answer.cut and [t.id for t in answer.tokens] == [5, 6]
    assert answer.messages[0]["content"] == "1+1?" and dict(answer.tokens[0].top) == {5: -0.1, 9: -3.0}
    triples = [[-0.1, 5, None], [-0.2, 6, None]]
    answer = only(read, {"text": "Hi you", "meta_info": {"output_token_logprobs": triples, "finish_reason": None}})
    assert answer.text == "Hi you" and answer.tokens[0].raw is None


def test_responses(read):
    logs = [entry("Hi", -0.1)]
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "logprobs": logs}]},
        {"type": "function_call", "name": "weather", "arguments": '{"city": "Paris"}', "call_id": "1"},
    ]
    body = {"object": "response", "id": "r", "status": "incomplete", "output": output,
            "incomplete_details": {"reason": "max_output_tokens"}, "error": None}  # fmt: skip
    answer = only(read, {"request": {"input": "1+1?", "instructions": "Be brief."}, "response": body})
    assert answer.text == f"<think>\nhm\n</think>\n\nHi{ONE_CALL}"
    assert answer.cut and [m["role"] for m in answer.messages] == ["system", "user"]
    assert [t.logp for t in answer.tokens if not math.isnan(t.logp)] == [-0.1]
    refused = [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]
    assert only(read, {"input": ASKED, "output": refused, "status": "completed"}).text == "No."


def test_litellm(read):
    response = {"id": "c", "object": "chat.completion", "choices": chat("two")["choices"], "usage": {}}
    row = {
        "id": "c",
        "call_type": "acompletion",
        "status": "success",
        "messages": ASKED,
        "model": "m",
        "error_str": None,
    }
    for form in (
        {**row, "response": response},
        {**row, "messages": json.dumps(ASKED), "response": json.dumps(response)},
    ):
        answer = only(read, form)
        assert answer.text == "two" and answer.messages[0]["content"] == "1+1?"
    failed = {**row, "status": "failure", "error_str": "RateLimitError: slow down", "response": {}}
    answers, omissions = read({**row, "response": response}, failed)
    assert len(answers) == 1 and omissions.counts == {"requests": 1} and "slow down" in omissions.first["requests"]


def test_vllm_server_extras(read):
    record = chat(
        "a", [entry("a")], prompt_logprobs=[None, {"5": {"logprob": -math.inf, "rank": 9}}], kv_transfer_params=None
    )
    record["choices"][0] |= {"stop_reason": None, "token_ids": None}
    assert only(read, record).tokens[0].logp == -0.5


def legacy(text, tokens, logps, **more):
    logs = {"tokens": tokens, "token_logprobs": logps, "top_logprobs": None, "text_offset": [0] * len(tokens)}
    return {"choices": [{"index": 0, "text": text, "logprobs": logs, "finish_reason": "length"}], **more}


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": "Say a:"},
        {"request": {"prompt": "Say a:", "echo": True}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    ],
    ids=["beside", "request", "counted"],
)
def test_a_prompt_that_was_echoed_is_no_answer(read, more):
    tokens, logps = ["Say", " a", ":", " a", " b"], [None, -3.0, -2.0, -0.5, -0.25]
    answer = only_tokens(read(legacy("Say a: a b", tokens, logps, **more)))
    assert answer.text == " a b" and [t.logp for t in answer.tokens] == [-0.5, -0.25]
    assert answer.messages == ({"role": "user", "content": "Say a:"},)


def only_tokens(result):
    [answer], omissions = result
    assert set(omissions.counts) <= {"tokens"}
    return answer


def test_an_echo_of_an_unknown_prompt_has_one_token_of_unknown_probability(read):
    [answer], omissions = read(legacy("a b", ["a", " b"], [None, -0.5]))
    assert answer.text == "a b" and math.isnan(answer.tokens[0].logp) and omissions.counts == {"tokens": 1}


def test_several_choices_and_several_prompts(read):
    record = chat("a")
    record["choices"] = [{"index": i, "message": {"role": "assistant", "content": t}, "score": s}
                         for i, (t, s) in enumerate([("a", 1), ("b", 0), ("c", 0.5)])]  # fmt: skip
    answers, _ = read(record)
    assert [(a.text, a.score) for a in answers] == [("a", 1.0), ("b", 0.0), ("c", 0.5)]
    batch = {"prompt": ["p", "q"], "choices": [{"index": i, "text": t} for i, t in enumerate("abcd")]}
    answers, _ = read(batch)
    assert [(a.messages[0]["content"], a.text) for a in answers] == [("p", "a"), ("p", "b"), ("q", "c"), ("q", "d")]
    ids = {"prompt": [1, 2, 3], "choices": [{"text": "a"}]}
    assert read(ids)[0][0].messages == ()


def chunk(delta, finish=None, logs=None, name="c1", index=0, **more):
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logs and {"content": logs}}
    return {"id": name, "object": "chat.completion.chunk", "choices": [choice], **more}


CHUNKS = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "a"}, logs=[entry("a", -0.1)]),
    chunk({"content": " b"}, logs=[entry(" b", -0.2)]),
    chunk({}, "length"),
    {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 5}},
)


def test_pieces_of_a_stream_are_one_answer(read):
    answer = only(read, *CHUNKS)
    assert answer.text == "a b" and answer.cut and [t.logp for t in answer.tokens] == [-0.1, -0.2]
    events = [f"data: {json.dumps(c)}\n" for c in CHUNKS]
    assert only(read, ": ping\n", "event: message", *events, "data: [DONE]\n").text == "a b"
    assert only(read, {"messages": ASKED, "response": list(CHUNKS)}).messages[0]["content"] == "1+1?"
    other = [{**c, "id": "c2"} for c in CHUNKS]
    mixed = [c for pair in zip(CHUNKS, other, strict=True) for c in pair]
    assert [a.text for a in read(*mixed)[0]] == ["a b", "a b"]
    two = [chunk({"content": t}, index=i) for i, t in [(0, "a"), (1, "x"), (0, "b"), (1, "y")]]
    assert [a.text for a in read(*two)[0]] == ["ab", "xy"]


def test_pieces_of_calls_and_of_legacy_completions(read):
    calls = [chunk({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "weather", "arguments": ""}}]}),
             chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}),
             chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Paris"}'}}]})]  # fmt: skip
    assert only(read, *calls, chunk({}, "tool_calls")).text == ONE_CALL
    thought = [chunk({"reasoning_content": "h"}), chunk({"reasoning_content": "m"}), chunk({"content": "2"})]
    assert only(read, *thought).text == "<think>\nhm\n</think>\n\n2"
    pieces = [
        {
            "id": "l",
            "object": "text_completion",
            "choices": [
                {
                    "index": 0,
                    "text": t,
                    "finish_reason": f,
                    "logprobs": {"tokens": [t], "token_logprobs": [-0.5], "top_logprobs": [None]},
                }
            ],
        }
        for t, f in (("a", None), (" b", "stop"))
    ]
    answer = only(read, *pieces)
    assert answer.text == "a b" and len(answer.tokens) == 2


@pytest.mark.parametrize("bad", [{"id": "c1", "choices": [{"index": 0, "delta": 7}]}, {"id": "c1", "choices": [None]},
                                 {"id": "c1", "choices": [{"index": 0, "delta": {"content": 7}}]},
                                 {"id": "c1", "object": "chat.completion.chunk", "choices": 7}], ids=repr)  # fmt: skip
def test_a_broken_piece_does_not_end_the_file(read, bad):
    answers, omissions = read(CHUNKS[1], bad, CHUNKS[2])
    assert [a.text for a in answers] == ["a b"] and sum(omissions.counts.values()) == 1


# -- lm-eval -----------------------------------------------------------------------------------------------------------


def sample(**more):
    asked = {"arg_0": "Q: 1+1?", "arg_1": {"until": ["Q:"]}}
    row = {"doc_id": 0, "doc": {"question": "1+1?"}, "doc_hash": "d", "target": "2", "filter": "strict-match"}
    row |= {"arguments": {"gen_args_0": asked}, "resps": [["The answer is 2."]], "filtered_resps": ["2"]}
    return {**row, "metrics": ["exact_match"], "exact_match": 1.0, **more}


def test_lm_eval_samples(read):
    answer = only(read, sample())
    assert answer.text == "The answer is 2." and answer.score == 1.0 and answer.final == "2"
    assert answer.messages[0]["content"] == "Q: 1+1?"
    older = {k: v for k, v in sample().items() if k not in ("metrics", "filter", "doc_hash")}
    answer = only(read, {**older, "arguments": [["Q: 1+1?", {"until": []}]]})
    assert answer.score == 1.0 and answer.messages[0]["content"] == "Q: 1+1?"
    answers, omissions = read(sample(), sample(filter="flexible-extract"), sample(doc_id=1, doc_hash="e"))
    assert len(answers) == 2 and omissions.counts == {"filters": 1}
    answers, _ = read(sample(resps=[["2", "3"]], filtered_resps=[["2", "3"]], exact_match=0.5))
    assert [(a.text, a.final, a.score) for a in answers] == [("2", "2", None), ("3", "3", None)]
    assert only(read, sample(filtered_resps=["[invalid]"], exact_match=0.0)).final is None


@pytest.mark.parametrize("value", [None, "nan", "-inf", -math.inf, math.nan])
def test_lm_eval_options(read, value):
    arguments = {f"gen_args_{i}": {"arg_0": "Q", "arg_1": f" {t}"} for i, t in enumerate("abc")}
    responses = [[["-2.5", "False"]], [["-1.5", "True"]], [[-3.0, False]]]
    record = sample(
        arguments=arguments, resps=responses, filtered_resps=[r[0] for r in responses], metrics=["acc"], acc=True
    )
    answer = only(read, record)
    assert answer.text == " b" and answer.final == "b" and answer.score == 1.0
    responses[0] = [[value, "False"]]
    [answer], omissions = read({**record, "resps": responses})
    assert answer.text == " b" and omissions.counts == {"options": 1}


def test_lm_eval_rows_that_are_broken(read):
    answers, omissions = read(
        sample(), sample(doc_id=1, resps=7), sample(doc_id=2, resps=[[None]]), sample(doc_id=3, arguments=7)
    )
    assert len(answers) == 2 and omissions.counts == {"rows": 1, "answers": 1}


# -- rows that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"error": {"message": "overloaded", "type": "server_error", "code": 503}},
        {"error": "model 'overloaded' not found"},
        {"object": "error", "message": "overloaded", "code": 400},
        {"custom_id": "q", "response": None, "error": {"code": "expired", "message": "overloaded"}},
        {
            "custom_id": "q",
            "response": {"status_code": 429, "body": {"error": {"message": "overloaded"}}},
            "error": None,
        },
        {"messages": ASKED, "response": {"error": {"message": "overloaded"}}},
        {"detail": "overloaded"},
        {"id": "r", "object": "response", "status": "failed", "error": {"message": "overloaded"}, "output": []},
        {"choices": [{"finish_reason": "error", "error": {"message": "overloaded"}, "message": {"content": ""}}]},
    ],
)
def test_a_request_that_failed_is_counted(read, row):
    answers, omissions = read(chat("a"), row)
    assert len(answers) == 1 and omissions.counts == {"requests": 1}
    assert omissions.first["requests"].startswith("line 2: ") and "overloaded" in omissions.first["requests"]
    with pytest.raises(FrownError, match="1 request that failed.*overloaded"):
        read(row)


@pytest.mark.parametrize(
    "line",
    ["{", "null", "3", '"text"', "[]", "[1]", "{}", '{"choices": null}', '{"choices": []}', '{"choices": {}}', "xx",
     '{"choices": [{"text": "a"}], "step": "x"}', '{"choices": [{"text": "a"}], "step": -1}', "[" * 100_000,
     '{"choices": [{"text": "a"}], "step": 1e300}', '{"outputs": 3}', '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_a_line_that_is_no_answer_costs_itself(read, line):
    answers, omissions = read(chat("a"), line, chat("b"))
    assert [a.text for a in answers] == ["a", "b"] and omissions.counts == {"rows": 1}
    assert omissions.first["rows"].startswith("line 2: ") and "\n" not in omissions.first["rows"]
    with pytest.raises(FrownError, match="no answer that can be read") as caught:
        read(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", [None, 3, "x", {}, {"message": None}, {"message": "x"}, {"index": 0}], ids=repr)
def test_a_choice_that_is_none_costs_itself(read, choice):
    record = chat("a")
    record["choices"].append(choice)
    answers, omissions = read(record)
    assert [a.text for a in answers] == ["a"] and omissions.counts == {"answers": 1}


@pytest.mark.parametrize("score", [3, -1, "x", math.nan, math.inf, [], {"value": 1}, 10**400], ids=repr)
def test_a_score_that_is_none_leaves_the_answer_unscored(read, score):
    [answer], omissions = read(chat("a", score=score))
    assert answer.score is None and omissions.counts == {"scores": 1}


def test_why_an_answer_ended(read):
    record = chat(message={"role": "assistant", "content": None})
    record["choices"][0]["finish_reason"] = "content_filter"
    [answer], omissions = read(record)
    assert answer.text == "" and answer.verdict == "ended by content_filter" and not answer.cut and not omissions.counts


def test_packed_logs_and_other_envelopes(tmp_path):
    """gzip, a list of records, one record over several lines, UTF-16 as PowerShell writes it, a byte-order mark."""
    records = [chat("a"), chat("b")]
    lines = "".join(json.dumps(r) + "\n" for r in records)
    for name, raw, n in [
        ("log.jsonl.gz", gzip.compress(lines.encode()), 2),
        ("log.json", json.dumps(records, indent=1).encode(), 2),
        ("one.json", json.dumps(records[0], indent=1).encode(), 1),
        ("utf16.jsonl", lines.encode("utf-16"), 2),
        ("bom.jsonl", b"\xef\xbb\xbf" + lines.encode(), 2),
        ("crlf.jsonl", lines.replace("\n", "\r\n").encode(), 2),
        ("latin.jsonl", lines.encode() + b'{"x": "\xe9"}\n', 2),
    ]:
        (tmp_path / name).write_bytes(raw)
        answers, omissions = read_chats(tmp_path / name)
        assert len(answers) == n, name
        assert omissions.counts == ({"rows": 1} if name == "latin.jsonl" else {})
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines.encode())[:-9])
    with pytest.raises(FrownError, match="cut short"):
        read_chats(tmp_path / "cut.gz")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(FrownError, match="empty"):
        read_chats(tmp_path / "empty.jsonl")


def test_what_was_left_out_is_said_by_those_who_read(tmp_path):
    top = [{"token": "a", "logprob": -0.5}, {"token": "x", "logprob": None}]
    path = log(tmp_path / "log.jsonl", chat("a", [entry("a", -0.5, top)]), {"error": "x"})
    with as_run(path) as run:
        assert run.omissions.counts == {"alternatives": 1, "requests": 1}
        assert len(run.omissions.sentences()) == 2


def test_half_a_surrogate_pair_anywhere_can_be_written(tmp_path):
    record = chat(
        "a\ud800", [entry("a", -0.5) | {"token": "a\ud800", "bytes": None}], answer="\ud800", custom_id="\ud800"
    )
    record["messages"] = [{"role": "\ud800", "content": "\ud800"}]
    record["choices"][0]["finish_reason"] = "\ud800"
    row = stored(tmp_path, record, {"error": "\ud800"}, "\\ud800")[0]
    assert row["text"] == "a\ufffd" and row["answer"] == "\ufffd" and row["verdict"] == "ended by \ufffd"
