"""Figures of the HTML report: lengths are to scale, sums hold, axes have units, text fits."""

from __future__ import annotations

import re

import pytest

from profiler.core import palette
from profiler.report import html_area, html_bars, html_boxes, html_svg, html_waterfall
from profiler.report.html_svg import WIDTH

Numbers = list[float]


def rects(markup: str, colour: str) -> list[dict[str, float]]:
    """The rectangles of a colour: x, y, width, height."""
    found = re.findall(rf'<rect fill="{colour}"[^>]*>', markup)
    return [{key: float(value) for key, value in re.findall(r'(x|y|width|height)="([\d.-]+)"', each)} for each in found]


def said(markup: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", markup)


@pytest.mark.parametrize(
    ("highest", "about", "shown"),
    [
        (149.88, 8, ["0", "20", "40", "60", "80", "100", "120", "140"]),
        (1.0, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0123, 5, ["0.0000", "0.0025", "0.0050", "0.0075", "0.0100"]),
        (33871.0, 8, ["0", "5,000", "10,000", "15,000", "20,000", "25,000", "30,000"]),
        (0.0, 5, ["0"]),
    ],
)
def test_ticks_are_round_and_tell_apart(highest: float, about: int, shown: list[str]):
    assert html_svg.tick_texts(html_svg.ticks(0.0, highest, about)) == shown


def test_text_is_black_or_white_where_it_reads_better():
    for colour in {*palette.CLASSES.values(), *palette.CATEGORIES.values()}:
        light, inside = html_svg.luminance(colour), html_svg.luminance(html_svg.ink(colour))
        assert (max(light, inside) + 0.05) / (min(light, inside) + 0.05) > 4, colour


def test_text_that_does_not_fit_is_left_out_and_numbers_are_never_cut():
    assert html_svg.fitted("attention", 200) == "attention"
    assert html_svg.fitted("a name that is far too long", 100) == "a name t…long"
    assert html_svg.fitted("a name that is far too long", 40) == ""
    assert (html_svg.whole("12.345 GiB", 79), html_svg.whole("12.345 GiB", 78)) == ("12.345 GiB", "")


def test_a_stacked_bar_is_as_long_as_the_page_and_its_parts_to_scale():
    parts = [html_bars.Segment("a", 30.0, "#111111", "na"), html_bars.Segment("b", 10.0, "#222222", "nb", hatched=True)]
    drawn = html_bars.stacked(parts, "ms of a step", "about")
    (first,), (second,) = rects(drawn, "#111111"), rects(drawn, "#222222")
    assert (first["x"], first["width"], second["x"], second["width"]) == (0.0, WIDTH * 0.75, WIDTH * 0.75, WIDTH * 0.25)
    assert "ms of a step" in said(drawn) and "30.0" in said(drawn)
    assert drawn.count("url(#hatch)") == 1
    assert 'aria-label="about"' in drawn and "<title>na</title>" in drawn


def test_an_empty_bar_breaks_nothing():
    assert "<svg" in html_bars.stacked([], "ms", "nothing")
    assert "<svg" in html_bars.rows([html_bars.Bar("a", 0.0, "#111111", "0", "n")], "ms", "nothing")


def test_rows_share_one_scale_and_the_mark_is_on_it():
    bars = [
        html_bars.Bar("a", 40.0, "#111111", "40 ms", "n", mark=20.0),
        html_bars.Bar("b", 10.0, "#222222", "10 ms", "n", faint=20.0),
    ]
    drawn = html_bars.rows(bars, "ms a step", "about")
    (first,), (faint, solid) = rects(drawn, "#111111"), rects(drawn, "#222222")
    assert solid["width"] == pytest.approx(first["width"] / 4, abs=0.1)
    assert faint["width"] == pytest.approx(first["width"] / 2, abs=0.1)
    (mark,) = re.findall(r'd="M([\d.]+) [^"]*" class="mark"', drawn)
    assert float(mark) == pytest.approx(first["x"] + first["width"] / 2, abs=0.1)
    assert first["x"] + first["width"] < WIDTH
    assert {"ms a step", "40 ms", "10 ms", "a", "b"} <= set(said(drawn))


def test_every_level_of_an_icicle_is_as_wide_as_the_whole():
    leaves = [html_boxes.Leaf((top, low), value) for top, low, value in (("a", "x", 50.0), ("a", "y", 10.0), ("b", "z", 40.0))]
    leaves += [html_boxes.Leaf(("a", f"tiny {number}"), 0.05) for number in range(20)]
    colours = {"a": "#111111", "b": "#222222"}
    drawn = html_boxes.icicle(leaves, "busy", lambda path: colours[path[0]], lambda value: f"{value:.2f} ms")
    for level in (1, 2):
        row = [each for colour in colours.values() for each in rects(drawn, colour) if each["y"] == 46.0 * level]
        assert sum(each["width"] for each in row) == pytest.approx(WIDTH, abs=1)
        ends = [each["x"] + each["width"] for each in sorted(row, key=lambda each: each["x"])]
        starts = [each["x"] for each in sorted(row, key=lambda each: each["x"])]
        assert starts == pytest.approx([0.0, *ends[:-1]], abs=0.2), "side by side"
    assert "20 smaller" in drawn
    assert "busy, 101.00 ms" in said(drawn)
    assert "<title>a / x: 50.00 ms, 49.5%</title>" in drawn
    assert html_boxes.icicle([], "busy", str, str) == ""


def path_of(drawn: str, name: str) -> list[tuple[float, float]]:
    (found,) = re.findall(rf'<path d="M([^"]*)Z"[^>]*><title>{name}</title>', drawn)
    return [(float(x), float(y)) for x, y in (point.split(" ") for point in found.split("L"))]


def test_areas_lie_upon_one_another_and_hold_until_the_next_time():
    areas = [html_area.Area("low", "#111111", [2.0, 2.0, 2.0]), html_area.Area("high", "#222222", [1.0, 3.0, 0.0])]
    mark = html_area.Mark(5.0, 5.0, "peak 5")
    drawn = html_area.stacked([0.0, 5.0, 10.0], areas, [html_area.Band("decode", 5.0, 10.0)], [mark], "GiB", "about", 300.0)
    low, high = path_of(drawn, "low"), path_of(drawn, "high")
    bottom, middle, right = 256.0, 62 + (WIDTH - 62) / 2, WIDTH
    unit = (bottom - low[0][1]) / 2
    # Forward along the top; the first value holds until the second time, and rises there.
    assert [round((bottom - y) / unit, 1) for _, y in high[:4]] == [3, 3, 5, 5]
    assert [x for x, _ in high[:4]] == [62.0, middle, middle, right]
    # Back along what lies below.
    assert {round((bottom - y) / unit, 1) for _, y in high[-2:]} == {2}
    assert {"GiB", "ms since the first event", "peak 5", "decode"} <= set(said(drawn))


def test_a_waterfall_begins_at_zero_and_ends_at_the_new_sum():
    changes = [
        html_waterfall.Change("GEMMs", 80.0, 50.0),
        html_waterfall.Change("norm", 10.0, 20.0),
        html_waterfall.Change("same", 10.0, 10.0),
        html_waterfall.Change("small", 0.0, 0.01),
    ]
    drawn = html_waterfall.waterfall(changes, "ms", "a step")
    base, new = rects(drawn, palette.TOTAL)
    (faster,), (slower,) = rects(drawn, palette.FASTER), rects(drawn, palette.SLOWER)[:1]
    px = base["height"] / 100
    assert base["y"] + base["height"] == pytest.approx(262, abs=0.1)
    assert new["height"] == pytest.approx(80.01 * px, abs=0.2)
    assert (faster["height"], slower["height"]) == (pytest.approx(30 * px, abs=0.2), pytest.approx(10 * px, abs=0.2))
    assert faster["y"] == pytest.approx(base["y"], abs=0.1)
    assert slower["y"] + slower["height"] == pytest.approx(faster["y"] + faster["height"], abs=0.2)
    shown = said(drawn)
    assert {"100.00", "80.01", "-30.00", "+10.00", "GEMMs", "a step, ms", "all others"} <= set(shown)
    assert "same" not in shown


def test_a_waterfall_of_nothing():
    assert "<svg" in html_waterfall.waterfall([html_waterfall.Change("a", 0.0, 0.0)], "ms", "a step")
