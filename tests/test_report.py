"""The terminal table and report.html, drawn from a summary alone."""

import copy
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from frown.errors import FrownError
from frown.evals.summary import summarise, to_json
from frown.evals.wording import decimal
from frown.report.chart import Point, Series, line_chart, ticks
from frown.report.html import render, write_report
from frown.report.numbers import amount, duration
from frown.report.table import summary_table
from test_evals_summary import full_summary, run

HOSTILE = '<script>alert("x")</script>&{{ 7 * 7 }}[red]'


@pytest.fixture(scope="module")
def summary():
    return full_summary()


def hostile_summary():
    runs = [run("grpo", 0), run("aimed", 0)]
    results = [type(r)(arm=HOSTILE if r.arm == "aimed" else r.arm, seed=0, evals=r.evals) for r in runs]
    failed = type(runs[0])(
        arm=HOSTILE, seed=1, evals=(), status="failed", message="</td><img src=x onerror=alert(1)>", warnings=(HOSTILE,)
    )
    return summarise(
        [*results, failed],
        baseline="grpo",
        config={HOSTILE: "</pre><script>1</script>"},
        environment={"command": f"frown {HOSTILE}", HOSTILE: [HOSTILE]},
    )


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


def test_the_page_holds_what_the_summary_holds(summary, tmp_path):
    (tmp_path / "summary.json").write_text(to_json(summary))
    target = write_report(tmp_path)
    assert target == tmp_path / "report.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "summary.json"]
    page = Page(target.read_text())
    words = " ".join(" ".join(page.words).split())
    assert page.open == []
    for told in (
        summary["compared"],
        summary["config_digest"],
        *(p["sentence"] for p in summary["pairs"]),
        *summary["warnings"],
        "loss is not finite at step 12",
        "frown compare --preset demo --out runs/demo",
    ):
        assert told in words
    for arm in summary["arms"].values():
        low, high = arm["avg_at_k"]["ci95"]
        assert f"{decimal(arm['avg_at_k']['mean'])} [{decimal(low)}, {decimal(high)}]" in words
    assert page.tags.count("figure") == 4
    order = [words.index(h) for h in ("Comparisons", "Learning curves", "Final figures", "Costs", "Failures and")]
    assert order == sorted(order)
    assert write_report(tmp_path).read_text() == target.read_text()


def test_every_chart_is_labelled_and_accuracy_runs_from_0_to_1(summary):
    page = render(summary)
    charts = re.findall(r'<svg class="chart".*?</svg>', page, flags=re.S)
    assert len(charts) == 4
    for chart in charts:
        label = re.search(r'role="img" aria-label="([^"]+)"', chart).group(1)
        assert all(f"{name} ends at" in label for name in summary["arms"])
    for chart in (charts[0], charts[3]):
        labels = re.findall(r'text-anchor="end">([^<]+)<', chart)
        assert labels == ["0", ".2", ".4", ".6", ".8", "1"]
    styles = re.findall(r'<svg class="swatch".*?</svg>', page, flags=re.S)
    assert len(set(styles)) == len(summary["arms"])


def test_the_page_is_self_contained(summary):
    page = Page(render(summary))
    assert not {"script", "link", "img", "iframe", "object", "embed", "image", "use"} & set(page.tags)
    assert {value for name, value in page.attributes if name in ("href", "src", "xlink:href")} == {"#warnings"}
    text = render(summary)
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
    assert "default-src 'none'" in text


def test_hostile_names_and_messages_stay_text(tmp_path):
    found = hostile_summary()
    text = render(json.loads(to_json(found)))
    page = Page(text)
    assert "script" not in page.tags and "img" not in page.tags and page.open == []
    assert not any(name.startswith("on") for name, _ in page.attributes)
    words = " ".join(page.words)
    assert HOSTILE in words and "</td><img src=x onerror=alert(1)>" in words  # shown as it is, 7 * 7 not computed
    label = next(v for n, v in page.attributes if n == "aria-label" and "ends at" in v)
    assert HOSTILE in label


def test_odd_summaries_are_drawn(tmp_path):
    alone = summarise([run("grpo", 0)], baseline="grpo")
    nothing = summarise([type(run("grpo", 0))("grpo", 0, (), status="failed", message="\ud800 x")], baseline="grpo")
    short = run("aimed", 0)
    short = type(short)("aimed", 0, short.evals[:1])
    for found in (alone, nothing, summarise([run("grpo", 0), short], baseline="grpo", threshold=0.99)):
        (tmp_path / "summary.json").write_text(json.dumps(found))
        assert Page(write_report(tmp_path).read_text()).open == []


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


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "hostile", "long names"])
def test_in_a_browser_nothing_is_wider_than_a_phone(summary, tmp_path, kind):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    shown = hostile_summary() if kind == "hostile" else copy.deepcopy(summary)
    if kind == "long names":
        shown["arms"] = {f"{'W' * 70}-{n}": a for n, a in shown["arms"].items()}
        shown["baseline"] = next(iter(shown["arms"]))
        shown["failures"][0]["message"] = "x" * 400
        shown["compared"] = "y" * 200
    page = html.escape(render(shown), quote=True)
    # The page itself allows no scripts; its frame asks it how wide it came out.
    frame = f"""<body><iframe id="f" width="400" height="800" srcdoc="{page}"></iframe><pre id="out"></pre><script>
      document.getElementById("f").onload = (e) => {{
        const d = e.target.contentDocument, root = d.documentElement;
        document.getElementById("out").textContent = JSON.stringify({{wide: root.scrollWidth,
          view: root.clientWidth, sections: d.querySelectorAll("h2").length,
          charts: [...d.querySelectorAll(".chart")].map((c) => Math.round(c.getBoundingClientRect().height))}});
      }};</script></body>"""
    (tmp_path / "frame.html").write_text(frame)
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000 --dump-dom"
    )
    done = subprocess.run(
        [chromium, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', done.stdout, flags=re.S).group(1)))
    assert found["sections"] == 6
    assert found["wide"] <= found["view"] <= 400
    assert all(height > 150 for height in found["charts"])
    assert "CONSOLE" not in done.stderr, done.stderr


# --- charts and numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.17), (0, 40), (3, 3), (0, 128_000), (0.2, 0.21)])
def test_ticks_are_round_and_cover(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 8 and found[0] <= low and found[-1] >= high
    assert all(abs(b - a - (found[1] - found[0])) < 1e-9 for a, b in zip(found, found[1:], strict=False))


def test_a_chart_draws_points_where_they_are():
    svg = line_chart([Series("a", 0, (Point(0, 0.0), Point(10, 1.0, 0.5, 1.0)))], "step", "A", y_top=1.0)
    assert 'points="40.0,222.0 416.0,12.0"' in svg  # bottom left, top right of the frame
    assert "<title>a, 10: 1 [.5, 1]</title>" in svg
    assert "polygon" not in svg  # one interval makes no band
    assert "Nothing was evaluated" in line_chart([Series("a", 0, ())], "step", "A")


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


def test_importing_the_report_is_light():
    import sys

    code = "import sys, frown.report.html, frown.report.table; print([m for m in HEAVY if m in sys.modules])"
    heavy = ["torch", "matplotlib", "jinja2", "pyarrow", "rich"]
    out = subprocess.run(
        [sys.executable, "-c", code.replace("HEAVY", repr(heavy))], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
