"""Whole steps that were measured of a plan and of single schemes, as text."""

from __future__ import annotations

import statistics
import textwrap
from typing import Any

from profiler.metrics.plan_whole import MIXED
from profiler.report.render import number, table


def whole_steps_table(measured: dict[str, Any], width: int) -> str:
    """Each assignment whose whole steps were measured, the fastest first: the plan is that one."""
    medians = {name: statistics.median(each) for name, each in measured["steps_us"].items()}
    rows = []
    for name in sorted(medians, key=lambda each: medians[each]):
        each = measured["steps_us"][name]
        told = "found layer by layer" if name == MIXED else f"{name} alone"
        within = f"{number(min(each) / 1e3, 2)} to {number(max(each) / 1e3, 2)}"
        rows.append([told, number(medians[name] / 1e3, 2), within, "the plan" if name == measured["taken"] else ""])
    rows += [[name, "-", "-", f"not measured: {why}"] for name, why in measured["failed"].items()]
    runs = max((len(each) for each in measured["steps_us"].values()), default=0)
    text = table(["whole steps, measured", "ms a step", "from to", ""], rows, width, left=(0, 3))
    ended = "; interrupted" if measured.get("interrupted") else ""
    told = f"\nmedian of {runs} round{'' if runs == 1 else 's'} of {measured['steps']} steps, in turn{ended}"
    return text + (told if runs else "")


def overruled(whole: dict[str, Any], width: int) -> list[str]:
    """Why the plan is a single scheme, where it is one; nothing otherwise."""
    if whole["taken"] == MIXED:
        return []
    if MIXED not in whole["steps_us"]:
        return textwrap.wrap(f"{whole['taken']} alone is taken: the plan that was found layer by layer could not be run", width)
    mixed, taken = (statistics.median(whole["steps_us"][name]) for name in (MIXED, whole["taken"]))
    text = (
        f"{whole['taken']} alone is taken: its whole steps take {1 - taken / mixed:.1%} less than those of the plan that was "
        "found layer by layer, where what is fused, the host's time and the clock are left out"
    )
    return textwrap.wrap(text, width)
