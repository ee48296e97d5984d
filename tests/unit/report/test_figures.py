"""The palette against colour blindness and greyscale, the flow of doubts, and the points of calibration diagrams."""

import re
from itertools import combinations

import numpy as np
import pytest

from colours import PAGES, contrast
from frown.evals import stats
from frown.evals.calibration import aurc, ece
from frown.evals.diagrams import reliability, risk_coverage
from frown.report.flow import BECAME, flow_chart
from frown.report.palette import DARK, LIGHT

# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1, on linear RGB.
BLIND = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "greyscale": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / (TO_XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", BLIND)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stay_apart_for_all_eyes(theme, eyes):
    """A difference of 2.3 (CIE 1976) is just seen; lines that touch want a multiple of it."""
    seen = [lab(np.array(BLIND[eyes]) @ linear(c)) for c in (LIGHT if theme == "light" else DARK)]
    nearest = min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))
    assert nearest > 6.0, nearest


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_the_page(theme):
    assert all(contrast(c, PAGES[theme]) >= 3.0 for c in (LIGHT if theme == "light" else DARK))


def test_the_flow_has_the_width_of_its_shares():
    flow = {
        "wrong": {"corrected": 0.4, "settled": 0.0, "suppressed": 0.1, "persisted": 0.2, "avoided": 0.1},
        "right": {"corrected": 0.0, "settled": 0.1, "suppressed": 0.0, "persisted": 0.1, "avoided": None},
    }
    svg = flow_chart(flow, "<b>")
    ribbons = re.findall(r'<path class="flow.*?d="M[\d.]+,([\d.]+)C.*?V([\d.]+)C.*?</path>', svg)
    assert len(ribbons) == 6 and "&lt;b&gt;" in svg
    nodes = [float(h) for h in re.findall(r'class="node"[^>]*height="([\d.]+)"', svg)]
    assert len(nodes) == len(BECAME) + 2
    assert nodes[0] / nodes[2] == pytest.approx(4, rel=0.05)  # corrected .4, suppressed .1
    assert nodes[5] / nodes[6] == pytest.approx(4, rel=0.02)  # wrong .8, right .2
    assert "No step was doubtful" in flow_chart({w: dict.fromkeys(BECAME) for w in flow}, "x")


def test_the_points_of_the_diagrams_are_those_of_the_figures():
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random((30, 8)), 2)
    right = (rng.random((30, 8)) < confidence).astype(float)
    right[0, 0] = np.nan
    bins = reliability(confidence, right, stats.draws(1, 30))
    total = sum(b["count"] for b in bins)
    assert total == 239
    gap = sum(b["count"] * abs(b["mean"] - b["confidence"]) for b in bins) / total
    assert gap == pytest.approx(float(ece(confidence, right)), abs=1e-5)
    assert all(b["ci95"] is None or b["ci95"][0] <= b["mean"] <= b["ci95"][1] for b in bins)
    curve = risk_coverage(confidence, right)
    assert curve[-1] == pytest.approx([1.0, 1 - np.nanmean(right)], abs=1e-5)
    assert np.mean([r for _, r in curve]) == pytest.approx(float(aurc(confidence, right)), abs=0.02)
    assert risk_coverage(np.ones((2, 2)), np.full((2, 2), np.nan)) == []
    tied = risk_coverage(np.ones((1, 4)), np.array([[1.0, 0.0, 0.0, 1.0]]))
    assert {r for _, r in tied} == {0.5}  # nothing to tell them apart by
