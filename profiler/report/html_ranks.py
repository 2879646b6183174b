"""The ranks of a run in the HTML report: a bar each, what each does, and the slowest beside the one that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.ledger_segments import WAITING_FOR_RANK
from profiler.report.compare_words import signed
from profiler.report.html_data import Gathered
from profiler.report.html_parts import bullets, legend, part, section, table
from profiler.report.html_svg import LETTER, WIDTH, box, ink, svg, words, x_axis
from profiler.report.html_tags import Html, joined
from profiler.report.rank_notes import notes
from profiler.report.render import number
from profiler.report.several_ranks import described

_IDLE = "idle"
# Column, name, colour, and whether nothing runs then.
_PARTS = (
    ("compute_us", "compute", palette.ACCENT, False),
    ("exposed_us", "exposed communication", palette.of_class(COMMUNICATION), False),
    ("waiting_us", WAITING_FOR_RANK, palette.of_idle(WAITING_FOR_RANK), True),
    ("idle_us", "other idle time", palette.of_idle(_IDLE), True),
)
_ROW, _AXIS, _NAMES = 26.0, 44.0, 70.0


def ranks(found: Gathered) -> Html:
    """Every rank of a run of several; nothing for one process."""
    data = found.show
    every = data.get("ranks")
    if not every:
        return joined()
    window = data["rank_window"]
    known = [each for each in every if each["step_us"]]
    whole = (
        f"a {window} as traced: compute, exposed communication, waiting and other idle time sum to it; calls and peaks untraced"
    )
    return section(
        "ranks",
        f"{len(every)} ranks",
        _bars(known, window) if known else None,
        legend((colour, name, "") for _, name, colour, _ in _PARTS) if known else None,
        table(_HEADERS, [_row(each) for each in every], (0, 1, 9)),
        bullets(notes(every)),
        _beside(found.diagnosis),
        note=f"{whole}; rank {data['slowest']} is the slowest" if known else None,
    )


_HEADERS = (
    "rank",
    "host",
    "call, ms",
    "step, ms",
    "busy",
    "exposed, ms",
    "hidden, ms",
    "waiting, ms",
    "other idle, ms",
    "waits most for",
    "model GiB",
    "peak GiB",
)


def _row(each: Mapping[str, Any]) -> list[str]:
    step = each["step_us"]
    busy = f"{(each['compute_us'] + each['exposed_us']) / step:.1%}" if step else "-"
    waits = each["waiting_for_us"]
    most = max(waits, key=waits.__getitem__, default=None)
    times = [number(each[name] and each[name] / 1e3, 3) for name in ("exposed_us", "hidden_us", "waiting_us", "idle_us")]
    sizes = [number(each[name], 2) for name in ("model_gib", "inference_peak_gib")]
    head = [str(each["rank"]), each["host"] or "-", number(each["call_ms"], 1), number(step and step / 1e3, 3), busy]
    return [*head, *times, "" if most is None else f"rank {most}", *sizes]


def _bars(known: Sequence[Mapping[str, Any]], window: str) -> Html:
    """One bar a rank, as long as its step."""
    highest = max(each["step_us"] for each in known) / 1e3
    bottom = _ROW * len(known)
    axis = x_axis(_NAMES, WIDTH, 0.0, bottom, highest, f"ms of a {window}, as traced")
    scale = (WIDTH - _NAMES) / highest
    drawn = [_bar(each, number_ * _ROW, scale) for number_, each in enumerate(known)]
    return svg(bottom + _AXIS, f"what a {window} of each rank is made of", axis, *drawn)


def _bar(each: Mapping[str, Any], top: float, scale: float) -> Html:
    shown = [words(_NAMES - 10, top + _ROW / 2 + 4, f"rank {each['rank']}", anchor="end", class_="name")]
    x = _NAMES
    for column, name, colour, idle in _PARTS:
        value = each[column] / 1e3
        note = f"rank {each['rank']}, {name}: {value:,.3f} ms"
        shown.append(box(x, top + 4, value * scale, _ROW - 8, colour, note, idle))
        text = f"{value:,.1f}"
        if not idle and len(text) * LETTER < value * scale - 6:
            shown.append(
                words(x + value * scale / 2, top + _ROW / 2 + 4, text, anchor="middle", fill=ink(colour), class_="value")
            )
        x += value * scale
    return joined(*shown)


def _beside(report: Mapping[str, Any] | None) -> Html:
    """The slowest rank's ledger beside that of the rank that is shown, untraced."""
    of = report.get("beside") if report else None
    if not of or not of["ledger"]:
        return joined()
    rows = [
        [
            each["label"],
            each["kind"],
            *(f"{each[name] / 1e3:,.3f}" for name in ("slowest_us", "rank_us")),
            signed((each["slowest_us"] - each["rank_us"]) / 1e3),
        ]
        for each in of["ledger"]
    ]
    headers = ("label", "", f"rank {of['slowest']}, ms", f"rank {of['rank']}, ms", "more, ms")
    return part(f"Rank {of['slowest']}, the slowest, beside rank {of['rank']}", table(headers, rows, (0, 1)), note="untraced")


def whose(report: Mapping[str, Any]) -> str:
    """Of several ranks, whose ledger a report shows."""
    return f"; {described(report['rank'], len(report['ranks']), report['median'])}" if report.get("ranks") else ""


def scaling(found: Mapping[str, Any] | None) -> Html:
    """What more ranks bring against fewer: an even share of a step, what it takes, and what is lost."""
    if found is None or not found["parts"]:
        return joined()
    names = ("few_ms", "even_ms", "many_ms")
    sums = {name: sum(each[name] for each in found["parts"]) for name in (*names, "lost_ms")}
    rows = [
        [each["name"], *(f"{each[name]:,.3f}" for name in names), signed(each["lost_ms"])]
        for each in (*found["parts"], {"name": f"a {found['window']}"} | sums)
    ]
    few, many = found["few"], found["many"]
    headers = ("part", f"{few} rank{'s' * (few > 1)}, ms", f"x {few}/{many}", f"{many} ranks, ms", "beyond it")
    note = f"untraced ms of a {found['window']} of one rank; an even share: were all of it spread over {many}"
    return part(f"Where a {found['window']} of {many} ranks goes", table(headers, rows, sums=True), note=note)
