"""The terminal table and report.html, drawn from a summary alone."""

import html
import io
import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frown.errors import FrownError
from frown.evals.summary import summarise, to_json
from frown.evals.wording import decimal
from frown.report.calibration import GRADED
from frown.report.chart import Point, Series, line_chart, ticks
from frown.report.costs import _per_point
from frown.report.html import write_report
from frown.report.numbers import amount, duration
from frown.report.question import changed
from frown.report.table import summary_table
from summaries import HOSTILE, full_summary, hostile_summary, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summary():
    return full_summary()


class Page(HTMLParser):
    """Tags, their attributes and the text, as a browser would find them."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.words.append(data)


# --- the page -----------------------------------------------------------------------------------------------


def drawn(summary, folder):
    (folder / "summary.json").write_text(json.dumps(summary))
    return write_report(folder).read_text()


def test_the_page_holds_what_the_summary_holds(summary, tmp_path):
    (tmp_path / "summary.json").write_text(to_json(summary))
    target = write_report(tmp_path)
    assert target == tmp_path / "report.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "summary.json"]
    page = Page(target.read_text())
    assert page.open == [] and page.tags.count("html") == 1
    words = " ".join(page.words)
    for pair in summary["pairs"]:
        assert pair["sentence"] in words
    for arm in summary["arms"].values():
        for key in ("avg_at_k", "pass_at_k", "heldout_avg_at_k"):
            assert decimal(arm[key]["mean"]) in words
            assert "[" + ", ".join(decimal(b) for b in arm[key]["ci95"]) + "]" in words
    for text in (
        summary["compared"],
        summary["config_digest"],
        "loss is not finite at step 12",
        "frown compare --preset",
    ):
        assert text in words
    first = target.read_text().split("<main>")[0]  # the first screen: question, answer with its interval, table
    assert "Which of sdpo, full critique and aimed is better than grpo?" in first
    assert (
        html.escape(summary["pairs"][0]["sentence"], quote=False).replace("'", "&#39;") in first and "<table" in first
    )
    assert "1 run did not finish" in first


def test_what_cannot_be_drawn_is_said_with_its_reason(summary, tmp_path):
    words = " ".join(Page(drawn(summary, tmp_path)).words)
    for title, why in (
        ("Doubt: resolved or suppressed?", "steps that somebody can judge"),
        ("What the teacher said, and where", "rollouts on disk"),
        ("Signs of collapse", "no metrics.jsonl"),
    ):
        assert title in words and why in words


def test_every_chart_is_labelled_and_accuracy_runs_from_0_to_1(summary, tmp_path):
    text = drawn(summary, tmp_path)
    charts = re.findall(r'<svg class="chart".*?</svg>', text, flags=re.S)
    assert len(charts) >= 8
    for chart in charts:
        assert 'role="img"' in chart and "aria-label=" in chart
    ends = [p["mean"] for p in summary["arms"]["grpo"]["curve"]]
    assert f"grpo ends at {decimal(ends[-1], 3).rstrip('0')}" in charts[0]
    assert re.findall(r'text-anchor="end">([^<]+)<', charts[0]) == ["0", ".2", ".4", ".6", ".8", "1"]


def test_the_page_is_self_contained(summary, tmp_path):
    text = drawn(summary, tmp_path)
    page = Page(text)
    assert not set(page.tags) & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert (
        "content",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    ) in page.attributes
    assert all(v.startswith("#") for n, v in page.attributes if n in ("href", "src", "xlink:href"))
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_hostile_names_and_messages_stay_text(tmp_path):
    page = Page(drawn(hostile_summary(), tmp_path))
    assert not set(page.tags) & {"script", "img"} and page.open == []
    words = " ".join(page.words)
    assert HOSTILE in words and "</td><img src=x onerror=alert(1)>" in words  # shown as it is, 7 * 7 not computed
    label = next(v for n, v in page.attributes if n == "aria-label" and "ends at" in v)
    assert HOSTILE in label


def test_an_arms_name_leads_nowhere_on_the_disk(tmp_path):
    """A summary is anybody's text: only names that a comparison gives a folder to are looked for."""
    from frown.report.material import material

    (tmp_path / "inner").mkdir()
    runs = [run("grpo", 0), run("aimed", 0)]
    found = summarise(
        [type(r)(arm="../.." if r.arm == "aimed" else r.arm, seed=0, evals=r.evals) for r in runs], baseline="grpo"
    )
    (tmp_path / "inner" / "summary.json").write_text(json.dumps(found))
    assert set(material(tmp_path / "inner").metrics) == {"grpo"}


