"""One tuning: shapes in, a run directory of kind `tune` and a table out; whatever ends it, what was found is kept."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from profiler.core.errors import Refused
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.tuned import Entry, TableKey, own_table, read_table, refuse_unwritable, save_merged, table_of
from profiler.recording.ceilings import INT8, measure_ceilings
from profiler.recording.device import find_hardware
from profiler.recording.environment import describe_environment, describe_switches
from profiler.recording.runner import quiet_libraries, undisturbed
from profiler.recording.stage import describe, status_of
from profiler.recording.tuned import current_key, triton_version
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest, Phase
from profiler.rundir.writer import RunWriter, process_identity, write_atomic
from profiler.schemes.base import Hardware
from profiler.tune import torchao_file
from profiler.tune.baselines import UNTUNED, measure_baselines
from profiler.tune.bench import DeviceBench, work
from profiler.tune.offers import note_imported, offered_for, wanted_shapes
from profiler.tune.own_ceiling import measure_own
from profiler.tune.progress import Progress
from profiler.tune.rows import TORCHAO_SPACE, best_of_torchao, rejections, row, size
from profiler.tune.search import Found, search
from profiler.tune.shapes import Wanted
from profiler.tune.timing import Timer
from profiler.tune.workers import Workers

_MOST_WORKERS = 32


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to tune: a model at a size, or shapes by name; where the results go."""

    spec: RunSpec | None = None
    shapes: list[Wanted] = field(default_factory=list)
    device: str = "auto"
    out: Path
    table: Path | None = None
    export_torchao: Path | None = None
    import_torchao: Path | None = None
    command: str = ""


def tune(request: Request) -> str:
    """Search every shape; returns the run's status.

    Raises:
        UsageError, Refused, UnreadableInput: before the directory is made, where the request or this machine cannot do it.
    """
    quiet_libraries()
    hardware = find_hardware(request.device)
    refuse_machine(hardware)
    table = request.table or own_table()
    if table.exists():
        read_table(table)
    imported = torchao_file.read(request.import_torchao) if request.import_torchao else []
    wanted, spec = wanted_shapes(request.spec, request.shapes, imported)
    offered = offered_for(wanted, imported, hardware)
    if request.export_torchao and not any(each.space == TORCHAO_SPACE for found in offered.values() for each in found):
        raise Refused("--export-torchao holds configurations of torchao's Triton kernel, and none can run here", "leave it out")
    refuse_unwritable(table, "--table")
    if request.export_torchao:
        refuse_unwritable(request.export_torchao, "--export-torchao")
    signal.signal(signal.SIGTERM, _interrupt)
    key = current_key(hardware)
    manifest = Manifest(kind="tune", command=request.command, process=process_identity(), spec=_spec(spec, hardware))
    manifest.environment = describe_environment(hardware)
    writer = RunWriter(request.out, manifest)
    if request.import_torchao:
        manifest.applied["notes"] = [note_imported(request.import_torchao, imported, offered)]
    tuning = _Tuning(writer, hardware, key, offered, table, request.export_torchao)
    error: BaseException | None = None
    try:
        tuning.run()
    except BaseException as caught:  # noqa: BLE001 - however the search ends, what it found is written
        error = caught
    with undisturbed():
        tuning.write()
        manifest.failure = None if error is None else describe(error, manifest.open_phase)
        status = "ok" if error is None else status_of(error)
        writer.seal(status)
    return status


def refuse_machine(hardware: Hardware) -> None:
    """Raise Refused where no kernel can be compiled."""
    if hardware.device == "cuda" and not triton_version():
        raise Refused("tuning on a CUDA device needs Triton, and there is none", "install triton, or use --device cpu")


