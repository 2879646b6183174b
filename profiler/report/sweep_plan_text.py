"""A plan's predictions beside what a sweep measured, for people."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.core.lists import by_reason
from profiler.metrics.plan_measured import PARTS
from profiler.metrics.sweep_plan import THIS_PLAN
from profiler.report import sweep_words as words
from profiler.report.names import shorten
from profiler.report.render import table

HEADERS = ("cell", "Linears ms", "off", "step ms", "off", "GiB off", "SQNR dB")
PART_HEADERS = ("step, ms", *PARTS, "timed")
_GAP = 3
# Steps that are off by more than so much of what was measured are explained, and those outside of their range.
_EXPLAINED = 0.05
# A part counts that makes up so much of the difference; a clock is another where attention is off by so much.
_PART, _CLOCK = 0.25, 0.03
# A clock that explains at least so much of what products were missed by is the reason.
_MOSTLY = 0.5
_ALONE = "Linears: their products and kernels that only quantize; quantizing that was fused into others is not in the measured"
_PARTED = (
    "Linears: their products; step: of the traced call, untraced; kernels: all others, quantizing too; "
    "timed: a step of the timed calls, beyond the short ones"
)
_NEAR = 0.1
_WHY = {
    "products": "products were slower or faster than their dtype's ceiling and the run's own say",
    "kernels": "elementwise and quantizing kernels were fused otherwise than their bytes say",
}


def plan_text(found: dict[str, Any], width: int) -> str:
    """The tables, and what they mean."""
    title = _wrapped(f"predicted by {found['path']} (from {found['source']}) and measured", width)
    if not found["rows"]:
        return f"{title}\n" + _wrapped(
            "it says nothing about these cells: " + "; ".join(sorted(set(found["left_out"].values()))), width
        )
    shown = [title, _table(HEADERS, [cells(row) for row in found["rows"]], width)]
    split = [part_cells(row) for row in found["rows"] if _split(row)]
    shown += [_table(PART_HEADERS, split, width)] if split else []
    return "\n".join([*shown, *(_wrapped(line, width) for line in [*notes(found), *left_out(found)])])


def left_out(found: dict[str, Any]) -> list[str]:
    """Cells that the plan says nothing about, those of one reason together."""
    named = by_reason(found["left_out"].items())
    return [f"not held against it: {', '.join(cells)}: {why}" for why, cells in named.items()]


def _table(headers: tuple[str, ...], rows: list[list[str]], width: int) -> str:
    sizes = [max(len(header), *(len(row[index]) for row in rows)) + _GAP for index, header in enumerate(headers)]
    room = max(12, width - sum(sizes[1:]))
    return table(headers, [[shorten(row[0], room), *row[1:]] for row in rows], width)


def cells(row: dict[str, Any]) -> list[str]:
    """One row as text: predicted > measured, and by how much the prediction is off, of the measured."""
    found = [row["id"] if row["predicted_as"] != THIS_PLAN else f"{row['id']} (the plan)"]
    for quantity in ("linears", "step"):
        found += [_both(row, f"{quantity}_ms"), _off(row[f"{quantity}_error"])]
    return [*found, _off(row["model_memory_error"], 2), _both(row, "sqnr_db")]


def part_cells(row: dict[str, Any]) -> list[str]:
    """The parts of a row's step: predicted > measured."""
    timed = row["timed_step_ms"]
    return [row["id"], *(_both(row, f"{name}_ms") for name in PARTS), "-" if timed is None else words.plain(timed, 1)]


def _split(row: dict[str, Any]) -> bool:
    return row["predicted_products_ms"] is not None and row["measured_products_ms"] is not None


def _both(row: dict[str, Any], column: str) -> str:
    predicted, measured = (row[f"{who}_{column}"] for who in ("predicted", "measured"))
    return "-" if predicted is None else f"{words.plain(predicted, 1)} > {words.plain(measured, 1)}"


