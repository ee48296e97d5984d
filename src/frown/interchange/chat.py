"""Chat logs: what servers of language models answer, and what harnesses log of it, one record a line.

`messages` (or `prompt`) and `score` (or `reward`, in [0, 1]) may stand beside these, or for the request in "request":

    {"choices": [{"message": {...}, "logprobs": {"content": [{token, logprob, bytes, top_logprobs}]}}]}     chat
    {"choices": [{"text": ..., "logprobs": {"tokens", "token_logprobs", "top_logprobs"}}]}                  completions
    {"choices": [{"delta": ...}]}, {"done": false, ...}                          pieces of a stream; also "data: {...}"
    {"output": [{"type": "message", "content": [{"type": "output_text", ...}]}]}                            responses
    {"response": {the above}}, {"response": {"body": {the above}}}     a log of pairs (LiteLLM); a batch's output
    {"prompt": ..., "outputs": [{"text", "token_ids", "logprobs": [{id: {logprob, decoded_token}}]}]}       vLLM offline
    {"content": ..., "completion_probabilities": [...]}                                                     llama.cpp
    {"text": ..., "meta_info": {"output_token_logprobs": [[logprob, id, text]]}}                            SGLang
    {"message": {...}, "done": true}, {"response": "...", "done": true}                                     Ollama
    {"doc_id": ..., "resps": ..., "filtered_resps": ...}                                                    lm-eval
    {"messages": [..., {"role": "assistant", ...}]}, {"prompt": ..., "completion": ...}             conversations alone

Log-probabilities are taken as those of temperature 1, which is what these servers give unless told otherwise. What
cannot be read costs itself alone and is counted: an alternative, a token, a score, an answer, a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.interchange.answer import Answer, step_of
from frown.interchange.forms import BAD_FORM, CUT, ENDED, Choice, choices_of, has_answer, said_of, why
from frown.interchange.lm_eval import answers_of_sample, is_sample, sample_key
from frown.interchange.messages import clean, content_text, messages_of
from frown.interchange.omissions import Omissions
from frown.interchange.placing import placed, without_prompt
from frown.interchange.stream import joined, records_of, whole_answers
from frown.tasks.contents import decoded, read_bytes
from frown.types import Message


def read_chats(path: Path) -> tuple[list[Answer], Omissions]:
    """All answers of a log, in order, and what of it could not be read. Compressed logs are read as they are.

    Raises FrownError for a file that cannot be read, and one that holds no answer.
    """
    omissions = Omissions()
    answers: list[Answer] = []
    samples: set[str] = set()
    for line, record in whole_answers(_records(path, omissions)):
        omissions.place = f"line {line}"
        if is_sample(record):
            key = sample_key(record)
            if key in samples:
                omissions.add("filters", f"filter {record.get('filter')}")
                continue
            samples.add(key)
        try:
            answers += answers_of(record, omissions)
        except BAD_FORM as error:
            omissions.add("rows", why(error))
    if not answers:
        reasons = omissions.sentences()
        raise FrownError(f"{path} holds no answer that can be read; {reasons[0] if reasons else 'it is empty'}")
    return answers, omissions


def _records(path: Path, omissions: Omissions) -> list[tuple[int, dict[str, Any]]]:
    records = []
    for line, value in records_of(_text(path, omissions)):
        omissions.place = f"line {line}"
        if isinstance(value, dict):
            records.append((line, value))
        else:
            omissions.add("rows", str(value) if isinstance(value, ValueError) else f"{value!r:.40} is no object")
    return records


def _text(path: Path, omissions: Omissions) -> str:
    """The text of a log. A line that is no UTF-8 is left out."""
    raw = read_bytes(path)
    try:
        return decoded(path, raw)
    except FrownError:
        lines = raw.split(b"\n")
    for i, line in enumerate(lines):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            omissions.place = f"line {i + 1}"
            omissions.add("rows", f"not UTF-8 text at byte {error.start + 1}")
            lines[i] = b""
    return b"\n".join(lines).decode("utf-8-sig")


def answers_of(record: Mapping[str, Any], omissions: Omissions) -> Iterator[Answer]:
    """The answers that one record holds, one a choice. Raises KeyError, TypeError or ValueError for another form."""
    if is_sample(record):
        yield from answers_of_sample(record, omissions.add)
        return
    for body in _bodies(record):
        yield from _answers_of_body(record, body, omissions)


def _answers_of_body(record: Mapping[str, Any], body: Mapping[str, Any], omissions: Omissions) -> Iterator[Answer]:
    if (failure := _failure(record, body)) is not None:
        omissions.add("requests", failure)
        return
    asked = _request(record)
    prompts = _prompts(asked, body, omissions)
    named = record.get("custom_id") or (None if prompts[0] else body.get("id"))
    step = step_of(record.get("step"))
    choices = list(choices_of(body, omissions))
    for choice in choices:
        prompt = prompts[min(choice.index * len(prompts) // max(len(choices), 1), len(prompts) - 1)]
        prompt, choice = _without_echo(prompt, choice, asked, body)
        given = next((s[k] for s in (choice.source or {}, record) for k in ("score", "reward") if k in s), None)
        score, said = _score(given, omissions)
        ended = "" if choice.reason in (*CUT, *ENDED, "") else f"ended by {choice.reason}"
        tokens = placed(choice.tokens, choice.text)
        yield Answer(
            messages=prompt,
            text=choice.text,
            tokens=None if all(isnan(t.logp) for t in tokens) else tokens,
            cut=choice.reason in CUT,
            score=score,
            verdict=clean(", ".join(part for part in (said, ended) if part)),
            final=None if record.get("answer") is None else clean(content_text(record["answer"])),
            step=step,
            task=None if named is None else clean(named),
        )


# -- what stands around an answer ------------------------------------------------------------------------------------


def _opened(value: Any) -> Any:
    """A value, or what it holds where it is JSON within a string, as some databases keep it."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _bodies(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the server answered, out of what it was logged in."""
    if "done" in record:  # Ollama: "response" is the text
        return [record]
    body = _opened(record.get("response"))
    if isinstance(body, list) and body and all(isinstance(part, Mapping) for part in body):
        return list(joined(body))
    if not isinstance(body, Mapping) or not body:
        return [record]
    inner = _opened(body.get("body"))
    return [inner if isinstance(inner, Mapping) and inner else body]


