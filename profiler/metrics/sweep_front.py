"""The Pareto front of a sweep: cells that no other beats in time, memory and SQNR at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WORK = ("model", "gpu", "batch_size", "steps", "height", "width", "frames", "guidance")
"""What cells must share to be held against each other: the same work on the same device."""

PEAK, MODEL = "inference_peak_gib", "model_memory_gib"


@dataclass(frozen=True)
class Group:
    """Cells of the same work.

    Args:
        work: the values of `WORK`.
        ids: finished cells with a time.
        memory: the column that stands for memory: the inference peak, model memory where a cell lacks that; "" for neither.
        quality: whether SQNR is an axis; it is none where no cell but the base has one.
        front: ids on the Pareto front, the fastest first.
        left_out: finished cells that lack an axis, and which.
    """

    work: dict[str, Any]
    ids: list[str]
    memory: str
    quality: bool
    front: list[str]
    left_out: dict[str, str]


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of the points that no other point is at least as small as everywhere and smaller somewhere, in their order.

    Equal points are all on the front.
    """
    kept: list[tuple[float, ...]] = []
    found: list[int] = []
    # In this order a point can only be beaten by an earlier one, and then by one that is on the front.
    for index in sorted(range(len(points)), key=lambda each: points[each]):
        point = points[index]
        beaten = any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in kept)
        if not beaten:
            kept.append(point)
            found.append(index)
    return sorted(found)


def groups(rows: Iterable[dict[str, Any]]) -> list[Group]:
    """Finished cells by the work that they do, the largest group first."""
    by_work: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok" and row.get("time_s") is not None:
            by_work.setdefault(tuple(row.get(name) for name in WORK), []).append(row)
    made = [_group(dict(zip(WORK, work, strict=True)), found) for work, found in by_work.items()]
    return sorted(made, key=lambda group: -len(group.ids))


def _group(work: dict[str, Any], rows: list[dict[str, Any]]) -> Group:
    memory = next((name for name in (PEAK, MODEL) if all(row.get(name) is not None for row in rows)), "")
    memory = memory or (PEAK if any(row.get(PEAK) is not None for row in rows) else "")
    quality = any(row.get("sqnr_db") is not None and row.get("base") != row["id"] for row in rows)
    left_out = {row["id"]: why for row in rows if (why := _lacks(row, memory, quality))}
    ranked = [row for row in rows if row["id"] not in left_out]
    points = [_point(row, memory, quality) for row in ranked]
    best = sorted((points[index], index) for index in front(points))
    return Group(work, [row["id"] for row in rows], memory, quality, [ranked[index]["id"] for _, index in best], left_out)


def _lacks(row: dict[str, Any], memory: str, quality: bool) -> str:
    lacking = [name for name, missing in (("memory", memory and row.get(memory) is None),) if missing]
    if quality and row.get("sqnr_db") is None:
        note = row.get("quality_note")
        lacking.append(f"SQNR ({note})" if note else "SQNR")
    if row.get("sqnr_db") == -math.inf:
        return "its output is not finite"
    return f"no {' and no '.join(lacking)}" if lacking else ""


def _point(row: dict[str, Any], memory: str, quality: bool) -> tuple[float, ...]:
    point = [row["time_s"]] + ([row[memory]] if memory else [])
    return tuple(point + ([-row["sqnr_db"]] if quality else []))
