"""A plan's predictions beside what a sweep measured, for people."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.metrics.sweep_plan import THIS_PLAN
from profiler.report import sweep_words as words
from profiler.report.names import shorten
from profiler.report.render import table

HEADERS = ("cell", "Linears ms", "off", "step ms", "off", "GiB off", "SQNR dB")
_GAP = 3


def plan_text(found: dict[str, Any], width: int) -> str:
    """The table, and what it means."""
    rows = [cells(row) for row in found["rows"]]
    title = _wrapped(f"predicted by {found['path']} (from {found['source']}) and measured", width)
    if not rows:
        return f"{title}\n" + _wrapped(
            "it says nothing about these cells: " + "; ".join(sorted(set(found["left_out"].values()))), width
        )
    sizes = [max(len(header), *(len(row[index]) for row in rows)) + _GAP for index, header in enumerate(HEADERS)]
    room = max(12, width - sum(sizes[1:]))
    shown = table(HEADERS, [[shorten(row[0], room), *row[1:]] for row in rows], width)
    return "\n".join([title, shown, *(_wrapped(line, width) for line in notes(found))])


def cells(row: dict[str, Any]) -> list[str]:
    """One row as text: predicted > measured, and by how much the prediction is off, of the measured."""
    found = [row["id"] if row["predicted_as"] != THIS_PLAN else f"{row['id']} (the plan)"]
    for quantity in ("linears", "step"):
        found += [_both(row, f"{quantity}_ms"), _off(row[f"{quantity}_error"])]
    return [*found, _off(row["model_memory_error"], 2), _both(row, "sqnr_db")]


def _both(row: dict[str, Any], column: str) -> str:
    predicted, measured = (row[f"{who}_{column}"] for who in ("predicted", "measured"))
    return "-" if predicted is None else f"{words.plain(predicted, 1)} > {words.plain(measured, 1)}"


def notes(found: dict[str, Any]) -> list[str]:
    """What the table measures, and whether the plan's order is right."""
    right, pairs = found["same_order"]
    lines = [
        "Linears: their products and kernels that only quantize; quantizing that was fused into others is not in the measured"
    ]
    if any(row["predicted_step_ms"] is not None for row in found["rows"]):
        lines.append("step: beside the Linears it is taken to be the recording's: predict from one of the same compile mode")
    lines.append("SQNR: of the first transformer output")
    return lines + (
        [f"order: {right} of {pairs} pairs of cells that differ by more than 5 % are in the predicted order"] if pairs else []
    )


def _off(value: float | None, digits: int = 0) -> str:
    if value is None:
        return "-"
    text = f"{value:+.{digits}%}"
    return text if text.strip("+-0.%") else text[1:]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=True, break_on_hyphens=False))