class _Tuning:
    def __init__(
        self,
        writer: RunWriter,
        hardware: Hardware,
        key: TableKey,
        offered: dict[Wanted, list[Candidate]],
        table: Path,
        export: Path | None,
    ) -> None:
        self._writer, self._hardware, self._key, self._offered = writer, hardware, key, offered
        self._table, self._export = table, export
        # Fresh for each tuning, and kept, so that a rejected kernel can be rejected again.
        self._seed = int.from_bytes(os.urandom(4), "little")
        self._found: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._exported: dict[Shape, tuple[dict[str, Any], float]] = {}

    def run(self) -> None:
        """Tune all shapes; after each one everything found so far is on disk."""
        from profiler.kernels.int_scaled_matmul import candidates

        progress = Progress(sum(2 * len(each) for each in self._offered.values()))
        self._writer.manifest.environment["switches"] = describe_switches()
        # Of our own kernels more than one is tried below, in processes that may die of it.
        ceilings = measure_ceilings(self._hardware.device, tuned=False)
        ceilings.note(self._writer.manifest)
        self.write()
        with self._phase("tune"), _workers(self._hardware.device) as workers:
            bench = DeviceBench(self._hardware, self._seed, workers=workers)
            progress.label("limit")
            own = measure_own(self._hardware, bench, candidates)
            if own is not None:
                ceilings.offer(INT8, *own)
                ceilings.note(self._writer.manifest)
            for each, offered in self._offered.items():
                progress.label(str(each.shape))
                start = time.monotonic()
                try:
                    found = search(each.shape, offered, bench, progress.advance)
                except Refused as error:
                    progress.tell(f"{each.shape}: {error.message}")
                    self._refused.append(size(each) | {"why": error.message})
                else:
                    self._keep(each, found, time.monotonic() - start)
                    self.write()
                    progress.tell(f"{each.shape}: {found.us:.1f} us, {found.best.kernel}{rejections(found)}")
        if self._export is not None:
            note = f"{self._export}: the best of torchao's own kernel at {len(self._exported)} of {len(self._offered)} shapes"
            self._writer.manifest.applied["notes"] = [*(self._writer.manifest.applied.get("notes") or []), note]
        if not self._found:
            raise Refused("no shape could be tuned", self._refused[0]["why"])

    def _keep(self, wanted: Wanted, found: Found, seconds: float) -> None:
        baselines = measure_baselines(found.shape, self._hardware.device, Timer(self._hardware.device), self._seed)
        self._found.append(row(wanted, found) | {"baselines": baselines, "seconds": round(seconds, 3)})
        torchao = best_of_torchao(found)
        entry = Entry(
            kernel=found.best.kernel,
            us=found.us,
            untuned_us=baselines.get(UNTUNED),
            measured_ns=time.time_ns(),
            torchao=torchao,
        )
        save_merged(self._table, table_of(self._key, {found.shape: entry}))
        if torchao is not None:
            self._exported[found.shape] = (torchao["config"], torchao["us"])
        if self._export is not None and self._exported:
            torchao_file.write(self._export, self._exported)

    def write(self) -> None:
        """Put what was found so far into the run directory."""
        content = {
            "key": asdict(self._key),
            "table": str(self._table),
            "seed": self._seed,
            "wanted": len(self._offered),
            "shapes": self._found,
            "refused": self._refused,
        }
        write_atomic(self._writer.path / layout.TUNE, json.dumps(content, indent=1))
        self._writer.index(layout.TUNE)
        self._writer.flush()

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        phase = Phase(name=name, start_ns=time.time_ns())
        self._writer.manifest.phases.append(phase)
        self._writer.flush()
        yield
        phase.end_ns = time.time_ns()


def _spec(spec: RunSpec | None, hardware: Hardware) -> dict[str, Any]:
    shown = ("model", "scheme", "batch", "height", "width", "frames", "guidance", "fuse_qkv")
    return {name: getattr(spec, name) for name in shown} | {"device": hardware.device} if spec else {"device": hardware.device}


@contextmanager
def _workers(device: str) -> Iterator[Workers | None]:
    """Processes that compile: as many as there are cores; a CPU's candidates need no compiling."""
    if device != "cuda":
        yield None
        return
    workers = Workers(min(_MOST_WORKERS, len(os.sched_getaffinity(0))), work)
    try:
        yield workers
    finally:
        workers.close()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
