"""What explains a difference beside the cell itself: rows that differ in one option, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from profiler.metrics.sweep_seed_facts import SOFTWARE

if TYPE_CHECKING:
    from profiler.metrics.sweep_seed_causes import Pair

Row: TypeAlias = Mapping[str, Any]
_KEY = ("model", "gpu", "batch_size", "compile", "compile_vae", "fuse_qkv", "quantize_vae", "quantization", "sparsify")
_PACKAGES = ("torch", "torchao", "diffusers")
BF16: dict[str, tuple[Any, ...]] = {"quantization": ("bf16", "None"), "sparsify": (False,)}


def counterpart(rows: Iterable[Row], row: Row, **changed: tuple[Any, ...]) -> Row | None:
    """The row that differs in these options alone, each to one of the given values; None where there is none.

    Of several (the seed's word `compile` covers all modes) the one of the same mode comes first.
    """

    def fits(other: Row) -> bool:
        return all(other[key] in changed[key] if key in changed else other[key] == row[key] for key in _KEY)

    found = [other for other in rows if other is not row and fits(other)]
    return max(found, key=lambda other: other.get("compile_mode") == row.get("compile_mode"), default=None)


def ratios(pair: Pair, **changed: tuple[Any, ...]) -> tuple[Row, float] | None:
    """Our counterpart and its time over that of the seed's counterpart; None where either is missing."""
    timed = [each for each in pair.rows if each["status"] == "ok" and each.get("time_s") is not None]
    mine, theirs = counterpart(timed, pair.row, **changed), counterpart(pair.seeds, pair.seed, **changed)
    if mine is None or theirs is None or not theirs["time_s"]:
        return None
    return mine, mine["time_s"] / theirs["time_s"]


def versions(pair: Pair) -> list[tuple[str, bool]]:
    """The software of both; it may be the reason for anything."""
    run = pair.each.run
    named = (run.manifest.environment.get("versions") or {}) if run else {}
    shown = ", ".join(f"{name} {named[name]}" for name in _PACKAGES if named.get(name))
    return [(f"software: {shown} here, {SOFTWARE} in the seed", False)] if shown else []
