"""Time and memory from a CUDA snapshot's file to its timeline, beside ptmem and torch.cuda._memory_viz.

Usage: python benchmarks/read_snapshot.py RUN [--events 450000] [--repeats 3] [--ptmem DIR] [--append docs/benchmarks.md]

RUN is a recorded run whose snapshots of loading and of the memory phase are joined: the memory phase is repeated, later each
time, until the wanted number of events is reached. Each reader runs in a process of its own, imports included; its memory is the
most that the process and its children hold at one time. What only this script needs is imported where it is needed: the readers
import this file too. ptmem is no dependency: pip install --target DIR ptmem.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_SAMPLE_S = 0.004
_MEASURED = ("wall_s", "cpu_s", "peak_mb")


@dataclass(frozen=True)
class Measured:
    """One reader's run."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        print(read(arguments.source))
        return
    readers = [each for each in _COMMANDS if each != "ptmem" or arguments.ptmem]
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "big.pickle"
        count = make(arguments.source, big, arguments.events)
        # Turn by turn: what else the machine does strikes all readers.
        runs = [{each: measure(each, big, arguments.ptmem) for each in readers} for _ in range(arguments.repeats)]
        size_mb = big.stat().st_size / 1e6
    text = _table(arguments.source.name, count, size_mb, {each: [run[each] for run in runs] for each in readers})
    print(text)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


def make(run: Path, target: Path, wanted: int) -> int:
    """Write a snapshot of at least `wanted` events; returns how many there are."""
    from profiler.rundir import layout

    gc.disable()
    whole, load = (_load(layout.rank_dir(run) / name) for name in (layout.MEMORY, layout.MEMORY_LOAD))
    (body,), (events,) = whole["device_traces"], load["device_traces"]
    span_us = body[-1]["time_us"] - body[0]["time_us"] + 1000
    copies = -(-(wanted - len(events)) // len(body))
    events += [each for copy in range(copies) for each in _later(body, (copy - copies + 1) * span_us)]
    with target.open("wb") as file:
        pickle.dump(whole | {"device_traces": [events]}, file, protocol=4)
    gc.enable()
    return len(events)


def _load(path: Path) -> Any:
    from profiler.core import safe_pickle
    from profiler.tables.snapshot_file import unpacked

    with path.open("rb") as file:
        return safe_pickle.load(unpacked(file))


def _later(body: list[dict[str, Any]], by_us: int) -> list[dict[str, Any]]:
    """The events at another time. As torch does it, those of one free share a list of frames, others share the frames alone."""
    lists: dict[int, list[Any]] = {}
    return [
        each | {"time_us": each["time_us"] + by_us, "frames": lists.setdefault(id(each["frames"]), list(each["frames"]))}
        for each in body
    ]


def measure(reader: str, snapshot: Path, ptmem: Path | None) -> Measured:
    """Run one reader in a process of its own, and watch what it and its children hold."""
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(ptmem or root)]), "PYTHONWARNINGS": "ignore"}
    page = snapshot.with_suffix(".html")
    command = [sys.executable, *(str(each) for each in _COMMANDS[reader](snapshot, page))]
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    peak_mb = 0.0
    while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
        peak_mb = max(peak_mb, _held_mb(child.pid))
        time.sleep(_SAMPLE_S)
    wall_s = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(ended[1])
    assert child.stdout is not None
    output = child.stdout.read().strip()
    if child.returncode != 0:
        raise SystemExit(f"{reader} failed with exit code {child.returncode}")
    found = (
        output.splitlines()[-1]
        if output
        else f"a page of {page.stat().st_size / 1e6:.0f} MB; the timeline is left to the browser"
    )
    # What a reader keeps for the next time would make that time another measurement.
    for left in [page, *snapshot.parent.glob(".*.memcache")]:
        left.unlink(missing_ok=True)
    # The kernel adds up what a process and the children that it waited for have used.
    return Measured(wall_s, ended[2].ru_utime + ended[2].ru_stime, peak_mb, found)


