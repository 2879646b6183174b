"""Communication between ranks that no computation hides."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.ranks import RankSummary
from profiler.rules.base import RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import priced

NAME = "exposed-communication"
# Less than this share of a window is what any run has.
_LEAST = 0.02
_SHOWN = 3
_FEWER = "fewer ranks with a larger batch each"


def check(context: Context) -> Iterable[Finding]:
    """What communication leaves of a window once the computation beside it is taken away; waiting is not part of it."""
    summary, window = context.ranks, context.main
    if summary is None:
        return
    rows = context.select(window, lambda row: row.label == COMMUNICATION)
    exposed = sum(row.priced_ns for row in rows)
    if not rows or exposed < _LEAST * context.duration_ns(window):
        return
    hidden = float(summary.ranks.filter(summary.ranks["rank"] == context.rank)["hidden_us"].sum() or 0.0)
    yield Finding(
        rule=NAME,
        title=f"{exposed / 1e6:,.2f} ms of communication a {window} are not hidden by computation",
        window=window,
        claims=tuple(row.id for row in rows),
        saving=Saving(share_low=0.1, share_high=0.9),
        count=round(sum(row.count for row in rows)),
        evidence=(
            f"hidden by computation: {hidden / 1e3:,.2f} ms a {window}",
            *priced(rows[:_SHOWN], window),
            *_unmatched(summary, context.rank),
        ),
        change=_change(context),
    )


def _unmatched(summary: RankSummary, rank: int) -> Iterable[str]:
    """What keeps waiting apart from communication is missing: who says nothing may have been waited for."""
    (alone,) = summary.ranks.filter(summary.ranks["rank"] == rank)["unmatched"].to_list() or [0]
    if alone:
        yield f"{alone:,} collectives of the trace are on no other rank's: waiting for that rank is part of this"
    lost = summary.ranks.filter(summary.ranks["step_us"].is_not_null() & summary.ranks["clock_error_us"].is_null())["rank"]
    if not alone and len(lost):
        yield f"no clock is known of rank {', '.join(map(str, lost))}: waiting for it is part of this"


def _change(context: Context) -> str:
    """Both kinds of diffusers wait for their data before they compute on."""
    asked = context.spec.get("parallel") or {}
    kind, pair = asked.get("kind"), asked.get("degree") == 2
    if kind == "ulysses" and pair:
        return f"--parallel ring moves the same bytes between two ranks in one collective a block instead of four; or {_FEWER}"
    if kind == "ring" and not pair:
        return f"--parallel ulysses moves fewer bytes where the heads divide among the ranks; or {_FEWER}"
    if kind in ("ulysses", "ring"):
        return f"{_FEWER}: diffusers waits for each exchange before it computes on"
    return "begin a collective earlier (async_op=True) and wait for it where its result is used; fewer and larger collectives"


RULE = RULES.add(NAME, Rule(name=NAME, summary="communication that no computation hides", check=check, priority=20))
