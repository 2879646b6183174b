"""Where the memory of two runs differs, in the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core.units import GIB
from profiler.report.compare_words import (
    scale_of,
    signed,
)
from profiler.report.html_parts import part, table
from profiler.report.html_tags import Html, joined
from profiler.report.html_waterfall import Change, waterfall


def peak(rows: Sequence[Mapping[str, Any]]) -> Html:
    changes = [Change(each["name"], each["base_bytes"] / GIB, each["new_bytes"] / GIB) for each in rows if _known(each)]
    if not any(each.base or each.new for each in changes):
        return joined()
    return part("What lived at the peak of a call", waterfall(changes, "GiB", "at the peak of a call"))


def _known(row: Mapping[str, Any]) -> bool:
    return row["base_bytes"] is not None and row["new_bytes"] is not None


def sizes(every: Sequence[Mapping[str, Any]]) -> Html:
    known = [each for each in every if _known(each)]
    scale = scale_of(*(each[name] for each in known for name in ("base_bytes", "new_bytes")))
    rows = [
        [
            each["name"],
            *(f"{scale.of(each[name]):,.3f}" for name in ("base_bytes", "new_bytes")),
            signed(scale.of(each["delta_bytes"])),
        ]
        for each in known
    ]
    return table((scale.unit, "base", "new", "change"), rows)


def weights(components: Sequence[Mapping[str, Any]]) -> Html:
    names = ("base_bytes", "expected_bytes", "new_bytes")
    scale = scale_of(*(each[name] for each in components for name in names))
    rows = [
        [each["component"], *("-" if each[name] is None else f"{scale.of(each[name]):,.3f}" for name in names)]
        for each in components
    ]
    return table((scale.unit, "base", "by arithmetic", "stored"), rows)
