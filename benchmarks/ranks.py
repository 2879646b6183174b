"""CPU and memory to read a folder of rank traces, beside Holistic Trace Analysis.

Usage: python benchmarks/ranks.py TRACE [--ranks 8] [--mb 500] [--skip-hta] [--append docs/benchmarks.md]

A real trace is repeated until it has the wanted size, once a rank; one kernel in eight is renamed to an NCCL collective, so that
there is something to match. Ours is `import DIR` (filed, hashed, read into cached columns) and the summary of the ranks; HTA's is
loading them, the temporal breakdown and the overlap. Each reader runs in a child process of its own. Its CPU seconds (user and
system) are those of the child and of what it starts, its memory the peak of the largest process; imports are part of both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from read_trace import repeat

_BAR_CPU_S, _BAR_MB = 12.0, 400.0
_COLLECTIVE = b"ncclDevKernel_AllReduce_Sum_bf16_RING_LL"
_KERNEL = re.compile(rb'("cat": "kernel", "name": ")([^"]*)"')
_EVERY = 8


@dataclass(frozen=True)
class Measured:
    """One reader's run."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        print(_READERS[arguments.child](arguments.trace))
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch) / "ranks"
        make_ranks(arguments.trace, folder, arguments.ranks, round(arguments.mb * 1e6))
        gb = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
        ours = measure("diffuscope", folder)
        hta = None if arguments.skip_hta else measure("hta", folder)
    text = _table(arguments, gb, ours, hta)
    print(text)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


def make_ranks(source: Path, folder: Path, ranks: int, size: int) -> None:
    """One trace of `size` bytes a rank in `folder`, alike but for the rank that each says it is."""
    folder.mkdir(parents=True)
    whole = folder / "whole.tmp"
    repeat(source, whole, size)
    for rank in range(ranks):
        about = b'"distributedInfo": {"backend": "nccl", "rank": %d, "world_size": %d},' % (rank, ranks)
        _write(whole, folder / f"host_rank{rank}.pt.trace.json", about)
    whole.unlink()


def _write(whole: Path, target: Path, about: bytes) -> None:
    """A line at a time: the whole of a trace would not fit into memory with its copies."""
    numbers = count()

    def renamed(found: re.Match[bytes]) -> bytes:
        return found[1] + (_COLLECTIVE if next(numbers) % _EVERY == 0 else found[2]) + b'"'

    with whole.open("rb") as source, target.open("wb") as file:
        begun = False
        for line in source:
            head = line if begun else line.replace(b"{", b"{" + about, 1)
            begun = begun or b"{" in line
            file.write(_KERNEL.sub(renamed, head))


def measure(reader: str, folder: Path) -> Measured:
    """Run one reader in a child process."""
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"HTA_DISABLE_NS_ROUNDING": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    begin = time.perf_counter()
    command = [sys.executable, __file__, str(folder), "--child", reader]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True)
    assert child.stdout is not None
    output = child.stdout.read().strip()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - begin
    found = output.splitlines()[-1] if output else ""
    if child.returncode != 0:
        found = f"failed with exit code {child.returncode}"
    return Measured(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024, found)


def _read_ours(folder: Path) -> str:
    from profiler.metrics.ranks import rank_summary
    from profiler.tables.importing_ranks import import_ranks

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        run = import_ranks(folder, Path(scratch) / "run")
        rows = rank_summary(run).ranks.to_dicts()
    moved = sum(each["communication_us"] for each in rows) / len(rows) / 1e3
    return f"{len(rows)} ranks, {sum(each['collectives'] for each in rows):,} collectives, {moved:,.1f} ms communication each"


def _read_hta(folder: Path) -> str:
    from hta.trace_analysis import TraceAnalysis

    files = dict(enumerate(str(path) for path in sorted(folder.iterdir())))
    analysis = TraceAnalysis(trace_files=files, include_last_profiler_step=True)
    times = analysis.get_temporal_breakdown(visualize=False)
    analysis.get_comm_comp_overlap(visualize=False)
    return f"{len(times)} ranks"


_READERS: dict[str, Callable[[Path], str]] = {"diffuscope": _read_ours, "hta": _read_hta}


def _table(arguments: argparse.Namespace, gb: float, ours: Measured, hta: Measured | None) -> str:
    versions = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in ("polars", "msgspec", "isal"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"
    command = f"python benchmarks/ranks.py {arguments.trace.name} --ranks {arguments.ranks} --mb {arguments.mb:g}"
    lines = [
        f"`{command}`: {gb:.2f} GB of rank traces ({machine}); bars: {_BAR_CPU_S:g} CPU s per GB, {_BAR_MB:g} MB",
        "",
        "| reader | CPU s | CPU s per GB | wall s | peak MB | found |",
        "|---|---|---|---|---|---|",
        _row("diffuscope", gb, ours),
    ]
    if hta is not None:
        lines.append(_row(f"hta (traceinsight {importlib.metadata.version('traceinsight')})", gb, hta))
    return "\n".join(lines) + "\n"


def _row(name: str, gb: float, run: Measured) -> str:
    return f"| {name} | {run.cpu_s:.1f} | {run.cpu_s / gb:.1f} | {run.wall_s:.1f} | {run.peak_mb:.0f} | {run.output} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path, help="a real trace, .json or .json.gz")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--mb", type=float, default=500.0, help="size of each rank's trace")
    parser.add_argument("--scratch", type=Path, help="where to put them; default: the temporary directory")
    parser.add_argument("--skip-hta", action="store_true")
    parser.add_argument("--append", type=Path, help="a Markdown file to add the table to")
    parser.add_argument("--child", choices=list(_READERS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
