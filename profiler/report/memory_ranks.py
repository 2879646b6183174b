"""The ranks in `memory`: whose bytes are shown, and what each of the others needs on its own device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from profiler.metrics.per_rank import rank_totals
from profiler.report.render import number, table
from profiler.tables.run import Run

_SIZES = ("model_gib", "load_peak_gib", "inference_peak_gib")


def ranks_data(run: Run, rank: int) -> dict[str, Any]:
    """JSON-ready: whose memory is shown, and the sizes of every rank."""
    known = [asdict(each) for each in rank_totals(run)]
    return {"rank": rank, "ranks": [{name: each[name] for name in ("rank", *_SIZES, "problem")} for each in known]}


def whose(data: Mapping[str, Any]) -> str:
    """`, rank 1 of 2`; empty for a run of one process."""
    return f", rank {data['rank']} of {len(data['ranks'])} (--rank N for another)" if data.get("ranks") else ""


def text(data: Mapping[str, Any], width: int) -> str:
    """A row a rank, and what was not recorded of it; empty for a run of one process, or of CPUs that lack nothing."""
    ranks = data.get("ranks") or []
    lines = [each["problem"] for each in ranks if each["problem"]]
    if any(each[name] is not None for each in ranks for name in _SIZES):
        sums = {name: sum(each[name] for each in ranks if each[name] is not None) for name in _SIZES}
        rows = [(str(each["rank"]), *(number(each[name], 3) for name in _SIZES)) for each in ranks]
        rows.append(("together", *(number(sums[name], 3) for name in _SIZES)))
        lines.insert(0, table(("rank, GiB", "model memory", "load peak", "inference peak"), rows, width))
    return "\n".join(lines)
