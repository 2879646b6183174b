"""Ranks wait for each other: for one that is always late, or now for this one and now for that."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Place, Saving
from profiler.metrics.ledger_segments import IDLE, WAITING_FOR_RANK
from profiler.metrics.ranks import RankSummary
from profiler.rules.base import RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.python_in_step import longest_pause
from profiler.rules.ranks_beside import Beside, beside
from profiler.rules.ranks_places import called_more

STRAGGLER, IMBALANCE = "straggler", "load-imbalance"
# Less than this share of a window is what any run has.
_LEAST = 0.01
# One rank is a straggler where so much of all waiting is for it.
_MOSTLY = 2 / 3
# A rank is slow only where what it takes longer on its own is so much of the waiting for it: else it only came late.
_EXPLAINED = 1 / 3
_SHOWN = 3
# Kernels of one kind whose numbers differ by less are the same work.
_SAME_WORK = 0.02
_LOW, _HIGH = 0.6, 1.0


def straggler(context: Context) -> Iterable[Finding]:
    """One rank that most of the waiting is for, and that takes longer on its own."""
    summary, window = context.ranks, context.main
    slow = straggler_of(summary, context.rank) if summary else None
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
        saving=Saving(share_low=_LOW * _steady(summary, context.rank, rows), share_high=_HIGH),
        where=_where(context, window, slow, more),
        count=_count(summary, context.rank, rows),
        evidence=(
            *_own_times(summary, slow, context.rank),
            *(_excess(each, slow, context.rank) for each in more),
            *_once(summary, context.rank, rows),
        ),
        change=_change(more, slow, context),
    )


def imbalance(context: Context) -> Iterable[Finding]:
    """Waiting that no one rank is the cause of, or for one that came late and is not slow itself."""
    summary, window = context.ranks, context.main
    slow = straggler_of(summary, context.rank) if summary else None
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
        saving=Saving(share_low=0.2 * _steady(summary, context.rank, rows), share_high=0.9),
        count=_count(summary, context.rank, rows),
        evidence=(
            f"without the others a {window} takes between {_ms(times.min())} and {_ms(times.max())} ms on {len(times)} ranks",
            *(f"{row.priced_ns / 1e6:,.2f} ms a {window} for {row.detail}" for row in rows[:_SHOWN]),
            *_comes_late(summary, context.rank, rows),
            *_once(summary, context.rank, rows),
        ),
        change="give every rank the same share of the sequence (a length that the ranks divide), and fewer, larger collectives",
    )


def straggler_of(summary: RankSummary, rank: int) -> int | None:
    """The rank that most of all waiting is for, where it takes longer on its own than `rank`; or None."""
    charged = summary.charged_us
    total = sum(charged.values())
    slow = max(charged, key=lambda each: charged[each], default=None)
    if slow is None or charged[slow] < _MOSTLY * total:
        return None
    more = summary.more_us("own_us", slow, rank)
    return slow if more is not None and more >= _EXPLAINED * summary.waiting_us(rank).get(slow, 0.0) else None


def _waiting(context: Context, window: str) -> list[Row]:
    return context.select(window, lambda row: row.label == WAITING_FOR_RANK)


def _matters(context: Context, window: str, rows: list[Row]) -> bool:
    return bool(rows) and sum(row.priced_ns for row in rows) >= _LEAST * context.duration_ns(window)


def _names(rows: list[Row]) -> str:
    names = [row.detail.removeprefix("rank ") for row in rows]
    return f"rank{'s' * (len(names) > 1)} {', '.join(names)}"


def _rank(row: Row) -> int:
    return int(row.detail.removeprefix("rank "))


def _steady(summary: RankSummary, rank: int, rows: list[Row]) -> float:
    """The share of the waiting that one hiccup cannot be the cause of."""
    waited, steady = summary.waiting_us(rank), summary.steady(rank)
    total = sum(waited.get(_rank(row), 0.0) for row in rows)
    return sum(waited.get(_rank(row), 0.0) * steady.get(_rank(row), 0.0) for row in rows) / total if total else 0.0


def _once(summary: RankSummary, rank: int, rows: list[Row]) -> Iterable[str]:
    share = _steady(summary, rank, rows)
    if share < 0.5:
        yield f"only {share:.0%} of it comes again and again, the rest may be a hiccup of the machine: trace more steps to tell"


def _count(summary: RankSummary, rank: int, rows: list[Row]) -> int:
    """Collectives in which it waits, a window."""
    waits = summary.waits.filter((summary.waits["rank"] == rank) & summary.waits["for_rank"].is_in([_rank(row) for row in rows]))
    return max(1, round(float(waits["collectives"].sum())))


def _own_times(summary: RankSummary, slow: int, other: int) -> Iterable[str]:
    own = dict(summary.ranks.select("rank", "own_us").iter_rows())
    if own.get(slow) is not None and own.get(other) is not None:
        yield (
            f"without waiting and communication a {summary.window} takes {_ms(own[slow])} ms on rank {slow}, "
            f"{_ms(own[other])} ms on rank {other} (traced)"
        )
    waiting = summary.waits.filter(summary.waits["for_rank"] == slow)
    yield f"{waiting.height} of {summary.ranks['own_us'].count() - 1} other ranks wait for it"


def _comes_late(summary: RankSummary, rank: int, rows: list[Row]) -> Iterable[str]:
    """Of whom the waiting is because it begins the window late: what it did before is the cause."""
    for row in rows[:_SHOWN]:
        late, waited = summary.more_us("late_us", _rank(row), rank), summary.waiting_us(rank).get(_rank(row), 0.0)
        if late is not None and late > _EXPLAINED * waited:
            begins = f"{row.detail} begins a {summary.window} {_ms(late)} ms later than rank {rank} (traced)"
            yield f"{begins}: look at what comes before it"


def _where(context: Context, window: str, slow: int, more: list[Beside]) -> tuple[Place, ...]:
    first = more[0] if more else None
    if first is None or (first.kind != IDLE and not _does_more(first)):
        return ()
    theirs = Context(context.run, None, slow)
    return longest_pause(theirs) if first.kind == IDLE else called_more(theirs, context, window, first.label)


def _does_more(each: Beside) -> bool:
    return each.mine_count > (1 + _SAME_WORK) * each.theirs_count


def _excess(each: Beside, slow: int, other: int) -> str:
    return (
        f"{each.label}: {each.more_ns / 1e6:,.2f} ms more on rank {slow} ({each.mine_count:,.0f} times, rank {other} "
        f"{each.theirs_count:,.0f} times)"
    )


def _change(more: list[Beside], slow: int, context: Context) -> str:
    first = more[0] if more else None
    if first is None:
        return f"look at it: diffuscope diagnose {context.run.path} --rank {slow}"
    if first.kind == IDLE:
        return f"its host holds it up ({first.label}): diffuscope diagnose {context.run.path} --rank {slow}"
    if _does_more(first):
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
