"""Ranks wait for each other: for one that is always late, or now for this one and now for that."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.ledger_segments import WAITING_FOR_RANK
from profiler.metrics.ranks import RankSummary
from profiler.rules.base import RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.ranks_beside import Beside, beside

STRAGGLER, IMBALANCE = "straggler", "load-imbalance"
# Less than this share of a window is what any run has.
_LEAST = 0.01
# One rank is a straggler where so much of all waiting is for it.
_MOSTLY = 2 / 3
_SHOWN = 3
# Kernels of one kind whose numbers differ by less are the same work.
_SAME_WORK = 0.02


def straggler(context: Context) -> Iterable[Finding]:
    """One rank that most of the waiting is for."""
    summary, window = context.ranks, context.main
    slow = straggler_of(summary) if summary else None
    rows = [row for row in _waiting(context, window) if row.detail == f"rank {slow}"]
    if summary is None or slow is None or not _matters(context, window, rows):
        return
    more = [each for each in beside(context, window, slow) if each.own and each.more_ns > 0][:_SHOWN]
    waited = sum(row.priced_ns for row in rows) / 1e6
    yield Finding(
        rule=STRAGGLER,
        title=f"rank {slow} is slow: rank {context.rank} waits {waited:,.2f} ms a {window} for it",
        window=window,
        claims=tuple(row.id for row in rows),
        saving=Saving(share_low=0.6, share_high=1.0),
        count=max(1, round(sum(row.count for row in rows))),
        evidence=(*_own_times(summary, slow, context.rank), *(_excess(each, slow, context.rank) for each in more)),
        change=_change(more, slow, context),
    )


def imbalance(context: Context) -> Iterable[Finding]:
    """Waiting that no one rank is the cause of."""
    summary, window = context.ranks, context.main
    slow = straggler_of(summary) if summary else None
    rows = [row for row in _waiting(context, window) if row.detail != f"rank {slow}"]
    if summary is None or not _matters(context, window, rows):
        return
    waited = sum(row.priced_ns for row in rows) / 1e6
    times = summary.ranks.drop_nulls("own_us")["own_us"]
    yield Finding(
        rule=IMBALANCE,
        title=f"the ranks are not equally busy: rank {context.rank} waits {waited:,.2f} ms a {window} for {_names(rows)}",
        window=window,
        claims=tuple(row.id for row in rows),
        saving=Saving(share_low=0.2, share_high=0.9),
        count=max(1, round(sum(row.count for row in rows))),
        evidence=(
            f"without the others a {window} takes between {_ms(times.min())} and {_ms(times.max())} ms on {len(times)} ranks",
            *(
                f"{row.priced_ns / 1e6:,.2f} ms a {window} for {row.detail}, {row.count:,.0f} collectives"
                for row in rows[:_SHOWN]
            ),
        ),
        change="give every rank the same share of the sequence (a length that the ranks divide), and fewer, larger collectives",
    )


def straggler_of(summary: RankSummary) -> int | None:
    """The rank that most of all waiting is for, or None."""
    charged = summary.charged_us
    total = sum(charged.values())
    slow = max(charged, key=lambda rank: charged[rank], default=None)
    return slow if slow is not None and charged[slow] >= _MOSTLY * total else None


def _waiting(context: Context, window: str) -> list[Row]:
    return context.select(window, lambda row: row.label == WAITING_FOR_RANK)


def _matters(context: Context, window: str, rows: list[Row]) -> bool:
    return bool(rows) and sum(row.priced_ns for row in rows) >= _LEAST * context.duration_ns(window)


def _names(rows: list[Row]) -> str:
    names = [row.detail.removeprefix("rank ") for row in rows]
    return f"rank{'s' * (len(names) > 1)} {', '.join(names)}"


def _own_times(summary: RankSummary, slow: int, other: int) -> Iterable[str]:
    own = dict(summary.ranks.select("rank", "own_us").iter_rows())
    if own.get(slow) is not None and own.get(other) is not None:
        yield (
            f"without waiting and communication a {summary.window} takes {_ms(own[slow])} ms on rank {slow}, "
            f"{_ms(own[other])} ms on rank {other} (traced)"
        )
    waiting = summary.waits.filter(summary.waits["for_rank"] == slow)
    yield f"{waiting.height} of {summary.ranks['own_us'].count() - 1} other ranks wait for it"


def _excess(each: Beside, slow: int, other: int) -> str:
    return (
        f"{each.label}: {each.more_ns / 1e6:,.2f} ms more on rank {slow} ({each.mine_count:,.0f} times, rank {other} "
        f"{each.theirs_count:,.0f} times)"
    )


def _change(more: list[Beside], slow: int, context: Context) -> str:
    first = more[0] if more else None
    if first is None:
        return f"look at it: diffuscope diagnose {context.run.path} --rank {slow}"
    if first.kind == "idle":
        return f"its host holds it up ({first.label}): diffuscope diagnose {context.run.path} --rank {slow}"
    if first.mine_count > (1 + _SAME_WORK) * first.theirs_count:
        return (
            f"it does more work ({first.label}): give every rank the same share, and what rank {slow} does alone to all or none"
        )
    return (
        f"the same work takes it longer: look for another process, lower clocks or heat on its device (nvidia-smi -q -d "
        f"PERFORMANCE), else leave rank {slow}'s device out"
    )


def _ms(us: object) -> str:
    return f"{us / 1e3:,.2f}" if isinstance(us, int | float) else "-"


RULES.add(STRAGGLER, Rule(name=STRAGGLER, summary="one rank is slower than the others", check=straggler, priority=10))
RULES.add(IMBALANCE, Rule(name=IMBALANCE, summary="ranks wait for each other in turn", check=imbalance, priority=12))
