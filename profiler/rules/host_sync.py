"""The host waits for the GPU inside a window: `.item()`, nonzero, `.cpu()`, a print, an eager quantized Linear."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from profiler.core.finding import Finding, Place, Saving
from profiler.metrics.host_states import HOST_WAIT
from profiler.metrics.places import Caller, Calls
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import STEP, Context, Row
from profiler.rules.kernels_of import times

# What the user wrote, by the operator that waits.
_WRITTEN = {
    "aten::item": ".item(), float(tensor), or a branch on a tensor",
    "aten::nonzero": "nonzero() or a boolean mask",
    "aten::to": ".cpu(), .to('cpu') or print(tensor)",
    "aten::_to_copy": ".cpu(), .to('cpu') or print(tensor)",
    "aten::copy_": ".cpu(), .to('cpu') or print(tensor)",
}
# Outside steps: less than this share of the window is one wait for a result.
_LEAST = 0.005
# In steps a wait is a fault, but for what is next to nothing: once in a call, or while the host is far ahead.
_LEAST_OF_A_STEP = 2e-5
_SITE = re.compile(r"(?P<op>\S+)(?: in (?P<around>.+))?")


def check(context: Context) -> Iterable[Finding]:
    """One finding for each site that waits inside a step; elsewhere waiting for a result is no fault while it costs little."""
    for window in context.windows():
        sites: dict[str, list[Row]] = defaultdict(list)
        for row in context.rows(window):
            if row.label == HOST_WAIT:
                sites[row.detail].append(row)
        least = (_LEAST_OF_A_STEP if window == STEP else _LEAST) * context.duration_ns(window)
        for site, rows in sites.items():
            if sum(row.priced_ns for row in rows) >= least:
                yield _finding(context, window, site, rows)


def _finding(context: Context, window: str, site: str, rows: list[Row]) -> Finding:
    match = _SITE.fullmatch(site)
    operator = match["op"] if match else site
    around = (match["around"] or "") if match else ""
    found = context.callers(Calls(frozenset({operator}), window, waiting=True))
    count = sum(row.count for row in rows)
    total_us = sum(row.total_ns for row in rows) / 1e3
    return Finding(
        rule=RULE.name,
        title=f"the host waits for the GPU {times(count, window)}: {site}",
        window=window,
        claims=tuple(row.id for row in rows),
        # What the wait costs is the time until the host is ahead again; without it that time is gone.
        saving=Saving(share_low=0.6, share_high=1.0),
        where=places(found),
        count=max(1, round(count)),
        evidence=(f"they leave the GPU idle for {total_us:,.0f} us a {window} as traced",),
        change=_change(operator, around),
    )


def places(found: list[Caller], most: int = 3) -> tuple[Place, ...]:
    """The most frequent places of callers, each with its innermost module."""
    named = [Place(c.place.file, c.place.line, c.modules[-1] if c.modules else None, c.place.function) for c in found]
    return tuple(dict.fromkeys(named))[:most]


def _change(operator: str, around: str) -> str:
    if "linear" in around or "int8" in around or "quantize" in around:
        return (
            "leave this Linear in bf16 or give it a weight-only scheme: it is quantized dynamically outside every compiled region"
        )
    written = _WRITTEN.get(operator)
    return (
        f"keep the value on the GPU: remove {written}"
        if written
        else "keep the value on the GPU, or move the wait out of the loop"
    )


RULE = RULES.add(
    "host-sync", Rule(name="host-sync", summary="the host waits for the GPU", check=check, needs=(GPU_TRACE,), priority=10)
)
