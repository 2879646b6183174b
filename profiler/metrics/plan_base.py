"""What a bf16 run says of a step: its Linears by shape, and what lies beside them, run as it is or compiled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.core.errors import Refused
from profiler.core.product import Shape, parse_shape
from profiler.metrics.classes import MEMSET
from profiler.metrics.floor_calls import call_of
from profiler.metrics.floor_prices import COPY_GBS, multiplies
from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.idle import QUEUED
from profiler.metrics.ledger import Ledger
from profiler.metrics.plan_fusion import fusion
from profiler.metrics.plan_products import FEW_ROWS, Key, Part, Rates, part
from profiler.metrics.plan_step import Rest
from profiler.metrics.power_limit import at_its_limit
from profiler.metrics.windows import DECODE, windows
from profiler.tables.run import Run
from profiler.tables.schema import KERNEL

_OPERATORS = {"aten::mm": 0, "aten::addmm": 1}
_TEXTS = ("input_dims", "input_types", "input_strides", "concrete_inputs")
_REGIONAL = "regional"
_BLOCK = re.compile(r".*?\.\d+\.")
_LIVE = ("timed", "untraced")
# The same kernels in another run of the GPU.
_AGAIN = (0.97, 1.04)
# Compiled from compiled: another mode cuts regions elsewhere, and quantizing is fused with what is there.
_RECOMPILED = (0.95, 1.2)
# Fused by Inductor: L2 keeps a part of what moves; reductions seldom reach the copy bandwidth.
_FUSED = (0.85, 1.35)
# A block's result may be read by one kernel or by two.
_CROSSING = (0.5, 2.0)
# What the host does between regions, and between steps, shows where the device waits for it: on one host more, on another less.
_IDLE = (0.7, 3.0)
# Of the host's time between launches in a trace: recording costs it a fifth or more; compiled code needs another time a kernel.
_UNRECORDED = (0.8, 0.6, 1.2)
# After decoding for so long, a sample says nothing of the steps.
_LONG_NS = 500_000_000
# Of a step, what tensor cores are busy: an eager step of Flux, 0.56, is at an H100's limit of power.
_HOT = 0.5
# A launch takes the host 5 to 15 us: a call of this length waits for the device.
_WAITS_NS = 200_000
# Gaps between kernels of one stream, where the run has too few to tell.
_GAP_US = 1.5


@dataclass(frozen=True)
class Target:
    """Whether the run and what is planned for are compiled."""

    run_compiled: bool
    compiles: bool

    @property
    def fuses(self) -> bool:
        """Whether kernels of the run would be fused."""
        return self.compiles and not self.run_compiled


@dataclass(frozen=True)
class LinearTimes:
    """The Linears of a step.

    Args:
        us: mean time of a call by shape: all kernels of its operator.
        total_us: of all calls of a step; `cores_us` of those that keep tensor cores busy.
        of: which events are theirs, in the order of the events.
        windows: how many steps the run holds.
    """

    us: dict[Key, float]
    total_us: float
    cores_us: float
    of: pl.Series
    windows: int


def target_of(run: Run, material: dict[str, Any]) -> Target:
    """What compiling does between the run and the plan.

    Raises:
        Refused: the run is compiled and the plan is not.
    """
    found = Target(run.manifest.spec.get("compile") != "none", material["spec"].get("compile") != "none")
    if found.run_compiled and not found.compiles:
        raise Refused(
            f"{run.path} is compiled, and the plan is for --compile none: fused kernels do not tell what eager ones take",
            "name a bf16 run of --compile none, or plan for a compiled one",
        )
    return found


def linear_times(events: pl.DataFrame, windows: int, wanted: Set[Key]) -> LinearTimes:
    """The products of the wanted shapes among the events of some windows."""
    shapes = {each: _shape(*each) for each in events.select("op", *_TEXTS).unique().iter_rows() if each[0] in _OPERATORS}
    keys = [shapes.get(each) for each in events.select("op", *_TEXTS).iter_rows()]
    names = [str(Shape(*key)) if key in wanted else None for key in keys]  # type: ignore[misc]
    mine = events.select("own_ns", "call_id", pl.Series("shape", names, dtype=pl.String))
    sums = mine.drop_nulls("shape").group_by("shape").agg(pl.col("own_ns").sum(), pl.col("call_id").n_unique())
    us: dict[Key, float] = {parse_shape(name): own / 1e3 / calls for name, own, calls in sums.iter_rows()}
    many = sums.filter(pl.Series([parse_shape(name).m > FEW_ROWS for name in sums["shape"]], dtype=pl.Boolean))
    return LinearTimes(
        us=us,
        total_us=_us(sums["own_ns"], windows),
        cores_us=_us(many["own_ns"], windows),
        of=mine["shape"].is_not_null(),
        windows=max(1, windows),
    )


def _shape(op: str, *texts: str | None) -> Key | None:
    call = call_of(op, "", "", (texts[0], texts[1], texts[2], texts[3]))
    tensors = call.arguments[_OPERATORS[op] :][:2] if call else ()
    if len(tensors) < 2 or not all(each and len(each.shape) == 2 and each.dtype == "c10::BFloat16" for each in tensors):
        return None
    (m, k), (_, n) = tensors[0].shape, tensors[1].shape  # type: ignore[union-attr]
    return m, k, n


def boundaries(run: Run, material: dict[str, Any], rates: Rates) -> Part:
    """What regional compile adds to a run that is not: each block's result is written and read again.

    A block's result is as large as what most of its Linears read.
    """
    if material["spec"].get("compile") != _REGIONAL or run.manifest.spec.get("compile") == _REGIONAL:
        return Part()
    layers = [each for each in material["layers"] if each["compiled"] and each["calls"]]
    blocks = {found[0] for each in layers if (found := _BLOCK.match(each["module"]))}
    inputs = Counter(each["rows"] * each["in_features"] for each in layers if each["rows"] > FEW_ROWS)
    size = 2 * inputs.most_common(1)[0][0] if inputs else 0
    return part(len(blocks) * rates.copy_us(2 * size), _CROSSING)


def rest_of(run: Run, found: Ledger, events: pl.DataFrame, linears: LinearTimes, rates: Rates, target: Target) -> Rest:
    """A step beside its Linears."""
    on_cores = pl.Series([multiplies(each) for each in events["class"]], dtype=pl.Boolean)
    attention = _us(events.filter(on_cores & ~linears.of)["own_ns"], linears.windows)
    others = events.filter(~on_cores & ~linears.of)
    idle = _us(found.rows.filter(pl.col("kind") == "idle")["priced_ns"], linears.windows)
    step = _us(found.rows["priced_ns"], linears.windows)
    share, told = (attention + linears.cores_us) / step, sample_tells(run)
    limited = at_its_limit(run.manifest, *_LIVE) if told else share >= _HOT
    queued = found.rows.filter(pl.col("label") == QUEUED)
    gap = _us(queued["priced_ns"], float(queued["count"].sum())) or _GAP_US
    kernels = events.height / linears.windows
    if target.fuses:
        # A memset belongs to the product that asked for it.
        fused = fusion(events.filter((pl.col("index") == events["index"].min()) & ~(linears.of & (pl.col("class") == MEMSET))))
        kernels = fused.kernels + int((on_cores | linears.of).sum()) / linears.windows
        left = part(fused.us(rates.ceilings[COPY_GBS], _least_us(others)), _FUSED)
        # Python between regions may cost what the eager run's cost, and no more.
        waiting = Part(kernels * gap, kernels * gap * _IDLE[0], max(idle, kernels * gap * _IDLE[1]))
    else:
        left = part(_us(others["own_ns"], linears.windows), _RECOMPILED if target.compiles else _AGAIN)
        waiting = part(idle, _IDLE)
    return Rest(
        attention=part(attention, _AGAIN),
        elementwise=left,
        idle=waiting,
        share=share if limited else None,
        told=told,
        gap_us=gap,
        kernels=kernels,
        launch_us=launch_us(run, found.windows),
    )


def sample_tells(run: Run) -> bool:
    """Whether the power at the end of a call is that of its steps: decoding a video draws less, and takes seconds."""
    decoding = windows(run).filter(pl.col("name") == DECODE).select((pl.col("end_ns") - pl.col("start_ns")).max()).item()
    return decoding is None or decoding < _LONG_NS


def launch_us(run: Run, chosen: pl.DataFrame) -> Part:
    """What the host needs from one kernel to the next: in the window in which it was fastest; recording is taken off.

    What a call waits for the device (a synchronization, a launch into a full queue) is no time of the host's own.
    """
    trace = run.trace()
    events = device_events(trace).select("start_ns", "launch_ns").drop_nulls()
    end = (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")
    waits = trace.lazy("runtime").filter(pl.col("dur_ns") >= _WAITS_NS).select("ts_ns", end).collect()
    means: list[float] = []
    for start, end_ns in chosen.select("start_ns", "end_ns").iter_rows():
        launched = events.filter(pl.col("start_ns").is_between(start, end_ns, closed="left"))["launch_ns"].to_list()
        if len(launched) > 1:
            own = max(launched) - min(launched) - _within_ns(waits, min(launched), max(launched))
            means.append(own / 1e3 / (len(launched) - 1))
    return Part(*(min(means) * each for each in _UNRECORDED)) if means else Part()


def _within_ns(waits: pl.DataFrame, start: int, end: int) -> int:
    """Of waits (ts_ns, end_ns), what lies in a stretch."""
    length = pl.min_horizontal("end_ns", pl.lit(end)) - pl.max_horizontal("ts_ns", pl.lit(start))
    return int(waits.select(length.clip(lower_bound=0).sum()).item() or 0)


def _us(ns: pl.Series, repeats: float) -> float:
    return float(ns.sum()) / 1e3 / max(1.0, repeats)


def _least_us(kernels: pl.DataFrame) -> float:
    """What a kernel takes that does next to nothing."""
    shortest = kernels.filter(pl.col("cat") == KERNEL)["own_ns"].quantile(0.05)
    return (shortest or 0.0) / 1e3
