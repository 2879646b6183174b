"""Recorded runs of one or several ranks on GPUs, made by hand: traces of `rank_traces`, and what every rank says of itself.

`pair` is one process and two ranks of the same call. A step takes 9.25 ms alone; on rank 0 of two it is 5.2 ms of computation,
0.4 ms of exposed communication, 0.8 ms of waiting for rank 1 and 0.05 ms of other idle time.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rank_traces import Planted, ranks_of

from profiler.core.spec import RunSpec
from profiler.rundir.manifest import Manifest, Phase
from profiler.rundir.ranks import RankStatus

GIB = 1 << 30
ONE = Planted(world=1, compute_us=2000, exposed_us=0)
TWO = Planted(world=2, slow_us={1: 200})
# Timed calls in ms, by rank: the slower rank's are longer, but for one.
ONE_CALLS, TWO_CALLS = [[100.0, 101.0, 100.0]], [[60.0, 66.0, 59.0], [64.0, 65.0, 64.0]]
RUN_ID = "0123456789ab"
_ENVIRONMENT = {
    "device": "cuda",
    "gpu": {"name": "NVIDIA H100 80GB HBM3", "capability": [9, 0]},
    "versions": {"torch": "2.11.0"},
}


def pair(folder: Path, **spec: Any) -> tuple[Path, Path]:
    """One process, and two ranks; `spec` changes what was asked of the two."""
    one = recorded(folder / "one", ONE, ONE_CALLS, peaks_gib=[33.0])
    return one, recorded(folder / "two", TWO, TWO_CALLS, peaks_gib=[31.0, 32.0], **spec)


def recorded(path: Path, planted: Planted, calls_ms: list[list[float]], peaks_gib: list[float], **spec: Any) -> Path:
    """A run directory of as many ranks as the plan has."""
    several = planted.world > 1
    asked = RunSpec(model="flux-dev", steps=10, height=64, width=64, **spec).to_dict()
    asked |= {"parallel": {"kind": "ulysses", "degree": planted.world}} if several else {}
    words = [_word(planted, rank, calls, peak) for rank, (calls, peak) in enumerate(zip(calls_ms, peaks_gib, strict=True))]
    own = {name: getattr(words[0], name) for name in ("phases", "timed", "untraced", "traced")}
    manifest = Manifest(status="ok", spec=asked, environment=_ENVIRONMENT, world_size=planted.world, **own)
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(asdict(replace(manifest, run_id=RUN_ID if several else ""))))
    for word, trace in zip(words, ranks_of(planted), strict=True):
        _write(path / f"rank{word.rank}", word if several else None, trace)
    return path


def _word(planted: Planted, rank: int, calls_ms: list[float], peak_gib: float) -> RankStatus:
    """What a rank says of itself; the call that was traced took as long untraced."""
    call = {"dur_ns": planted.steps * planted.step_us * 1000, "steps": planted.steps}
    sizes = (("load", 30.0, 30.0), ("quantize", 30.0, 30.0), ("traced", 30.0, peak_gib))
    phases = [
        Phase(name=name, start_ns=number, end_ns=number + 1, alloc_bytes=round(held * GIB), peak_bytes=round(peak * GIB))
        for number, (name, held, peak) in enumerate(sizes)
    ]
    timed = {"iterations_ns": [each * 1e6 for each in calls_ms], "steps": 10}
    said = {"rank": rank, "host": "node", "run_id": RUN_ID, "world_size": planted.world, "status": "ok"}
    return RankStatus(**said, phases=phases, timed=timed, untraced=call, traced=call)


def _write(folder: Path, word: RankStatus | None, trace: dict[str, Any]) -> None:
    folder.mkdir()
    if word is None:  # one process exchanges nothing
        trace["traceEvents"] = [each for each in trace["traceEvents"] if not each["name"].startswith("ncclDev")]
    else:
        (folder / "rank.json").write_text(json.dumps(asdict(word)))
    (folder / "trace.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode(), 1))


def change_rank(run: Path, rank: int, **changed: Any) -> None:
    """Change what a rank says of itself."""
    path = run / f"rank{rank}" / "rank.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
