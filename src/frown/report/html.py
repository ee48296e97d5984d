"""report.html: one self-contained page of a run, a comparison, an evaluation or a probe, drawn from its files alone.

Names, messages and settings are other people's text: the template escapes everything, the charts escape what they
print, and the page's content policy allows neither scripts nor anything from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from frown.errors import FrownError
from frown.report import background, calibration, collapse, comparisons, costs, curves, doubts, probe_page
from frown.report.blocks import Page
from frown.report.material import Material, material
from frown.report.palette import DARK, LIGHT, variables
from frown.report.question import answer, question, table
from frown.store.files import write_text

HERE = Path(__file__).parent


def write_report(path: str | Path, out: Path | None = None) -> Path:
    """Write the report of a folder (or of the JSON file of a probe) and return where it is: `out`, or beside the data.

    Raises FrownError when nothing there can be reported, or when it is not whole.
    """
    path = Path(path)
    probed = path.is_file()
    page = probe_page.page(path) if probed else None
    results = None if probed else material(path)
    try:
        text = render(page or page_of(results))  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        source = path if probed else path / "summary.json"
        raise FrownError(
            f"{source} is not a complete summary ({type(error).__name__}: {error}); summarise the runs again"
        ) from error
    target = out or (path.with_suffix(".html") if probed else path / "report.html")
    write_text(target, text, errors="xmlcharrefreplace")
    return target


def page_of(m: Material) -> Page:
    """The page of a run, a comparison or an evaluation."""
    parts = [
        comparisons.comparisons(m),
        curves.curves(m),
        calibration.calibration(m),
        doubts.doubts(m),
        doubts.advantage(m),
        costs.costs(m),
        collapse.canaries(m),
        background.finals(m),
        background.settings(m),
        background.warnings(m),
        background.again(m),
    ]
    return Page(
        kind=m.kind,
        question=question(m),
        answer=answer(m),
        table=table(m),
        about=m.summary["compared"],
        trouble=background.trouble(m.summary),
        sections=[p for p in parts if p is not None],
    )


def render(page: Page) -> str:
    """A page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    env = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return env.get_template("page.html.jinja").render(page=page, style=Markup(style()))


def style() -> str:
    """The style sheet: colours of both themes and of paper, the classes of lines and areas, and page.css."""
    light = (
        "--page: #ffffff; --ink: #1c1c1c; --soft: #595959; --rule: #dededb; --box: #f6f6f3; --alarm: #a33000; "
        f"--accent: #0059b3; {variables(LIGHT)}"
    )
    dark = (
        "--page: #16171a; --ink: #ececea; --soft: #a9a9a6; --rule: #34363b; --box: #1d1f23; --alarm: #ff9a6b; "
        f"--accent: #7cc0ff; {variables(DARK)}"
    )
    classes = "\n".join(
        f".line.c{i} {{ stroke: var(--c{i}); }} .band.c{i}, .dot.c{i} {{ fill: var(--c{i}); }}"
        for i in range(len(LIGHT))
    )
    themes = (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ color-scheme: light; {light} }} }}\n"
    )
    return f"{themes}{classes}\n{(HERE / 'page.css').read_text(encoding='utf-8')}"