def test_odd_summaries_are_drawn(tmp_path):
    alone = summarise([run("grpo", 0)], baseline="grpo")
    nothing = summarise([type(run("grpo", 0))("grpo", 0, (), status="failed", message="\ud800 x")], baseline="grpo")
    short = run("aimed", 0)
    short = type(short)("aimed", 0, short.evals[:1])
    for found in (alone, nothing, summarise([run("grpo", 0), short], baseline="grpo", threshold=0.99)):
        assert Page(drawn(found, tmp_path)).open == []


def test_a_summary_that_is_not_one_is_one_clear_line(summary, tmp_path):
    source = tmp_path / "summary.json"

    def complaint():
        with pytest.raises(FrownError) as error:
            write_report(tmp_path)
        assert "\n" not in str(error.value) and str(source) in str(error.value)
        assert not (tmp_path / "report.html").exists()
        return str(error.value)

    assert "is not there" in complaint()
    for text, what in (
        ("{", "is not JSON"),
        ("[1]", "has schema None"),
        ("[" * 100_000, "is not JSON"),
        (json.dumps({"schema": 0}), "has schema 0, this version reads 2"),
        (json.dumps({"schema": 2, "arms": {}}), "lacks baseline, bootstrap"),
        (json.dumps({**summary, "arms": {"grpo": {}}}), "is not a complete summary"),
        (json.dumps({**summary, "pairs": 3}), "is not a complete summary"),
    ):
        source.write_text(text)
        assert what in complaint()
    source.write_bytes(b"\xff\xfe{}")
    assert "is not JSON" in complaint()
    source.unlink()
    source.mkdir()
    assert "cannot be read" in complaint()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ((), "read results.json"),
        (("report.html",), "read results.json, or the report that is there already, report.html"),
        (("rollouts/",), "read results.json; `frown look"),
    ],
)
def test_results_of_another_command_are_named_and_left_alone(held, said, tmp_path):
    (tmp_path / "results.json").write_text("{}")
    for name in held:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("its own")
    with pytest.raises(FrownError) as error:
        write_report(tmp_path)
    assert str(error.value).startswith(f"{tmp_path} holds results of another command: {said}")
    assert "report.html" not in held or (tmp_path / "report.html").read_text() == "its own"


