"""Runs by hand whose costs are known to the microsecond, and what the diagnosis of them finds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from compile_logs import CLOCK_NS, string, write
from ledger_traces import kernel, launch, mark

from profiler.report.diagnose import diagnose
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter
from profiler.tables.run import Run

H100 = {"gpu": {"name": "NVIDIA H100", "capability": [9, 0]}}
BF16 = {"base_dtype": "bfloat16"}
# Names as the profiler writes them.
NVJET = "nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopA_TNN"


def write_run(folder: Path, events=None, log=None, places=None, **manifest) -> Run:
    """A run directory: a trace whose time 0 is `CLOCK_NS`, a compile log of these records, a trace with stacks."""
    manifest.setdefault("kind", "import")
    manifest["phases"] = manifest.get("phases", [])
    writer = RunWriter(folder, Manifest(**manifest))
    writer.seal(manifest.get("status", "ok"))
    rank = layout.rank_dir(folder)
    rank.mkdir(exist_ok=True)
    for name, spans in ((layout.TRACE, events), (layout.PLACES, places)):
        if spans is not None:
            trace = {"baseTimeNanoseconds": CLOCK_NS, "traceEvents": spans}
            (rank / name).write_bytes(gzip.compress(json.dumps(trace).encode()))
    if log is not None:
        write(rank / layout.COMPILE_LOG_DIR, string(0, "model.py"), *log)
    return Run.open(folder)


def busy(kernels, window="diffuscope/step/0", at=0, first=1, inside=()):
    """A window that is busy with kernels, (name, us) one after the other, but for its first microsecond: that launches."""
    events, end = [], at + 1
    for number, (name, dur) in enumerate(kernels):
        events.append(kernel(end, end + dur, first + number, name))
        end += dur
    launches = [launch(at, at + 1, first)]
    launches += [launch(at + 1, at + 1.1, first + number) for number in range(1, len(kernels))]
    return [mark(window, at, end), *inside, *launches, *events]


def idle(*events, end=1000):
    """A step of 1000 us, busy but for what the host does from 400 to 600 us: two kernels, the second launched as `events` say."""
    first = [mark("diffuscope/step/0", 0, end), launch(0, 1, 1), kernel(1, 400, 1, NVJET)]
    return [*first, *events, kernel(600, end, 2, NVJET)]


def found(run: Run, rule: str, **options):
    """The findings of one rule in the whole diagnosis, as granted."""
    report = diagnose(run, **options)
    assert not [why for _, why in report.not_checked if "failed" in why]
    return [each for each in report.findings if each.finding.rule == rule]


def only(run: Run, rule: str, **options):
    """The one finding of a rule."""
    (each,) = found(run, rule, **options)
    return each
