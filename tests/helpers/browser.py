"""A real browser for tests: Debian's Chromium, or a skip that says why there is none."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = Path(os.environ.get("FROWN_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no browser at {CHROMIUM}; set FROWN_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Where screenshots go: FROWN_SCREENSHOTS, or a folder of this test run."""
    folder = Path(os.environ.get("FROWN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def opened(browser, url, *, width=1440, height=960, theme="light", home=None):
    """A page at a URL. At the end: nothing complained, and nothing but `home` (default: the URL alone) was asked."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    context.set_default_timeout(300_000)
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(url)
    yield page
    page.wait_for_timeout(50)
    context.close()
    assert not complaints, complaints
    allowed = home or url.partition("#")[0]
    assert all(u.partition("#")[0] == allowed or (home and u.startswith(home)) for u in asked), asked


def wait_until(page, expression):
    """Until a JavaScript expression is true. (Playwright's own wait polls by eval, which the page's policy forbids.)"""
    while not page.evaluate(f"Boolean({expression})"):
        page.wait_for_timeout(20)
