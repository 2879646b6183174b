"""A run of kind `tune` in the HTML report: the fastest correct kernel of every shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiler.core import palette
from profiler.metrics.tune import ABOUT_UNTUNED, TUNED, UNTUNED, UNTUNED_IS
from profiler.report import html_bars
from profiler.report.html_data import Gathered
from profiler.report.html_parts import Figure, bullets, part, section, table
from profiler.report.html_tags import Html, Inside, joined, tag
from profiler.report.tune import shape_name


def headline(data: Mapping[str, Any]) -> str:
    """The answer in one sentence."""
    step = data["step_ms"] or {}
    if step.get(UNTUNED) and step.get(TUNED):
        times = step[UNTUNED] / step[TUNED]
        return f"The tuned kernels take {step[TUNED]:,.2f} ms a step, {times:.2f} times as fast as {UNTUNED_IS}"
    return f"{len(data['shapes'])} of {data['wanted']} shapes tuned"


def figures(data: Mapping[str, Any]) -> list[Figure]:
    """Key figures."""
    tried = sum(each["candidates"] for each in data["shapes"])
    found = [
        Figure("shapes tuned", f"{len(data['shapes'])}", "", f"of {data['wanted']}"),
        Figure("candidates", f"{tried:,}", "", "tried"),
        Figure("rejected", f"{data['rejected']:,}", "", "wrong results"),
    ]
    limit = data["ceiling_tops"]
    return [*found, *([Figure("limit", f"{limit:,.0f}", "TOPS", "this device's fastest 8-bit product")] if limit else [])]


def tuning(found: Gathered) -> Html:
    """What was tuned, what it is worth, what was refused."""
    data = found.tune
    if data is None:
        return joined()
    refused = [f"{shape_name(each)} was not tuned: {each['why']}" for each in data["refused"]]
    return section(
        "tuning",
        "Tuned shapes",
        _step(data["step_ms"] or {}),
        _shapes(data),
        part("Notes", bullets([*refused, *data["notes"], *([f"kept in {data['table']}"] if data["shapes"] else [])])),
    )


def _step(step_ms: Mapping[str, float]) -> Html:
    bars = [
        html_bars.Bar(
            name, value, palette.FASTER if name == TUNED else palette.TOTAL, f"{value:,.3f} ms", f"{name}: {value:,.3f} ms"
        )
        for name, value in step_ms.items()
    ]
    if not bars:
        return joined()
    made = html_bars.rows(bars, "ms a step", "products of a step by kernel")
    return part("All these products in one step, predicted", made, note=ABOUT_UNTUNED if UNTUNED in step_ms else "")


def _shapes(data: Mapping[str, Any]) -> Html:
    names = sorted({name for each in data["shapes"] for name in each["baselines"]})
    rows: list[list[Inside]] = [[*_shape(each), *(_us(each["baselines"].get(name)) for name in names)] for each in data["shapes"]]
    headers = ("M x K x N", "kernel", "count", "µs", "TOPS", "of the limit", *(f"{name} µs" for name in names))
    return part("Shapes", table(headers, rows, (0, 1)), note="microseconds a call")


def _shape(shape: Mapping[str, Any]) -> list[Inside]:
    best = shape["best"]
    kernel = best["kernel"] if shape["pays"] else f"{best['kernel']} (no gain: left untuned)"
    share = "-" if best["share"] is None else f"{best['share']:.0%}"
    return [shape_name(shape), tag("code", kernel), f"{shape['count']:,}", _us(best["us"]), f"{best['tops']:,.1f}", share]


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
