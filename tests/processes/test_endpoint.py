"""The critic behind an endpoint, against a real server in a process of its own that misbehaves as it is told."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from endpoint_server import KEY, Server

pytest.importorskip("openai", reason='needs pip install "frown[critics]"')

from frown.config import EndpointConfig, ModelCriticConfig, parse, to_json
from frown.critics.base import Request, Review
from frown.critics.chat.cache import ReplyCache
from frown.critics.model.endpoint import endpoint_critic
from frown.errors import FrownError
from frown.types import Task, Verdict

TASK = Task("t", ({"role": "user", "content": "What is x?"},), "1")


@pytest.fixture(scope="module")
def shared():
    server = Server()
    yield server
    server.end()


@pytest.fixture
def server(shared, monkeypatch):
    monkeypatch.setenv("FROWN_TEST_KEY", KEY)
    return shared


def critic(server, script, *, cache=None, contradictions="drop", call_budget=None, token_budget=None, **endpoint):
    quick = {"backoff": 0.01, "timeout": 300.0, "deadline": 300.0, "key_variable": "FROWN_TEST_KEY"}
    return endpoint_critic(
        ModelCriticConfig(
            endpoint=EndpointConfig(base_url=server.url, model=script, **(quick | endpoint)),
            cache=cache, contradictions=contradictions, call_budget=call_budget, token_budget=token_budget,
            max_new_tokens=100,
        )
    )  # fmt: skip


def request(text="x = 2", *more, asked=None, verdict=None) -> Request:
    steps = (text, *more)
    return Request(TASK, "\n".join(steps), steps, tuple(range(len(steps))) if asked is None else asked, verdict)


def many(n: int) -> list[Request]:
    return [request(f"x = {100 + i}") for i in range(n)]


def balanced(found) -> bool:
    return found.asked == found.answered + found.cached + sum(found.lost.values())


# -- when it works -----------------------------------------------------------------------------------------------


def test_a_review_has_a_comment_for_each_asked_step_in_order(server):
    one = critic(server, "wrong")
    (review,) = one.review([request("x = 2", "x = 3", "x = 4", asked=(2, 0))])
    assert review.lost == "" and [(c.step, c.right) for c in review.comments] == [(0, False), (2, False)]
    assert review.comments[0].text == "Step 1 is wrong. It should be: x = 1"
    found = one.statistics
    assert (found.asked, found.answered, found.calls, found.tokens) == (1, 1, 1, 120) and balanced(found)
    (call,) = server.calls("wrong")
    body = call["body"]
    assert body["max_tokens"] == 100 and body["temperature"] == 0.0
    assert body["response_format"]["json_schema"]["strict"] is True
    one.close()


def test_what_is_sent_is_a_setting(server):
    script = "right:settings"
    one = critic(
        server, script, temperature="server", limit_field="max_completion_tokens", json_schema=False,
        extra_body={"chat_template_kwargs": {"enable_thinking": False}},
    )  # fmt: skip
    assert one.review([request()])[0].comments
    body = server.calls(script)[0]["body"]
    assert {"temperature", "max_tokens", "response_format"}.isdisjoint(body)
    assert body["max_completion_tokens"] == 100 and body["chat_template_kwargs"] == {"enable_thinking": False}


def test_calls_run_side_by_side_up_to_a_bound(server):
    alone = Server()  # for its count of calls at once
    one = critic(alone, "four_at_once", concurrency=4)
    reviews = one.review(many(12))
    most = alone.log()["most_at_once"]
    alone.end()
    assert all(r.comments for r in reviews) and most == 4
    assert [r.comments[0].text.split()[-1] for r in reviews] == [str(100 + i) for i in range(12)]


def test_threads_that_share_a_critic_take_turns(server):
    alone = Server()  # for its count of calls at once
    one = critic(alone, "slowly", call_budget=5, concurrency=1)
    threads = [threading.Thread(target=one.review, args=([request(f"{t} {i}") for i in range(2)],)) for t in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, most = one.statistics, alone.log()["most_at_once"]
    alone.end()
    assert (found.asked, found.answered, found.lost, found.calls, most) == (6, 5, {"budget": 1}, 5, 1)


INTERRUPTED = textwrap.dedent(
    """
    import os, signal, sys, threading, time, urllib.request
    from frown.config import EndpointConfig, ModelCriticConfig
    from frown.critics.base import Request
    from frown.critics.model.endpoint import endpoint_critic
    from frown.types import Task
    one = endpoint_critic(ModelCriticConfig(endpoint=EndpointConfig(base_url=sys.argv[1], model="hang:interrupted",
                                                                    key_variable="", timeout=3600, deadline=3600)))

    def interrupt_when_asked():
        log = sys.argv[1].removesuffix("/v1") + "/log"
        while b"hang:interrupted" not in urllib.request.urlopen(log).read():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt_when_asked)
    interrupter.start()
    try:
        one.review([Request(Task("t", ({"role": "user", "content": "x?"},), "1"), "", ("x = 2",), (0,))])
    except KeyboardInterrupt:
        found = one.statistics
        interrupter.join()
        print(found.calls, found.tokens > 1024, threading.active_count())
    """
)


def test_an_interrupt_ends_it_at_once_and_charges_what_was_under_way(server):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, server.url], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["1", "True", "1"] and done.stderr == ""


def test_it_can_be_used_where_an_event_loop_runs(server):
    import asyncio

    async def inside():
        return critic(server, "right").review([request()])

    assert asyncio.run(inside())[0].comments


def test_thinking_and_fences_around_a_reply_are_no_matter(server):
    assert critic(server, "chatty").review([request()])[0].comments


def test_equal_answers_are_asked_about_once(server):
    script = "right:equal"
    one = critic(server, script)
    reviews = one.review([request("a"), request("b"), request("a"), request("a")])
    assert reviews[0] == reviews[2] == reviews[3] and len(server.calls(script)) == 2
    assert (one.statistics.answered, one.statistics.cached) == (2, 2) and balanced(one.statistics)


def test_nothing_asked_is_nothing_done(server):
    one = critic(server, "right")
    assert one.review([]) == [] and one.review([request(asked=())])[0] == Review()
    assert one.statistics.asked == 0
    assert "none of them asked about" in one.review([request(asked=(5,))])[0].lost
    assert one.statistics.lost == {"no such step": 1} and one.statistics.calls == 0


def test_what_is_asked_of_a_closed_critic_is_lost(server):
    one = critic(server, "right")
    one.close()
    one.close()
    assert "closed" in one.review([request()])[0].lost and one.statistics.lost == {"closed": 1}


# -- replies that cannot be used ---------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["prose", "nobody", "string_types", "surrogate", "nested_reply", "cut", "repeats"])
def test_an_unusable_reply_is_shown_its_fault_once_and_then_lost(server, act):
    one = critic(server, act)
    (review,) = one.review([request("x = 2")])
    assert review.comments == () and "cannot be used" in review.lost and "\n" not in review.lost
    found = one.statistics
    assert (found.calls, found.reasked, found.retried, found.lost) == (2, 1, 0, {"unreadable": 1})
    first, second = (call["body"]["messages"] for call in server.calls(act))
    assert len(first) == 2 and len(second) == 4 and second[3]["content"].endswith("}") and second[:2] == first
    mended = critic(server, f"{act},right")
    assert mended.review([request("x = 2")])[0].comments and mended.statistics.answered == 1


def test_what_can_be_used_of_a_reply_is_used(server):
    one = critic(server, "some")
    (review,) = one.review([request("a", "b", "c")])
    assert [c.step for c in review.comments] == [0]
    found = one.statistics
    assert (found.reasked, found.left_out, found.answered) == (1, 2, 1) and balanced(found)
    broken = critic(server, "some,404,404")  # what was heard before the endpoint broke down is kept
    assert [c.step for c in broken.review([request("a", "b")])[0].comments] == [0]


def test_judgements_of_steps_nobody_asked_about_are_left_out_and_counted(server):
    one = critic(server, "stray")
    (review,) = one.review([request("a", "b", asked=(1,))])
    assert [c.step for c in review.comments] == [1] and one.statistics.stray == 1 and one.statistics.reasked == 0


def test_what_contradicts_the_verifier_is_counted_and_dropped_or_kept(server):
    requests = [request("a", "b", verdict=Verdict(0.0)), request("a", verdict=Verdict(1.0))]
    one = critic(server, "right")
    first, second = one.review(requests)
    assert "contradicts the verifier" in first.lost and second.comments
    assert one.statistics.contradicted == 2 and one.statistics.lost == {"contradicted": 1} and balanced(one.statistics)
    keeps = critic(server, "right", contradictions="keep")
    assert len(keeps.review(requests)[0].comments) == 2 and keeps.statistics.contradicted == 2
    picky = critic(server, "wrong")
    assert "contradicts" in picky.review(requests)[1].lost and picky.statistics.contradicted == 1


# -- endpoints that misbehave ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "reason", "calls"),
    [
        ("500", "server error", 3),
        ("503", "server error", 3),
        ("429", "rate limited", 3),
        ("reset", "unreachable", 3),
        ("drop", "unreachable", 3),
        ("empty", "malformed", 3),
        ("html", "malformed", 3),
        ("malformed", "malformed", 3),
        ("wrong_types", "malformed", 3),
        ("nested", "malformed", 3),
        ("at_a_date", "server error", 3),
        ("huge", "too large", 1),
        ("huge_error", "too large", 1),
        ("packed", "too large", 1),
        ("401", "refused", 1),
        ("404", "refused", 1),
        ("quota", "rate limited", 1),
        ("redirect", "refused", 1),
        ("400", "refused", 2),  # it might be the schema: asked once more without
    ],
)
def test_each_way_to_fail_costs_one_review_and_is_named(server, act, reason, calls):
    script = f"{act},{act}"
    one = critic(server, script, retries=2)
    (review,) = one.review([request()])
    assert review.comments == () and review.lost.startswith("model critic: ") and "\n" not in review.lost
    found = one.statistics
    assert found.lost == {reason: 1} and found.calls == calls == len(server.calls(script)) and balanced(found)
    assert found.retried == (calls - 1 if calls == 3 else 0)
    if reason not in ("too large", "refused") and act != "quota":  # and the next try might have helped
        assert critic(server, f"{act},right", retries=2).review([request()])[0].comments


def test_a_redirect_is_not_followed(server):
    assert "redirects are not followed" in critic(server, "redirect").review([request()])[0].lost
    assert all(call["path"] == "/v1/chat/completions" for call in server.log()["calls"])


def test_ten_megabytes_are_never_held(server):
    one = critic(server, "huge,huge_error,packed", breaker_after=9, retries=0)
    one.review([request()])
    tracemalloc.start()
    try:
        reviews = [one.review([request(str(i))])[0] for i in range(2)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "longer than" in reviews[0].lost or "packed" in reviews[0].lost
    assert most < 4 << 20  # bytes


@pytest.mark.parametrize("act", ["hang", "drip", "drip_headers"])
def test_the_deadline_holds_whatever_the_endpoint_does(server, act):
    one = critic(server, act, deadline=0.6, timeout=0.4 if act == "hang" else 300.0)
    reviews = one.review(many(4))
    assert all("deadline = 0.6 s" in r.lost or "silent" in r.lost for r in reviews)
    found = one.statistics
    assert sum(found.lost.values()) == 4 and set(found.lost) <= {"deadline", "timeout"}
    assert found.tokens > 4 * 100  # nobody knows what it cost: charged as the most it may have


def test_a_silent_call_is_given_up_and_tried_again(server):
    one = critic(server, "hang,right", timeout=1.0, retries=20)
    assert one.review([request()])[0].comments and one.statistics.retried >= 1


def test_retry_after_is_honoured(server):
    script = "later,right"
    assert critic(server, script).review([request()])[0].comments
    first, second = server.calls(script)
    assert second["at"] - first["at"] >= 1.0


def test_a_wait_past_the_deadline_is_not_begun(server):
    one = critic(server, "much_later")
    (review,) = one.review([request()])
    assert "would pass the deadline" in review.lost and (one.statistics.calls, one.statistics.retried) == (1, 0)


def test_an_endpoint_that_takes_no_schema_is_asked_without_from_then_on(server):
    one = critic(server, "no_schema", concurrency=1)
    reviews = one.review(many(3))
    assert all(r.comments for r in reviews)
    assert one.statistics.calls == 4 and one.statistics.retried == 0
    assert ["response_format" in c["body"] for c in server.calls("no_schema")] == [True, False, False, False]


def test_many_who_learn_at_once_that_there_is_no_schema_all_get_their_review(server):
    one = critic(server, "no_schema_to_eight", concurrency=8)
    assert all(r.comments for r in one.review(many(24)))
    assert one.statistics.calls == 24 + 8  # those under way when the first of them learnt it are asked twice


def test_one_refused_prompt_does_not_give_the_schema_up(server):
    script = "400,400,right"
    one = critic(server, script, concurrency=1)
    lost, *fine = one.review(many(3))
    assert lost.lost and all(r.comments for r in fine)
    assert ["response_format" in c["body"] for c in server.calls(script)] == [True, False, True, True]


def test_once_a_schema_was_taken_a_refusal_is_no_reason_to_do_without(server):
    script = "right,400,right"
    one = critic(server, script, concurrency=1)
    assert [bool(r.lost) for r in one.review(many(3))] == [False, True, False]
    assert ["response_format" in c["body"] for c in server.calls(script)] == [True, True, True]


def test_failures_with_successes_between_them_are_no_reason_to_leave_off(server):
    one = critic(server, "503,503,right,503,503,right", retries=0, concurrency=1, breaker_after=3)
    assert len(one.review(many(6))) == 6 and one.statistics.lost == {"server error": 4}


def test_an_endpoint_that_is_down_is_left_alone_and_found_again(server):
    one = critic(server, "503," * 6 + "right", retries=0, concurrency=1, breaker_after=3, breaker_pause=0.5)
    assert one.review(many(10)) and one.statistics.calls == 3
    assert one.statistics.lost == {"server error": 3, "breaker": 7}
    time.sleep(0.6)
    one.review(many(5))
    assert one.statistics.calls == 4  # one failure is enough to leave it alone again
    for _ in range(2):
        time.sleep(0.6)
        one.review(many(1))
    time.sleep(0.6)
    assert all(r.comments for r in one.review(many(5))) and balanced(one.statistics)


def test_an_endpoint_that_is_not_there_costs_reviews_and_no_tokens(server):
    gone = Server()
    gone.end()
    one = critic(gone, "right", retries=1, breaker_after=2, concurrency=1)
    reviews = one.review(many(6))
    assert all("cannot be reached" in r.lost or "left alone" in r.lost for r in reviews)
    assert one.statistics.tokens == 0 and one.statistics.lost == {"unreachable": 2, "breaker": 4}


# -- budgets -----------------------------------------------------------------------------------------------------


def test_the_budget_of_calls_is_kept_to_the_call_and_what_is_left_is_lost(server):
    script = "503,right,503,right,right"
    one = critic(server, script, call_budget=7, concurrency=5)
    reviews = one.review(many(12))
    found = one.statistics
    assert found.calls == 7 == len(server.calls(script))
    assert found.answered == sum(bool(r.comments) for r in reviews) >= 4 and found.lost["budget"] >= 6
    assert all("budget of 7 calls is spent" in r.lost for r in reviews if not r.comments) and balanced(found)


def test_the_budget_of_tokens_is_never_passed_and_waits_for_what_is_under_way(server):
    one = critic(server, "right:tokens", token_budget=4000, concurrency=8)
    reviews = one.review(many(40))
    found = one.statistics
    # Each call takes 120 tokens and may take some 2300: eight at once do not fit, so they wait for each other, and the
    # last begins while 2300 are left.
    most = len(json.dumps(server.calls("right:tokens")[0]["body"])) + 100
    assert found.tokens <= 4000 and found.answered == len([r for r in reviews if r.comments])
    assert found.answered * 120 == found.tokens and 4000 - most - 130 <= found.tokens - 120 < 4000
    assert set(found.lost) == {"budget"} and balanced(found)
    assert "tokens are left" in next(r.lost for r in reviews if r.lost)


@pytest.mark.parametrize("act", ["usage_missing", "usage_absurd", "drop", "malformed"])
def test_where_the_cost_is_not_known_the_most_is_charged(server, act):
    one = critic(server, act, retries=0)
    one.review([request()])
    body = server.calls(act)[-1]["body"]
    assert one.statistics.prompt_tokens == 0
    assert one.statistics.tokens == len(json.dumps(body, ensure_ascii=False).encode()) + 100


def test_no_budget_asks_nothing(server):
    script = "right:no budget"
    assert critic(server, script, call_budget=0).review([request()])[0].lost
    assert critic(server, script, token_budget=50).review([request()])[0].lost
    assert server.calls(script) == []


# -- the cache ---------------------------------------------------------------------------------------------------

ELSEWHERE = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from frown.config import EndpointConfig, ModelCriticConfig
    from frown.critics.base import Request
    from frown.critics.model.endpoint import endpoint_critic
    from frown.types import Task
    url, cache, n = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    endpoint = EndpointConfig(base_url=url, model="right:elsewhere", key_variable="FROWN_TEST_KEY")
    one = endpoint_critic(ModelCriticConfig(endpoint=endpoint, cache=cache, max_new_tokens=100))
    task = Task("t", ({"role": "user", "content": "What is x?"},), "1")
    reviews = one.review([Request(task, "", (f"x = 10{i}",), (0,)) for i in range(n)])
    found = one.statistics
    print(json.dumps([[c.text for r in reviews for c in r.comments], found.calls, found.cached, found.cache_faults,
                      found.tokens, "torch" in sys.modules]))
    """
)


