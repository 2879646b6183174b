"""What pages show, read once: the only cache of this room. An entry lives while the files that it was made from stay the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl
import streamlit as st

from dashboards import folder, kept
from dashboards.kept import Stamp
from dashboards.pictures import Difference, LatentMaps, difference, latent_maps
from profiler.metrics import compiles as compile_metrics
from profiler.metrics import graph_breaks as break_metrics
from profiler.metrics import memory
from profiler.metrics import recompiles as recompile_metrics
from profiler.metrics.compare import Comparison
from profiler.metrics.compare import compare as compare_metrics
from profiler.metrics.compare_timelines import Overlaid, overlay
from profiler.metrics.compile_join import has_log
from profiler.metrics.kernels import Breakdown
from profiler.metrics.kernels import breakdown as kernel_breakdown
from profiler.metrics.ledger import Ledger
from profiler.metrics.ledger import ledgers as window_ledgers
from profiler.metrics.listing import RunRow, list_runs
from profiler.metrics.memory.live import alive_at
from profiler.metrics.memory.reserved import free_pieces as pieces_at
from profiler.metrics.per_rank import RankTotals
from profiler.metrics.per_rank import rank_totals as totals_of_ranks
from profiler.metrics.quality import LAST_LATENTS, sqnr
from profiler.metrics.ranks import RankSummary
from profiler.metrics.ranks import rank_summary as summary_of_ranks
from profiler.metrics.roofline import Roofline
from profiler.metrics.roofline import roofline as make_roofline
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT
from profiler.report.diagnose import Report
from profiler.report.diagnose import diagnose as make_report
from profiler.report.diagnose_text import source_lines
from profiler.rundir import layout
from profiler.tables.run import Run

# Lines of source on either side of the one that is meant.
_AROUND = 4
WINDOWS = (STEP, TEXT, DECODE, CALL)


def stamp(path: Path) -> Stamp:
    """The stamp of a run directory; of `cache/`, which figures fill, nothing."""
    return _stamp_of([path / layout.MANIFEST, *(each for rank in sorted(path.glob("rank*")) for each in sorted(rank.rglob("*")))])


def _stamp_of(files: Iterable[Path]) -> Stamp:
    return tuple((str(each), stat.st_size, stat.st_mtime_ns) for each in files if each.is_file() and (stat := each.stat()))


def _key(name: str) -> tuple[str, Stamp]:
    path = folder.path_of(name)
    return str(path), stamp(path)


def runs() -> list[RunRow]:
    """Every run of the folder; a broken one is a row with its error. Manifests are read anew only where they changed.

    Raises:
        UnreadableInput: the folder is none.
    """
    root = folder.folder()
    found = [root / layout.MANIFEST, *sorted(root.glob("*/" + layout.MANIFEST))]
    manifests = tuple((str(each), each.stat().st_mtime_ns) for each in found if each.is_file())
    return _runs(str(root), root.stat().st_mtime_ns if root.exists() else 0, manifests)


@st.cache_resource(max_entries=4, show_spinner=False)
def _runs(root: str, changed_ns: int, manifests: tuple[tuple[str, int], ...]) -> list[RunRow]:
    return list_runs(Path(root))


def run(name: str) -> Run:
    """A run of the folder.

    Raises:
        UnreadableInput: there is none by that name, or it cannot be read.
    """
    return _run(*_key(name))


@st.cache_resource(max_entries=24, show_spinner=False)
def _run(path: str, stamp: Stamp) -> Run:
    return Run.open(path)


def report(name: str, base: str = "", window: str = STEP, rank: int = 0) -> Report:
    """The diagnosis of a run, against a base where there is one; kept beside the run.

    Raises:
        UnreadableInput: it holds no trace that can be read.
    """
    return _report(*_key(name), _key(base) if base else None, window, rank)


@st.cache_resource(max_entries=24, show_spinner="Reading the trace and checking every rule …")
def _report(path: str, stamp: Stamp, base: tuple[str, Stamp] | None, window: str, rank: int) -> Report:
    found, other = _run(path, stamp), _run(*base) if base else None
    called = f"diagnosis-{window}-rank{rank}" + ("-against" if base else "")
    stamps = [stamp, *([base[1]] if base else [])]
    return kept.report(found, called, stamps, lambda: make_report(found, other, window, rank))


def source_of(name: str, rank: int = 0) -> Callable[[str | None, int | None], list[str]]:
    """What gives the recorded source lines around a line of a file; none where they were not kept."""
    path = run(name).artifact(layout.SOURCES, rank)

    def lines(file: str | None, line: int | None) -> list[str]:
        return source_lines(path, file, line, _AROUND) if file and line and path.is_file() else []

    return lines


def breakdown(name: str, rank: int = 0) -> Breakdown:
    """Busy time of the whole trace, as `show` prints it."""
    return _breakdown(*_key(name), rank)


@st.cache_resource(max_entries=24, show_spinner="Reading the trace …")
def _breakdown(path: str, stamp: Stamp, rank: int) -> Breakdown:
    return kernel_breakdown(_run(path, stamp).trace(rank))


def ledgers(name: str, rank: int = 0) -> dict[str, Ledger]:
    """The ledgers of text encoding, steps, decoding and call."""
    return _ledgers(*_key(name), rank)


@st.cache_resource(max_entries=12, show_spinner="Cutting the trace into windows …")
def _ledgers(path: str, stamp: Stamp, rank: int) -> dict[str, Ledger]:
    return window_ledgers(_run(path, stamp), WINDOWS, rank)


def roofline(name: str, rank: int = 0) -> Roofline:
    """Work and traffic of the kernels of a step, beside what this GPU can do at most."""
    return _roofline(*_key(name), rank)


@st.cache_resource(max_entries=12, show_spinner="Counting work and traffic …")
def _roofline(path: str, stamp: Stamp, rank: int) -> Roofline:
    cut = _ledgers(path, stamp, rank)
    return make_roofline(_run(path, stamp), cut[STEP], rank)


def rank_summary(name: str) -> RankSummary:
    """The ranks of a run side by side."""
    return _rank_summary(*_key(name))


@st.cache_resource(max_entries=12, show_spinner="Reading the trace of every rank …")
def _rank_summary(path: str, stamp: Stamp) -> RankSummary:
    return summary_of_ranks(_run(path, stamp))


def rank_totals(name: str) -> list[RankTotals]:
    """What each rank of a run says of its calls and memory."""
    return totals_of_ranks(run(name))


def compile_frames(name: str, rank: int = 0) -> dict[str, pl.DataFrame]:
    """Compiles, breaks, recompiles, limits, cudagraph skips and generated code of a run's compile log; of a run without one only
    breaks.

    Raises:
        UnreadableInput: neither log nor trace can be read.
    """
    return _compile_frames(*_key(name), rank)


@st.cache_resource(max_entries=24, show_spinner="Reading the compile log …")
def _compile_frames(path: str, stamp: Stamp, rank: int) -> dict[str, pl.DataFrame]:
    found = _run(path, stamp)
    if not has_log(found, rank):
        # A trace with stacks still tells where functions were cut.
        return {"breaks": break_metrics.graph_breaks(found, rank)}
    return {
        "compiles": compile_metrics.compiles(found, rank),
        "breaks": break_metrics.graph_breaks(found, rank),
        "recompiles": recompile_metrics.recompiles(found, rank),
        "limits": compile_metrics.limits(found, rank),
        "cudagraph skips": compile_metrics.cudagraph_skips(found, rank),
        "code": found.compile_log(rank).frame("code"),
    }


def memory_timeline(name: str, part: str, by: str, rank: int = 0) -> memory.MemoryTimeline:
    """Live bytes over a part of a run."""
    return _memory_timeline(*_key(name), part, by, rank)


@st.cache_resource(max_entries=24, show_spinner="Reading the memory snapshot …")
def _memory_timeline(path: str, stamp: Stamp, part: str, by: str, rank: int) -> memory.MemoryTimeline:
    return memory.timeline(_run(path, stamp), rank, part, by)


def memory_peak(name: str, part: str, rank: int = 0) -> memory.MemoryPeak:
    """The peak of a part of a run."""
    return _memory_peak(*_key(name), part, rank)


@st.cache_resource(max_entries=24, show_spinner="Taking the peak apart …")
def _memory_peak(path: str, stamp: Stamp, part: str, rank: int) -> memory.MemoryPeak:
    return memory.peak(_run(path, stamp), rank, part)


def alive_at_peak(name: str, part: str, rank: int = 0) -> pl.DataFrame:
    """Every allocation alive at the peak of a part: category, component, role, size_bytes."""
    return _alive_at_peak(*_key(name), part, rank)


@st.cache_resource(max_entries=24, show_spinner=False)
def _alive_at_peak(path: str, stamp: Stamp, part: str, rank: int) -> pl.DataFrame:
    rows = memory.allocations(_run(path, stamp), rank, part)
    return alive_at(rows, _memory_peak(path, stamp, part, rank).index).select("category", "component", "role", "size_bytes")


def free_pieces(name: str, part: str, rank: int = 0) -> pl.Series | None:
    """Bytes of each piece that was reserved and free at the peak of a part; None where that is not known."""
    return _free_pieces(*_key(name), part, rank)


@st.cache_resource(max_entries=24, show_spinner=False)
def _free_pieces(path: str, stamp: Stamp, part: str, rank: int) -> pl.Series | None:
    found = memory.study(_run(path, stamp), rank, part)
    return pieces_at(found.recording, found.rows, _memory_peak(path, stamp, part, rank).index)


def memory_parts(name: str, rank: int = 0) -> list[str]:
    """The parts whose memory events the run holds."""
    found = run(name)
    return [part for part in (memory.MEMORY_PART, memory.LOAD_PART) if memory.has_part(found, rank, part)]


def live_over_call(names: tuple[str, ...]) -> list[Overlaid]:
    """Live bytes of several runs over the same parts of a call, side by side; a run without memory events has no points."""
    return [_live_over_call(*_key(name)) for name in names]


@st.cache_resource(max_entries=48, show_spinner="Reading the memory snapshots …")
def _live_over_call(path: str, stamp: Stamp) -> Overlaid:
    found = _run(path, stamp)
    return kept.overlaid(found, [stamp], lambda: overlay([found])[0])


def comparison(name: str, base: str, rank: int | None = None) -> Comparison:
    """A run against a base run; `rank` is whose windows and memory are compared, of runs of several, by default the median's."""
    return _comparison(*_key(name), *_key(base), rank)


