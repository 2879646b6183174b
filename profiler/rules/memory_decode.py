"""Decoding decides the peak of a call."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding
from profiler.core.units import format_size
from profiler.metrics.memory.labels import ACTIVATION, WEIGHTS
from profiler.metrics.memory.live import live_total
from profiler.metrics.memory.shrink import relief
from profiler.rules.base import RULES, Rule
from profiler.rules.context import DECODE, STEP, TEXT, Context
from profiler.rules.memory_facts import LEAST, SNAPSHOT, AtPeak, at_peak, ids, size_of
from profiler.rules.memory_leak import place_of

# Of what decoding holds, the share that is left with tiles of half the edge, or with one picture of a batch at a time.
_TILED = (0.25, 0.5)
_SMALLER = "setting pipe.vae.tile_sample_min_size and tile_latent_min_size"
_SEAMS = "compare the output, seams may show"
_TILES = f"--vae-tiling cuts what is larger than a tile (Flux: 1024x1024 px; {_SMALLER} makes them smaller); {_SEAMS}"
_VAE, _MOST = "vae", 0.8
_WORDS = {STEP: "a step", TEXT: "text encoding"}


def check(context: Context) -> Iterable[Finding]:
    """The peak lies in decoding, and without what it holds another window would be the highest."""
    found = at_peak(context.run, context.rank)
    held = _held(found)
    if held.is_empty():
        return
    low, high = _saving(found, size_of(held), context)
    if high < LEAST * found.peak.requested_bytes:
        return
    batch = _batch(context)
    yield Finding(
        rule=RULE.name,
        title=f"decoding is the peak of a call, {format_size(_above(found))} above that of {_next(found)[0]}",
        window=DECODE,
        memory=True,
        where=tuple(place_of(row["place"], row["component"]) for row in _biggest(held)),
        held=ids(held),
        saving_low_bytes=low,
        saving_high_bytes=high,
        evidence=(
            f"decoding holds {format_size(size_of(held))} beside the weights: {_parts(held)}",
            f"{_next(found)[0]} peaks at {format_size(_next(found)[1])}: the peak falls no further than to that",
            "the saving is by arithmetic: "
            + ("one picture's share" if batch > 1 else "a quarter to a half of it is left with tiles of half the edge"),
        ),
        change=_change(context, batch),
        doc="docs/memory-recipes.md",
    )


def _held(found: AtPeak) -> pl.DataFrame:
    """What decoding holds at the peak: nothing where it is not the peak. Without marked windows it is what the VAE holds, where
    that is most of all that is no weight."""
    passing = found.live.filter((pl.col("category") != WEIGHTS) & (pl.col("start_index") >= 0))
    if found.windows:
        return passing.filter((pl.col("window") == DECODE) & (found.window == DECODE))
    held = passing.filter(pl.col("component") == _VAE)
    return held if size_of(held) > _MOST * size_of(passing) else held.clear()


def _next(found: AtPeak) -> tuple[str, int]:
    """The highest of the other windows; without marked windows of all that there is without the VAE's activations."""
    if not found.windows:
        rows = found.study.rows
        working = rows.filter((pl.col("component") == _VAE) & (pl.col("category") != WEIGHTS) & (pl.col("start_index") >= 0))
        return "everything else", found.peak.requested_bytes - relief(live_total(rows), working)
    others = {name: size for name, size in found.windows.items() if name not in (DECODE, "call")}
    name = max(others, key=lambda each: others[each], default="nothing else")
    return _WORDS.get(name, name), others.get(name, 0)


def _above(found: AtPeak) -> int:
    return found.peak.requested_bytes - _next(found)[1]


def _saving(found: AtPeak, held: int, context: Context) -> tuple[int, int]:
    batch = _batch(context)
    least, most = (1 / batch, 1.5 / batch) if batch > 1 else _TILED
    room = _above(found)
    return round(min(room, held * (1 - most))), round(min(room, held * (1 - least)))


def _change(context: Context, batch: int) -> str:
    if batch > 1:
        return f"--vae-slicing decodes the {batch} of a batch one at a time"
    return f"tiles are on: {_SMALLER} makes them smaller; {_SEAMS}" if _is_on(context, "tiling") else _TILES


def _batch(context: Context) -> int:
    """Pictures or videos that are decoded at once."""
    asked = context.spec.get("batch")
    return asked if isinstance(asked, int) and not _is_on(context, "slicing") else 1


def _is_on(context: Context, what: str) -> bool:
    """Whether the VAE's tiling or slicing is on, as applied, else as asked."""
    placed = context.manifest.applied.get("placement")
    vae = placed.get("vae") if isinstance(placed, dict) else None
    found = vae.get(what) if isinstance(vae, dict) else context.spec.get(f"vae_{what}")
    return found is not None and found is not False


def _parts(held: pl.DataFrame) -> str:
    sums = held.group_by("category", "role").agg(pl.col("size_bytes").sum()).sort("size_bytes", "role", descending=[True, False])
    return ", ".join(f"{_kind(category, role)} {format_size(size)}" for category, role, size in sums.head(3).iter_rows())


def _kind(category: str, role: str) -> str:
    return category if role in (ACTIVATION, category) else f"{role} {category}"


def _biggest(held: pl.DataFrame) -> list[dict[str, str]]:
    groups = (
        held.group_by("place", "component").agg(pl.col("size_bytes").sum()).sort("size_bytes", "place", descending=[True, False])
    )
    return groups.filter(pl.col("place") != "").head(2).to_dicts()


RULE = RULES.add(
    "memory-decode",
    Rule(name="memory-decode", summary="decoding decides the peak of a call", check=check, needs=(SNAPSHOT,), priority=30),
)