def elsewhere(server, cache, n) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, server.url, str(cache), str(n)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def kept(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.json"))


def test_a_second_process_pays_nothing_for_the_same_reviews(server, tmp_path):
    cache = tmp_path / "deep" / "cache"
    said = [json.loads(elsewhere(server, cache, 5).communicate()[0]) for _ in range(2)]
    (texts, calls, cached, faults, tokens, torch), (again, *costs) = said
    assert (calls, cached, faults, tokens, torch) == (5, 0, 0, 600, False)
    assert again == texts and costs == [0, 5, 0, 0, False]
    assert len(server.calls("right:elsewhere")) == 5


def test_processes_write_one_cache_at_the_same_time(server, tmp_path):
    cache = tmp_path / "cache"
    before = len(server.calls("right:elsewhere"))
    processes = [elsewhere(server, cache, 20) for _ in range(3)]
    said = [json.loads(p.communicate()[0]) for p in processes]
    assert all(faults == 0 and calls + cached == 20 for _, calls, cached, faults, *_ in said)
    assert 20 <= len(server.calls("right:elsewhere")) - before == sum(s[1] for s in said) <= 60
    assert len(kept(cache)) == 20 and not list(cache.rglob("*.part"))


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"extra_body": {"top_k": 3}},
        {"json_schema": False},
    ],
)
def test_another_critic_or_another_answer_is_asked_anew(server, tmp_path, change):
    cache = tmp_path / "cache"
    first = critic(server, "right", cache=cache)
    first.review([request("a", "b", asked=(1,))])
    assert critic(server, "right", cache=cache).review([request("a", "b", asked=(1,))])[0].comments
    for one, asked in (
        (critic(server, "right", cache=cache, **change), request("a", "b", asked=(1,))),
        (critic(server, "right:other", cache=cache), request("a", "b", asked=(1,))),  # another model
        (critic(server, "right", cache=cache), request("a", "b", asked=(0, 1))),
        (critic(server, "right", cache=cache), request("c", "b", asked=(1,))),
    ):
        assert one.review([asked])[0].comments and one.statistics.calls == 1 and one.statistics.cached == 0


