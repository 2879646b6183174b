"""What `compare` says, as plain data. The keys are stable: `docs/compare.md` lists them.

`{"base", "runs": [one row a run], "comparisons": [one a run but the base], "timelines": [one a run, of three or more]}`. Times
are untraced ms of one repeat of a window, sizes bytes, ratios dB; differences are new less base. What a run lacks is null or
empty, and a `not_compared` beside it says why. A ratio in dB is null where it is no number: `why` then says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from profiler.metrics.compare import Comparison, compare_all
from profiler.metrics.compare_calls import CallDifference
from profiler.metrics.compare_machine import Machine
from profiler.metrics.compare_memory import Bytes, MemoryDifference
from profiler.metrics.compare_ranks import RanksOf
from profiler.metrics.compare_runs import CALL_TIME, MEMORY, TIME
from profiler.metrics.compare_time import WindowDifference
from profiler.metrics.compare_timelines import overlay
from profiler.metrics.compare_weights import ExpectedWin
from profiler.metrics.main_rank import slowest_calls
from profiler.metrics.phases import memory, timed
from profiler.metrics.quality import LAST_LATENTS, Level, Quality
from profiler.metrics.windows import STEP
from profiler.report import compare_ranks
from profiler.report.compare_verdict import verdicts
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

_IDENTITY = ("kind", "label", "detail", "base_count", "new_count")
_ROW_KEYS = (*_IDENTITY, "base_ms", "new_ms", "delta_ms", "per_call_ms", "spread_ms", "status")


def compare_data(runs: Sequence[Run], rank: int | None = None) -> dict[str, Any]:
    """Everything `compare` prints, JSON-ready; the first run is the base of all others.

    Args:
        rank: of each run of several ranks, whose windows and memory; by default the median one's.
    """
    comparisons = compare_all(runs, rank)
    rows = [_base_row(runs[0], comparisons[0].ranks[0]), *(_row(each) for each in comparisons)]
    return {
        "base": str(runs[0].path),
        "runs": rows,
        "comparisons": [_comparison(each) for each in comparisons],
        "timelines": [asdict(each) for each in overlay(runs)] if len(runs) > 2 else [],
    }


def _base_row(run: Run, ranks: RanksOf | None) -> dict[str, Any]:
    return _facts(run, ranks) | {"speedup": 1.0, "sqnr_db": None, "comparable": True}


def _row(comparison: Comparison) -> dict[str, Any]:
    return _facts(comparison.run, comparison.ranks[1]) | {
        "speedup": None if comparison.spoils(CALL_TIME) else comparison.calls.speedup,
        "sqnr_db": _finite(comparison.quality.sqnr[LAST_LATENTS].db),
        "comparable": not (comparison.spoils(CALL_TIME) or comparison.spoils(MEMORY)),
    }


def _facts(run: Run, ranks: RanksOf | None) -> dict[str, Any]:
    spec, calls = run.manifest.spec, timed(slowest_calls(run))
    sizes = memory(manifest_of(run, ranks.rank) if ranks else run.manifest)
    steps = run.manifest.timed.get("steps")
    return {
        "run": str(run.path),
        "status": run.manifest.status,
        "scheme": spec.get("scheme"),
        "compile": spec.get("compile"),
        "ranks": ranks.count if ranks else 1,
        "median_ms": calls.median_ms,
        "spread_ms": calls.spread_ms,
        "repeats": calls.repeats,
        "steps": steps,
        "ms_per_step": calls.median_ms / steps if calls.median_ms is not None and steps else None,
        "model_gib": sizes.model_gib,
        "inference_peak_gib": sizes.inference_peak_gib,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "run": str(comparison.run.path),
        "base": str(comparison.base.path),
        "ended": {"base": _ended(comparison.base), "new": _ended(comparison.run)},
        "comparable": {what.replace(" ", "_"): not comparison.spoils(what) for what in (TIME, CALL_TIME, MEMORY)},
        "differences": [asdict(each) | {"spoils": list(each.spoils)} for each in comparison.differences],
        "shared": comparison.shared,
        "unknown": comparison.unknown,
        "verdicts": {each.about: {"kind": each.kind, "text": each.text} for each in verdicts(comparison)},
        "ranks": compare_ranks.ranks_data(comparison.ranks),
        "scaling": compare_ranks.scaling_data(comparison.scaling),
        "time": _time(comparison),
        "memory": _memory(comparison.memory),
        "expected": _expected(comparison.expected, comparison.expected_why),
        "quality": _quality(comparison.quality),
    }


def _ended(run: Run) -> dict[str, Any]:
    """How a run ended, and in which phase where it failed."""
    failure = run.manifest.failure
    return {"status": run.manifest.status, "phase": failure.phase if failure else None}


def _time(comparison: Comparison) -> dict[str, Any]:
    return _call(comparison.calls) | {
        "windows": [_window(each, comparison.calls) for each in comparison.windows.values()],
        "machine": _machine(comparison.machine),
        "not_compared": comparison.windows_why or None,
    }


def _machine(found: Machine) -> dict[str, Any]:
    host, clock = found.host, found.clock
    return {
        "launch_us": {"base": host.base_us, "new": host.new_us, "ratio": host.ratio} if host else None,
        "attention": clock
        and {
            "base_ms": clock.base_ns / 1e6,
            "new_ms": clock.new_ns / 1e6,
            "ratio": clock.ratio,
            "spread_ms": clock.spread_ns / 1e6,
            "power_limited": {"base": clock.limited[0], "new": clock.limited[1]},
        },
    }


def _call(calls: CallDifference) -> dict[str, Any]:
    return {
        "base": asdict(calls.base),
        "new": asdict(calls.new),
        "delta_ms": calls.delta_ms,
        "speedup": calls.speedup,
        "spread_ms": calls.spread_ms,
        "within_spread": calls.within_spread,
        "steps": {"base": calls.steps[0], "new": calls.steps[1]},
        "parts": [asdict(each) | {"delta_ms": each.delta_ms} for each in calls.parts],
        "ready_ms": calls.ready_ms,
        "break_even_calls": calls.break_even_calls,
    }


def _window(window: WindowDifference, calls: CallDifference) -> dict[str, Any]:
    times = _times(window, calls)
    return {
        "name": window.name,
        "base_ms": window.base_ns / 1e6,
        "new_ms": window.new_ns / 1e6,
        "delta_ms": window.delta_ns / 1e6,
        "times_a_call": times,
        "per_call_ms": None if times is None else window.delta_ns / 1e6 * times,
        "repeats": {"base": window.base_repeats, "new": window.new_repeats},
        "spread_ms": None if window.spread_ns is None else window.spread_ns / 1e6,
        "calibrated": window.calibrated,
        "groups": [
            {"name": each.name, "base_ms": each.base_ns / 1e6, "new_ms": each.new_ns / 1e6, "delta_ms": each.delta_ns / 1e6}
            | {"per_call_ms": None if times is None else each.delta_ns / 1e6 * times, "spread_ms": each.spread_ns / 1e6}
            for each in window.groups()
        ],
        "classes": _rows(window.classes, times),
        "kernels": _rows(window.kernels, times),
    }


def _times(window: WindowDifference, calls: CallDifference) -> int | None:
    """How often a window comes in a timed call of both runs; None where that differs or is not known."""
    if window.name != STEP:
        return 1
    return calls.steps[0] if calls.steps[0] == calls.steps[1] else None


def _rows(frame: pl.DataFrame, times: int | None) -> list[dict[str, Any]]:
    in_ms = [(pl.col(f"{name}_ns") / 1e6).alias(f"{name}_ms") for name in ("base", "new", "delta", "spread")]
    in_ms.append((pl.col("delta_ns") / 1e6 * pl.lit(times, pl.Float64)).alias("per_call_ms"))
    rows = frame.with_columns(in_ms)
    return rows.select(name for name in _ROW_KEYS if name in rows.columns).to_dicts()


def _memory(of: MemoryDifference) -> dict[str, Any]:
    return {
        "phases": [_bytes(each) for each in of.phases],
        "peak": [_bytes(each) for each in of.peak],
        "windows": [{"name": name, "categories": [_bytes(each) for each in rows]} for name, rows in of.windows.items()],
        "holders": {"base": of.holders[0] or None, "new": of.holders[1] or None},
        "lower_bound": of.lower_bound or None,
        "not_compared": of.not_compared or None,
    }


def _bytes(each: Bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"name": each.name, "base_bytes": each.base, "new_bytes": each.new, "delta_bytes": each.delta}
    where = {"base": each.base_where or None, "new": each.new_where or None}
    return found | ({"where": where} if any(where.values()) else {})


def _expected(expected: ExpectedWin | None, why: str) -> dict[str, Any]:
    if expected is None:
        return {"not_compared": why}
    return {
        "win_bytes": expected.win,
        "measured_bytes": expected.measured,
        "error": expected.error,
        "stored_win_bytes": expected.stored_win,
        "added_bytes": expected.added_bytes,
        "offloaded": expected.offloaded,
        "linears": expected.linears,
        "left": [{"reason": reason, "bytes": size} for reason, size in expected.left_bytes.items()],
        "components": [
            {"component": each.component, "base_bytes": each.base, "expected_bytes": each.expected, "new_bytes": each.new}
            for each in expected.components
        ],
        "not_compared": None,
    }


def _quality(found: Quality) -> dict[str, Any]:
    return {"steps": found.steps, "sqnr": {name: _level(each) for name, each in found.sqnr.items()}, "psnr": _level(found.psnr)}


def _level(level: Level) -> dict[str, Any]:
    return {"db": _finite(level.db), "why": "equal to the bit" if level.db == math.inf else level.why or None}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
