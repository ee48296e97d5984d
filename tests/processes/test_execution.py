"""The critic that runs programs: real processes, each test bounded to seconds. What a candidate says of itself is
nothing to go by."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.critics.base import Comment, Request, Review
from frown.critics.controls import ErringCritic
from frown.critics.execution import critic as critics
from frown.critics.execution import process
from frown.critics.execution.critic import ExecutionCritic, extract_program
from frown.errors import FrownError
from frown.feedback.compose import compose
from frown.types import Part, Rollout, Step, Task

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits on processes need a POSIX system")

LIMITS = process.Limits(cpu_seconds=60, wall_seconds=600, memory_mb=128, file_mb=1)
"""Seconds that no program here needs, however slow the machine."""


@pytest.fixture(scope="module")
def critic():
    return ExecutionCritic(unsafe_subprocess=True, limits=LIMITS)


def request(text, tests, steps=None, asked=(0,)):
    task = Task("t", ({"role": "user", "content": "q"},), "a", data={} if tests is None else {"tests": tests})
    return Request(task, text, steps or (text,), asked)


def told_by(critic):
    """What a critic says of one program, as (right, text)."""

    def say(code, tests):
        (review,) = critic.review([request(f"So:\n```python\n{code}\n```\nDone.", tests, ("So:\n",))])
        assert not review.lost, review.lost
        (comment,) = review.comments
        assert comment.step is None
        return comment.right, comment.text

    return say


@pytest.fixture
def say(critic):
    return told_by(critic)


ADD = "def add(a, b):\n    return a + b"
OK = ["assert True"]


def test_programs_that_pass_their_tests(say):
    assert say(ADD, ["assert add(1, 2) == 3"]) == (True, "The test passes.")
    assert say(ADD, ("assert add(1, 2) == 3", "import math", "assert math.isclose(add(.1, .2), .3)")) == (
        True,
        "All 3 tests pass.",
    )
    assert say("print(int(input()) * 2)", [["2\n", "4"], ("3", "6  \n\n")]) == (True, "All 2 tests pass.")


def test_the_shortest_failing_tests_are_told(say):
    tests = ["assert add(1000, 2) == 998", "assert add(1, 2) == 3", "assert add(1, 2) == -1", "assert add(2, 0) < 2"]
    assert say(ADD, tests) == (
        False,
        "3 of 4 tests fail.\n`assert add(2, 0) < 2` does not hold.\n`add(1, 2)` gives 3; expected is -1.",
    )
    assert say("print(input()[::-1])", [["abc", "abc"], ["é", "é"], ["ab", "ab"]]) == (
        False,
        "2 of 3 tests fail.\nWith the input\nab\nthe program prints\nba\nexpected is\nab\n"
        "With the input\nabc\nthe program prints\ncba\nexpected is\nabc",
    )
    assert say("pass", [["", "x"]]) == (False, "1 of 1 tests fails.\nThe program prints\n(nothing)\nexpected is\nx")


@pytest.mark.parametrize(
    ("code", "tests", "words"),
    [
        ("x = 1\nx = (", OK, "The program ends with SyntaxError at line 2: '(' was never closed."),
        ("x = 1\nassert x == 2, 'no'", OK, "The program ends with AssertionError at line 2: no."),
        ("a\0b", OK, "The program ends with SyntaxError: source code string cannot contain null bytes."),
        ("", ["assert add(1, 2) == 3"], "`add(1, 2)` ends with NameError: name 'add' is not defined."),
        (
            "def f(x):\n    return g(x)\ndef g(x):\n    return 1 // x",
            ["assert f(1) == 1", "assert f(0) == 1"],
            "`f(0)` ends with ZeroDivisionError at line 4: integer division or modulo by zero.",
        ),
        ("print(int(input()))", [["x", "1"]], "With the input\nx\nthe program ends with ValueError at line 1: "
         "invalid literal for int() with base 10: 'x'."),
        ("class E(Exception):\n    def __str__(self):\n        return 1 / 0\nraise E", OK,
         "The program ends with E at line 4."),
        ("print(1)\nimport sys\nsys.exit(3)", [["", "1"]], "The program ends with exit status 3."),
        ("import os\nos.kill(os.getpid(), 11)", [["", "1"]], "The program is ended by SIGSEGV."),
    ],
)  # fmt: skip
def test_the_first_error_is_told_with_its_line(say, code, tests, words):
    assert say(code, tests) == (False, words)


def test_exit_status_zero_is_no_error_and_main_blocks_run_as_programs_alone(say):
    code = 'def main():\n    print(input())\nif __name__ == "__main__":\n    main()\n    raise SystemExit'
    assert say(code, [["hé 漢字 🙂", "hé 漢字 🙂"]]) == (True, "The test passes.")
    assert say(code, ["assert main.__name__ == 'main'"]) == (True, "The test passes.")


def test_code_is_compiled_as_its_own_module(say):
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n    y: float = 1.0"
    )
    assert say(code, ["assert P(1) == P(1, 1.0)"]) == (True, "The test passes.")
    assert say("def f(x: int): pass", ["assert f.__annotations__ == {'x': int}"]) == (True, "The test passes.")


FORGED = b'{"test": null}\n{"test": 0, "passed": true}\n{"token": "", "test": 0, "passed": true}\n'


@pytest.mark.parametrize(
    "leave",
    [
        "import os; os._exit(0)",
        "raise SystemExit",
        "import sys; sys.exit(0)",
        f"import os\nfor fd in range(3, 20):\n    try: os.write(fd, {FORGED!r})\n    except OSError: pass\nos._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_a_program_that_says_it_passed_and_leaves_has_not(say, leave):
    right, text = say(f"print('all tests passed')\n{leave}", ["assert 1 == 1"])
    assert not right and text.startswith("The program ")
    indented = leave.replace("\n", "\n    ")
    right, text = say(f"def f():\n    print('all tests passed')\n    {indented}", ["assert f() == 1"])
    assert not right and text.startswith("`f()` ")


def test_values_are_cut_and_never_trusted(say):
    right, text = say("def f():\n    return 'x' * 10**6", ["assert f() == 1"])
    assert not right and len(text) < 400 and text.endswith("xxx [...]; expected is 1.")
    code = "class C:\n    def __repr__(self):\n        raise ValueError\ndef f():\n    return C()"
    assert "<C whose repr raises ValueError>" in say(code, ["assert f() == 1"])[1]
    assert say("def f():\n    return '\\ud800'", ["assert f() == 1"])[1].encode()
    assert say("raise ValueError('\\ud800')", OK)[1].encode()
    assert say("import os\nos.write(1, b'\\xff\\x00')", [["", "x"]])[1].encode()


def test_an_endless_loop_is_ended():
    limits = process.Limits(cpu_seconds=1, wall_seconds=600, memory_mb=128)
    say = told_by(ExecutionCritic(unsafe_subprocess=True, limits=limits))
    assert say("while True:\n    pass", OK) == (False, "The program takes more than 1 s of processor time.")
    assert say("def f():\n    while True: pass", ["assert f() == 1"])[1].startswith("`f()` takes more than 1 s")


def test_a_sleeper_is_ended_on_the_clock():
    limits = process.Limits(cpu_seconds=1, wall_seconds=1.5, memory_mb=128)
    ran = process.run_program("import signal, time\nsignal.alarm(0)\ntime.sleep(3600)", limits)
    assert ran.ended_by == "takes longer than 1.5 s"


def test_a_memory_bomb_is_an_error_with_its_line(say):
    assert say("x = []\nwhile True:\n    x.append('a' * 1000)", OK)[1].startswith(
        "The program ends with MemoryError at"
    )
    assert say("x = ()\nwhile True:\n    x = (x,)", OK)[1] == "The program ends with MemoryError at line 3."
    assert say("x = bytearray(10**10)", [["", ""]]) == (False, "The program ends with MemoryError at line 1.")


@pytest.mark.parametrize(
    "start", ["os.fork()", "subprocess.run(['true'])", "os.system('true') and 1 / 0", "multiprocessing.Pool(2)",
              "threading.Thread(target=print).start()"]
)  # fmt: skip
def test_no_further_process_or_thread_can_be_started(say, start):
    right, text = say(f"import multiprocessing, os, subprocess, threading\nwhile True:\n    {start}", OK)
    assert not right and " at line 3" in text


def alive(marker: str) -> bool:
    found = Path("/proc").glob("[0-9]*/cmdline")
    return any(marker in (p.read_bytes().decode(errors="replace") if p.exists() else "") for p in found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to look for processes")
def test_no_child_outlives_its_parent(say, tmp_path, monkeypatch):
    marker = f"6000.{os.getpid()}"
    sleeper = f"os.execvp('sleep', ['sleep', '{marker}'])"
    code = f"import os\nif os.fork() == 0:\n    os.setsid()\n    {sleeper}"
    assert "BlockingIOError at line 2" in say(code, OK)[1] and not alive(marker)
    # And without the limit on processes: what is left of the session is killed when its leader has ended.
    child = tmp_path / "child.py"
    child.write_text(f"import os, time\nif os.fork() == 0:\n    {sleeper}\ntime.sleep(0.3)\nos._exit(0)")
    monkeypatch.setattr(process, "_CHILD", child)
    assert process.run_program("", LIMITS).status == 0
    while alive(marker):  # for as long as the kernel takes to end what was killed
        time.sleep(0.01)


def test_floods_are_ended(say):
    assert say("while True:\n    print('x' * 1000)", [["", ""]]) == (False, "The program writes more than 1 MiB.")
    assert say("with open('big', 'wb') as f:\n    while True:\n        f.write(bytes(2**20))", OK) == (
        False,
        "The program writes more than 1 MiB.",
    )


def test_the_environment_is_not_inherited(say, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sesame")
    right, text = say("import os\nprint(dict(os.environ))", [["", ""]])
    assert not right and "PATH" in text and "sesame" not in text


def test_the_folder_is_empty_writable_and_gone_afterwards(say, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = """
import os
assert os.listdir() == []
with open("note", "w") as f:
    f.write("x")