def test_a_cache_that_breaks_while_it_is_used_costs_calls_and_no_more(server, tmp_path):
    cache = tmp_path / "cache"
    one = critic(server, "right", cache=cache)
    for n, nonsense in enumerate((b'{"steps": 7}', b"", b'{"steps": [', b"\xff\xfe"), 1):
        one.review([request("a")])
        assert one.statistics.calls == n
        (file,) = kept(cache)
        file.write_bytes(nonsense)
    assert one.review([request("a")])[0].comments
    assert one.statistics.cache_faults == 1  # nonsense is no reply, and what is no text is a fault
    shutil.rmtree(cache)
    cache.write_text("in the way")
    assert one.review([request("a")])[0].comments and one.statistics.cache_faults == 3


def test_what_was_lost_is_not_kept(server, tmp_path):
    critic(server, "prose,prose,503", cache=tmp_path, retries=0, concurrency=1).review(many(2))
    assert kept(tmp_path) == []
    assert critic(server, "right", cache=tmp_path).review(many(1))[0].comments and len(kept(tmp_path)) == 1


def test_a_place_that_can_hold_no_cache_is_refused_in_one_line(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("dear diary")
    for path in (file, file / "below"):
        with pytest.raises(FrownError, match="cannot keep a critic's cache in") as error:
            ReplyCache(path)
        assert "\n" not in str(error.value)
    assert file.read_text() == "dear diary"


# -- the key -----------------------------------------------------------------------------------------------------

LEAKS = textwrap.dedent(
    """
    import logging, sys, traceback
    from pathlib import Path
    folder = Path(sys.argv[2])
    logging.basicConfig(level=logging.DEBUG, filename=folder / "log.txt")
    from frown.config import EndpointConfig, ModelCriticConfig, to_json
    from frown.critics.base import Request
    from frown.critics.model.endpoint import endpoint_critic
    from frown.types import Task
    task = Task("t", ({"role": "user", "content": "What is x?"},), "1")
    for script in ("leaks", "leaks_reply", "right", "redirect", "500", "drop", "html", "prose", "400", "hang"):
        endpoint = EndpointConfig(base_url=sys.argv[1], model=script, key_variable="FROWN_TEST_KEY", retries=1,
                                  backoff=0.01, deadline=0.5 if script == "hang" else 300)
        config = ModelCriticConfig(endpoint=endpoint, cache=folder / "cache")
        one = endpoint_critic(config)
        print(repr(config), to_json(config), repr(one), vars(one), vars(one._backend), one.statistics)
        print(one.review([Request(task, "x = 2", ("x = 2",), (0,))]), one.statistics)
    def held(thing, depth=0):  # as a traceback with local variables would show it
        for name, value in vars(thing).items():
            print(name, repr(value))
            if depth < 3 and hasattr(value, "__dict__") and type(value).__module__.startswith("frown"):
                held(value, depth + 1)
    held(one)
    """
)


def test_the_key_reaches_no_log_file_cache_or_output(server, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LEAKS, server.url, str(tmp_path)],
        capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENAI_LOG": "debug", "FROWN_TEST_KEY": KEY},
    )  # fmt: skip
    files = {f.name: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    assert len(files) == 3 and len(files["log.txt"]) > 1000  # two reviews were worth keeping
    assert b"use [key]" in done.stdout and b"HTTP 401: see [key] see [key]" in done.stdout  # taken out
    for written in (done.stdout, done.stderr, *files.values()):
        assert KEY[:8].encode() not in written  # nor does its beginning, cut off
    assert b'[key]"' in files["log.txt"]  # and out of the status line
    call = server.calls("leaks")[0]
    assert "sk-test" not in json.dumps(call)  # the test's own server does not count as a place


def test_a_key_that_is_missing_or_none_is_refused_without_its_value(server, monkeypatch):
    monkeypatch.setenv("FROWN_TEST_KEY", "")
    with pytest.raises(FrownError, match="FROWN_TEST_KEY is not set; export FROWN_TEST_KEY, or set key_variable"):
        critic(server, "right")
    monkeypatch.setenv("FROWN_TEST_KEY", "sk-abc\ndef")
    with pytest.raises(FrownError, match="no key can have") as error:
        critic(server, "right")
    assert "abc" not in str(error.value)
    assert critic(server, "right", key_variable="").review([request()])[0].comments


@pytest.mark.parametrize(
    "change",
    [
        {"key_variable": KEY},
        {"key_variable": "0a1b2c3d4e5f0a1b2c3d4e5f"},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"base_url": f"https://{KEY}@example.org/v1"},
        {"base_url": f"https://example.org/v1?key={KEY}"},
        {"api_key": KEY},
    ],
)
def test_a_key_in_the_settings_is_refused_without_repeating_it(change):
    values = {"endpoint": {"base_url": "http://localhost:1/v1", "model": "m"} | change}
    with pytest.raises(FrownError) as error:
        parse(ModelCriticConfig, values, "config")
    assert all(v not in str(error.value) for v in change.values()) and KEY not in str(error.value)