@st.cache_resource(max_entries=12, show_spinner="Holding the two runs against each other …")
def _comparison(path: str, stamp: Stamp, base: str, base_stamp: Stamp, rank: int | None) -> Comparison:
    found, other = _run(path, stamp), _run(base, base_stamp)
    stamps = [stamp, base_stamp, _of_files(path), _of_files(base)]
    return kept.comparison(found, other, stamps, lambda: compare_metrics(found, other, rank), rank)


def pictures(name: str, base: str) -> Difference:
    """The pictures of a run and of its base, and how they differ.

    Raises:
        UnreadableInput: one of them has none that can be read, or they are of different sizes.
    """
    return _pictures(*_of_outputs(name), *_of_outputs(base))


@st.cache_resource(max_entries=8, show_spinner="Holding the pictures against each other …")
def _pictures(path: str, stamp: Stamp, base: str, base_stamp: Stamp) -> Difference:
    return difference(Run.open(path), Run.open(base))


def latents(name: str, base: str) -> LatentMaps:
    """Maps of the last latents of a run and of its base.

    Raises:
        UnreadableInput: one of them kept none, or they are of different shapes.
    """
    return _latents(*_of_outputs(name), *_of_outputs(base))


@st.cache_resource(max_entries=8, show_spinner=False)
def _latents(path: str, stamp: Stamp, base: str, base_stamp: Stamp) -> LatentMaps:
    return latent_maps(Run.open(path), Run.open(base))


