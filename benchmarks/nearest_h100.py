"""What the nearest tuned shape's kernel loses at shapes that no table holds, as `record --tuned auto` takes it.

python3 benchmarks/nearest_h100.py [--shapes MxKxN,...] [--candidates 60] [--limit-s 240] [--json PATH]
python3 benchmarks/nearest_h100.py --derive       # where the default shapes come from; on any machine

A row of Markdown a shape: the kernel of the nearest shape of the shipped tables, the best that a search over some candidates of
our Hopper kernel and of torchao's finds, and torchao's own product (`_int_mm`, then its scales in eager mode). Medians of fused
calls in microseconds, L2 flushed; the nearest and the best one are timed in turn. Needs torch, Triton and torchao on the GPU of a
shipped table; `--device cpu --table FILE --shapes MxKxN` tries the same on a CPU. A shape takes about ten seconds on 16 cores.
No shape is begun that would end past --limit-s; with Ctrl-C too, what was measured stays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.core.errors import DiffuscopeError
from profiler.kernels.candidate import Candidate, Shape, parse_shape

# Of flux-dev at a batch of 4, and at 768 x 768: of each the heaviest of every number of rows, then the next heaviest.
SHAPES = (
    "18432x15360x3072,2816x15360x3072,16384x3072x3072,2304x3072x3072,"
    "2048x3072x3072,2816x3072x12288,18432x3072x12288,2816x3072x3072"
)
_SETTINGS = ((4, 1024), (1, 768))
_EACH = 4
# Of the candidates: the rest are torchao's.
_OWN_SHARE = 0.75
_ROUNDS, _REPEATS = 3, 15
_COMPILE_S = 30.0
HEADER = "| M x K x N | nearest | its kernel, us | best found, us | nearest / best | untuned, us | best kernel | tried | s |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=SHAPES, help="MxKxN, comma-separated")
    parser.add_argument("--candidates", type=int, default=60, help="how many a search tries")
    parser.add_argument(
        "--limit-s", type=float, default=240.0, help="no shape is begun that would end later, by the longest so far"
    )
    parser.add_argument("--json", type=Path, help="write all rows here too, after each one")
    parser.add_argument("--table", type=Path, help="a table instead of those that come with the package")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--derive", action="store_true", help="print the default shapes as derived from the model, and end")
    asked = parser.parse_args()
    if asked.derive:
        print(",".join(map(str, derived())))
        return 0
    try:
        return measure_all([parse_shape(each) for each in asked.shapes.split(",")], asked)
    except DiffuscopeError as error:
        parser.error(str(error))


def derived() -> list[Shape]:
    """The heaviest shapes of both settings that no shipped table holds, in the order of their settings in turn."""
    from profiler.core.spec import RunSpec
    from profiler.rundir.tuned_table import read_table, shipped_tables
    from profiler.tune.shapes import shapes_of_model

    known = {parse_shape(name) for path in shipped_tables() for each in read_table(path).sections for name in each.entries}
    chosen = []
    for batch, size in _SETTINGS:
        spec = RunSpec(model="flux-dev", scheme="int8dq", batch=batch, height=size, width=size, device="cpu")
        shapes = [each.shape for each in shapes_of_model(spec)[0] if each.shape not in known]
        heaviest = [next(each for each in shapes if each.m == m) for m in dict.fromkeys(each.m for each in shapes)]
        chosen.append(list(dict.fromkeys([*heaviest, *shapes]))[:_EACH])
    return [each for pair in zip(*chosen, strict=True) for each in pair]


def measure_all(shapes: list[Shape], asked: argparse.Namespace) -> int:
    """Print and keep a row a shape; 1 where none was measured or a nearest kernel was wrong."""
    from profiler.recording.device import find_hardware
    from profiler.tune.bench import DeviceBench, work
    from profiler.tune.workers import Workers

    hardware, began = find_hardware(asked.device), time.monotonic()
    entries = entries_of(asked.table, hardware)
    cores = len(os.sched_getaffinity(0))
    workers = Workers(cores, work, limit_s=_COMPILE_S) if asked.device == "cuda" else None
    bench, rows, longest = DeviceBench(hardware, 0, workers=workers), [], 0.0
    print(HEADER + "\n|" + "---|" * (HEADER.count("|") - 1), flush=True)
    try:
        for shape in shapes:
            start = time.monotonic()
            if start - began + longest > asked.limit_s:
                print(f"| {shape} | left out: the time limit | | | | | | | |", flush=True)
                continue
            row = measured(shape, entries, hardware, bench, asked.candidates)
            longest = max(longest, time.monotonic() - start)
            rows.append(row | {"seconds": round(time.monotonic() - start, 1)})
            print(line(rows[-1]), flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(rows, indent=1))
    except KeyboardInterrupt:
        print("ended early", flush=True)
    finally:
        if workers is not None:
            workers.close()
    summary(rows)
    print(f"{hardware.name}, {cores} cores, {time.monotonic() - began:.0f} s", flush=True)
    return 0 if rows and not any(each["nearest_fault"] for each in rows) else 1


def entries_of(table: Path | None, hardware: Any) -> dict[Shape, Any]:
    """The entries that hold here.

    Raises:
        DiffuscopeError: a table cannot be read, or none was tuned for this device and these versions.
    """
    from profiler.core.errors import Refused
    from profiler.recording.tuned import current_key
    from profiler.rundir.tuned_table import read_table, shipped_tables

    key, paths = current_key(hardware), [table] if table else shipped_tables()
    entries = {shape: entry for path in paths for shape, entry in read_table(path).find(key).items()}
    if not entries:
        raise Refused(
            f"no table holds for {key.device}, torch {key.torch}, triton {key.triton or 'none'}", "--table names another"
        )
    return entries


def measured(shape: Shape, entries: dict[Shape, Any], hardware: Any, bench: Any, most: int) -> dict[str, Any]:
    """One row; what cannot be had is None."""
    from profiler.core.errors import Refused
    from profiler.kernels.int_scaled_matmul import candidates
    from profiler.kernels.nearest import find_nearest
    from profiler.tune.baselines import UNTUNED, measure_baselines
    from profiler.tune.search import search
    from profiler.tune.timing import Timer

    offered = candidates(shape, hardware)
    held = {other: entry for other, entry in entries.items() if other != shape}
    origin, entry = find_nearest([shape], held, lambda _: {each.kernel for each in offered}).get(shape, (None, None))
    row: dict[str, Any] = {"shape": str(shape), "nearest": str(origin) if origin else None, "known": shape in entries}
    row |= {"nearest_kernel": entry.kernel if entry else None, "nearest_us": None, "nearest_fault": None}
    row |= {"best_kernel": None, "best_us": None, "ratio": None, "why": None}
    tried = picked(offered, [entry.kernel] if entry else [], (each.kernel for each in held.values()), most)
    try:
        found = search(shape, tried, bench)
    except Refused as error:
        return row | {"tried": len(tried), "wrong": None, "failed": None, "baselines": {}, "why": error.message}
    names = dict.fromkeys([found.best.kernel, *([entry.kernel] if entry else [])])
    row["nearest_fault"] = (found.failed | found.wrong).get(entry.kernel) if entry else None
    us = timed_in_turn(shape, [name for name in names if name not in found.failed], bench)
    row |= {"best_kernel": found.best.kernel, "best_us": us[found.best.kernel], "wrong": found.wrong, "failed": found.failed}
    if entry and not row["nearest_fault"]:
        row["nearest_fault"] = bench.faults(shape, [entry.kernel]).get(entry.kernel)
        row |= {"nearest_us": us[entry.kernel], "ratio": us[entry.kernel] / us[found.best.kernel]}
    baselines = measure_baselines(shape, hardware.device, Timer(hardware.device), 0)
    return row | {"tried": len(tried), "baselines": baselines, "untuned_us": baselines.get(UNTUNED)}


def picked(offered: list[Candidate], first: Iterable[str], known: Iterable[str], most: int) -> list[Candidate]:
    """At most so many: the nearest one's, those that won elsewhere, then an even spread of ours and of torchao's."""
    by_name = {each.kernel: each for each in offered}
    names = list(dict.fromkeys(name for name in (*first, *known) if name in by_name))[:most]
    rest = [name for name in by_name if name not in names]
    theirs = [name for name in rest if by_name[name].space == "torchao"]
    # On a CPU there is but one space.
    ours = [name for name in rest if by_name[name].space in ("warpgroup", "cpu")]
    left = most - len(names)
    share = min(len(ours), max(round(left * _OWN_SHARE), left - len(theirs)))
    return [by_name[name] for name in [*names, *spread(ours, share), *spread(theirs, left - share)]]


def spread(names: list[str], count: int) -> list[str]:
    """So many of them, evenly; all where there are no more."""
    if count >= len(names):
        return names
    return [names[index * len(names) // count] for index in range(count)]


def timed_in_turn(shape: Shape, kernels: list[str], bench: Any) -> dict[str, float]:
    """Microseconds by kernel: the median of some rounds, in each of which every kernel has its turn."""
    rounds = [{kernel: bench.time_us(shape, kernel, _REPEATS) for kernel in kernels} for _ in range(_ROUNDS)]
    return {kernel: statistics.median(each[kernel] for each in rounds) for kernel in kernels}


def line(row: dict[str, Any]) -> str:
    """A row of Markdown."""
    if row["why"]:
        return f"| {row['shape']} | {row['why']} | | | | | | {row['tried']} | {row['seconds']} |"
    us = [f"{row[name]:.1f}" if row[name] else "-" for name in ("nearest_us", "best_us", "untuned_us")]
    ratio = row["nearest_fault"] or (f"{row['ratio']:.3f}" if row["ratio"] else "-")
    cells = [row["shape"], row["nearest"] or "none", us[0], us[1], ratio, us[2], row["best_kernel"], row["tried"], row["seconds"]]
    return "| " + " | ".join(map(str, cells)) + " |"


def summary(rows: list[dict[str, Any]]) -> None:
    """How much longer than the best found the nearest ones took."""
    ratios = [row["ratio"] for row in rows if row["ratio"]]
    if ratios:
        print(f"\nnearest / best of {len(ratios)} shapes: median {statistics.median(ratios):.3f}, worst {max(ratios):.3f}")


if __name__ == "__main__":
    sys.exit(main())
