"""The ranks of a run in `show` and `diagnose`: a row each, and the slowest one's ledger beside the median's."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

from profiler.core.printable import one_line, printable
from profiler.metrics.main_rank import main_rank
from profiler.metrics.per_rank import RankTotals, rank_totals
from profiler.metrics.ranks import ROW, RankSummary, rank_summary
from profiler.report.rank_notes import notes
from profiler.report.render import MIN_WIDTH, number, table
from profiler.rules.context import Context
from profiler.rules.ranks_beside import Beside, beside
from profiler.tables.ranks import is_spread
from profiler.tables.run import Run

_TIMES = ("step_us", "compute_us", "exposed_us", "hidden_us", "waiting_us", "idle_us")
# A folder may hold eight of a thousand ranks: of those without times only the first have a row.
_UNTIMED = 8
_OWN = ("call_ms", "model_gib", "inference_peak_gib")


@dataclass(frozen=True)
class RanksReport:
    """The ranks in a diagnosis.

    Args:
        rank: whose ledger the diagnosis is of.
        slowest: the rank whose ledger stands beside it in `beside`, or None.
        totals: calls and memory of each rank, as it wrote them down.
    """

    rank: int
    window: str
    summary: RankSummary
    slowest: int | None
    beside: list[Beside]
    totals: list[RankTotals] = field(default_factory=list)


def rank_of(run: Run) -> int:
    """The rank that a diagnosis is of where none is asked for: the median one."""
    return main_rank(run)


def described(rank: int, count: int, median: int | None) -> str:
    """`rank 1 of 2, the median`."""
    return f"rank {rank} of {count}{', the median' if rank == median else ''}"


def of_context(context: Context, window: str) -> RanksReport | None:
    """The ranks of a run under diagnosis; None for a run of one process."""
    summary = context.ranks
    if summary is None:
        return None
    slowest = summary.slowest if summary.slowest != context.rank else None
    rows = [] if slowest is None else beside(context, window, slowest)
    return RanksReport(context.rank, window, summary, slowest, rows, rank_totals(context.run))


def shown(run: Run, memory: int) -> dict[str, Any]:
    """What `show` adds for a run of several ranks; `memory` is the rank whose phases and memory it shows."""
    if not is_spread(run):
        return {}
    summary = rank_summary(run)
    known = {"rank_window": summary.window, "memory_rank": memory, "slowest": summary.slowest, "median": summary.median}
    return known | {"ranks": rows(summary, rank_totals(run))}


def rows(summary: RankSummary, totals: list[RankTotals]) -> list[dict[str, Any]]:
    """One mapping a rank; `waiting_for_us` tells its waiting by the rank waited for."""
    found, own = summary.ranks.select(list(ROW)).to_dicts(), {each.rank: asdict(each) for each in totals}
    return [
        row
        | {"waiting_for_us": {str(key): us for key, us in summary.waiting_us(row["rank"]).items()}}
        | {name: own[row["rank"]][name] if row["rank"] in own else None for name in _OWN}
        for row in found
    ]


def to_json(report: RanksReport) -> dict[str, Any]:
    """What `diagnose --json` adds for a run of several ranks; `beside` is untraced us a repeat of the window."""
    lines = [
        {"kind": each.kind, "label": each.label, "slowest_us": each.mine_ns / 1e3, "rank_us": each.theirs_ns / 1e3}
        for each in report.beside
    ]
    summary = report.summary
    known = {"rank": report.rank, "slowest": summary.slowest, "median": summary.median, "ranks": rows(summary, report.totals)}
    return known | {"beside": {"rank": report.rank, "slowest": report.slowest, "ledger": lines}}


def text(report: RanksReport, width: int) -> list[str]:
    """The tables for people."""
    shown_ranks = ranks_text(rows(report.summary, report.totals), report.summary.window, width)
    return [shown_ranks, *([_beside_text(report, width)] if report.slowest is not None else [])]


def ranks_text(ranks: list[dict[str, Any]], window: str, width: int) -> str:
    """A row a rank, ms; below it the ranks that have no times, and clocks that were read from the collectives."""
    untimed = [row["rank"] for row in ranks if row["problem"] and row["step_us"] is None][_UNTIMED:]
    more = set(untimed)
    ranks = [row for row in ranks if row["rank"] not in more]
    headers = ["rank", "host", f"{window} ms", "compute", "exposed", "hidden", "waiting", "idle", "waits most for"]
    body = [
        [str(row["rank"]), row["host"] or "-", *(_ms(row[key]) for key in _TIMES), _most(row["waiting_for_us"])] for row in ranks
    ]
    if any(row["inference_peak_gib"] is not None for row in ranks):
        headers.append("peak GiB")
        body = [[*cells, number(row["inference_peak_gib"], 2)] for cells, row in zip(body, ranks, strict=True)]
    traced = max((row["steps"] or 0 for row in ranks), default=0)
    mean = f" (mean of {traced})" if traced > 1 else ""
    title = f"ranks, a {window} as traced{mean}: compute + exposed communication + waiting + idle"
    return "\n".join([title, table(headers, body, width, left=(1, 8)), *_wrapped([*notes(ranks), *_rest(untimed)], width)])


def _wrapped(lines: list[str], width: int) -> list[str]:
    cleaned, wide = (printable(one_line(line)) for line in lines), max(width, MIN_WIDTH)
    return [textwrap.fill(line, wide, subsequent_indent="  ", break_on_hyphens=False) for line in cleaned]


def _rest(untimed: list[int]) -> list[str]:
    return [f"{len(untimed):,} more ranks have no times, the last of them rank {untimed[-1]}"] if untimed else []


def _most(waiting: dict[str, float]) -> str:
    rank = max(waiting, key=lambda each: waiting[each], default=None)
    return f"rank {rank}" if rank is not None else ""


def _beside_text(report: RanksReport, width: int) -> str:
    headers = (f"rank {report.slowest} (slowest) beside rank {report.rank}", "", "slowest ms", "ms", "more ms")
    body = [
        (each.label, each.kind, number(each.mine_ns / 1e6, 3), number(each.theirs_ns / 1e6, 3), number(each.more_ns / 1e6, 3))
        for each in report.beside
    ]
    return table(headers, body, width, left=(0, 1))


def _ms(us: float | None) -> str:
    return "-" if us is None else number(us / 1e3, 3)