# --- charts and numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.17), (0, 40), (3, 3), (0, 128_000), (0.2, 0.21)])
def test_ticks_are_round_and_cover(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 8 and found[0] <= low and found[-1] >= high
    assert all(abs(b - a - (found[1] - found[0])) < 1e-9 for a, b in zip(found, found[1:], strict=False))


def test_a_chart_draws_points_where_they_are():
    svg = line_chart([Series("a", 0, (Point(0, 0.0), Point(10, 1.0, 0.5, 1.0)))], "step", "A", y_top=1.0)
    assert 'points="44.0,218.0 416.0,12.0"' in svg  # bottom left, top right of the frame
    assert "<title>a, 10: 1 [.5, 1]</title>" in svg
    assert "polygon" not in svg  # one interval makes no band
    assert "Nothing was measured" in line_chart([Series("a", 0, ())], "step", "A")
    below = line_chart([Series("a", 0, (Point(-1, 0.2), Point(1, -0.2, -0.4, 0.0)))], "place", "A")
    assert below.count('class="zero"') == 1 and 'text-anchor="end">-.4<' in below


@pytest.mark.parametrize(("scores", "graded"), [([0.0, 1.0, None], False), ([0.0, 0.46], True)])
@pytest.mark.parametrize("place", ["runs/grpo/seed0/evals", "samples"])
def test_grades_are_no_accuracy(scores, graded, place, summary, tmp_path):
    (tmp_path / place).mkdir(parents=True)
    pq.write_table(pa.table({"score": pa.array(scores, pa.float64())}), tmp_path / place / "step=000000-test.parquet")
    (tmp_path / place / "step=000001-test.parquet").write_text("not a table")
    text = html.unescape(re.sub(r"<[^>]+>", " ", drawn(summary, tmp_path).partition("</style>")[2]))
    body = text.replace(html.unescape(GRADED), "")
    assert (GRADED in text) == graded and ("Mean reward" in body) == graded
    for words in ("Accuracy (", "pass@12", "maj@12", "ECE", "Brier", "Right when confident", "Errors when abstaining"):
        assert (words in body) != graded, words


@pytest.mark.parametrize(
    ("p", "prompts", "low", "why", "shown"),
    [
        (0.13, 4, 0.2, "4 prompts are too few to tell it from chance", False),
        (0.0625, 5, 0.2, "5 prompts are too few", False),  # 2 / 2^5: no p of 5 prompts is below it
        (0.07, 6, 0.2, "exchanging the two at random gives one as large too often (p = .070)", False),
        (0.13, 4, -0.1, "the interval includes zero", False),
        (0.01, 20, 0.2, "the interval excludes zero.", True),
    ],
)
def test_the_answer_says_why_no_difference_is_shown_and_costs_agree(p, prompts, low, why, shown):
    gap = {"mean": 0.23, "ci95": [low, 0.29], "p": p, "before": 0.07}
    item = changed("x", "Avg@1", gap, {"mean": 0.3, "ci95": None}, prompts)
    assert why in item.text and item.shown is shown and ("no difference is shown" in item.text) != shown
    arm = {"change": {"avg_at_k": gap}, "rollouts": {"mean": 460.0, "ci95": None}}
    assert _per_point(arm, "rollouts", amount).text == ("20" if shown else "–")


def test_figures_read_well():
    assert [decimal(0.854), decimal(-0.004), decimal(1.0), decimal(None), decimal(0.02, sign=True)] == [
        ".85",
        ".00",
        "1.00",
        "–",
        "+.02",
    ]
    assert [decimal(-0.021, 3, sign=True), decimal(-0.001, 2, sign=True)] == ["-.021", "+.00"]
    assert [amount(v) for v in (0, 640, 12_345, 128_000, 1.25e6, 3.25, None)] == [
        "0",
        "640",
        "12.3k",
        "128k",
        "1.2M",
        "3.2",
        "–",
    ]
    assert [duration(v) for v in (3.21, 42, 600, 9000, None)] == ["3.2 s", "42 s", "10.0 min", "2.5 h", "–"]


# --- the terminal table -------------------------------------------------------------------------------------


def printed(summary, width):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width).print(summary_table(summary, width))
    return out.getvalue()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 140])
def test_the_table_fits_and_names_what_it_leaves_out(summary, width):
    text = printed(summary, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    rows = [line for line in lines if re.match(r"  (grpo \*|sdpo|full critique|aimed) ", line)]
    assert len(rows) == 4  # one line an arm, nothing wrapped
    head = next(line for line in lines if "Avg@12" in line)
    words = " ".join(text.split())
    for column in ("pass@12", "ECE", "Brier", "steps to .80", "tokens", "comments", "time"):
        left_out = "No room for:" in words and column in words.split("No room for:")[1]
        assert (column in head) != left_out
    assert "aimed seed 3 (failed)" in words


def test_the_table_shows_the_figures_and_takes_no_markup(summary):
    wide = printed(summary, 140)
    low, high = summary["arms"]["sdpo"]["avg_at_k"]["ci95"]
    assert f"[{decimal(low)}, {decimal(high)}]" in wide
    assert "No room for" not in wide
    assert HOSTILE in printed(hostile_summary(), 200)
