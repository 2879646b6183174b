"""Stands for the recording process of a cell: makes a run directory in no time, or ends in another way.

The spec's prompt is a folder: `starts.txt` in it gets a line for each start, `behave.json` says how each cell behaves.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from profiler.core.child import die_with_parent
from profiler.core.spec import RunSpec
from profiler.rundir.manifest import Failure, Manifest, Phase
from profiler.rundir.writer import RunWriter, process_identity


class Asked(BaseException):
    """SIGTERM came."""


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    request = json.load(sys.stdin)
    spec, out = RunSpec.from_dict(request["spec"]), Path(request["out"])
    folder = Path(spec.prompt)
    act = json.loads((folder / "behave.json").read_text()).get(out.name, "ok")
    with (folder / "starts.txt").open("a") as file:
        file.write(f"{out.name} {os.getpid()} {sys.argv[1]} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
    print(f"{out.name} does {act}", flush=True)
    if act == "refuse":
        sys.stderr.write("error: this cell cannot be\n  choose another\n")
        return 2
    if act == "full":
        sys.stderr.write(f"error: cannot write to {out}: {os.strerror(errno.ENOSPC)}\n  make room\n")
        return 2
    if act == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    if act == "crash":
        sys.stderr.write("Segmentation fault\n")
        return 1
    return record(spec, out, act)


def record(spec: RunSpec, out: Path, act: str) -> int:
    signal.signal(signal.SIGTERM, asked)
    manifest = Manifest(spec=spec.to_dict(), spec_hash=spec.hash, process=process_identity())
    writer = RunWriter(out, manifest)
    start = time.time_ns()
    manifest.phases = [Phase(name="timed", start_ns=start)]
    status = act if act in ("ok", "oom", "failed") else "ok"
    try:
        behave(act, out)
    except Asked:
        status = "interrupted"
    manifest.phases[0].end_ns = start + 2_000_000_000
    manifest.timed = {"iterations_ns": [80e6, 82e6, 81e6], "steps": spec.steps}
    manifest.untraced = {"dur_ns": 45e6, "calls_ns": [44e6, 45e6, 46e6], "steps": spec.trace_steps}
    manifest.applied = {"graphs": 3, "caches": {"fx_hits": 2, "fx_misses": 1}}
    if status != "ok":
        manifest.failure = Failure(type="Error", message=f"{status} as it should be\nand more", phase="timed")
    writer.seal(status)
    return 0 if status == "ok" else 3


def behave(act: str, out: Path) -> None:
    if act == "exit":
        raise Asked
    if act == "cache":
        Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).mkdir(parents=True)
        print("made cache", flush=True)
    if act == "hang":
        time.sleep(300)
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "helper":
        # In a session of its own, as Inductor's workers may be; it outlives whoever started it.
        subprocess.Popen(["sleep", "300"], start_new_session=True)
    if act == "wait":
        while not (out.parent.parent / "go").exists():
            time.sleep(0.02)


def asked(_signal: int, _frame: object) -> None:
    raise Asked


if __name__ == "__main__":
    sys.exit(main())