def _request(record: Mapping[str, Any]) -> dict[str, Any]:
    asked = dict(record)
    for name in ("request", "kwargs", "body"):
        inner = _opened(asked.get(name))
        if isinstance(inner, Mapping):
            asked |= inner
    return asked


def _prompts(asked: Mapping[str, Any], body: Mapping[str, Any], omissions: Omissions) -> list[tuple[Message, ...]]:
    """What was asked: one prompt, or those of a batch."""
    given = next((asked[k] for k in ("messages", "prompt", "input") if asked.get(k) is not None), None)
    if given is None:
        given = body.get("prompt")
    request = _opened(asked.get("request"))
    if given is None and isinstance(request, Mapping):
        given = request.get("text")  # SGLang
    given = _opened(given)
    try:
        if isinstance(given, list) and given and all(isinstance(p, str) for p in given):
            return [messages_of(p) for p in given]
        prompt = messages_of(given)
    except BAD_FORM as error:
        omissions.add("messages", why(error))
        return [()]
    if prompt and "choices" not in body and not has_answer(body) and prompt[-1]["role"] == "assistant":
        prompt = prompt[:-1]  # a conversation alone, whose last turn is the answer
    system = asked.get("instructions", asked.get("system"))
    if isinstance(system, str) and system and prompt and prompt[0]["role"] != "system":
        prompt = ({"role": "system", "content": clean(system)}, *prompt)
    return [prompt]


def _failure(record: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Why a request had no answer; None where it has one."""
    if body.get("choices") or body.get("outputs"):
        return None
    errors = (*(source.get(k) for source in (body, record) for k in ("error", "error_str", "error_information")),)
    for error in errors:
        if error:
            return said_of(error)
    if body.get("object") == "error" or "detail" in body:
        return said_of(body)
    response = record.get("response")
    status = response.get("status_code") if isinstance(response, Mapping) else record.get("status_code")
    if isinstance(status, int) and status >= 400:
        return f"status {status}"
    if record.get("status") in ("failure", "failed") or body.get("status") in ("failed", "cancelled"):
        return str(record.get("status") or body["status"])
    return None


def _score(given: Any, omissions: Omissions) -> tuple[float | None, str]:
    """The score, and what is said of it."""
    if given is None:
        return None, ""
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        omissions.add("scores", f"score {given!r}")
        return None, clean(f"logged score {given}")
    return value, f"logged score {given}"


def _without_echo(
    prompt: tuple[Message, ...], choice: Choice, asked: Mapping[str, Any], body: Mapping[str, Any]
) -> tuple[tuple[Message, ...], Choice]:
    """The prompt and the answer apart, where a legacy completion holds both (`echo`)."""
    tokens = choice.tokens
    if not (asked.get("echo") is True or (tokens and isnan(tokens[0].logp))) or "choices" not in body:
        return prompt, choice
    said = prompt[0]["content"] if len(prompt) == 1 else None
    if not prompt and tokens and asked.get("echo") is not False:
        usage = body.get("usage")
        n = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        count = usage.get("total_tokens") if isinstance(usage, Mapping) else None
        if isinstance(n, int) and 0 < n < len(tokens) and count == len(tokens):
            said = b"".join(t.raw or b"" for t in tokens[:n]).decode("utf-8", "replace")
    if not said or not choice.text.startswith(said):
        return prompt, choice
    rest = Choice(choice.text[len(said) :], without_prompt(tokens, said), choice.reason, choice.source, choice.index)
    return prompt or messages_of(said), rest
