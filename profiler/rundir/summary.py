"""A run's summary from its manifest alone: no tables, no parsing."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

from profiler.core.units import format_ms, format_size, ms
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.ranks import longest_calls, read_ranks

_CALLS = "iterations_ns"
_COUNTS = (("graph", "graphs"), ("graph break", "graph_breaks"), ("recompile", "recompiles"))


def model_bytes(manifest: Manifest) -> int | None:
    """Model memory: bytes allocated after load and quantize; None on a CPU."""
    phase = manifest.phase(layout.QUANTIZE) or manifest.phase(layout.LOAD)
    return phase.alloc_bytes if phase else None


def load_peak_bytes(manifest: Manifest) -> int | None:
    """The peak of loading and quantizing."""
    return _peak([layout.LOAD, layout.QUANTIZE], manifest, highest=True)


def inference_peak_bytes(manifest: Manifest) -> int | None:
    """The peak of a call alone: the traced one, else the memory phase's, else a timed one."""
    return _peak([layout.TRACED, layout.MEMORY_PHASE, layout.TIMED], manifest, highest=False)


def _peak(names: list[str], manifest: Manifest, *, highest: bool) -> int | None:
    found = [phase.peak_bytes for name in names if (phase := manifest.phase(name)) and phase.peak_bytes is not None]
    if not found:
        return None
    return max(found) if highest else found[0]


def timed_ms(manifest: Manifest) -> tuple[float, float, int] | None:
    """(median, spread as max - min, repeats) of the timed calls in ms; None where none was timed."""
    iterations = manifest.timed.get(_CALLS)
    if not iterations:
        return None
    return statistics.median(iterations) / 1e6, (max(iterations) - min(iterations)) / 1e6, len(iterations)


def describe_repeats(repeats: int, spread_ms: float | None) -> str:
    """How far a median can be trusted, in words."""
    return "one call" if repeats == 1 else f"median of {repeats}, spread {format_ms(spread_ms)}"


def summarize(run: Path, manifest: Manifest) -> str:
    """What `record` prints: status, time, memory, what was applied, where it is."""
    lines = [f"{run}: {manifest.status}", *_ranks_line(run, manifest)]
    timed = timed_ms(_of_all_ranks(run, manifest))
    if timed:
        median, spread, repeats = timed
        steps = manifest.timed.get("steps")
        call = f"a call of {steps} step{'' if steps == 1 else 's'}"
        lines.append(f"  time            {format_ms(median)} {call} ({describe_repeats(repeats, spread)})")
    warmup = manifest.phase(layout.WARMUP)
    if warmup and warmup.detail.get("first_call_ns"):
        lines.append(f"  first call      {format_ms(ms(warmup.detail['first_call_ns']))}{_compiled(manifest)}")
    lines += _memory_lines(manifest)
    lines += _linear_lines(manifest)
    lines += [f"  note            {note}" for note in manifest.applied.get("notes") or []]
    lines += [f"  lost            {each.what}: {each.why}" for each in manifest.lost]
    return "\n".join(lines)


def _of_all_ranks(run: Path, manifest: Manifest) -> Manifest:
    """With the calls of the slowest rank each, as `show` has them; `run.json` has rank 0's."""
    if manifest.world_size == 1:
        return manifest
    longest = longest_calls([calls for each in read_ranks(run) if (calls := each.timed.get(_CALLS))])
    return replace(manifest, timed=manifest.timed | {_CALLS: longest}) if longest else manifest


def _ranks_line(run: Path, manifest: Manifest) -> list[str]:
    if manifest.world_size == 1:
        return []
    here = len(read_ranks(run))
    count = f"{manifest.world_size}" if here == manifest.world_size else f"{here} of {manifest.world_size} are here"
    return [f"  ranks           {count}; calls of the slowest, all else of rank {(layout.rank_numbers(run) or [0])[0]}"]


def count_linears(manifest: Manifest) -> dict[str, int]:
    """Number of Linears by the scheme that they got."""
    counts: dict[str, int] = {}
    for linear in manifest.applied.get("linears") or []:
        counts[linear["scheme"]] = counts.get(linear["scheme"], 0) + 1
    return dict(sorted(counts.items(), key=lambda each: -each[1]))


def _compiled(manifest: Manifest) -> str:
    applied = manifest.applied
    if not applied.get("compiled"):
        return ""
    regions = len(applied["compiled"])
    counts = {name: applied.get(key, 0) for name, key in _COUNTS}
    shown = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
    return f" (compiled {regions} region{'s' if regions > 1 else ''}: {shown})"


def _memory_lines(manifest: Manifest) -> list[str]:
    sizes = {
        "model memory": model_bytes(manifest),
        "load peak": load_peak_bytes(manifest),
        "inference peak": inference_peak_bytes(manifest),
    }
    return [f"  {name:<15} {format_size(size)}" for name, size in sizes.items() if size is not None]


def _linear_lines(manifest: Manifest) -> list[str]:
    counts = count_linears(manifest)
    if not counts or set(counts) == {"left"}:
        return []
    return ["  Linears         " + ", ".join(f"{count} {scheme}" for scheme, count in counts.items())]
