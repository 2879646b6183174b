"""How far a window stands above its floor, as a sentence and a table, and as JSON."""

from __future__ import annotations

import textwrap
from typing import Any

import polars as pl

from profiler.metrics.classes import SPARSE
from profiler.metrics.floor import Floor
from profiler.metrics.floor_ceilings import Raised
from profiler.report.names import shorten
from profiler.report.render import number, table

# Classes below this share of the measured time are shown as one row; more times the floor than this says nothing.
_SMALL_SHARE, _MOST_TIMES = 0.002, 100.0
# Operators named among those without a price.
_NAMED = 3
_NAME = 40


def to_json(floor: Floor, untraced_ns: float) -> dict[str, Any]:
    """Times in microseconds a repeat; `why` says why there is no floor, and then the numbers are null."""
    known = not floor.why
    return {
        "floor_us": floor.floor_ns / 1e3 if known else None,
        "ratio": _ratio(floor, untraced_ns),
        "classes": [
            {"class": label, "measured_us": measured / 1e3, "floor_us": least / 1e3, "bound": bound}
            for label, measured, least, bound in floor.classes.select("class", "measured_ns", "floor_ns", "bound").iter_rows()
        ],
        "raised": [vars(each) | {"text": raised_text(each)} for each in floor.raised],
        "unpriced_us": floor.unpriced_ns / 1e3 if known else None,
        "why": floor.why,
    }


def render(floor: Floor, window: str, untraced_ns: float, width: int) -> str:
    """The sentence, the classes, and what the floor does not know."""
    ratio = _ratio(floor, untraced_ns)
    if ratio is None:
        return f"no floor: {floor.why or 'no kernel of this window has one'}"
    head = f"a {window} stands at {ratio:.2f} x its floor of {floor.floor_ns / 1e6:,.1f} ms"
    headers = ("least time at this GPU's measured rates", "measured ms", "floor ms", "x floor", "bound")
    raised = [raised_text(each) for each in floor.raised]
    notes = [note for note in (_sparse(floor), *raised, _unpriced(floor), _clamped(floor)) if note]
    wrapped = [textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False) for note in notes]
    return "\n".join([head, table(headers, _rows(floor.classes), width, left=(0, 4)), *wrapped])


def raised_text(each: Raised) -> str:
    """Which ceiling a kernel of the run beat, and what was taken instead."""
    dtype, _, unit = each.name.replace("_2:4", " 2:4").partition("_")
    which = f", {each.measured_with}" if each.measured_with else ""
    what = f"the run's ceiling of {dtype}, {each.recorded:,.0f} {unit.upper()}, was measured with another kernel{which}"
    return f"{what}: {shorten(each.kernel, _NAME)} reached {each.reached:,.0f} here, and that was taken"


def _ratio(floor: Floor, untraced_ns: float) -> float | None:
    return untraced_ns / floor.floor_ns if floor.floor_ns else None


def _rows(classes: pl.DataFrame) -> list[list[str]]:
    is_small = pl.col("measured_ns") < _SMALL_SHARE * pl.col("measured_ns").sum()
    marked = classes.with_columns(is_small.alias("small"))
    rows = [_row(*values) for values in marked.filter(~pl.col("small")).select(_SHOWN).iter_rows()]
    rest = marked.filter("small")
    if rest.height:
        label = "1 smaller class" if rest.height == 1 else f"{rest.height} smaller classes"
        rows.append(_row(label, float(rest["measured_ns"].sum()), float(rest["floor_ns"].sum()), ""))
    return rows


_SHOWN = ("class", "measured_ns", "floor_ns", "bound")


def _row(label: str, measured_ns: float, floor_ns: float, bound: str) -> list[str]:
    times = measured_ns / floor_ns if floor_ns else _MOST_TIMES
    shown = f">{_MOST_TIMES:.0f}" if times >= _MOST_TIMES else f"{times:.2f}"
    return [label, number(measured_ns / 1e6, 3), number(floor_ns / 1e6, 3), shown, bound]


def _sparse(floor: Floor) -> str:
    """No ceiling of 2:4 products was measured."""
    some = floor.classes["class"].str.ends_with(SPARSE).any()
    return "2:4 products are held against twice the dense rate of their dtype, zeros counted" if some else ""


def _unpriced(floor: Floor) -> str:
    parts = [_reason(why, floor.unpriced.filter(pl.col("why") == why)) for why in floor.unpriced["why"].unique().sort()]
    return "; ".join(parts) + ": counted as measured" if parts else ""


def _reason(why: str, rows: pl.DataFrame) -> str:
    names = [name if len(name) <= 40 else name[:39] + "…" for name in rows["name"].head(_NAMED)]
    more = ", …" if rows.height > _NAMED else ""
    total = f"{why} for {rows['count'].sum():,.0f} kernels, {float(rows['measured_ns'].sum()) / 1e6:,.3f} ms"
    return f"{total} ({', '.join(names)}{more})"


def _clamped(floor: Floor) -> str:
    """The ceilings were measured at one clock and out of memory, not out of the cache."""
    count = floor.classes["clamped"].sum()
    if not count:
        return ""
    return f"{count:,.0f} kernels beat the measured rates (another clock, or data still in the cache): counted as measured"