def notes(found: dict[str, Any]) -> list[str]:
    """What the tables measure, how right the plan is, and where it is not, why."""
    right, pairs = found["same_order"]
    inside, ranges = found["within"]
    lines = [_PARTED if any(_split(row) for row in found["rows"]) else _ALONE, "SQNR: of the first transformer output"]
    lines += (
        [f"order: {right} of {pairs} pairs of cells that differ by more than 5 % are in the predicted order"] if pairs else []
    )
    lines += [f"range: {inside} of {ranges} steps lie within what was predicted"] if ranges else []
    lines += [_by_shape(found["shapes"])] if found["shapes"] else []
    return lines + [line for row in found["rows"] if _split(row) and (line := explained(row))]


def _by_shape(shapes: list[dict[str, Any]]) -> str:
    """How many shapes are near, and the one that costs most of what was missed; all of them are in the JSON."""
    near = sum(abs(row["predicted_ms"] / row["measured_ms"] - 1) <= _NEAR for row in shapes if row["measured_ms"])
    worst = max(shapes, key=lambda row: abs(row["predicted_ms"] - row["measured_ms"]))
    name = f"{worst['calls']} of {worst['shape']} in {worst['id']}"
    told = f"products by shape: {near} of {len(shapes)} are within {_NEAR:.0%}; most is missed at {name}"
    return f"{told}, {words.plain(worst['predicted_ms'], 1)} > {words.plain(worst['measured_ms'], 1)} ms"


def explained(row: dict[str, Any]) -> str:
    """Where a prediction that is far off, or out of its range, went wrong; empty for one that did not."""
    error, low, high = row["step_error"], row["predicted_step_low_ms"], row["predicted_step_high_ms"]
    outside = low is not None and high is not None and not low <= row["measured_step_ms"] <= high
    if error is None or (abs(error) <= _EXPLAINED and not outside):
        return ""
    missed = {name: row[f"measured_{name}_ms"] - row[f"predicted_{name}_ms"] for name in PARTS}
    total = sum(missed.values()) or 1.0
    largest = max(missed, key=lambda name: abs(missed[name]))
    counted = [name for name in PARTS if missed[name] / total >= _PART] or [largest]
    counted.sort(key=lambda name: -abs(missed[name]))
    told = "; ".join(f"{name} {missed[name]:+.1f} ms ({_why(row, name)})" for name in counted)
    ends = f" (predicted {words.plain(low, 0)} to {words.plain(high, 0)} ms)" if outside else ""
    return f"{row['id']}: {abs(error):.0%} too {'short' if error < 0 else 'long'}{ends}: {told}{_timed(row)}"


def _timed(row: dict[str, Any]) -> str:
    """Where a step of the timed calls says something else than that of the short call that is cut into parts."""
    timed, predicted = row["timed_step_ms"], row["predicted_step_ms"]
    if timed is None or abs(timed / row["measured_step_ms"] - 1) <= _EXPLAINED:
        return ""
    return f"; a step of its timed calls took {words.plain(timed, 1)} ms: the prediction is {predicted / timed - 1:+.0%} off that"


def _why(row: dict[str, Any], name: str) -> str:
    """Why a part was missed. Another clock, which attention shows, explains of the products only its own share of their time."""
    slower = row["measured_attention_ms"] / row["predicted_attention_ms"] - 1 if row["predicted_attention_ms"] else 0.0
    clock = f"attention, which no scheme changes, took {abs(slower):.0%} {'longer' if slower > 0 else 'less'}: another clock"
    if name == "attention":
        return clock
    if name == "products" and abs(slower) >= _CLOCK:
        by_clock = slower * row["predicted_products_ms"]
        share = by_clock / ((row["measured_products_ms"] - row["predicted_products_ms"]) or by_clock)
        if share >= _MOSTLY:
            return clock
        return f"{by_clock:+.1f} of it: {clock}; the rest: {_WHY[name]}" if share > 0 else _WHY[name]
    if name == "idle":
        return f"the device waited, most of it {row['waiting']}" if row["waiting"] else "the device waited less"
    return _WHY[name]


def _off(value: float | None, digits: int = 0) -> str:
    if value is None:
        return "-"
    text = f"{value:+.{digits}%}"
    return text if text.strip("+-0.%") else text[1:]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=True, break_on_hyphens=False))
