"""Recompiles that come again, the recompile limit, and what compiling cost once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from profiler.core.finding import Finding, Place, Saving
from profiler.metrics.compiles import compiles, cudagraph_skips, limits
from profiler.metrics.host_states import LAUNCH_COMPILED, PYTHON_IN_REGION, RECOMPILATION
from profiler.metrics.recompiles import recompiles
from profiler.rules.base import COMPILE_LOG, RULES, Rule
from profiler.rules.context import CALL, Context
from profiler.rules.eager_rows import SAVING, eager_rows

# This many versions of one function in the first call already: the limit (8) is near, and new shapes will hit it.
_MANY = 3
_SECONDS = 1e9
_CACHE = "keep TORCHINDUCTOR_CACHE_DIR between processes, so that a second one finds what this one compiled"


def recompile(context: Context) -> Iterable[Finding]:
    """One finding a function and guard whose recompiles come after the first call, or come often.

    A second version compiled in the first call (another stride in the second block, say) is compiling, not a fault.
    """
    for rows in _told(context):
        yield _recompile(context, rows)


def _told(context: Context) -> Iterable[list[dict[str, Any]]]:
    """Recompiles by function and guard, those worth a finding."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in recompiles(context.run, context.rank).to_dicts():
        if each["joined"] or each["when"] == "inside":
            found[f"{each['file']}:{each['line']}", each["guard"]].append(each)
    for rows in found.values():
        late = [each for each in rows if _late(context, each)]
        if late or max(each["count"] for each in rows) >= _MANY:
            yield late or rows


def _late(context: Context, each: dict[str, Any]) -> bool:
    warmup = context.manifest.phase("warmup")
    first = warmup.detail.get("first_call_ns") if warmup else None
    if warmup is None or first is None or each["start_ns"] is None:
        return each["when"] in ("inside", "after")
    return bool(each["start_ns"] > warmup.start_ns + first)


def _recompile(context: Context, rows: list[dict[str, Any]]) -> Finding:
    first = rows[0]
    inside = any(each["when"] == "inside" for each in rows)
    window = context.main
    ids = {each["compile_id"] for each in rows}
    claims = context.select(window, lambda row: inside and row.label == RECOMPILATION and row.detail in ids)
    claims = claims or context.select(window, lambda row: inside and row.label == RECOMPILATION)
    seconds = sum(each["dur_ns"] or 0 for each in rows) / _SECONDS
    values = dict.fromkeys(f"the guard: {_values(each)}" for each in rows if each["before"] is not None)
    took = f"{len(rows)} compile{'s' * (len(rows) > 1)} took {seconds:.2f} s"
    return Finding(
        rule="recompile",
        title=f"{first['function']} is compiled again: {first['guard']}",
        window=window,
        once=not claims,
        claims=tuple(row.id for row in claims),
        cost_ns=0.0 if claims else sum(each["dur_ns"] or 0 for each in rows),
        saving=Saving(share_low=0.85, share_high=1.1),
        where=_where(first),
        count=len(rows),
        evidence=(took, *list(values)[:3]),
        change=first["hint"] or "keep the value constant, or mark it dynamic: torch._dynamo.mark_dynamic(tensor, dim)",
    )


def _where(each: dict[str, Any]) -> tuple[Place, ...]:
    """Where the guard was made, where torch tells it, then the function that is compiled again."""
    function = Place(each["file"], each["line"], None, each["function"])
    return (Place(each["guard_file"], each["guard_line"]), function) if each["guard_file"] else (function,)


def _values(each: dict[str, Any]) -> str:
    return f"{each['before']} before" + ("" if each["now"] is None else f", {each['now']} now")


