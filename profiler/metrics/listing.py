"""One row a run directory: what a folder of runs holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.metrics import phases
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.reader import is_run, read_manifest


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run. What it does not say is None; `error` is set where its manifest cannot be read.

    Of several `ranks`, `ranks_here` have a folder; calls are those of the slowest rank, memory is of the one that needs most.
    """

    run: str
    name: str
    kind: str | None = None
    status: str | None = None
    created_ns: int | None = None
    model: str | None = None
    scheme: str | None = None
    compile: str | None = None
    batch: int | None = None
    gpu: str | None = None
    median_ms: float | None = None
    model_gib: float | None = None
    inference_peak_gib: float | None = None
    graph_breaks: int | None = None
    recompiles: int | None = None
    ranks: int = 1
    ranks_here: int = 1
    parallel: str | None = None
    error: str | None = None


def list_runs(folder: Path) -> list[RunRow]:
    """Every run below `folder`, by name (`folder` itself where it is one, before its cells where it is a sweep).

    Raises:
        UnreadableInput: `folder` is no folder.
    """
    if not folder.is_dir():
        raise UnreadableInput(
            f"{folder} is no folder", "record a run with `diffuscope record`, or name the folder that holds runs"
        )
    itself = [_row(folder)] if is_run(folder) else []
    if itself and itself[0].kind != "sweep":
        return itself
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UnreadableInput(f"cannot list {folder}: {error.strerror}", "check its permissions") from None
    return itself + [_row(path) for path in paths if _looks_like_run(path)]


def _looks_like_run(path: Path) -> bool:
    """A directory with a manifest, or with what only a run has: such a one lost its manifest and must not go unseen."""
    try:
        return path.is_dir() and (is_run(path) or layout.rank_dir(path).is_dir() or (path / layout.RESERVE).exists())
    except OSError:
        return True


def _row(path: Path) -> RunRow:
    try:
        return _described(path, read_manifest(path))
    except UnreadableInput as error:
        return RunRow(run=str(path), name=path.name, error=error.message)


def _described(path: Path, manifest: Manifest) -> RunRow:
    spec, gpu = manifest.spec, manifest.environment.get("gpu")
    calls, held, here = _of_ranks(path, manifest) if manifest.world_size > 1 else (manifest, manifest, 1)
    sizes = phases.memory(held)
    return RunRow(
        run=str(path),
        name=path.name,
        kind=manifest.kind,
        status=manifest.status,
        created_ns=manifest.created_ns,
        model=spec.get("model"),
        scheme=spec.get("scheme"),
        compile=spec.get("compile"),
        batch=spec.get("batch"),
        gpu=gpu.get("name") if gpu else None,
        median_ms=phases.timed(calls).median_ms,
        model_gib=sizes.model_gib,
        inference_peak_gib=sizes.inference_peak_gib,
        graph_breaks=manifest.applied.get("graph_breaks"),
        recompiles=manifest.applied.get("recompiles"),
        ranks=manifest.world_size,
        ranks_here=here,
        parallel=(spec.get("parallel") or {}).get("kind"),
    )


def _of_ranks(path: Path, manifest: Manifest) -> tuple[Manifest, Manifest, int]:
    """The calls of the slowest rank, the peaks of the one that needs most, and how many ranks are here."""
    # What opens a run takes longer to load than most folders to list, and few runs have several ranks.
    from profiler.metrics.main_rank import memory_rank, slowest_calls
    from profiler.tables.ranks import manifest_of, rank_facts
    from profiler.tables.run import Run

    run = Run(path, manifest)
    return slowest_calls(run), manifest_of(run, memory_rank(run)), sum(each.here for each in rank_facts(run))
