"""How near each cell of a sweep is to its bf16 cell: the same model, seed, batch, size and prompt."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput, UsageError
from profiler.metrics.quality import LAST_LATENTS, Level, Quality, mismatch, psnr, quality
from profiler.tables.run import Run
from profiler.tables.sweep import CellRun

TRANSFORMER = "first_transformer_output"
IS_BASE, EQUAL = "the base", "equal to the bit"
_BASE_SCHEME = "bf16"


def add_quality(rows: list[dict[str, Any]], cells: list[CellRun], base: str | Path | None = None) -> None:
    """Fill `sqnr_db`, `sqnr_transformer_db`, `psnr_db`, `base`, `psnr_base` and `quality_note` of each row.

    The base itself, and what is equal to it to the bit, is at `inf` dB; an output that is not finite at `-inf`; what could not be
    computed is None, and `quality_note` says why.

    Args:
        base: a cell's id or a run directory; None for the plainest bf16 cell of the same work as each cell.
    """
    bases = _candidates(cells) if base is None else [_named(cells, base)]
    bases = [each for each in bases if _kept_outputs(each[1])] or bases
    for row, each in zip(rows, cells, strict=True):
        if each.run is not None and row["status"] == "ok":
            row.update(_against(each.run, bases))


def _candidates(cells: list[CellRun]) -> list[tuple[str, Run]]:
    """bf16 cells that finished, the plainest first: eager, nothing fused."""
    found = [(each.cell.id, each.run) for each in cells if each.run and each.cell.status == "ok"]
    plain = [(name, run) for name, run in found if run.manifest.spec.get("scheme") == _BASE_SCHEME]
    return sorted(plain, key=lambda each: [each[1].manifest.spec.get(key) not in (None, False, "none") for key in _CHANGES])


_BASE = {"sqnr_db": math.inf, "sqnr_transformer_db": math.inf, "quality_note": IS_BASE}
_CHANGES = ("compile", "fuse_qkv", "compile_vae", "channels_last", "offload", "vae_tiling", "vae_slicing")


def _kept_outputs(run: Run) -> bool:
    """Whether anything can be held against it: a base that kept nothing leaves its place to the next."""
    return quality(run, run).sqnr[LAST_LATENTS].db is not None


def _named(cells: list[CellRun], base: str | Path) -> tuple[str, Run]:
    cell = next((each for each in cells if each.cell.id == str(base)), None)
    if cell is not None and cell.run is None:
        raise UsageError(f"base cell {base} has no run directory", "choose a cell that finished")
    if cell is not None and cell.run is not None:
        return cell.cell.id, cell.run
    try:
        return str(base), Run.open(base)
    except UnreadableInput as error:
        names = ", ".join(each.cell.id for each in cells if each.run)
        raise UsageError(f"base {base} is neither a cell nor a run: {error.message}", f"cells: {names}") from None


def _against(run: Run, bases: list[tuple[str, Run]]) -> dict[str, Any]:
    """Against the first base that can be held against the run; where none can, why not the first of the same work."""
    whys: list[tuple[bool, str]] = []
    for name, base in bases:
        if base.path.resolve() == run.path.resolve():
            plainer = next((why for differs, why in whys if not differs), None)
            # Of two that do the same work one is the base: with two, cells at infinite dB would beat each other on the front.
            return {"quality_note": plainer} if plainer else _BASE | {"base": name}
        other = mismatch(run, base)
        found = None if other else quality(run, base)
        if found and (found.sqnr[LAST_LATENTS].db is not None or found.psnr.db is not None):
            levels = _levels(found, *_picture(run, name, found.psnr, bases))
            # What is kept names cells, not folders of this machine.
            note = (levels["quality_note"] or "").replace(str(base.path), name).replace(str(run.path), run.path.name)
            return {"base": name} | levels | {"quality_note": note or None}
        whys.append((bool(other), other or (found.sqnr[LAST_LATENTS].why if found else "")))
    # Why not the base of the same work says more than in what the others differ.
    return {"quality_note": min(whys)[1] if whys else f"no finished {_BASE_SCHEME} cell to hold it against"}


def _picture(run: Run, name: str, level: Level, bases: list[tuple[str, Run]]) -> tuple[Level, str | None]:
    """The picture's level and what it is against: where the base kept none, the next one that did."""
    if level.db is not None:
        return level, name
    others = ((other, base) for other, base in bases if other != name and base.path.resolve() != run.path.resolve())
    other, base = next(((other, base) for other, base in others if psnr(base, base).db is not None), ("", None))
    found = level if base is None else psnr(run, base)
    return found, other if found.db is not None else None


def _levels(found: Quality, picture: Level, picture_base: str | None) -> dict[str, Any]:
    latents = found.sqnr[LAST_LATENTS]
    notes = [latents.why, picture.why if picture.db is None else found.psnr.why]
    if latents.db == math.inf:
        notes.append(EQUAL)
    note = "; ".join(each for each in dict.fromkeys(notes) if each)
    levels = {"sqnr_db": latents.db, "sqnr_transformer_db": found.sqnr[TRANSFORMER].db}
    return levels | {"psnr_db": picture.db, "psnr_base": picture_base, "quality_note": note or None}