def _held_mb(process: int) -> float:
    """Resident memory of a process and all its descendants, MB; 0 for one that is gone."""
    with contextlib.suppress(OSError):
        resident = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_MB
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return resident + sum(_held_mb(int(each)) for each in children)
    return 0.0


def read(snapshot: Path) -> str:
    """From a snapshot's file to the timeline by category, as `diffuscope` makes it."""
    import polars as pl

    from profiler.metrics.memory.allocations import tell_apart
    from profiler.metrics.memory.source_cuda import recording_of
    from profiler.metrics.memory.timeline import timeline_of
    from profiler.metrics.memory.weights import STORAGES
    from profiler.rundir.manifest import Manifest
    from profiler.tables.snapshot import open_snapshot

    with tempfile.TemporaryDirectory() as cache:
        tables = open_snapshot(snapshot, Path(cache))
        recording = recording_of(tables.frame, tables.lost)
        timeline = timeline_of(tell_apart(recording, pl.DataFrame(schema=STORAGES), Manifest(kind="import")), "category")
    peak = timeline.total["live_bytes"].max()
    return f"{timeline.total.height} moments, {len(timeline.labels)} categories, peak {peak / 1e9:.3f} GB"  # type: ignore[operator]


_PTMEM = """
import sys; from ptmem.cli import MemoryProfileData
data = MemoryProfileData(sys.argv[1]); print(f"{len(data.timeline_times)} moments, peak {data.max_memory / 1e9:.3f} GB")
"""
_VIZ = "torch.cuda._memory_viz trace_plot"


def _viz_alone(snapshot: Path, page: Path) -> list[object]:
    import importlib.util

    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        raise SystemExit("torch is not installed here")
    return [Path(torch.origin).parent / "cuda" / "_memory_viz.py", "trace_plot", snapshot, "-o", page]


# Arguments of Python that read a snapshot, and may leave a page.
_COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "diffuscope": lambda snapshot, _: [__file__, snapshot, "--child"],
    "ptmem": lambda snapshot, _: ["-c", _PTMEM, snapshot],
    f"`-m {_VIZ}`": lambda snapshot, page: ["-m", "torch.cuda._memory_viz", "trace_plot", snapshot, "-o", page],
    "its file alone, without importing torch": _viz_alone,
}


def _table(name: str, events: int, size_mb: float, runs: dict[str, list[Measured]]) -> str:
    import importlib.metadata
    import platform
    from statistics import median

    versions = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in ("polars", "isal", "torch"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"
    ours = runs["diffuscope"]
    lines = [
        f"`python benchmarks/read_snapshot.py {name}`: {events:,} events, {size_mb:.0f} MB, from the file to the timeline; "
        f"medians of {len(ours)} ({machine})",
        "",
        "| reader | wall s | CPU s | peak MB | wall, ratio | CPU, ratio | peak, ratio | found |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for reader, found in runs.items():
        # Ratios of each turn: readers beside each other on a machine that others use.
        values = [median([getattr(each, what) for each in found]) for what in _MEASURED]
        ratios = [
            median([getattr(each, what) / getattr(mine, what) for each, mine in zip(found, ours, strict=True)])
            for what in _MEASURED
        ]
        numbers = f"{values[0]:.2f} | {values[1]:.2f} | {values[2]:.0f} | " + " | ".join(f"{each:.2f} x" for each in ratios)
        lines.append(f"| {reader} | {numbers} | {found[0].output} |")
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="RUN", help="a recorded run with both snapshots")
    parser.add_argument("--events", type=int, default=450_000, help="events of the snapshot that is made")
    parser.add_argument("--repeats", type=int, default=3, help="turns of all readers")
    parser.add_argument("--ptmem", type=Path, help="the folder that ptmem was installed into")
    parser.add_argument("--append", type=Path, help="a Markdown file to add the table to")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
