"""Rows of kernels by what their names say: shared by the rules about kernels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.rules.context import Context, Row


def busy(context: Context, window: str, pattern: str) -> list[Row]:
    """Busy rows of a window whose kernel name matches."""
    wanted = re.compile(pattern)
    return context.select(window, lambda row: row.kind == "busy" and bool(wanted.search(row.detail)))


def kernel_finding(
    rule: str, window: str, rows: list[Row], title: str, saving: Saving, change: str, more: Iterable[str] = ()
) -> Finding:
    """A finding that claims kernels, its evidence the dearest of them."""
    listed = priced(rows[:3], window)
    return Finding(
        rule=rule,
        title=title,
        window=window,
        claims=tuple(row.id for row in rows),
        saving=saving,
        count=round(sum(row.count for row in rows)),
        evidence=(*more, *listed),
        change=change,
    )


def priced(rows: Iterable[Row], window: str) -> tuple[str, ...]:
    """A line of evidence for each kernel."""
    return tuple(f"{_shown_count(row.count)} x {short(row.detail)}: {row.priced_ns / 1e6:,.2f} ms a {window}" for row in rows)


def _shown_count(count: float) -> str:
    """Calls a window on average; one in every fourth window is 0.25 of a call, not none."""
    return f"{count:,.0f}" if count >= 0.95 else f"{count:.2g}"


def short(kernel: str, most: int = 90) -> str:
    """A kernel's name without its argument list, cut to fit a line."""
    plain = kernel.removeprefix("void ").replace("(anonymous namespace)::", "").replace("at::native::", "")
    name = plain.partition("(")[0] or kernel
    return name if len(name) <= most else name[: most - 1] + "…"


def times(count: float, window: str) -> str:
    """How often something happens, `count` times a window on average: `4 times a step`, `once in 3 steps`."""
    if count < 0.75:
        return f"once in {round(1 / count)} {window}s" if count > 0 else f"within a {window}"
    return f"once a {window}" if count < 1.5 else f"{round(count)} times a {window}"


def milliseconds(rows: Iterable[Row]) -> float:
    """Priced time of rows in ms."""
    return sum(row.priced_ns for row in rows) / 1e6
