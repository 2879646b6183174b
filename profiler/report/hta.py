"""`ranks` as plain data: Holistic Trace Analysis (HTA) of every rank, each result under its name, beside our own numbers."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.ranks import RankSummary, rank_summary
from profiler.metrics.ranks_device import DeviceTime, device_times
from profiler.tables.hta import PACKAGE, Hta
from profiler.tables.hta_answer import ANALYSES, OVERLAP, SETTINGS, TEMPORAL, Found
from profiler.tables.run import Run

OURS = "diffuscope"
# How a note of `hta_child` on operators that HTA counts as kernels begins.
_STRAYS = "HTA takes events that carry a stream"
# From here on a warning of HTA's is about one kernel of many.
_KERNEL = "current kernel:"


def hta_data(run: Run, hta: Hta) -> dict[str, Any]:
    """Everything `ranks` prints, JSON-ready; of `hta` what it has found so far.

    Raises:
        UnreadableInput: neither HTA nor we can read the trace of any rank.
    """
    own, unread = device_times(run, hta.ranks)
    if set(hta.ranks) <= set(unread) & set(hta.unread):
        raise UnreadableInput(
            f"no trace of {run.path} can be read: {unread[hta.ranks[0]]}", "record it again, or import it again"
        )
    lost = [(rank, why, named(hta)) for rank, why in hta.unread.items()] + [(rank, why, OURS) for rank, why in unread.items()]
    summary = rank_summary(run)
    absent = summary.ranks.filter(~pl.col("rank").is_in(hta.ranks) & (pl.col("problem") != ""))
    lost += [(rank, why, OURS) for rank, why in absent.select("rank", "problem").iter_rows()]
    return {
        "run": str(run.path),
        "status": run.manifest.status,
        "ranks": hta.ranks,
        "summary": summary_data(summary),
        "hta": {"name": named(hta), "package": PACKAGE, "version": hta.version, "settings": SETTINGS},
        "own": [asdict(each) | {"overlap_share": each.overlap_share} for each in own],
        "not_read": [{"rank": rank, "by": by, "why": why} for rank, why, by in sorted(lost)],
        "analyses": [_analysis(name, hta) for name in hta.analyses],
        "beside": beside(hta.results(), own),
    }


def summary_data(summary: RankSummary) -> dict[str, Any]:
    """Our own view of the ranks, JSON-ready: times are us a window (a step), as traced."""
    return {
        "window": summary.window,
        "slowest": summary.slowest,
        "median": summary.median,
        "ranks": summary.ranks.to_dicts(),
        "waits": summary.waits.to_dicts(),
    }


def named(hta: Hta) -> str:
    """What its results are called."""
    return f"HTA {hta.version}"


def told(data: dict[str, Any]) -> list[str]:
    """What HTA warned of, each once: of warnings that differ in numbers and kernels alone the first, and how many."""
    notes = dict.fromkeys(note for each in data["analyses"] for of in each["ranks"] for note in of["notes"])
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(re.sub(r"[0-9]+", "#", note.partition(_KERNEL)[0]), []).append(note)
    return [_told(of) for of in alike.values()]


def _told(alike: list[str]) -> str:
    if alike[0].startswith(_STRAYS):
        return f"{', '.join(alike)}; they are why compute, idle time and overlap differ"
    if len(alike) == 1:
        return alike[0]
    return f"{alike[0].partition(_KERNEL)[0].rstrip(', ')} (and {len(alike) - 1} more like it)"


def _analysis(name: str, hta: Hta) -> dict[str, Any]:
    of = [each for each in hta.results() if each.analysis == name]
    return {"name": name, "title": ANALYSES[name], "by": named(hta), "ranks": [_of_rank(each) for each in of]}


def _of_rank(found: Found) -> dict[str, Any]:
    return {
        "rank": found.rank,
        "status": "failed" if found.why else "ok",
        "why": found.why or None,
        "rows": found.rows,
        "notes": found.notes,
        "seconds": found.seconds,
    }


def beside(found: list[Found], own: list[DeviceTime]) -> list[dict[str, Any]]:
    """HTA's numbers that we have too, one row a number and rank; `difference` is a share of ours."""
    rows = []
    for each in own:
        theirs = {of.analysis: of.rows[0] for of in found if of.rank == each.rank and of.rows}
        for what, analysis, key, unit in _SHARED:
            value = theirs.get(analysis, {}).get(key)
            ours = getattr(each, key)
            if value is None and ours is None:
                continue
            off = (value - ours) / ours if value is not None and ours else None
            rows.append({"rank": each.rank, "what": what, "unit": unit, "hta": value, "own": ours, "difference": off})
    return rows


_SHARED = (
    ("span", TEMPORAL, "span_us", "us"),
    ("compute", TEMPORAL, "compute_us", "us"),
    ("communication, copies, memsets alone", TEMPORAL, "non_compute_us", "us"),
    ("idle", TEMPORAL, "idle_us", "us"),
    ("communication hidden by compute", OVERLAP, "overlap_share", "share"),
)
