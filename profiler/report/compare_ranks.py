"""The ranks in `compare`: whose times are compared, what more of them bring, and what could not be read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from profiler.metrics.compare_ranks import RanksOf, Scaled, Scaling
from profiler.report.compare_words import signed
from profiler.report.render import number, table
from profiler.report.several_ranks import described

_NAMES = ("base", "new")
_TIMES = (
    ("step_us", ""),
    ("compute_us", "computation"),
    ("exposed_us", "exposed communication"),
    ("waiting_us", "waiting for a slower rank"),
    ("idle_us", "other idle time"),
    ("hidden_us", "communication hidden by computation, in it"),
)


def ranks_data(ranks: tuple[RanksOf | None, RanksOf | None]) -> dict[str, Any] | None:
    """JSON-ready: by `base` and `new`, None for a run of one process; None where both are."""
    return None if ranks == (None, None) else {name: each and _of(each) for name, each in zip(_NAMES, ranks, strict=True)}


def _of(ranks: RanksOf) -> dict[str, Any]:
    peaks = [{"rank": rank, "gib": size} for rank, size in ranks.inference_peak_gib.items()]
    return asdict(ranks) | {"inference_peak_gib": peaks}


def scaling_data(found: Scaling | None) -> dict[str, Any] | None:
    """JSON-ready; times are untraced ms of one repeat of `window`, on one rank."""
    if found is None:
        return None
    known = {name: getattr(found, name) for name in ("few", "many", "run", "of", "speedup", "efficiency", "window", "also")}
    return known | {"why": found.why or None, "whole_ms": found.whole_ms, "parts": [_part(each) for each in found.parts]}


def _part(each: Scaled) -> dict[str, Any]:
    sizes = {"few_ms": each.few_ns, "even_ms": each.even_ns, "many_ms": each.many_ns, "lost_ms": each.lost_ns}
    return {"name": each.name} | {name: value / 1e6 for name, value in sizes.items()}


def said(ranks: Mapping[str, Any] | None) -> Iterator[str]:
    """What a reader must know of the runs of several ranks, a line each."""
    if ranks is None:
        return
    known = [(name, ranks[name]) for name in _NAMES if ranks[name]]
    whose = [f"{described(each['rank'], each['count'], each['median'])}" for _, each in known]
    shown = [f"{what} of the {name} run" for what, (name, _) in zip(whose, known, strict=True)]
    both = f"{whose[0]} of both runs" if len(set(whose)) < len(whose) else " and ".join(shown)
    yield f"steps and memory are those of {both} (--rank N for another); a call ends when its slowest rank does"
    if len({(ranks[name] or {"count": 1})["count"] for name in _NAMES}) > 1:
        yield "their steps differ: each rank computes its share of one, so kernels of one name do other work in both runs"
    for name, each in known:
        peaks = [peak["gib"] for peak in each["inference_peak_gib"]]
        if len(peaks) > 1:
            yield f"inference peak by rank, {name}: {', '.join(f'{size:,.2f}' for size in peaks)} GiB, together {sum(peaks):,.2f}"
        yield from (f"{name}: {problem}" for problem in each["problems"])


def text(comparison: Mapping[str, Any], width: int) -> str:
    """Tables for people; empty for runs of one process."""
    scaled = [part for part in (_scaling(comparison["scaling"], width), *_hidden(comparison["ranks"])) if part]
    return "\n\n".join(part for part in ("\n".join(scaled), _times(comparison["ranks"], width)) if part)


def _scaling(found: Mapping[str, Any] | None, width: int) -> str:
    """Where the time of more ranks goes: an even share of the window with few, what it takes, and what is lost."""
    if found is None or not found["parts"]:
        return ""
    names = ("few_ms", "even_ms", "many_ms", "lost_ms")
    sums = {name: sum(each[name] for each in found["parts"]) for name in names}
    rows = [_row(each) for each in (*found["parts"], {"name": f"a {found['window']}", **sums})]
    few, many = found["few"], found["many"]
    columns = (f"{few} rank{'s' * (few > 1)}, ms", f"x {few}/{many}", f"{many} ranks, ms", "beyond it")
    return table((f"scaling: a {found['window']} of one rank, untraced", *columns), rows, width)


def _hidden(ranks: Mapping[str, Any] | None) -> Iterator[str]:
    """How much of the communication costs nothing, where only one run has any."""
    known = [each for each in (ranks or {}).values() if each]
    for each in known if len(known) == 1 else []:
        times = each["times_us"]
        moved = times and times["exposed_us"] + times["hidden_us"]
        if moved:
            share = times["hidden_us"] / moved
            said = f"{moved / 1e3:,.3f} ms a {each['window']}, {share:.0%} of it hidden by computation"
            yield f"communication of rank {each['rank']}: {said}"


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    return each["name"], *(number(each[name], 3) for name in ("few_ms", "even_ms", "many_ms")), signed(each["lost_ms"])


def _times(ranks: Mapping[str, Any] | None, width: int) -> str:
    """What a step of the compared ranks is made of, as traced; of two runs of several ranks side by side."""
    if ranks is None or not all(each and each["times_us"] for each in ranks.values()):
        return ""
    windows = dict.fromkeys(each["window"] for each in ranks.values())
    rows = [
        (label or f"a {' or '.join(windows)}", *(number(each["times_us"][name] / 1e3, 3) for each in ranks.values()))
        for name, label in (*_TIMES[1:], _TIMES[0])
    ]
    return table(("of one rank, as traced", *(f"{name} ms" for name in ranks)), rows, width)
