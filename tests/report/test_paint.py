"""Colours on a terminal: those of the palette, on labels and their bars, never on anything else, never from a name."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from profiler.core import palette
from profiler.report.html_svg import luminance
from profiler.report.memory_chart import chart
from profiler.report.paint import lettered, painted
from profiler.report.render import bar, table

LEDGER = """\
where a step goes                  count   share %
────────────────────────────────────────────────────────
GEMM int8                   busy     418      54.3   ██████▌
attention                   busy      57      15.2   █▉
host wait                   idle       7      12.3   █▌
copy                        busy      34       0.1"""


def coloured(text: str) -> list[tuple[str, str]]:
    """(words, colour) of every painted stretch, in order."""
    made = painted(text)
    assert made.plain == text
    found = sorted(made.spans, key=lambda span: span.start)
    return [(text[each.start : each.end], str(each.style)) for each in found]


def test_rows_of_a_ledger_have_the_colours_of_the_pages():
    assert coloured(LEDGER) == [
        ("GEMM int8", lettered(palette.of_class("GEMM int8"))),
        ("██████▌", palette.of_class("GEMM int8")),
        ("attention", palette.of_class("attention")),
        ("█▉", palette.of_class("attention")),
        ("host wait", lettered(palette.of_idle("host wait"))),
        ("█▌", palette.of_idle("host wait")),
        ("copy", palette.of_class("copy")),
    ]


@pytest.mark.parametrize("name", [*palette.CLASSES, *palette.CATEGORIES])
def test_every_label_is_painted_in_a_table(name: str):
    text = table(("label", "ms", ""), [(name, "1.0", bar(0.5))], 100, left=(0, 2))
    colour = palette.CLASSES.get(name) or palette.CATEGORIES[name]
    assert coloured(text) == [(name, lettered(colour)), ("██████", colour)]


def test_rows_of_a_timeline_are_painted_with_their_blocks():
    timeline = {
        "start_us": 0,
        "end_us": 100,
        "slots": 240,
        "total": [5] * 240,
        "labels": [{"label": "weights", "highest_bytes": 5 << 20, "bytes": [5 << 20] * 240}],
        "windows": [],
    }
    made = dict(coloured(chart(timeline, None, 80)))
    assert made["weights"] == lettered(palette.of_category("weights"))
    assert {value for key, value in made.items() if set(key) == {"█"}} == {palette.of_category("weights")}


def test_sentences_are_painted_where_a_label_stands_before_its_number():
    text = "by category: weights 20.357 GiB, cuda-graph pool 1.250 GiB; the weights were copied, 3 copy kernels, text 1.0"
    assert coloured(text) == [
        ("weights", lettered(palette.of_category("weights"))),
        ("cuda-graph pool", lettered(palette.of_category("cuda-graph pool"))),
    ]


def test_severities_at_the_end_of_a_title_are_painted():
    assert coloured("! 1. something  [high]\n     seen   [low] in a sentence") == [
        ("[high]", f"bold {palette.of_severity('high')}")
    ]


def test_names_that_only_look_like_labels_stay_plain():
    assert coloured("my_copy_kernel 3\nnormal  4\nGEMM int8x  5\nattention_fwd  1.0\n a copy of it") == []


def test_markup_and_escapes_in_a_name_do_nothing():
    text = "[red]GEMM int8[/red]  :smile:  [link=file:///x]weights[/link]"
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="truecolor", highlight=False).print(painted(text), soft_wrap=True)
    assert file.getvalue() == text + "\n"


@pytest.mark.parametrize("colour", sorted({*palette.CLASSES.values(), *palette.CATEGORIES.values()}))
def test_letters_can_be_read_on_black(colour: str):
    light = luminance(lettered(colour))
    assert (light + 0.05) / 0.05 > 4.3
    assert lettered(colour) == colour or luminance(colour) < 0.17


def test_painting_changes_no_character():
    assert isinstance(painted(LEDGER), Text) and painted("").plain == ""
