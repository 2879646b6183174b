"""A line of a budget on a run of several ranks: each rank is measured, and the worst one counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from profiler.core.errors import UnreadableInput
from profiler.report.budget_measure import TIME, Line, Measured, Subject
from profiler.rundir.layout import TRACE
from profiler.tables.ranks import is_spread, rank_facts
from profiler.tables.run import Run

Measure = Callable[[Line, Subject], Measured]


def subjects(run: Run, base: Run | None) -> list[Subject]:
    """What is measured: every rank that the run should have, of one process that alone."""
    if not is_spread(run):
        return [Subject(run, base)]
    return [Subject(run, base, each.rank) for each in rank_facts(run)]


def worst(line: Line, of: Sequence[Subject], measure: Measure) -> Measured:
    """The number that the limit is held against.

    A rank that cannot be measured makes it a lower bound: that rank may be worse.
    """
    if len(of) == 1:
        return measure(line, of[0])
    if line.whole_run:
        return measure(line, Subject(of[0].run, of[0].base))
    missing = {each.rank: each.problem for each in rank_facts(of[0].run) if not each.here}
    every = {each.rank: Measured(None, missing[each.rank]) if each.rank in missing else _of(line, each, measure) for each in of}
    known = {rank: found.value for rank, found in every.items() if found.value is not None}
    if not known:
        return _nowhere(every)
    rank = (min if line.least else max)(known, key=known.__getitem__)
    found = every[rank]
    note = f"on every rank of {len(of)}" if _alike(known, every) else f"rank {rank} of {len(of)}"
    return replace(found, note="; ".join(each for each in (note, found.note) if each), at_least=found.at_least or _unknown(every))


def _of(line: Line, subject: Subject, measure: Measure) -> Measured:
    """A trace that is cut holds other windows than the others' do."""
    cut = line.about == TIME and subject.rank in subject.run.ranks and subject.run.has(TRACE, subject.rank)
    try:
        lost = subject.run.trace(subject.rank).lost if cut else {}
    except UnreadableInput as error:
        return Measured(None, error.message)
    return Measured(None, f"its trace is cut: {', '.join(lost)}") if lost else measure(line, subject)


def _alike(known: dict[int, float], every: dict[int, Measured]) -> bool:
    return len(known) == len(every) and len(set(known.values())) == 1


def _nowhere(every: dict[int, Measured]) -> Measured:
    """No rank has it: one reason where there is one, else all of them."""
    reasons = {rank: found.note for rank, found in every.items()}
    return Measured(None, next(iter(reasons.values())) if len(set(reasons.values())) == 1 else _said(reasons))


def _unknown(every: dict[int, Measured]) -> str:
    return _said({rank: found.at_least or found.note for rank, found in every.items() if found.value is None or found.at_least})


def _said(reasons: dict[int, str]) -> str:
    """A reason once, with the ranks that it holds for."""
    ranks: dict[str, list[int]] = {}
    for rank, why in reasons.items():
        ranks.setdefault(why.removeprefix(f"rank {rank} "), []).append(rank)
    named = [(", ".join(map(str, of)), why, reasons[of[0]]) for why, of in ranks.items()]
    return "; ".join(f"rank {of}{' ' if why != whole else ': '}{why}" for of, why, whole in named)
