"""CPU and memory to read a 1 GB trace into cached columns and a kernel breakdown, beside Holistic Trace Analysis.

Usage: python benchmarks/read_trace.py TRACE [--gb 1.0] [--skip-hta] [--append docs/benchmarks.md]

A real trace is repeated with shifted times and ids until it has the wanted size. Each reader runs in a child process of its own,
whose CPU seconds (user and system) and peak resident memory the kernel reports at its end; imports are part of both.
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
from pathlib import Path

from isal import igzip

_TS = re.compile(rb'("ts": )(\d+)(?:\.(\d{3}))?')
_IDS = re.compile(rb'("(?:External id|correlation|id)": )(\d+)')
_ID_STRIDE = 10_000_000


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
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "big.json"
        repeat(arguments.trace, big, round(arguments.gb * 1e9))
        gb = big.stat().st_size / 1e9
        ours = measure("diffuscope", big)
        hta = None if arguments.skip_hta else measure("hta", big)
    text = _table(arguments.trace.name, gb, ours, hta)
    print(text)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


def repeat(source: Path, target: Path, size: int) -> None:
    """Write `target`: the events of `source` again and again, later and with other ids, until `size` bytes are reached."""
    raw = igzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    start = raw.index(b"[", raw.index(b'"traceEvents"')) + 1
    end = raw.rindex(b"}", 0, raw.rindex(b"]")) + 1
    body, tail = raw[start:end], raw[raw.index(b"]", end) :]
    times = [int(found[2]) for found in _TS.finditer(body)]
    span_us = max(times) - min(times) + 1000
    with target.open("wb") as file:
        file.write(raw[:start] + body)
        copies = 1
        while file.tell() < size:
            file.write(b"," + _shifted(body, copies, span_us))
            copies += 1
        file.write(tail)


def _shifted(body: bytes, copy: int, span_us: int) -> bytes:
    def later(found: re.Match[bytes]) -> bytes:
        fraction = b"." + found[3] if found[3] else b""
        return found[1] + str(int(found[2]) + copy * span_us).encode() + fraction

    def other(found: re.Match[bytes]) -> bytes:
        return found[1] + str(int(found[2]) + copy * _ID_STRIDE).encode()

    return _IDS.sub(other, _TS.sub(later, body))


def measure(reader: str, trace: Path) -> Measured:
    """Run one reader in a child process."""
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"HTA_DISABLE_NS_ROUNDING": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, str(trace), "--child", reader]
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True)
    assert child.stdout is not None
    output = child.stdout.read().strip()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{reader} failed with exit code {child.returncode}")
    return Measured(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024, output.splitlines()[-1])


def _read_ours(trace: Path) -> str:
    from profiler.metrics.kernels import breakdown
    from profiler.tables.trace import open_trace

    with tempfile.TemporaryDirectory() as cache:
        kernels = breakdown(open_trace(trace, Path(cache))).kernels
    return f"{kernels['count'].sum()} GPU events, {kernels['total_ns'].sum() / 1e6:.3f} ms"


def _read_hta(trace: Path) -> str:
    from hta.trace_analysis import TraceAnalysis

    analysis = TraceAnalysis(trace_files={0: str(trace)}, include_last_profiler_step=True)
    _, kernels = analysis.get_gpu_kernel_breakdown(visualize=False, duration_ratio=1.0, num_kernels=1_000_000)
    count = (kernels["sum (us)"] / kernels["mean (us)"]).round().sum()
    return f"{count:.0f} GPU events, {kernels['sum (us)'].sum() / 1e3:.3f} ms"


_READERS: dict[str, Callable[[Path], str]] = {"diffuscope": _read_ours, "hta": _read_hta}


def _table(name: str, gb: float, ours: Measured, hta: Measured | None) -> str:
    versions = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in ("polars", "msgspec", "isal"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"
    lines = [
        f"`python benchmarks/read_trace.py {name}`: {gb:.2f} GB into cached columns and a kernel breakdown ({machine})",
        "",
        "| reader | CPU s | CPU s per GB | wall s | peak MB | found |",
        "|---|---|---|---|---|---|",
        _row("diffuscope", gb, ours),
    ]
    if hta is not None:
        lines.append(_row(f"hta (traceinsight {importlib.metadata.version('traceinsight')})", gb, hta))
        cpu, wall, memory = hta.cpu_s / ours.cpu_s, hta.wall_s / ours.wall_s, hta.peak_mb / ours.peak_mb
        lines.append(f"| ratio | {cpu:.1f} x | | {wall:.1f} x | {memory:.1f} x | |")
    return "\n".join(lines) + "\n"


def _row(name: str, gb: float, run: Measured) -> str:
    return f"| {name} | {run.cpu_s:.1f} | {run.cpu_s / gb:.1f} | {run.wall_s:.1f} | {run.peak_mb:.0f} | {run.output} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path, help="a real trace, .json or .json.gz")
    parser.add_argument("--gb", type=float, default=1.0, help="size of the repeated trace")
    parser.add_argument("--skip-hta", action="store_true")
    parser.add_argument("--append", type=Path, help="a Markdown file to add the table to")
    parser.add_argument("--child", choices=list(_READERS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
