"""One rollout as data, the self-contained file, colours and their contrast, and the terminal view."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colours import contrast
from frown.errors import FrownError
from frown.store.rollouts import write_rollouts
from frown.viewer.file import choose, document, write_file
from frown.viewer.index import read_index
from frown.viewer.page import as_json, fragments, packed, page
from frown.viewer.palette import palette
from frown.viewer.scales import SCALES, in_order, level, scale, span_of
from frown.viewer.text import render
from look_runs import TAGS, comparison, conversation, hostile, record


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return read_index(comparison(tmp_path_factory.mktemp("look") / "demo"))


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return read_index(hostile(tmp_path_factory.mktemp("look") / "bad"))


def unpack(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_a_page_holds_what_was_written(index):
    i = next(i for i in range(len(index)) if index.key(i) == "aimed/seed0:train:1:0")
    shown = page(index, i)
    assert shown["tokens"] == ["a", "b", "c", "d"] and shown["prompt"].startswith("<user>")
    assert list(shown["signals"]) == [
        "surprisal",
        "entropy",
        "margin",
        "teacher_entropy",
        "log_ratio",
        "weight",
        "divergence",
    ]
    np.testing.assert_array_equal(unpack(shown["signals"]["log_ratio"]), np.float32([np.nan, np.nan, -1.5, 2.5]))
    assert shown["steps"][0] == {
        "start": 0,
        "end": 2,
        "doubt": pytest.approx(0.1),
        "right": True,
        "quadrant": "confident-right",
        "reward": None,
    }
    assert shown["feedback"][0] == {"kind": "critique", "text": "look at <b>b</b>", "steps": [1]}
    assert shown["spans"][0]["evidence"] == {"surprisal": 2.0}
    json.dumps(shown, allow_nan=False)


@given(st.lists(st.floats(width=32), max_size=20))
def test_packed_numbers_are_exact(values):
    np.testing.assert_array_equal(unpack(packed(values)), np.array(values, np.float32))


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_json_in_a_script_element_cannot_leave_it(text):
    found = as_json({"text": text})
    assert json.loads(found) == {"text": text}
    assert found.isascii() and not set("<>&") & set(found)


@given(st.text(alphabet="aé😀 ", max_size=8), st.data())
def test_fragments_tell_what_broken_tokens_write(text, data):
    """Cut the bytes of a text anywhere: each run of broken tokens gets the very characters that its bytes touch."""
    raw = text.encode()
    cuts = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=8))})
    tokens = [raw[a:b].decode("utf-8", "replace") for a, b in pairwise(cuts)]
    for start, end, written in fragments(tokens, text):
        assert all("\ufffd" in t for t in tokens[start:end])
        assert written == "" or written in text
    if all(t == "\ufffd" for t in tokens) and tokens and len(tokens) <= 4:
        assert fragments(tokens, text) == [(0, len(tokens), text)]


def test_a_character_of_four_tokens(bad):
    shown = next(page(bad, i) for i in range(len(bad)) if page(bad, i)["task"] == "split")
    assert shown["fragments"] == [(1, 5, "😀"), (6, 7, "")]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs


def test_hostile_texts_make_no_element_and_no_handler(bad, tmp_path):
    assert write_file(bad, tmp_path / "x.html") == len(bad)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    found, plain = Tags(text), Tags(document("x", None))
    assert found.seen == plain.seen and found.seen.count("script") == 2
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert all(tag not in text for tag in TAGS[:3])
    policy = re.search(r'Policy" content="([^"]*)"', text)[1]
    assert (
        "default-src &#x27;none&#x27;" in policy and "unsafe" not in policy and "connect-src &#x27;none&#x27;" in policy
    )


def test_the_name_of_a_run_is_text(tmp_path):
    text = document("</title><script>1</script>{{style}}", None)
    assert "</title><script>1" not in text and text.count("<style>") == 1 and "{{style}}" in text


def test_a_file_holds_whole_prompts_and_says_what_it_left_out(index, tmp_path):
    chosen = choose(index, 10)
    assert len(chosen) == 10 and index.order[0] in chosen
    assert len(choose(index, 1000)) == len(index)
    write_file(index, tmp_path / "x.html", 10)
    data = json.loads(re.search(r'id="data">(.*?)</script>', (tmp_path / "x.html").read_text(encoding="utf-8"))[1])
    assert data["overview"]["count"] == 10 and data["overview"]["leftOut"] == len(index) - 10
    assert [p["key"] for p in data["pages"]] == [index.key(int(i)) for i in chosen]
    order = np.frombuffer(base64.b64decode(data["overview"]["columns"]["order"]), "<i4")
    assert sorted(order.tolist()) == list(range(10))
    with pytest.raises(FrownError, match="cannot write"):
        write_file(index, tmp_path / "nowhere" / "x.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_every_colour(theme):
    """WCAG AA: 4.5 for text; 3 for marks that carry meaning beside a word."""
    colours = palette(theme)
    ramps = [name for name in colours if re.fullmatch(r"[vpn]\d", name)]
    assert len(ramps) == 16
    for name in ramps:
        assert contrast(colours["ink"], colours[name]) >= 4.5, name
    labels = ("doubt", "frustration", "confusion", "ambivalence", "overconfidence", "confidence")
    for name in ("ink", "soft", "wrong", "right", "accent", "unknown", *labels):
        for ground in ("page", "box"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert contrast(colours["focus"], colours["page"]) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ramps_go_one_way(theme):
    """Lightness alone tells the steps apart, whatever hues a reader sees."""
    colours = palette(theme)
    for ramp in ([f"v{k}" for k in range(1, 9)], [f"p{k}" for k in range(1, 5)], [f"n{k}" for k in range(1, 5)]):
        away = [contrast(colours["page"], colours[name]) for name in ramp]
        assert away == sorted(away) and min(b / a for a, b in pairwise(away)) > 1.03


def test_contrast_of_black_and_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )


def test_levels():
    doubt, margin, word = scale("surprisal"), scale("margin"), scale("log_ratio")
    assert [level(v, doubt, span_of(doubt, [])) for v in (0.0, 1.5, 3.0, 99.0, float("nan"))] == [
        "v0",
        "v4",
        "v8",
        "v8",
        "none",
    ]
    assert [level(v, margin, (0.0, 1.0)) for v in (1.0, 0.0)] == ["v0", "v8"]
    assert [level(v, word, (-3.0, 3.0)) for v in (-9.0, 0.0, 3.0)] == ["n4", "v0", "p4"]
    assert scale("mine").bounds is None and span_of(scale("mine"), [2.0, 5.0]) == (0.0, 5.0)
    assert span_of(scale("advantage"), [-2.0, 0.5]) == (-2.0, 2.0) and span_of(scale("mine"), []) == (0.0, 1.0)
    assert in_order({"mine", "entropy", "surprisal"}) == ["surprisal", "entropy", "mine"]
    assert len({s.name for s in SCALES}) == len(SCALES)


def drawn(index, i, signal="surprisal", **more):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=200, **more).print(render(index, i, signal))
    return out.getvalue()


def test_the_terminal_shows_the_same_colours(index):
    i = next(i for i in range(len(index)) if index.key(i) == "aimed/seed0:train:1:0")
    text = drawn(index, i)
    red = ";".join(str(int(palette("light")["v5"][k : k + 2], 16)) for k in (1, 3, 5))
    assert f"48;2;{red}mc" in text  # doubt 2.0 of 3.0 nats is step 5
    assert "critique on step 2: look at <b>b</b>" in text and "What is t0?" in text
    with pytest.raises(FrownError, match="no signal 'joy'"):
        drawn(index, i, "joy")


@pytest.mark.slow
def test_the_terminal_obeys_nobody(bad):
    for i in range(len(bad)):
        text = re.sub(r"\x1b\[[\d;]*m", "", drawn(bad, i, no_color=True))
        assert not set(text) & set("\x1b\x00\r\u202e\u200b\u2066\ufeff\u2028")


# -- conversations -------------------------------------------------------------------------------------------------


def test_a_conversation_is_its_turns_and_what_others_said_has_no_signals(tmp_path):
    talk = read_index(conversation(tmp_path / "talk"))
    shown, plain = page(talk, 0), page(talk, 1)
    assert shown["heard"] == [(2, 5)] and plain["heard"] is None
    assert [(s["start"], s["end"], s["reward"]) for s in shown["steps"]] == [(0, 2, 7.0), (5, 8, -3.5)]
    assert plain["steps"][0]["reward"] is None
    for name in ("surprisal", "entropy", "advantage"):  # the advantage of what others said is written as 0
        assert np.isnan(unpack(shown["signals"][name])).tolist() == [False] * 2 + [True] * 3 + [False] * 3


def test_log_probabilities_alone_are_no_doubt_about_what_others_said(tmp_path):
    """A file without signals: the doubt is read from the log-probabilities, which are 0 there."""
    talk = record("t", ["a", "b"], steps=(), doubt=(), logp=[-1.0, 0.0], sampled=np.array([True, False]))
    talk = replace(talk, rollout=replace(talk.rollout, signals=None))
    write_rollouts(tmp_path / "step=000001.parquet", [talk])
    shown = page(read_index(tmp_path / "step=000001.parquet"), 0)
    assert unpack(shown["signals"]["surprisal"])[0] == 1.0 and np.isnan(unpack(shown["signals"]["surprisal"])[1])


def test_the_terminal_shows_a_conversation_turn_by_turn(tmp_path):
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system="truecolor")
    console.print(render(read_index(conversation(tmp_path / "talk")), 0, "surprisal"))
    lines = [line for line in out.getvalue().split("\n") if "earned" in line or "others" in line]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert [line.split()[0] for line in plain] == ["1", "others", "2"]
    assert "earned +7" in plain[0] and "earned -3.5" in plain[2] and TAGS[0] in plain[1]
    assert "48;2" in lines[2] and "48;2" not in lines[1]  # only the policy's own tokens have a colour