def sqnr_db(name: str, base: str) -> float | None:
    """SQNR of a run's last latents against a base run, in dB; None where there is none that is a number. Kept beside the run."""
    return _sqnr_db(*_of_outputs(name), *_of_outputs(base))


def sqnr_of(rows: Sequence[RunRow]) -> dict[str, float]:
    """SQNR of each run that has one, in dB: against the bf16 run of the same model and batch that is not compiled, else any."""
    found = {row.name: sqnr_db(row.name, base.name) for row in rows if (base := _base_of(row, rows))}
    return {name: level for name, level in found.items() if level is not None}


def _base_of(row: RunRow, rows: Sequence[RunRow]) -> RunRow | None:
    if row.error or not row.scheme or row.scheme == "bf16":
        return None
    bases = [each for each in rows if each.scheme == "bf16" and (each.model, each.batch) == (row.model, row.batch)]
    return min(bases, key=lambda each: (each.ranks != row.ranks, each.compile != "none"), default=None)


def _of_outputs(name: str) -> tuple[str, Stamp]:
    path = str(folder.path_of(name))
    return path, _of_files(path)


def _of_files(path: str) -> Stamp:
    """The stamp of a run's outputs."""
    return _stamp_of([Path(path) / each for each in (layout.MANIFEST, layout.OUTPUT_TENSORS, layout.OUTPUT_IMAGE)])


@st.cache_resource(max_entries=400, show_spinner=False)
def _sqnr_db(path: str, stamp: Stamp, base: str, base_stamp: Stamp) -> float | None:
    found, other = Run.open(path), Run.open(base)
    return kept.number(found, "sqnr", [stamp, base_stamp], lambda: _finite(sqnr(found, other)[LAST_LATENTS].db))


def _finite(level: float | None) -> float | None:
    return level if level is not None and math.isfinite(level) else None


def readable_runs() -> list[RunRow]:
    """Runs whose manifest can be read, newest first.

    Raises:
        UnreadableInput: the folder is none.
    """
    return sorted((row for row in runs() if not row.error), key=lambda row: -(row.created_ns or 0))
