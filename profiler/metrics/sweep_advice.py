"""Which cell to ship, in words: the fastest, the smallest, the best within a budget; and what is not known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from profiler.core.lists import by_reason
from profiler.core.scheme_bytes import DENSE_TWIN, PRUNED
from profiler.metrics.sweep_dtypes import other_dtype
from profiler.metrics.sweep_front import PEAK, Group

FASTEST, SMALLEST, BUDGET, NEAREST, THROUGHPUT = "fastest", "smallest", "within budget", "nearest to bf16", "most a second"
# What `plan` asks where no other SQNR is named: below it the fastest is seldom what anyone ships.
FAITHFUL_DB = 20.0
FAITHFUL = f"fastest from {FAITHFUL_DB:.0f} dB"
# Below it sizes are said in MiB.
_SMALL_GIB = 0.1
_NAMES = {PEAK: "at the inference peak"}
RELATIVE = "weights are random: SQNR and PSNR order schemes, and say nothing about pictures"


@dataclass(frozen=True)
class Budget:
    """What a cell may take and must keep: GiB at the inference peak, dB of SQNR; None where it is not asked."""

    memory_gib: float | None = None
    sqnr_db: float | None = None

    @property
    def words(self) -> str:
        """`24 GiB and at least 20 dB`."""
        size = self.memory_gib
        parts = [] if size is None else [f"{size:g} GiB" if size >= _SMALL_GIB else f"{size * 1024:g} MiB"]
        return " and ".join(parts + ([f"at least {self.sqnr_db:g} dB"] if self.sqnr_db is not None else []))


@dataclass(frozen=True)
class Advice:
    """One sentence about one group of cells; `cell` is None where no cell will do."""

    what: str
    work: dict[str, Any]
    cell: str | None
    text: str


def advise(groups: Iterable[Group], rows: list[dict[str, Any]], budget: Budget) -> list[Advice]:
    """What to ship, for each kind of work in the sweep."""
    by_id, every = {row["id"]: row for row in rows}, list(groups)
    return [each for group in every for each in _advise(group, by_id, budget)] + _throughput(every, by_id)


def _throughput(groups: list[Group], by_id: dict[str, dict[str, Any]]) -> list[Advice]:
    """Where several batch sizes of the same work were swept: the cell that makes the most images or videos a second."""
    alike: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        alike.setdefault(tuple(value for name, value in group.work.items() if name != "batch_size"), []).append(group)
    found = []
    for several in alike.values():
        usable = [(_each_s(row), group, row) for group in several for name in group.ids if _usable(row := by_id[name])]
        if len(several) > 1 and usable:
            each_s, group, row = min(usable, key=lambda one: one[0])
            what = "a video" if group.work["frames"] else "an image"
            text = f"{row['id']}: {each_s:.3f} s {what}, batch {group.work['batch_size']} in {_time(row)}"
            found.append(Advice(THROUGHPUT, group.work, row["id"], text))
    return found


def _usable(row: dict[str, Any]) -> bool:
    return row.get("sqnr_db") != -math.inf and bool(row.get("batch_size"))


def _each_s(row: dict[str, Any]) -> float:
    return float(row["time_s"]) / int(row["batch_size"])


def _advise(group: Group, by_id: dict[str, dict[str, Any]], budget: Budget) -> list[Advice]:
    rows = [by_id[each] for each in group.ids if by_id[each].get("sqnr_db") != -math.inf]
    if not rows:
        return []
    fastest = min(rows, key=lambda row: row["time_s"])
    found = [Advice(FASTEST, group.work, fastest["id"], _sentence(fastest, group, rows) + _ties(fastest, rows))]
    if len(rows) == 1:
        only = replace(found[0], text=f"{found[0].text}; no other cell does this work")
        return [only, *_asked(rows, group, budget, found)]
    found += _faithful(fastest, group, rows, budget)
    sized = [row for row in rows if group.memory and row.get(group.memory) is not None]
    if sized:
        smallest = min(sized, key=lambda row: (row[group.memory], row["time_s"]))
        found.append(Advice(SMALLEST, group.work, smallest["id"], _again(smallest, found) or _sentence(smallest, group, rows)))
    if group.quality:
        # A plan that leaves every layer is equal to bf16 and changes no weights either.
        changed = [row for row in rows if row.get("sqnr_db") not in (None, math.inf) and row["scheme"] not in ("bf16", "fp16")]
        found += [_nearest(changed, group, rows, found)] if changed else []
    return found + _asked(rows, group, budget, found)


def _faithful(fastest: dict[str, Any], group: Group, rows: list[dict[str, Any]], budget: Budget) -> list[Advice]:
    """The fastest that is near bf16, where the fastest of all is not and nobody said how near it must be."""
    level = fastest.get("sqnr_db")
    near_enough = not group.quality if level is None else level >= FAITHFUL_DB
    if budget.sqnr_db is not None or near_enough:
        return []
    near = [row for row in rows if row["scheme"] == "bf16" or (row.get("sqnr_db") or 0.0) >= FAITHFUL_DB]
    best = min(near, key=lambda row: row["time_s"], default=None)
    if best is None:
        return []
    far = best["scheme"] == "bf16" and (best.get("sqnr_db") or math.inf) < FAITHFUL_DB
    text = _sentence(best, group, rows) + (", by rounding alone: it is bf16" if far else "")
    return [Advice(FAITHFUL, group.work, best["id"], text)]


def _asked(rows: list[dict[str, Any]], group: Group, budget: Budget, found: list[Advice]) -> list[Advice]:
    return [_within(rows, group, budget, found)] if budget.words else []


def _nearest(changed: list[dict[str, Any]], group: Group, rows: list[dict[str, Any]], found: list[Advice]) -> Advice:
    row = max(changed, key=lambda each: (each["sqnr_db"], -each["time_s"]))
    return Advice(NEAREST, group.work, row["id"], _again(row, found) or _sentence(row, group, rows))


def _again(row: dict[str, Any], found: list[Advice]) -> str:
    """A cell that was described already is only named."""
    before = next((each.what for each in found if each.cell == row["id"]), "")
    return f"{row['id']}, the {before} too" if before else ""


def _within(rows: list[dict[str, Any]], group: Group, budget: Budget, found: list[Advice]) -> Advice:
    fitting = [row for row in rows if _fits(row, group, budget)]
    if not fitting:
        return Advice(BUDGET, group.work, None, f"no cell keeps {budget.words}{_not_known(rows, group, budget)}")
    best = min(fitting, key=lambda row: row["time_s"])
    text = f"{budget.words}: {_again(best, found) or _sentence(best, group, rows)}"
    loads = best.get("load_peak_gib")
    if budget.memory_gib is not None and loads is not None and loads > budget.memory_gib:
        text += f"; loading and quantizing as recorded peaks at {loads:.2f} GiB: choose --quantize-on cpu or per-layer"
    return Advice(BUDGET, group.work, best["id"], text + _not_known(rows, group, budget))


def _fits(row: dict[str, Any], group: Group, budget: Budget) -> bool:
    size, level = row.get(group.memory) if group.memory else None, row.get("sqnr_db")
    small = budget.memory_gib is None or (size is not None and size <= budget.memory_gib)
    return small and (budget.sqnr_db is None or (level is not None and level >= budget.sqnr_db))


def _not_known(rows: list[dict[str, Any]], group: Group, budget: Budget) -> str:
    """Cells that might keep the budget, had they been measured."""
    no_size = budget.memory_gib is not None and (lambda row: not group.memory or row.get(group.memory) is None)
    no_level = budget.sqnr_db is not None and (lambda row: row.get("sqnr_db") is None)
    unknown = [row["id"] for row in rows if (no_size and no_size(row)) or (no_level and no_level(row))]
    return f"; not known of {', '.join(unknown)}" if unknown else ""


def _sentence(row: dict[str, Any], group: Group, rows: list[dict[str, Any]]) -> str:
    parts = [f"{row['id']}: {_time(row)}{_speedup(row, rows)}"]
    if group.memory and row.get(group.memory) is not None:
        parts.append(f"{_size(row[group.memory])} {_NAMES.get(group.memory, 'of model memory')}")
    if row.get("sqnr_db") is not None and row.get("base") != row["id"]:
        parts.append("equal to bf16 to the bit" if row["sqnr_db"] == math.inf else f"SQNR {row['sqnr_db']:.1f} dB")
    # Where others have one, nobody should take it to be good.
    elif group.quality and row.get("sqnr_db") is None and row["scheme"] != "bf16":
        parts.append("SQNR not known")
    return ", ".join(parts)


def _time(row: dict[str, Any]) -> str:
    if not row["extrapolated"]:
        return f"{row['time_s']:.3f} s"
    error = f" give or take {row['error_s']:.3f} s" if row.get("error_s") is not None else ""
    return f"{row['time_s']:.3f} s, extrapolated{error}"


def _size(size_gib: float) -> str:
    return f"{size_gib:.2f} GiB" if size_gib >= _SMALL_GIB else f"{size_gib * 1024:.2f} MiB"


def _speedup(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Against the fastest bf16 cell: what a scheme gives on top of compiling."""
    plain = [each for each in rows if each["scheme"] == "bf16"]
    if not plain or row["scheme"] == "bf16" or not row["time_s"]:
        return ""
    best = min(plain, key=lambda each: each["time_s"])
    return f" ({best['time_s'] / row['time_s']:.2f} times as fast as {best['id']}, the fastest bf16 cell)"


