"""Record every planted fault and its fix on one device, in one process; diagnose them elsewhere.

On the GPU machine, which needs no polars, and then where the analysis side is:

python benchmarks/clinic_h100.py --out DIR [--pack DIR] [--device cpu] [--only NAME,...] [--limit-s 280]
python benchmarks/clinic_h100.py --report DIR
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.clinic.base import FAULTS, Fault
from profiler.core.spec import RunSpec

_LINES = "clinic.jsonl"
# What the report does not read, and the size after which a new tar file begins.
_LEFT_OUT = ("output.", "memory", "weights.json", "graph_break_registry")
_PART_BYTES = 12 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the run directories")
    parser.add_argument("--report", type=Path, help="print the table of a folder that was recorded")
    parser.add_argument("--pack", type=Path, help="folder for tar files of the runs, whole after each run")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="", help="these faults, comma-separated")
    parser.add_argument("--limit-s", type=float, default=280.0, help="no new run begins after this many seconds")
    parser.add_argument("--fault-limit-s", type=int, default=45, help="a run is ended after this many seconds")
    asked = parser.parse_args()
    if asked.report:
        return report(asked.report)
    if asked.out is None:
        parser.error("give --out or --report")
    names = [each for each in asked.only.split(",") if each] or list(FAULTS)
    return record_all(asked, sorted((FAULTS.get(name) for name in names), key=_costs))


def _costs(fault: Fault) -> int:
    """Long compilations last: where time runs out, the fewest faults are left out."""
    return ("none", "regional", "default", "reduce-overhead").index(fault.spec.get("compile", "none"))


def record_all(asked: argparse.Namespace, faults: list[Fault]) -> int:
    """Every fault and, once for each base, the run without it; a line of JSON as each ends."""
    began, done = time.monotonic(), {}
    asked.out.mkdir(parents=True, exist_ok=True)
    _lighten()
    with (asked.out / _LINES).open("a") as lines:
        for fault in faults:
            if fault.needs_cuda and asked.device == "cpu":
                continue
            for role, spec in (("fixed", fault.fixed_spec(asked.device)), ("faulty", fault.faulty_spec(asked.device))):
                if spec.hash not in done:
                    late = time.monotonic() - began > asked.limit_s
                    done[spec.hash] = (
                        _skipped() if late else _record(spec, _folder(asked.out, fault, role, spec), asked, _places(fault, role))
                    )
                lines.write(json.dumps({"fault": fault.name, "role": role, **done[spec.hash]}) + "\n")
                lines.flush()
                _pack(asked.pack, asked.out, done[spec.hash]["run"])
    print(f"{len(done)} runs in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if all(each["status"] == "ok" for each in done.values()) else 1


def _folder(out: Path, fault: Fault, role: str, spec: RunSpec) -> Path:
    return out / (fault.name if role == "faulty" else f"fixed-{spec.hash}")


def _places(fault: Fault, role: str) -> bool:
    """Whether file and line are asked of this run: a step with stacks that compiles, too, takes a minute to write."""
    return role == "faulty" and fault.placed


def _record(spec: RunSpec, folder: Path, asked: argparse.Namespace, places: bool) -> dict[str, Any]:
    from profiler.clinic.isolation import isolated
    from profiler.recording import phases
    from profiler.recording.runner import record_spec
    from profiler.rundir.reader import read_manifest

    began, why = time.monotonic(), ""
    record_places = phases.record_places
    try:
        with _at_most(asked.fault_limit_s), isolated():
            phases.record_places = record_places if places else lambda *_: None
            status = record_spec(spec, folder, "benchmarks/clinic_h100.py")
    except Exception as error:  # noqa: BLE001 - one run that fails must not take the others along
        status, why = "refused", f"{type(error).__name__}: {error}"
    finally:
        phases.record_places = record_places
    if status == "failed":
        failure = read_manifest(folder).failure
        why = f"{failure.type}: {failure.message}".splitlines()[0] if failure else ""
    seconds = round(time.monotonic() - began, 1)
    print(f"== {folder.name}: {status} {why} in {seconds} s", file=sys.stderr, flush=True)
    return {"run": folder.name, "status": status, "why": why, "seconds": seconds}


def _pack(pack: Path | None, out: Path, run: str | None) -> None:
    """Append a run to the last tar file: a machine that is taken away midway leaves what is done."""
    if pack is None:
        return
    pack.mkdir(parents=True, exist_ok=True)
    shutil.copy(out / _LINES, pack / _LINES)
    parts = sorted(pack.glob("clinic-*.tar"))
    if run is None or any(run in _packed(part) for part in parts):
        return
    full = not parts or parts[-1].stat().st_size > _PART_BYTES
    with tarfile.open(pack / f"clinic-{len(parts)}.tar" if full else parts[-1], "a") as tar:
        tar.add(out / run, run, filter=lambda info: None if Path(info.name).name.startswith(_LEFT_OUT) else info)


def _packed(part: Path) -> list[str]:
    with tarfile.open(part) as tar:
        return tar.getnames()


def _skipped() -> dict[str, Any]:
    return {"run": None, "status": "skipped", "why": "the time limit", "seconds": 0.0}


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in here after so many seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _lighten() -> None:
    """Ceilings are measured once, clocks and memory not at all: this is many short runs of one device."""
    import gc

    import diffusers  # noqa: F401 - what stays for the whole process is not looked through after each run

    from profiler.recording import memory, phases, runner, stage
    from profiler.recording.quiet import set_quiet_environment

    set_quiet_environment()
    runner.measure_ceilings = functools.cache(runner.measure_ceilings)
    stage.sample_gpu = lambda _device: None
    stage.MemoryHistory = lambda _device: memory.MemoryHistory("cpu")
    phases.record_memory = lambda *_: None
    gc.freeze()


def report(folder: Path) -> int:
    """The table of what was found; 1 where a fault was not."""
    from profiler.clinic.verdict import Verdict, judge
    from profiler.report.diagnose import diagnose, to_json
    from profiler.tables.run import Run

    lines = [json.loads(line) for line in (folder / _LINES).read_text().splitlines()]
    runs = {(each["fault"], each["role"]): each for each in lines}
    verdicts: list[Verdict] = []
    print("| fault | first finding | right | place | predicted ms a call | real | inside | other findings |")
    print("|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(each["fault"] for each in lines):
        pair = [runs.get((name, role)) for role in ("faulty", "fixed")]
        failed = [each for each in pair if each is None or each["status"] != "ok"]
        if failed:
            print(f"| {name} | not recorded: {failed[0] and (failed[0]['why'] or failed[0]['status'])} | | | | | | |")
            continue
        faulty, fixed = (Run.open(folder / each["run"]) for each in pair if each)
        verdicts.append(judge(FAULTS.get(name), to_json(diagnose(faulty)), faulty.manifest, fixed.manifest))
        print(_line(verdicts[-1]), flush=True)
    _sum_up(verdicts)
    return 0 if all(each.right for each in verdicts) else 1


def _line(verdict: Any) -> str:
    cells = [verdict.fault, verdict.found or "nothing", _word(verdict.right), _word(verdict.place_right)]
    predicted = "-" if verdict.saving_low_ms is None else f"{verdict.saving_low_ms:.2f} .. {verdict.saving_high_ms:.2f}"
    real = "-" if verdict.real_ms is None else f"{verdict.real_ms:.2f}"
    return "| " + " | ".join([*cells, predicted, real, _word(verdict.inside), ", ".join(verdict.others)]) + " |"


def _word(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "NO"


def _sum_up(verdicts: list[Any]) -> None:
    placed = [each for each in verdicts if each.place_right is not None]
    priced = [each for each in verdicts if each.inside is not None]
    print(f"\nfirst finding right: {sum(each.right for each in verdicts)} of {len(verdicts)}; ", end="")
    print(f"place right: {sum(bool(each.place_right) for each in placed)} of {len(placed)}; ", end="")
    print(f"real saving inside: {sum(bool(each.inside) for each in priced)} of {len(priced)}")


if __name__ == "__main__":
    sys.exit(main())