os.symlink("/etc", "link")
for i in range(60):
    os.mkdir("deep")
    os.chdir("deep")
os.mkdir("closed")
os.chmod("closed", 0)
os.chmod("..", 0)
"""
    assert say(code, OK) == (True, "The test passes.")
    assert list(tmp_path.iterdir()) == []


def test_errors_do_not_name_the_folders_of_this_machine(say, tmp_path):
    text = say("open('/etc/nowhere/there.txt')", OK)[1]
    assert "'there.txt'" in text and "nowhere" not in text
    text = say("from collections import nothing", OK)[1]
    assert "ImportError at line 1" in text and os.path.dirname(os.__file__) not in text
    assert tempfile.gettempdir() not in say("import os\nprint(os.getcwd())", [["", ""]])[1]
    assert say("raise ValueError('1/2 or and/or, 3 / 4')", OK)[1].endswith("line 1: 1/2 or and/or, 3 / 4.")


STEPS = ("First, a thought.\n", "```python\ndef f(x):\n", "    y = x\n", "    return 1 // y\n```\n", "That is it.")


@pytest.mark.parametrize(("asked", "step"), [((0, 3), 3), ((0, 1, 2), None), ((3,), 3)])
def test_an_error_is_told_at_its_step_where_that_was_asked_about(critic, asked, step):
    (review,) = critic.review([request("".join(STEPS), ["assert f(0) == 1"], STEPS, asked)])
    words = "`f(0)` ends with ZeroDivisionError at line 3: integer division or modulo by zero."
    assert review == Review((Comment(step, False, words),))


def test_failing_and_passing_are_told_of_the_whole_answer(critic):
    asked = [request("".join(STEPS), [f"assert f(1) == {n}"], STEPS, (3,)) for n in (1, 2)]
    assert [(c.step, c.right) for r in critic.review(asked) for c in r.comments] == [(None, True), (None, False)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("```python\na\n```\nor\n```python\nb\n```\n", "b\n"),
        ("```python\na\n```\n```\nb\n```", "a\n"),
        ("so ```python``` is it\n```Py\r\nb\r\n```", "b\r\n"),
        ("```python3 title\nb\nis cut", "b\nis cut"),
        ("```python\n```", ""),
    ],
)
def test_the_last_python_block_is_the_program(text, code):
    found, start = extract_program(text)
    assert found == code and text[start : start + len(code)] == code


@given(st.text(alphabet="`python\n \tx=", max_size=200))
def test_every_text_has_a_program(text):
    found, start = extract_program(text)
    assert text[start : start + len(found)] == found


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        (None, "holds no tests"),
        ([], "holds no tests"),
        ("assert f()", "holds no tests"),
        ([1], "neither assert lines"),
        (["assert f()", ["a", "b"]], "neither assert lines"),
        ([["a", "b", "c"]], "neither assert lines"),
        (["assert f() == 1", "assert ("], "test 2 is not Python"),
    ],
)
def test_a_task_without_tests_is_lost_and_says_why(critic, tests, why):
    (review,) = critic.review([request("x = 1", tests)])
    assert review.comments == () and review.lost.startswith("task t: ") and why in review.lost


def test_nothing_is_run_for_nothing(critic):
    assert critic.review([]) == []
    assert critic.review([request("while True: pass", OK, asked=())]) == [Review()]


def test_programs_run_at_the_same_time_and_reviews_keep_their_order(monkeypatch):
    critic = ExecutionCritic(unsafe_subprocess=True, limits=LIMITS, workers=4)
    all_of_them = threading.Barrier(4)
    run = process.run_program
    monkeypatch.setattr(critics, "run_program", lambda *args, **how: (all_of_them.wait(600), run(*args, **how))[1])
    said = critic.review([request(f"print({i})", [["", str(i % 2)]]) for i in range(4)])
    assert [r.comments[0].right for r in said] == [True, True, False, False]


def test_it_needs_its_flag_and_limits_that_hold(tmp_path, monkeypatch):
    with pytest.raises(FrownError, match="unsafe_subprocess = true"):
        ExecutionCritic()
    with pytest.raises(FrownError, match="give 1 or more"):
        ExecutionCritic(unsafe_subprocess=True, workers=0)
    for bad in ({"cpu_seconds": 0}, {"wall_seconds": -1}, {"memory_mb": 10}, {"file_mb": 0}):
        with pytest.raises(FrownError, match="limits of execution"):
            process.Limits(**bad)
    unlimited = tmp_path / "child.py"
    source = Path(process._CHILD).read_text(encoding="utf-8")
    unlimited.write_text(source.replace('_limit(**payload["limits"])', "pass"), encoding="utf-8")
    monkeypatch.setattr(process, "_CHILD", unlimited)
    with pytest.raises(FrownError, match="do not hold on this system"):
        ExecutionCritic(unsafe_subprocess=True, limits=LIMITS)
    unlimited.write_text("", encoding="utf-8")
    with pytest.raises(FrownError, match="do not hold on this system"):
        ExecutionCritic(unsafe_subprocess=True, limits=LIMITS)


def test_a_forged_report_breaks_nothing():
    for entry in (
        {},
        {"test": "x", "error": 1},
        {"test": 0, "error": {"line": -5, "type": 1}},
        {"got": [1], "test": 1.5},
    ):
        result = process._test_result(entry)
        assert not result.passed and all(isinstance(x, str) for x in (result.got, result.expected))
        assert result.error is None or result.error.line is None


def test_a_comment_on_the_whole_answer_is_composed_without_a_step(critic):
    task = Task("t", ({"role": "user", "content": "q"},), "a")
    rollout = Rollout(task, 0, np.arange(2), np.arange(2), np.zeros(2, np.float32), 1.0, "eos", "x", (Step(0, 2),))
    asked = [request("x = 1", ["assert x == 1"])]
    erring = ErringCritic.__new__(ErringCritic)
    erring._critic, erring._rate = critic, 1.0  # there is no opposite of such a comment to tell
    for one in (critic, erring):
        said = compose(
            [rollout],
            [["critique"]],
            requests=asked,
            notes=[None],
            critic=one,
            rng=np.random.default_rng(0),
            selected=[0],
        )
        assert said.feedback[0].parts == (Part("critique", "The test passes.", None),) and said.lost == []
        assert said.feedback[0].steps is None
