"""The ranks of a run side by side: what each computes, moves, waits for, and who is slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import polars as pl

from profiler.metrics import ledger_cpu
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.ledger_segments import BUSY, WAITING_FOR_RANK, in_windows
from profiler.metrics.ranks_cut import flat, on_device, overlay, touching, with_ranks
from profiler.metrics.ranks_waits import Waits, epoch_base, waits
from profiler.metrics.windows import CALL, STEP, windows_of
from profiler.tables.ranks import rank_facts
from profiler.tables.run import Run

ROW = {
    "rank": pl.Int64,
    "host": pl.String,
    "status": pl.String,
    "steps": pl.Int64,
    "step_us": pl.Float64,
    "compute_us": pl.Float64,
    "communication_us": pl.Float64,
    "exposed_us": pl.Float64,
    "hidden_us": pl.Float64,
    "waiting_us": pl.Float64,
    "idle_us": pl.Float64,
    "own_us": pl.Float64,
    "clock_shift_us": pl.Float64,
    "clock_error_us": pl.Float64,
    "late_us": pl.Float64,
    "collectives": pl.Int64,
    "unmatched": pl.Int64,
    "lost": pl.Int64,
    "problem": pl.String,
}
_WAIT = {"rank": pl.Int64, "for_rank": pl.Int64, "us": pl.Float64, "collectives": pl.Float64, "steady": pl.Float64}


@dataclass(frozen=True)
class RankSummary:
    """The ranks of a run. Times are us a window, as traced.

    Args:
        window: `step`, or `call` where a trace has no steps.
        ranks: one row a rank, columns of ROW: `step_us` = `compute_us` (the union of all that is no communication; on a CPU the
            operators of the main thread) + `exposed_us` (communication that no computation hides, from the last rank's arrival)
            + `waiting_us` (before that arrival, not hidden either) + `idle_us`; `communication_us` = `exposed_us` + `hidden_us`;
            `own_us` = `compute_us` + `idle_us`, what the rank took without the others. Times are null, and `problem` says why,
            for a rank without a readable trace. `clock_shift_us` is how far its clock is from the first rank's; `late_us` how
            much later than the first rank to come it begins a window, null without a clock.
        waits: one row a rank and the rank that it waited for: rank, for_rank, us, collectives (how many, a window), steady (the
            share of `us` that comes again, in three of four windows and without the longest single wait: nothing of a hiccup,
            most of what a slow rank makes others wait).
        slowest: the rank of the greatest `own_us`, of a cut trace only where all are; None where no rank has times.
        median: the rank of the middle `own_us`, of an even number the faster one.
    """

    window: str
    ranks: pl.DataFrame
    waits: pl.DataFrame
    slowest: int | None
    median: int | None

    def waiting_us(self, rank: int) -> dict[int, float]:
        """How long `rank` waits, by the rank waited for."""
        mine = self.waits.filter(pl.col("rank") == rank)
        return dict(mine.select("for_rank", "us").iter_rows())

    def steady(self, rank: int) -> dict[int, float]:
        """Which share of that it waits again and again, by the rank waited for."""
        mine = self.waits.filter(pl.col("rank") == rank)
        return dict(mine.select("for_rank", "steady").iter_rows())

    def more_us(self, column: str, rank: int, other: int) -> float | None:
        """How much more of a column of `ranks` one rank has than another; None where one of them has none."""
        known = dict(self.ranks.select("rank", column).drop_nulls().iter_rows())
        return known[rank] - known[other] if rank in known and other in known else None

    @property
    def charged_us(self) -> dict[int, float]:
        """How long all others together wait for a rank, by that rank."""
        return dict(self.waits.group_by("for_rank", maintain_order=True).agg(pl.col("us").sum()).iter_rows())


# rank, for_rank, us, collectives, steady
_Waited = tuple[int, int, float, float, float]
_KNOWN: WeakKeyDictionary[Run, RankSummary] = WeakKeyDictionary()


def rank_summary(run: Run) -> RankSummary:
    """The ranks of a run, read one at a time; of one rank a summary of one row."""
    if run not in _KNOWN:
        _KNOWN[run] = _made(run)
    return _KNOWN[run]


def _made(run: Run) -> RankSummary:
    known = waits(run)
    every = [_measure(run, rank, known) for rank in known.ranks]
    # What a cut trace lacks looks like idle time.
    measured = [(each, waited) for each, waited in every if each.busy or not run.trace(each.rank).lost]
    emptied = [each for each, _ in every if not each.busy and run.trace(each.rank).lost]
    problems = known.problems | {
        each.rank: f"rank {each.rank}'s trace is cut before what ran in a {each.window}" for each in emptied
    }
    late = _late([each for each, _ in measured], known)
    timed = [_row(run, each, known) | {"late_us": late.get(each.rank)} for each, _ in measured]
    rows = pl.DataFrame(timed + _absent(run, problems), schema=ROW, orient="row")
    waited = pl.DataFrame([row for _, each in measured for row in each], schema=_WAIT, orient="row")
    able = rows.filter(pl.col("own_us").is_not_null()).sort("own_us", "rank")
    order = able.filter(pl.col("lost") == 0)["rank"].to_list() or able["rank"].to_list()
    window = STEP if any(each.window == STEP for each, _ in measured) else CALL
    slowest, median = (order[-1], order[(len(order) - 1) // 2]) if order else (None, None)
    return RankSummary(window, rows.sort("rank"), waited, slowest, median)


@dataclass(frozen=True)
class _Times:
    """Sums over the windows of a rank, ns, and when each begins on its own clock."""

    rank: int
    window: str
    begins: tuple[int, ...]
    step: int
    compute: int
    exposed: int
    waiting: int
    hidden: int

    @property
    def windows(self) -> int:
        return len(self.begins)

    @property
    def busy(self) -> int:
        return self.compute + self.exposed + self.waiting


def _measure(run: Run, rank: int, known: Waits) -> tuple[_Times, list[_Waited]]:
    trace, calls = run.trace(rank), known.of(rank)
    events = device_events(trace)
    every = windows_of(trace, events)
    name = STEP if (every["name"] == STEP).any() else CALL
    chosen = every.filter(pl.col("name") == name)
    if events.is_empty() and chosen.is_empty():
        return _Times(rank, name, (), 0, 0, 0, 0, 0), []
    cut = with_ranks(ledger_cpu.cut(trace, events, every, 1.0), events, calls) if events.is_empty() else on_device(events, calls)
    segments = in_windows(cut.segments, chosen).join(cut.labels.select("number", "kind", "label", "detail"), on="number")
    label, busy = pl.col("label"), pl.col("kind") == BUSY
    parts = {"compute": busy & (label != COMMUNICATION), "exposed": busy & (label == COMMUNICATION)}
    parts |= {"waiting": label == WAITING_FOR_RANK}
    length = pl.col("end_ns") - pl.col("start_ns")
    sums = segments.select(length.filter(part).sum().alias(each) for each, part in parts.items()).row(0, named=True)
    times = _Times(
        rank,
        name,
        tuple(chosen["start_ns"]),
        int((chosen["end_ns"] - chosen["start_ns"]).sum()),
        hidden=_hidden(segments.filter(parts["compute"]), calls),
        **sums,
    )
    return times, _waited(times, segments.filter(parts["waiting"]), calls)


def _hidden(computing: pl.DataFrame, calls: pl.DataFrame) -> int:
    """How long data moved while the rank computed."""
    moving = flat(
        calls.filter(pl.col("end_ns") > pl.col("until_ns"))
        .sort("until_ns")
        .select("until_ns", "end_ns", pl.lit(True))
        .iter_rows()
    )
    rows = touching(computing, moving).sort("start_ns").select("start_ns", "end_ns", "number", "host_ns").iter_rows()
    return sum(end - start for start, end, _, _, beside in overlay(rows, moving) if beside)


def _waited(times: _Times, waiting: pl.DataFrame, calls: pl.DataFrame) -> list[_Waited]:
    """By the rank waited for; `waiting` is segments with their labels, of which one collective may have several."""
    held = calls.filter(pl.col("for_rank").is_not_null()).select("for_rank", "start_ns", pl.col("start_ns").alias("call_ns"))
    of = pl.col("detail").str.strip_prefix("rank ").cast(pl.Int64).alias("for_rank")
    lasted = (pl.col("end_ns") - pl.col("start_ns")).alias("ns")
    pieces = waiting.select(of, "index", "start_ns", lasted).sort("start_ns")
    placed = pieces.join_asof(held.sort("start_ns"), on="start_ns", by="for_rank", strategy="backward", check_sortedness=False)
    each = placed.group_by("for_rank", "index", "call_ns").agg(pl.col("ns").sum()).filter(pl.col("ns") > 0)
    count = max(1, times.windows)
    return [
        (times.rank, rank, int(of_rank["ns"].sum()) / count / 1e3, of_rank.height / count, _steady(of_rank, count))
        for (rank,), of_rank in sorted(each.partition_by("for_rank", as_dict=True).items())
    ]


def _steady(waits: pl.DataFrame, windows: int) -> float:
    """The share of some waits (index, ns) that comes again: without the longest, and as much as three of four windows have."""
    each = [int(ns) for ns in waits["ns"]]
    sums = sorted(int(ns) for ns in waits.group_by("index").agg(pl.col("ns").sum())["ns"])
    least = ([0] * (windows - len(sums)) + sums)[windows // 4]
    return min(1 - max(each) / sum(each), least * windows / sum(each))


def _late(measured: list[_Times], known: Waits) -> dict[int, float]:
    """By rank, how much later than the first to come it begins a window, on average, us; only of ranks whose clocks are known."""
    shifts = dict(known.clocks.select("rank", "shift_ns").drop_nulls().iter_rows())
    begun = {
        each.rank: [at + shifts[each.rank] for at in each.begins] for each in measured if each.rank in shifts and each.begins
    }
    first = [min(of) for of in zip(*begun.values(), strict=False)]
    return {rank: sum(at - by for at, by in zip(of, first, strict=False)) / len(first) / 1e3 for rank, of in begun.items()}


def _row(run: Run, each: _Times, known: Waits) -> dict[str, object]:
    count = max(1, each.windows) * 1e3
    shift, error = known.clocks.filter(pl.col("rank") == each.rank).select("shift_ns", "error_ns").row(0)
    idle = each.step - each.compute - each.exposed - each.waiting
    base = epoch_base(run, each.rank)
    status = next(fact.status for fact in rank_facts(run) if fact.rank == each.rank)
    times = {"step_us": each.step, "compute_us": each.compute, "communication_us": each.exposed + each.hidden}
    times |= {"exposed_us": each.exposed, "hidden_us": each.hidden, "waiting_us": each.waiting, "idle_us": idle}
    return {
        "rank": each.rank,
        "host": known.hosts[each.rank],
        "status": status,
        "steps": each.windows,
        **{name: value / count for name, value in times.items()},
        "own_us": (each.compute + idle) / count,
        "clock_shift_us": None if shift is None else (shift - base) / 1e3,
        "clock_error_us": None if error is None else error / 1e3,
        "collectives": known.of(each.rank).height,
        "unmatched": known.unmatched.get(each.rank, 0),
        "lost": sum(run.trace(each.rank).lost.values()),
        "problem": "",
    }


def _absent(run: Run, problems: Mapping[int, str]) -> list[dict[str, object]]:
    """Rows of ranks that have no times."""
    nothing = dict.fromkeys(ROW)
    return [
        nothing | {"rank": each.rank, "host": each.host, "status": each.status, "lost": 0, "problem": problems[each.rank]}
        for each in rank_facts(run)
        if each.rank in problems
    ]