def _ties(best: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Cells that are as fast as the fastest, as far as their repeats or extrapolations tell."""
    near = [row["id"] for row in rows if row is not best and row["time_s"] - best["time_s"] <= _doubt(row) + _doubt(best)]
    return f"; as fast within spread: {', '.join(near)}" if near else ""


def _doubt(row: dict[str, Any]) -> float:
    return float(row.get("error_s") or (row.get("spread_s") or 0.0) / 2)


def not_known(
    rows: list[dict[str, Any]], groups: Iterable[Group], specs: Iterable[dict[str, Any]], found: Mapping[str, tuple[int, int]]
) -> list[str]:
    """What the answer does not rest on: cells without a result, without an axis, extrapolated ones, random weights.

    Args:
        found: graphs that a cell found compiled, and how many it needed, by id.
    """
    notes = []
    unfinished = [row for row in rows if row["status"] != "ok"]
    if unfinished:
        counts = Counter(row["status"] for row in unfinished)
        listed = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        notes.append(f"{len(unfinished)} of {len(rows)} cells have no time: {listed}")
    timeless = [row["id"] for row in rows if row["status"] == "ok" and row.get("time_s") is None]
    notes += [f"not timed: {', '.join(timeless)}"] if timeless else []
    # What a sweep says of a cell that went well, as that its steps were too alike to extrapolate.
    notes += [f"{row['id']}: {row['reason']}" for row in rows if row["status"] == "ok" and row.get("reason")]
    for group in groups:
        notes += _left_out(group.left_out)
        notes += [] if group.memory else ["memory is not known, and no axis"]
        notes += [] if group.quality or len(group.ids) < 2 else [_no_quality(group, rows)]
    extrapolated = [row["id"] for row in rows if row["extrapolated"]]
    every = len(extrapolated) > 1 and len(extrapolated) == sum(row.get("time_s") is not None for row in rows)
    notes += [f"extrapolated from shorter calls: {'every time' if every else ', '.join(extrapolated)}"] if extrapolated else []
    notes += _noise(rows) + _found_compiled(rows, found) + _no_picture(rows)
    # The base's own level, and that of what is equal to it, is no number that is shown.
    if any(row.get(name) is not None and math.isfinite(row[name]) for row in rows for name in ("sqnr_db", "psnr_db")):
        notes += [RELATIVE] if any(spec.get("weights") is None for spec in specs) else []
        notes += _rounding(rows) + other_dtype(rows)
        sparse = [row["id"] for row in rows if row.get("sparsify") or row.get("quantization") in DENSE_TWIN]
        notes += [f"{', '.join(sparse)}: {PRUNED}"] if sparse else []
    return list(dict.fromkeys(notes))


def _left_out(whys: Mapping[str, str]) -> list[str]:
    """Cells that are not ranked, those of one reason together."""
    return [f"{', '.join(names)}: not ranked, {why}" for why, names in by_reason(whys.items()).items()]


def _noise(rows: list[dict[str, Any]]) -> list[str]:
    """Extrapolated times that may be off by half of themselves, or more."""
    lost = [row["id"] for row in rows if row.get("error_s") is not None and row["error_s"] >= abs(row["time_s"] or 0.0) / 2]
    return [f"extrapolated times that may be off by half or more say nothing: {', '.join(lost)}"] if lost else []


def _rounding(rows: list[dict[str, Any]]) -> list[str]:
    """bf16 cells that compiling or fusing alone moves below what is asked of a scheme: rounding, in another order."""
    far = [row for row in rows if row.get("scheme") == "bf16" and (row.get("sqnr_db") or math.inf) < FAITHFUL_DB]
    return [
        f"{row['id']} is bf16 too and at {row['sqnr_db']:.1f} dB, by the order of rounding alone: levels near that say little"
        for row in far
        if row["sqnr_db"] != -math.inf
    ]


def _found_compiled(rows: list[dict[str, Any]], found: Mapping[str, tuple[int, int]]) -> list[str]:
    """Cells whose first call compiled less than it would have by itself."""
    timed = [row["id"] for row in rows if row.get("compile_s") is not None and found.get(row["id"], (0, 0))[0]]
    listed = ", ".join(f"{name} ({found[name][0]} of {found[name][1]})" for name in timed)
    return (
        [f"graphs that were compiled before were found by {listed}: their compile s is less than compiling takes"]
        if timed
        else []
    )


def _no_picture(rows: list[dict[str, Any]]) -> list[str]:
    """Against what PSNR is, where that is not the base; cells without one where others have it."""
    with_one = [row for row in rows if row.get("psnr_db") is not None]
    bases = {row["psnr_base"] for row in with_one if row.get("psnr_base") not in (None, row.get("base"))}
    notes = [f"PSNR is against {', '.join(sorted(bases))}: {_of_base(with_one)}"] if bases else []
    lacking = [row for row in rows if row.get("psnr_db") is None and math.isfinite(row.get("sqnr_db") or math.inf)]
    lacking = [row for row in lacking if row["id"] not in bases]
    whys = next((f": {row['quality_note']}" for row in lacking if row.get("quality_note")), "")
    return notes + ([f"PSNR is not known of {', '.join(row['id'] for row in lacking)}{whys}"] if with_one and lacking else [])


def _of_base(rows: list[dict[str, Any]]) -> str:
    return next((row["quality_note"] for row in rows if row.get("quality_note")), "the base kept no picture")


def _no_quality(group: Group, rows: list[dict[str, Any]]) -> str:
    whys = [row.get("quality_note") for row in rows if row["id"] in group.ids and row.get("sqnr_db") is None]
    return "SQNR is not known, and no axis" + (f": {whys[0]}" if whys and whys[0] else "")
