"""The memory part of `compare` as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profiler.metrics.memory import CATEGORIES
from profiler.report.compare_words import Scale, scale_of, signed, size
from profiler.report.render import number, table

WEIGHTS = CATEGORIES[0]
# A category's change is shown from this share of its window on.
_SHOWN = 5e-4


def phases(comparison: dict[str, Any], width: int) -> str:
    """Model memory and the peaks of the phases."""
    rows = [each for each in comparison["memory"]["phases"] if None not in (each["base_bytes"], each["new_bytes"])]
    return _sizes("memory", [(_with_place(each), each) for each in rows], width)


def _with_place(row: dict[str, Any]) -> str:
    where = row.get("where") or {"base": None, "new": None}
    if not where["base"] or not where["new"]:
        return str(row["name"])
    places = where["new"] if where["base"] == where["new"] else f"{where['base']} > {where['new']}"
    return f"{row['name']} ({places})"


def peak(comparison: dict[str, Any], width: int) -> str:
    """What lived at the peak of a call."""
    rows = comparison["memory"]["peak"]
    if not rows:
        return ""
    text = _sizes("at that peak", [*((each["name"], each) for each in rows), ("together", _together(rows))], width)
    holders = comparison["memory"]["holders"]
    named = [f"{name}: {holder}" for name, holder in holders.items() if holder]
    return text + (f"\nbiggest beside the weights: {_once(named, holders)}" if named else "")


def _once(named: Sequence[str], holders: dict[str, str | None]) -> str:
    return str(holders["new"]) if holders["base"] == holders["new"] else "; ".join(named)


def windows(comparison: dict[str, Any], width: int) -> str:
    """The peak of each window, with what changed in it beside the weights."""
    rows = []
    for window in comparison["memory"]["windows"]:
        total = _together(window["categories"])
        rows.append((window["name"], total))
        rows += [(f"  {each['name']}", each) for each in window["categories"] if _matters(each, total)]
    return _sizes("peak of each window, as requested", rows, width)


def _matters(row: dict[str, Any], total: dict[str, Any]) -> bool:
    return row["name"] != WEIGHTS and bool(abs(row["delta_bytes"]) >= _SHOWN * total["base_bytes"])


def weights(comparison: dict[str, Any], width: int) -> str:
    """What the weights should take, and what they take."""
    expected = comparison["expected"]
    if expected["not_compared"] or not expected["components"]:
        return ""
    columns = ("base_bytes", "expected_bytes", "new_bytes")
    scale = scale_of(*(each[name] for each in expected["components"] for name in columns))
    rows = [(each["component"], *(_shown(each[name], scale) for name in columns)) for each in expected["components"]]
    sums = [[each[name] for each in expected["components"]] for name in columns]
    rows.append(("together", *(_shown(None if None in column else sum(column), scale) for column in sums)))
    lines = [table((f"weights, {scale.unit}", "base", "by arithmetic", "stored"), rows, width)]
    lines.append("Linears: " + ", ".join(f"{count} {scheme}" for scheme, count in expected["linears"].items()))
    lines += [f"  left: {size(each['bytes'])}, {each['reason']}" for each in expected["left"][:4]]
    if expected["added_bytes"]:
        lines.append(f"  {size(expected['added_bytes'])} of Linears that the base does not have")
    return "\n".join(lines)


def _sizes(title: str, rows: Sequence[tuple[str, dict[str, Any]]], width: int) -> str:
    if not rows:
        return ""
    scale = scale_of(*(each[name] for _, each in rows for name in ("base_bytes", "new_bytes")))
    cells = [
        (name, _shown(each["base_bytes"], scale), _shown(each["new_bytes"], scale), signed(scale.of(each["delta_bytes"])))
        for name, each in rows
    ]
    return table((f"{title}, {scale.unit}", "base", "new", "change"), cells, width)


def _shown(size_bytes: int | None, scale: Scale) -> str:
    return number(None if size_bytes is None else scale.of(size_bytes), 3)


def _together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(each[key] for each in rows) for key in ("base_bytes", "new_bytes", "delta_bytes")}
