"""What `show` says about one run, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.metrics import phases
from profiler.metrics.kernels import Breakdown, breakdown
from profiler.metrics.main_rank import main_rank, memory_rank, slowest_calls
from profiler.metrics.memory import memory_summary
from profiler.report import several_ranks, show_memory
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

# Columns of the frames that the JSON shows, in its order.
_KERNEL_KEYS = ("name", "class", "count", "total_us", "mean_us", "share")
_CLASS_KEYS = ("class", "count", "total_us", "share")


def show_data(run: Run, top: int | None = None, rank: int | None = None) -> dict[str, Any]:
    """Everything `show` prints, JSON-ready; whatever a run lacks is None, empty or named under `trace.problem`.

    Args:
        top: at most so many kernels; None for all.
        rank: of several, whose phases, memory and kernels; by default memory of the one that needs most, kernels of the median.
    """
    manifest = run.manifest
    held, traced = (memory_rank(run), main_rank(run)) if rank is None else (rank, rank)
    own = manifest_of(run, held)
    busy, trace = _read_trace(run, traced)
    sizes = show_memory.phase_sizes(memory_summary(run, held))
    return {
        "run": str(run.path),
        "status": manifest.status,
        "kind": manifest.kind,
        "spec": manifest.spec,
        "applied": manifest.applied,
        "failure": asdict(manifest.failure) if manifest.failure else None,
        "environment": manifest.environment,
        "phases": [asdict(each) | more for each, more in zip(phases.phases(own), sizes, strict=True)],
        "timed": asdict(phases.timed(slowest_calls(run))),
        "memory": show_memory.memory_data(run, held),
        "recording": _recording(manifest),
        "trace": trace["facts"],
        "classes": busy.classes.select(_CLASS_KEYS).to_dicts() if busy else [],
        "kernels": busy.kernels.select(_KERNEL_KEYS).head(top if top is not None else busy.kernels.height).to_dicts()
        if busy
        else [],
        "lost": _lost(manifest, trace["lost"]),
        **several_ranks.shown(run, held),
    }


def _read_trace(run: Run, rank: int) -> tuple[Breakdown | None, dict[str, Any]]:
    """The breakdown of a rank, what is known of its trace, and what was lost from it."""
    facts: dict[str, Any] = {
        "source": "none",
        "rank": rank,
        "ranks": len(run.ranks),
        "kernels": 0,
        "total_us": 0.0,
        "problem": None,
    }
    try:
        tables = run.trace(rank)
    except UnreadableInput as error:
        return None, {"facts": facts | {"problem": error.message}, "lost": {}}
    busy = breakdown(tables)
    facts |= {"source": busy.source, "kernels": busy.kernels.height, "total_us": busy.kernels["total_us"].sum()}
    if busy.source == "none":
        facts["problem"] = "the trace holds neither GPU events nor operators"
    name = f"{layout.rank_dir(run.path, rank).name}/{layout.TRACE}"
    return busy, {"facts": facts, "lost": {(name, why): count for why, count in tables.lost.items()}}


def _recording(manifest: Manifest) -> dict[str, Any]:
    untraced, traced = manifest.untraced, manifest.traced
    return {
        "untraced_ms": _ms(untraced.get("dur_ns")),
        "traced_ms": _ms(traced.get("dur_ns")),
        "steps": traced.get("steps", untraced.get("steps")),
        "factor": phases.recording_factor(manifest),
    }


def _ms(value: Any) -> float | None:
    return value / 1e6 if isinstance(value, int | float) else None


def _lost(manifest: Manifest, from_trace: dict[tuple[str, str], int]) -> dict[str, Any]:
    items: list[dict[str, Any]] = [{"what": each.what, "why": each.why, "count": each.count} for each in manifest.lost]
    said = {(each.what, each.why) for each in manifest.lost}
    items += [{"what": what, "why": why, "count": n} for (what, why), n in from_trace.items() if (what, why) not in said]
    return {"count": sum(each["count"] for each in items), "items": items}
