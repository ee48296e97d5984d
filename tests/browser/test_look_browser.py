"""The viewer and the report in a real browser, on a run that is made here and on one that nobody should trust."""

import contextlib
import importlib
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from browser import opened, wait_until
from frown.config import CompareConfig
from frown.store.rollouts import write_rollouts
from frown.store.run_directory import RunDirectory
from frown.viewer.columns import GRAVITY
from frown.viewer.file import write_file
from frown.viewer.history import history
from frown.viewer.index import read_index
from frown.viewer.page import page as page_data
from frown.viewer.page import record_at, token_values
from frown.viewer.scales import level, scale, span_of
from frown.viewer.server import LookServer
from look_runs import UNSEEN, conversation, hostile, record

SETTINGS = {
    "baseline": "grpo",
    "seeds": [0],
    "base": {
        "model": {"path": "lab:chains-0"},
        "task": {"kind": "lab:chains"},
        "sampling": {"prompts_per_step": 4, "responses_per_prompt": 4, "max_new_tokens": 40},
        "optimiser": {"steps": 2, "lr": 1e-3},
        "eval": {"every": 1, "prompts": 6, "samples": 4},
    },
    "arms": {
        "grpo": {"method": "grpo"},
        "aimed": {"method": {"type": "aimed", "answers_per_step": 8, "loss_on": "answer"}},
        "sdpo": {"method": "sdpo"},
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A comparison of three arms, two steps each, with its report."""
    from frown.comparison.cells import begin, summary
    from frown.report.html import write_report
    from frown.training.run import train

    folder = tmp_path_factory.mktemp("look") / "demo"
    settings = CompareConfig.model_validate(SETTINGS)
    cells = begin(settings, folder)
    for cell in cells:
        train(cell.config, cell.path)
    summary(settings, cells, folder, "frown compare")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def index(run):
    return read_index(run)


@pytest.fixture(scope="module")
def file(run, index):
    assert write_file(index, run / "look.html", 1000) == len(index)
    return (run / "look.html").as_uri()


@contextlib.contextmanager
def serving(index):
    server = LookServer(index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.url
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return read_index(hostile(tmp_path_factory.mktemp("look") / "<img src=x onerror=window.hit=6>"))


def test_a_run_keeps_what_the_viewer_shows(run, index):
    """Every rollout has its prompt; the answers of an evaluation are those that were graded, in their order."""
    records = [record_at(index, i) for i in range(len(index))]
    assert all(r.prompt.startswith("<bos>" + r.rollout.task.question) and r.length == len(r.tokens) for r in records)
    verdicts = [r.rollout.verdict for r in records]
    assert all(len(v.step_state) == len(v.step_right) for v in verdicts if v.step_right)
    for n, label in enumerate(index.runs):
        for graded in RunDirectory(run / "runs" / label.arm / "seed0").evals("test"):
            kept = (index.run == n) & (index.split == index.splits.index("test")) & (index.step == graded.step)
            np.testing.assert_array_equal(index.score[kept], graded.score.ravel())
            assert [index.tasks[t] for t in index.task[kept]] == [t for t in graded.task_ids for _ in range(graded.k)]


def ready(page):
    page.wait_for_selector("#answer")
    page.wait_for_selector("#panel:not([aria-busy])")


def state(page):
    """What a reader sees, in short."""
    return page.evaluate(
        """() => ({
          id: new URLSearchParams(location.hash.slice(1)).get("id"),
          title: document.querySelector("main h2").textContent,
          signal: document.querySelector(".signals [aria-pressed=true]").textContent,
          tab: document.querySelector("[role=tab][aria-selected=true]").id,
          here: document.querySelector("#answer .t.here")?.dataset.i ?? null,
          chips: [...document.querySelectorAll(".chip[aria-pressed=true]")].map(c => c.id),
          count: document.getElementById("count").textContent, query: document.getElementById("query").value,
          first: document.querySelector("#list .row")?.textContent ?? null,
          classes: [...document.querySelectorAll("#answer .t")].map(t => t.className.split(" ")[1]),
        })"""
    )


def at(index, key):
    return next(i for i in range(len(index)) if index.key(i) == key)


def test_the_gravest_answer_is_first_and_its_tokens_have_their_colours(chromium, file, index, pictures):
    with opened(chromium, file) as page:
        ready(page)
        i = int(index.order[0])
        assert state(page)["id"] == index.key(i)
        values = token_values(record_at(index, i))
        names = list(page_data(index, i)["signals"])
        for k, name in enumerate(names[:9]):
            page.keyboard.press(str(k + 1))
            s = scale(name)
            span = span_of(s, values[name].tolist())
            assert state(page)["classes"] == [level(float(v), s, span) for v in values[name]], name
        assert len({tuple(c) for c in ([state(page)["classes"]])}) == 1
        page.keyboard.press("1")
        page.screenshot(path=pictures / "wide-light.png")


def test_hover_focus_and_arrow_keys_show_a_token(chromium, file, index):
    with opened(chromium, file) as page:
        ready(page)
        page.hover("#answer .t >> nth=4")
        assert page.locator("#detail h2").inner_text().startswith("Token 5 of")
        page.hover("header")
        assert page.locator("#detail h2").inner_text() == "Details"
        page.keyboard.press("ArrowRight")
        assert state(page)["here"] == "0" and page.evaluate("document.activeElement.dataset.i") == "0"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("End")
        last = state(page)["here"]
        assert int(last) == int(index.length[index.order[0]]) - 1
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        assert int(state(page)["here"]) == page_data(index, int(index.order[0]))["steps"][1]["start"]
        assert page.locator("#answer .t[tabindex='0']").count() == 1  # one stop for Tab
        page.keyboard.press("n")
        starts = sorted(s["start"] for s in page_data(index, int(index.order[0]))["spans"])
        assert int(state(page)["here"]) in starts and page.locator("#detail .span").count() >= 1
        assert page.locator("#detail").get_attribute("aria-live") == "polite"
        page.keyboard.press("Escape")
        assert state(page)["here"] is None


def test_spans_steps_feedback_and_both_contexts_are_there(chromium, file, index):
    i = next(i for i in range(len(index)) if page_data(index, i)["feedback"] and page_data(index, i)["spans"])
    shown = page_data(index, i)
    with opened(chromium, f"{file}#id={index.key(i)}") as page:
        ready(page)
        assert page.locator(".spans button").count() == len(shown["spans"])
        assert page.locator(".gutter b").count() == len(shown["steps"])
        wrong = sum(s["right"] is False for s in shown["steps"])
        assert page.locator(".gutter .said.wrong").count() == wrong
        assert shown["feedback"][0]["text"] in page.locator(".parts").inner_text()
        assert shown["prompt"] in page.locator(".contexts").inner_text()
        assert shown["teacher_prompt"] in page.locator(".contexts .card >> nth=1").inner_text().replace("\n", "")
        page.locator(".spans button >> nth=0").click()
        evidence = next(iter(shown["spans"][0]["evidence"])).replace("_", " ")
        assert evidence in page.locator("#detail").inner_text()


def test_filters_search_and_order(chromium, file, index, pictures):
    with opened(chromium, file) as page:
        ready(page)
        for k, name in enumerate(GRAVITY[:4]):
            chip = page.locator(f"#quadrant-{name} .count")
            expected = int((index.quadrants >> k & 1).sum())
            assert int(chip.inner_text().replace("\u202f", "")) == expected
        page.click("#quadrant-doubt-right")
        many = int((index.quadrants >> GRAVITY.index("doubt-right") & 1).sum())
        assert state(page)["count"].startswith(f"{many} of {len(index)}")
        page.locator("summary").click()
        page.select_option("#choose-arm", "grpo")
        page.select_option("#choose-step", "2")
        arm = np.array([r.arm for r in index.runs])[index.run]
        left = (index.quadrants >> 2 & 1).astype(bool) & (arm == "grpo") & (index.step == 2)
        assert state(page)["count"].startswith(f"{int(left.sum())} of")
        page.screenshot(path=pictures / "filters.png")
        page.click("#clear")
        page.keyboard.press("/")
        question = index.questions[index.task[index.order[5]]]
        page.keyboard.type(question)
        wait_until(page, "document.getElementById('count').textContent.includes(' of ')")
        hits = {i for i in range(len(index)) if question in (page_data(index, i)["question"] or "")}
        assert int(state(page)["count"].split(" of ")[0]) >= len(hits) > 0
        page.fill("#query", "no such text anywhere")
        page.wait_for_selector("#list .empty")
        page.fill("#query", "")
        page.wait_for_selector("#list .row")
        page.locator("body").press("Escape")
        page.select_option("#choose-reward", "right")
        assert state(page)["count"].startswith(f"{int((index.score >= 1).sum())} of")


def test_j_and_k_and_the_list(chromium, file, index):
    with opened(chromium, file) as page:
        ready(page)
        page.keyboard.press("j")
        page.keyboard.press("j")
        wait_until(page, f"location.hash.includes(encodeURIComponent({index.key(int(index.order[2]))!r}))")
        page.keyboard.press("k")
        assert state(page)["id"] == index.key(int(index.order[1]))
        page.focus("#list")
        page.keyboard.press("End")
        assert state(page)["id"] == index.key(int(index.order[-1]))
        assert page.locator("#list [aria-selected=true]").count() == 1
        page.go_back()
        wait_until(page, f"location.hash.includes(encodeURIComponent({index.key(int(index.order[1]))!r}))")


def test_a_link_restores_everything(chromium, file, index):
    with opened(chromium, file) as page:
        ready(page)
        page.click("#quadrant-doubt-wrong")
        page.focus("#main")
        for key in ("j", "2", "t", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        ready(page)
        link, before = page.url, state(page)
    assert before["here"] is not None and before["signal"].startswith("Entropy") and before["tab"] == "tab-time"
    with opened(chromium, link) as page:
        ready(page)
        assert state(page) == before
    with opened(chromium, f"{file}#id=nobody:train:9:9") as page:
        ready(page)
        assert "nobody:train:9:9" in page.locator("#detail").inner_text()


def test_one_prompt_through_training_and_the_fate_of_its_doubts(chromium, file, index, pictures):
    def doubtful(i):
        return index.splits[index.split[i]] == "test" and index.step[i] == 0 and history(index, i)["fates"]

    i = next(i for i in range(len(index)) if doubtful(i))
    told = history(index, i)
    with opened(chromium, f"{file}#id={index.key(i)}&tab=time", height=1500) as page:
        ready(page)
        assert page.locator(".time thead th").count() == 3  # steps 0, 1 and 2
        assert page.locator(".cell.this").count() == 1
        rows = page.locator(".fate .stack")
        expected = [a["counts"] for fate in told["fates"] for a in fate["after"]]
        assert rows.count() == len(expected)
        for k, counts in enumerate(expected):
            assert rows.nth(k).locator("span").all_inner_texts() == [str(c) for c in counts if c]
        page.locator("#elsewhere").scroll_into_view_if_needed()
        page.screenshot(path=pictures / "through-training.png")
        page.keyboard.press("]")
        wait_until(page, f"location.hash.includes(encodeURIComponent({index.key(i).replace(':0:', ':1:', 1)!r}))")
        ready(page)
        page.keyboard.press("[")
        wait_until(page, f"location.hash.includes(encodeURIComponent({index.key(i)!r}))")
        page.keyboard.press("[")
        wait_until(page, "document.getElementById('detail').textContent.includes('earlier')")


def test_arms_side_by_side(chromium, file, index, pictures):
    i = next(i for i in range(len(index)) if index.splits[index.split[i]] == "test" and index.step[i] == 2)
    with opened(chromium, f"{file}#id={index.key(i)}", theme="dark", height=1300) as page:
        ready(page)
        page.keyboard.press("a")
        page.wait_for_selector(".arm")
        assert page.locator(".arm h3").count() == 3
        assert page.locator(".arm .other").count() == 12
        tops = page.evaluate(
            "[...document.querySelectorAll('.arm')].map(a => Math.round(a.getBoundingClientRect().top))"
        )
        assert len(set(tops)) == 1
        page.wait_for_timeout(300)
        page.screenshot(path=pictures / "arms-dark.png")
        page.locator(".arm >> nth=2").locator(".other a >> nth=0").click()
        wait_until(page, f"!location.hash.includes(encodeURIComponent({index.key(i)!r}))")
        ready(page)
        assert index.run[at(index, state(page)["id"])] != index.run[i]


def test_the_served_page_does_the_same(chromium, file, index, pictures):
    with opened(chromium, file) as page:
        ready(page)
        page.keyboard.press("3")
        from_file = state(page)
    with serving(index) as url, opened(chromium, url, home=url) as page:
        ready(page)
        page.keyboard.press("3")
        assert state(page) == from_file
        page.fill("#query", "step 1 of")
        wait_until(page, "document.getElementById('count').textContent.includes(' of ')")
        page.fill("#query", "")
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        page.wait_for_selector(".arm, #panel p")


def test_hostile_texts_are_text(chromium, bad, tmp_path, pictures):
    write_file(bad, tmp_path / "bad.html")
    with opened(chromium, (tmp_path / "bad.html").as_uri()) as page, serving(bad) as url:
        with opened(chromium, url, home=url) as served:
            for shown in (page, served):
                ready(shown)
                for i in range(len(bad)):
                    shown.evaluate(f"location.hash = '#id=' + encodeURIComponent({bad.key(i)!r})")
                    wait_until(shown, f"document.querySelector('#list [aria-selected=true]')?.id === 'row-{i}'")
                    ready(shown)
                assert shown.evaluate("window.hit") is None
                assert shown.locator("main img, main script, nav img, nav script, header img").count() == 0
                shown.evaluate(f"location.hash = '#id=' + encodeURIComponent({bad.key(0)!r})")
                wait_until(shown, "document.querySelector('.parts')")
                text = shown.locator("#answer").inner_text()
                assert "<script>window.hit=1</script>" in text and '" onmouseover="window.hit=5' in text
                for c in UNSEEN:
                    code = next(f"U+{ord(x):04X}" for x in c if x not in "abx[31mgnihto")
                    assert code in text, code
                assert not set(shown.locator("#answer").text_content()) & set("\u200b\u202e\u2066\ufeff\x00\x1b\u2028")
        assert "<img src=x" in page.title() or "<img src=x" in page.locator("#name").inner_text()
        page.screenshot(path=pictures / "hostile.png")


def test_a_character_of_four_tokens_and_a_megabyte(chromium, bad, tmp_path, pictures):
    write_file(bad, tmp_path / "bad.html")
    where = {page_data(bad, i)["task"]: bad.key(i) for i in range(5)}
    uri = (tmp_path / "bad.html").as_uri()
    with opened(chromium, f"{uri}#id={where['split']}") as page:
        ready(page)
        box = page.locator("#answer .broken >> nth=0")
        assert box.locator(".whole").inner_text() == "😀" and box.locator(".t").count() == 4
        box.locator(".t >> nth=1").click()
        assert "piece 2 of 4 of" in page.locator("#detail").inner_text()
        page.screenshot(path=pictures / "split-character.png")
    with opened(chromium, f"{uri}#id={where['long']}") as page:
        ready(page)
        assert len(page.locator("#answer .t >> nth=0").text_content()) == 1_000_000
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with opened(chromium, f"{uri}#id={where['many']}&token=15000") as page:
        ready(page)
        page.wait_for_selector("#answer .t.here")
        assert state(page)["here"] == "15000"
    with opened(chromium, f"{uri}#id={where['empty']}") as page:
        ready(page)
        assert "The answer is empty" in page.locator("#answer").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "width", "height"), [("narrow", 390, 844), ("middle", 1000, 800), ("wide", 1680, 1000)]
)
def test_nothing_sticks_out(chromium, file, index, pictures, theme, name, width, height):
    with opened(chromium, file, width=width, height=height, theme=theme) as page:
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=pictures / f"{name}-{theme}.png")
        if name == "narrow":
            page.click("#toggle-list")
            assert page.locator("#list .row").count() > 3
            page.screenshot(path=pictures / f"{name}-{theme}-list.png")
            page.locator("#list .row >> nth=2").click()
            assert not page.locator("#list").is_visible()
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        assert (
            "[object" not in page.locator("body").inner_text() and "undefined" not in page.locator("body").inner_text()
        )
        page.screenshot(path=pictures / f"{name}-{theme}-help.png")
        page.keyboard.press("Escape")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if theme == "light" else "rgb(22, 23, 26)")
        page.click("#theme")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"


@pytest.mark.parametrize(
    ("width", "theme", "tab"),
    [(1440, "light", "group"), (1440, "dark", "time"), (390, "light", "arms"), (390, "dark", "?")],
)
def test_the_page_passes_an_accessibility_check(chromium, file, index, width, theme, tab):
    axe = importlib.util.find_spec("axe_playwright_python") or importlib.util.find_spec("axe_core_python")
    if axe is None:
        pytest.skip("axe-playwright-python is not installed")
    script = next(Path(axe.origin).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
    told = next(i for i in range(len(index)) if page_data(index, i)["feedback"])
    link = f"{file}#id={index.key(told)}&token=3" + ("" if tab == "?" else f"&tab={tab}")
    with opened(chromium, link, width=width, theme=theme) as page:
        ready(page)
        if tab == "?":
            page.keyboard.press("?")
        page.evaluate(script)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        assert not found, [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_report_in_a_browser(chromium, run, pictures, theme, width):
    with opened(chromium, (run / "report.html").as_uri(), width=width, theme=theme) as page:
        page.wait_for_selector("svg.chart")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("h2").count() >= 5
        page.screenshot(path=pictures / f"report-{width}-{theme}.png", full_page=True)


@pytest.mark.parametrize("width", [390, 1440])
def test_a_conversation_is_drawn_turn_by_turn(chromium, tmp_path, pictures, width):
    talk = read_index(conversation(tmp_path / "talk"))
    write_file(talk, tmp_path / "look.html", 10)
    with opened(chromium, (tmp_path / "look.html").as_uri() + "#id=talk:train:1:0", width=width) as page:
        wait_until(page, "document.querySelector('#answer')")
        page.screenshot(path=pictures / f"conversation-{width}.png")
        rows = page.locator("#answer .step")
        assert [rows.nth(i).locator(".gutter").inner_text().split("\n")[0].strip()[:9] for i in range(3)] == [
            "Turn 1", "The other", "Turn 2"] if width > 1000 else rows.count() == 3  # fmt: skip
        assert "null" not in page.locator("#main").inner_text()
        assert "earned +7" in rows.nth(0).inner_text() and "earned -3.5" in rows.nth(2).inner_text()
        heard = rows.nth(1)
        assert heard.locator(".t").count() == heard.locator(".t.heard").count() == 3
        assert heard.inner_text().count("<script>window.hit=1</script>") == 1
        assert rows.nth(0).locator(".heard").count() == rows.nth(2).locator(".heard").count() == 0
        painted = "getComputedStyle(document.querySelector('#answer .t[data-i=\"{}\"]')).backgroundColor"
        assert page.evaluate(painted.format(3)) == "rgba(0, 0, 0, 0)" != page.evaluate(painted.format(5))
        page.locator("#answer .t[data-i='3']").click()
        assert "read, never trained" in page.locator("#detail").inner_text()
        assert page.evaluate("window.hit === undefined && document.documentElement.scrollWidth <= innerWidth")


def test_a_grade_is_shown_as_a_reward(chromium, tmp_path):
    records = [record("a", right=None, score=s) for s in (0.46, 0.0, 1.0)]
    (tmp_path / "rollouts").mkdir()
    write_rollouts(tmp_path / "rollouts" / "step=000001.parquet", records)
    write_file(read_index(tmp_path), tmp_path / "look.html", 10)
    with opened(chromium, (tmp_path / "look.html").as_uri()) as page:
        wait_until(page, "document.querySelector('#answer') && document.querySelector('#panel .other')")
        assert sorted(re.findall(r"reward [\d.]+", page.locator("#list").inner_text())) == [
            "reward 0", "reward 0.46", "reward 1"]  # fmt: skip
        for box in ("#list", "#filters", "#panel"):
            assert not re.search(r"\b(right|wrong)\b", page.locator(box).inner_text()), box
        page.locator("#tab-time").click()
        wait_until(page, "document.querySelector('#panel .time')")
        assert "mean reward 0.49" in page.locator("#panel thead").inner_text()