def recompile_limit(context: Context) -> Iterable[Finding]:
    """The limit was hit: the function runs eagerly since then, without a word."""
    ran = _generations(context)
    for each in limits(context.run, context.rank).to_dicts():
        if ran and each["generation"] not in ran:
            continue
        yield Finding(
            rule="recompile-limit",
            title=f"{each['function']} hit the recompile limit ({each['value']}) and runs eagerly since then",
            window=context.main,
            claims=tuple(row.id for row in eager_rows(context, context.main)),
            saving=SAVING,
            where=(Place(each["file"], each["line"], None, each["function"]),),
            evidence=tuple(text for text in (each["reason"], f"the last guard that failed: {each['last_guard']}") if text),
            change="make the guard's value constant or dynamic; raising torch._dynamo.config.recompile_limit only delays it",
        )


def _generations(context: Context) -> set[int]:
    """Generations of the log that ran in the trace: what explain() compiled alone says nothing about it."""
    return {each["generation"] for each in compiles(context.run, context.rank).to_dicts() if each["calls"]}


def cudagraphs_skipped(context: Context) -> Iterable[Finding]:
    """CUDA graphs were asked for and not used."""
    reasons: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ran = _generations(context)
    for each in cudagraph_skips(context.run, context.rank).to_dicts():
        if not ran or each["generation"] in ran:
            reasons[each["reason"]].append(each)
    launching = context.select(context.main, lambda row: row.kind == "idle" and row.label in (LAUNCH_COMPILED, PYTHON_IN_REGION))
    for reason, rows in reasons.items():
        first = rows[0]
        yield Finding(
            rule="cudagraph-skip",
            title=f"CUDA graphs are skipped for {len(rows)} graph{'s' * (len(rows) > 1)}: {next(iter(reason.splitlines()), '')}",
            window=context.main,
            claims=tuple(row.id for row in launching),
            saving=Saving(share_low=0.5, share_high=1.0),
            where=(Place(first["file"], first["line"], None, first["function"]),),
            count=len(rows),
            evidence=tuple(f"{each['function']} ({each['compile_id']})" for each in rows[:3]),
            change="keep every input on the GPU, and write into no input of the compiled function",
        )


def compile_time(context: Context) -> Iterable[Finding]:
    """What compiling took, once, and in which phase; recompiles that have a finding of their own are theirs."""
    theirs = {(each["generation"], each["compile_id"]) for rows in _told(context) for each in rows}
    every = [each for each in compiles(context.run, context.rank).to_dicts() if each["joined_by"]]
    rows = [each for each in every if (each["generation"], each["compile_id"]) not in theirs]
    total = sum(each["dur_ns"] or 0 for each in rows)
    if total < 10 * _SECONDS:
        return
    phases = {
        name: sum(each[name] or 0 for each in rows) / _SECONDS for name in rows[0] if name.endswith("_ns") and _is_phase(name)
    }
    slowest = max(rows, key=lambda each: each["dur_ns"] or 0)
    listed = ", ".join(
        f"{name.removesuffix('_ns')} {seconds:.1f} s" for name, seconds in sorted(phases.items(), key=lambda x: -x[1])[:4]
    )
    yield Finding(
        rule="compile-time",
        title=f"compiling took {total / _SECONDS:.0f} s",
        window=CALL,
        once=True,
        cost_ns=total,
        saving=Saving(share_low=0.0, share_high=0.9),
        where=(Place(slowest["file"], slowest["line"], None, slowest["function"]),),
        count=len(rows),
        evidence=(f"{len(rows)} compiles, phases inside one another: {listed}",),
        change=("" if context.spec.get("compile") == "regional" else "--compile regional compiles one block of each kind; ")
        + _CACHE,
    )


def _is_phase(name: str) -> bool:
    return name not in ("dur_ns", "start_ns", "end_ns", "trace_dur_ns", "trace_self_ns")


for _name, _check, _summary, _priority in (
    ("recompile", recompile, "recompiles that come again", 6),
    ("recompile-limit", recompile_limit, "the recompile limit was hit", 4),
    ("cudagraph-skip", cudagraphs_skipped, "CUDA graphs skipped", 20),
    ("compile-time", compile_time, "compile time", 90),
):
    RULES.add(_name, Rule(name=_name, summary=_summary, check=_check, needs=(COMPILE_LOG,), priority=_priority))
