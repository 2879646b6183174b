"""Whole steps that were measured of a plan and of single schemes, as text."""

from __future__ import annotations

import statistics
import textwrap
from typing import Any

from profiler.core.lists import by_reason
from profiler.core.printable import one_line, printable
from profiler.metrics.plan_whole import MIXED, Verdict, verdict
from profiler.report.render import number, table


def whole_steps_table(measured: dict[str, Any], width: int) -> str:
    """Each assignment whose whole steps were measured, the fastest first: the plan is that one. Below, why others were not."""
    medians = {name: statistics.median(each) for name, each in measured["steps_us"].items()}
    rows = []
    for name in sorted(medians, key=lambda each: medians[each]):
        each = measured["steps_us"][name]
        within = f"{number(min(each) / 1e3, 2)} to {number(max(each) / 1e3, 2)}"
        rows.append([_named(name), number(medians[name] / 1e3, 2), within, "the plan" if name == measured["taken"] else ""])
    rows += [[_named(name), "-", "-", "not measured"] for name in measured["failed"]]
    text = table(["whole steps, measured", "ms a step", "from to", ""], rows, width, left=(0, 3))
    return "\n".join([text, *_rounds(measured), *_reasons(measured["failed"], width)])


def _named(name: str) -> str:
    return "found layer by layer" if name == MIXED else f"{name} alone"


def _rounds(measured: dict[str, Any]) -> list[str]:
    runs = max((len(each) for each in measured["steps_us"].values()), default=0)
    ended = "; interrupted" if measured.get("interrupted") else ""
    return [f"median of {runs} round{'' if runs == 1 else 's'} of {measured['steps']} steps, in turn{ended}"] if runs else []


def _reasons(failed: dict[str, str], width: int) -> list[str]:
    """Those of one reason together."""
    names = by_reason((_named(name), why) for name, why in failed.items())
    told = [printable(one_line(f"{', '.join(each)}: not measured: {why}")) for why, each in names.items()]
    return [line for each in told for line in textwrap.wrap(each, width, subsequent_indent="  ")]


def last_word(whole: dict[str, Any], width: int) -> list[str]:
    """What whole steps say of the plan: that a single scheme is taken for it, or by how much it is faster than the next."""
    taken, found = whole["taken"], verdict(whole)
    if taken != MIXED and MIXED not in whole["steps_us"]:
        return textwrap.wrap(f"{taken} alone is taken: the plan that was found layer by layer could not be run", width)
    if found is None:
        return []
    lead = "the plan that was found layer by layer stays" if taken == MIXED else f"{taken} alone is taken"
    other = f"{found.other} alone" if taken == MIXED else "the plan that was found layer by layer"
    if found.less > 0:
        told = f"its whole steps take {found.less:.1%} less than those of {other}{_doubt(found)}"
    else:
        told = f"the median of its whole steps is the least, though round by round they take no less than those of {other}"
    why = "" if taken == MIXED else "; sums over Linears leave out what is fused, the host's time and the clock"
    return textwrap.wrap(f"{lead}: {told}{why}", width)


def _doubt(found: Verdict) -> str:
    if found.rounds < 2:
        return ", in one round"
    return "" if found.clear else ", which is less than they differ from round to round"
