"""Graph breaks: what each distinct one costs in a step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from profiler.core.finding import Finding, Place, Saving
from profiler.metrics.break_spans import per_window
from profiler.metrics.graph_breaks import graph_breaks
from profiler.metrics.host_states import GRAPH_BREAK, GUARDS, HOST_WAIT, PAGEABLE_COPY, PYTHON_IN_REGION
from profiler.metrics.lost_fusion import crossing_bytes
from profiler.rules.base import RULES, TRACE, Rule
from profiler.rules.context import Context, Row
from profiler.rules.kernels_of import times

_SHOWN = 3


def check(context: Context) -> Iterable[Finding]:
    """One finding a distinct break that the trace's own program reaches; what runs eagerly because of it is its evidence."""
    if not (context.has("compile log") or context.compiled):
        return
    counts: dict[str, dict[str, float]] = defaultdict(dict)
    for name, window, count in per_window(context.run, context.rank).select("break", "window", "per_window").iter_rows():
        counts[name][window] = count
    for each in graph_breaks(context.run, context.rank).to_dicts():
        if each["joined"] and (each["trace_count"] or each["log_count"]):
            yield _finding(context, *_when(context, each, counts[each["break"]]), each)


def _when(context: Context, each: dict[str, Any], counts: dict[str, float]) -> tuple[str, float]:
    """The window in which a break is counted, and how often it happens there; never, where only the warm-up met it."""
    met = next((window for window in (context.main, *context.windows()) if counts.get(window)), None)
    if met is not None:
        return met, counts[met]
    # Regions without a graph leave no span: only how often the rest of the function runs is known.
    return context.main, each["trace_count"] / max(1, context.ledger(context.main).windows.height)


def _finding(context: Context, window: str, count: float, each: dict[str, Any]) -> Finding:
    rows = _rows(context, window, each) if count else []
    often = times(count, window) if count else "not in the trace"
    name = " ".join(part for part in (each["gb_id"], each["title"]) if part)
    fusion_ns, fusion = _lost_fusion(context, each, count)
    return Finding(
        rule=RULE.name,
        title=f"graph break, {often}: {name}",
        window=window,
        claims=tuple(row.id for row in rows),
        # Without the break its guards, its dispatch and its wait are gone; but a GPU that idles less also clocks lower.
        saving=Saving(share_low=0.55, share_high=0.9, extra_high_ns=fusion_ns),
        where=(Place(each["file"], each["line"], None, each["function"]),),
        count=math.ceil(count),
        evidence=(*_evidence(each, rows, window), *fusion),
        change=_change(each),
        doc=f"https://meta-pytorch.github.io/compile-graph-break-site/gb/{(each['gb_id'] or '').lower()}.html"
        if each["gb_id"]
        else "",
    )


def _lost_fusion(context: Context, each: dict[str, Any], count: float) -> tuple[float, tuple[str, ...]]:
    """At most one write and one read of what crosses the break, at the copy rate that was measured on this GPU.

    An estimate: it is counted in the saving's high end and never in the cost.
    """
    rate = (context.manifest.environment.get("ceilings") or {}).get("copy_gbs")
    if not rate or not count or not context.has("GPU trace"):
        return 0.0, ()
    size = crossing_bytes(context.run, each["before"], context.rank)
    if not size:
        return 0.0, ()
    ns = count * 2 * size / rate
    return ns, (f"{size / 2**20:,.1f} MiB cross it each time: at most {ns / 1e3:,.0f} us of lost fusion, only in the saving",)


def _rows(context: Context, window: str, each: dict[str, Any]) -> list[Row]:
    """Idle rows that the break causes: stopping and resuming, the resumed frames' guards, and the wait that it makes."""
    before, after = set(each["before"]), set(each["after"])
    place = f"{each['file']}:{each['line']}" if each["file"] else ""

    def caused(row: Row) -> bool:
        if row.kind != "idle":
            return False
        regions = set(row.region.split(", ")) if row.region else set()
        if row.label == GRAPH_BREAK:
            return bool(regions & (before | after)) or (bool(place) and place.rpartition("/")[2] in row.detail)
        if row.label == GUARDS:
            return row.detail in after
        return row.label in (HOST_WAIT, PAGEABLE_COPY, PYTHON_IN_REGION) and bool(regions & (before | after))

    return context.select(window, caused)


def _evidence(each: dict[str, Any], rows: list[Row], window: str) -> Iterable[str]:
    if each["code"]:
        yield f"the line: {each['code']}"
    if rows:
        yield f"{sum(row.total_ns for row in rows) / 1e3:,.0f} us idle a {window} as traced, between regions {_ids(each)}"
    for consequence in each["consequences"][:_SHOWN]:
        place = f"{consequence['file']}:{consequence['line']}"
        yield f"because of it {consequence['function']} ({place}) runs eagerly: {consequence['why']}"
    if len(each["consequences"]) > _SHOWN:
        yield f"and {len(each['consequences']) - _SHOWN} more frames"


def _ids(each: dict[str, Any]) -> str:
    return f"{', '.join(each['before']) or '?'} and {', '.join(each['after']) or '?'}"


def _change(each: dict[str, Any]) -> str:
    hints = [hint.strip() for hint in each["hints"] if hint.strip()]
    return hints[0] if hints else "take the unsupported call out of the compiled function"


RULE = RULES.add("graph-break", Rule(name="graph-break", summary="graph breaks", check=check, needs=(TRACE,), priority=5))
