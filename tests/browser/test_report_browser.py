"""The reports in a real browser: both themes, a phone and a screen, paper, and names that nobody should trust."""

import json

import pytest

from browser import opened
from frown.config import CompareConfig
from frown.evals.summary import to_json
from frown.report.html import write_report
from summaries import full_summary, hostile_summary

SETTINGS = {
    "baseline": "grpo",
    "seeds": [0],
    "threshold": 0.4,
    "base": {
        "sampling": {"prompts_per_step": 6, "responses_per_prompt": 4, "max_new_tokens": 40},
        "optimiser": {"steps": 2, "lr": 1e-3},
        "eval": {"every": 1, "prompts": 8, "samples": 4},
    },
    "arms": {
        "grpo": {"method": "grpo"},
        "aimed": {"method": {"type": "aimed", "answers_per_step": 8, "loss_on": "answer"}},
    },
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, of runs that are made here."""
    from frown.comparison.cells import begin, summary
    from frown.comparison.workers import run_all
    from frown.config import RunConfig, load
    from frown.inspect.evaluate import assess, settings
    from frown.inspect.probe import probe
    from frown.inspect.subjects import subjects
    from frown.training.run import train

    folder = tmp_path_factory.mktemp("reports")
    config = CompareConfig.model_validate(SETTINGS)
    cells = begin(config, folder / "demo")
    for cell in cells:
        train(cell.config, cell.path, resume=True)
    run_all(cells, 1, lambda: None)  # all done
    summary(config, cells, folder / "demo", "frown compare")
    run = folder / "demo" / "runs" / "aimed" / "seed0"
    ours, theirs = subjects(str(run)), subjects("lab:chains-0")
    small = settings(ours, ["prompts=8", "samples=4"])
    assess(ours, theirs, small, folder / "eval", command="frown eval")
    small_run = ["sampling.prompts_per_step=4", "sampling.responses_per_prompt=4", "sampling.max_new_tokens=40"]
    found = probe(load(RunConfig, None, small_run), ["sibling", "critique"])
    (folder / "probe.json").write_text(json.dumps(found))
    (folder / "made-up").mkdir()
    (folder / "made-up" / "summary.json").write_text(to_json(full_summary()))
    (folder / "hostile").mkdir()
    (folder / "hostile" / "summary.json").write_text(json.dumps(hostile_summary()))
    long = full_summary()
    long["arms"] = {f"{'W' * 70}-{n}": a for n, a in long["arms"].items()}
    long["baseline"], long["compared"] = next(iter(long["arms"])), "y" * 200
    long["failures"][0]["message"] = "x" * 400
    (folder / "long").mkdir()
    (folder / "long" / "summary.json").write_text(json.dumps(long))
    sources = {"comparison": "demo", "run": "demo/runs/aimed/seed0", "evaluation": "eval", "probe": "probe.json"}
    sources |= {name: name for name in ("made-up", "hostile", "long")}
    return {name: write_report(folder / source) for name, source in sources.items()}


KINDS = ["comparison", "run", "evaluation", "probe", "made-up", "hostile", "long"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_fits(chromium, pages, pictures, kind, width, theme):
    with opened(chromium, pages[kind].as_uri(), width=width, theme=theme) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if theme == "light" else "rgb(22, 23, 26)")
        for chart in page.locator("svg.chart").all():
            box = chart.bounding_box()
            assert box["height"] > 150 and box["x"] >= 0 and box["x"] + box["width"] <= width
        # Text of a chart stays inside it.
        assert page.evaluate(
            """() => [...document.querySelectorAll('svg.chart text')].filter(t => {
                 const b = t.getBBox(), v = t.ownerSVGElement.viewBox.baseVal;
                 return b.x < -1 || b.x + b.width > v.width + 1; }).map(t => t.textContent)"""
        ) == []  # fmt: skip
        page.screenshot(path=pictures / f"report-{kind}-{width}-{theme}.png", full_page=True)
        if kind == "comparison" and width == 390:
            # The first screen of a phone holds the question and the answer; the table has begun.
            assert page.locator("h1").bounding_box()["y"] < 120
            assert page.locator(".answer").bounding_box()["y"] < 300
            assert page.locator("table").first.bounding_box()["y"] < 700


def test_what_a_real_comparison_shows(chromium, pages):
    with opened(chromium, pages["comparison"].as_uri()) as page:
        titles = page.locator("h2").all_inner_texts()
        for title in (
            "Learning curves",
            "Calibration",
            "Doubt: resolved or suppressed?",
            "What the teacher said, and where",
        ):
            assert title in titles
        for title in (
            "Costs",
            "Signs of collapse",
            "What the arms do differently",
            "Environment, and how to make this again",
        ):
            assert title in titles
        assert page.locator("svg.chart").count() >= 12 and page.locator("path.flow").count() >= 4
        assert "critique" in page.locator("section", has_text="What the teacher said").first.inner_text()
        page.locator("summary").first.click()
        assert page.locator("details[open]").count() == 1


@pytest.mark.parametrize("kind", ["comparison", "probe"])
def test_on_paper_it_is_light_and_whole(chromium, pages, pictures, kind):
    with opened(chromium, pages[kind].as_uri(), theme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        pdf = page.pdf(path=pictures / f"report-{kind}.pdf", format="A4")
        assert pdf.startswith(b"%PDF")
        page.screenshot(path=pictures / f"report-{kind}-print.png", full_page=True)


def test_nothing_of_a_hostile_page_is_markup(chromium, pages):
    with opened(chromium, pages["hostile"].as_uri()) as page:
        assert page.locator("body script, body img").count() == 0
        assert '<script>alert("x")</script>' in page.locator("body").inner_text()
