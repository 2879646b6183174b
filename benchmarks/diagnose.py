"""CPU and memory of `diffuscope diagnose` on a 1 GB trace that is read already.

Usage: python benchmarks/diagnose.py TRACE... [--gb 1.0] [--append docs/benchmarks.md]

Each trace is repeated with shifted times and ids until it has the wanted size, and imported; then the diagnosis runs in a child
process of its own, whose CPU seconds (user and system) and peak resident memory the kernel reports at its end, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from read_trace import Measured, repeat

_COMMAND = (sys.executable, "-m", "profiler")


def main() -> None:
    arguments = _arguments()
    rows = [_row(trace, arguments.gb) for trace in arguments.traces]
    text = _table(rows)
    print(text)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


def _row(trace: Path, gb: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        big, run = Path(folder) / "big.json", Path(folder) / "run"
        repeat(trace, big, round(gb * 1e9))
        size = big.stat().st_size / 1e9
        measure("import", str(big), "-o", str(run), "--json")
        big.unlink()
        found = measure("diagnose", str(run), "--json")
    data = json.loads(found.output)
    what = f"{data['window']['name']} of {len(data['ledger'])} rows, {len(data['findings'])} findings"
    name = trace.parent.parent.name if trace.name == "trace.json.gz" else trace.name.partition(".")[0]
    cells = (f"{name}, {size:.2f} GB", *(f"{each:.1f}" for each in (found.cpu_s, found.cpu_s / size, found.wall_s)))
    return f"| {' | '.join(cells)} | {found.peak_mb:.0f} | {what} |"


def measure(*arguments: str) -> Measured:
    """Run one command of diffuscope in a child process."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    begin = time.perf_counter()
    child = subprocess.Popen([*_COMMAND, *arguments], stdout=subprocess.PIPE, env=environment, text=True)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"diffuscope {arguments[0]} failed with exit code {child.returncode}")
    return Measured(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024, output)


def _table(rows: list[str]) -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    head = [
        f"`python benchmarks/diagnose.py TRACE...` ({machine})",
        "",
        "| trace, already read | CPU s | CPU s per GB | wall s | peak MB | found |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path, nargs="+", help="real traces, .json or .json.gz")
    parser.add_argument("--gb", type=float, default=1.0, help="size of each repeated trace")
    parser.add_argument("--append", type=Path, help="a Markdown file to add the table to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