# -- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "needs either endpoint"),
        ({"endpoint": {"base_url": "http://a/v1", "model": "m"}, "local": {"path": "p"}}, "not both"),
        ({"endpoint": {"base_url": "localhost:8000/v1", "model": "m"}}, "base_url is no URL"),
        ({"endpoint": {"base_url": "http://[::1", "model": "m"}}, "base_url is no URL"),
        ({"endpoint": {"base_url": "http://a:b/v1", "model": "m"}}, "base_url is no URL"),
        ({"endpoint": {"base_url": "http://a/v1", "model": "m", "temperature": -1}}, "temperature"),
        ({"endpoint": {"base_url": "http://a/v1", "model": "m", "retrys": 1}}, "did you mean 'endpoint.retries'?"),
        ({"local": {"path": "p"}, "sees": ["all"]}, "sees"),
    ],
)
def test_settings_that_make_no_sense_are_answered_in_one_line(values, expected):
    with pytest.raises(FrownError) as error:
        parse(ModelCriticConfig, values, "config")
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_settings_are_frozen_and_read_back_the_same():
    config = parse(ModelCriticConfig, {"endpoint": {"base_url": "http://a/v1", "model": "m"}, "cache": "c"}, "config")
    assert ModelCriticConfig.model_validate_json(to_json(config)) == config
    with pytest.raises(ValueError):
        config.max_new_tokens = 3


def test_without_openai_one_line_says_what_to_install(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "frown.critics.chat.protocol", None)
    monkeypatch.setitem(sys.modules, "openai", None)
    import frown.critics.chat

    monkeypatch.delattr(frown.critics.chat, "protocol", raising=False)
    with pytest.raises(FrownError, match=r'pip install "frown\[critics\]"'):
        critic(server, "right")


def test_what_openai_logs_stays_quiet_at_the_usual_level(server, caplog):
    with caplog.at_level(logging.WARNING):
        critic(server, "500,right").review([request()])
    assert caplog.records == []
