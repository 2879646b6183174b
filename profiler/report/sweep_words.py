"""Words and numbers that every rendering of a sweep shares."""

from __future__ import annotations

from typing import Any

from profiler.metrics.sweep_quality import EQUAL, IS_BASE

EXTRAPOLATED = "~"
"""Stands before every time that was not measured but extrapolated."""

FRONT = "*"
LEGEND = {
    FRONT: "on the Pareto front: no other cell is at least as good in time, memory and SQNR, and better in one",
    EXTRAPOLATED: "extrapolated from calls of fewer steps",
}
SIZES = {
    "inference_peak_gib": "peak of one call",
    "model_memory_gib": "model memory (on a CPU the weights)",
    "load_peak_gib": "peak of loading and quantizing",
}
LEVELS = ("sqnr_db", "psnr_db")


def units(rows: list[dict[str, Any]]) -> str:
    """What the columns of sizes and levels are in, of those that any row has."""
    sizes = [text for name, text in SIZES.items() if any(row.get(name) is not None for row in rows)]
    levels = any(level(row, name) != "-" for row in rows for name in LEVELS)
    told = [f"GiB: {', '.join(sizes)}"] * bool(sizes) + ["SQNR and PSNR: dB, against the bf16 cell"] * levels
    return "; ".join(told)


def work(of: dict[str, Any]) -> str:
    """`flux-dev, batch 1, 28 steps, 1024x1024, NVIDIA H100 80GB HBM3`."""
    parts = [str(of["model"]), f"batch {of['batch_size']}"]
    parts += [f"{of['steps']} steps"] if of.get("steps") is not None else []
    parts += [f"{of['height']}x{of['width']}"] if of.get("height") and of.get("width") else []
    parts += [f"{of['frames']} frames"] if of.get("frames") else []
    parts += [f"guidance {of['guidance']:g}"] if of.get("frames") and of.get("guidance") is not None else []
    return ", ".join(parts + ([str(of["gpu"])] if of.get("gpu") else []))


def seconds(row: dict[str, Any]) -> str:
    """A time with its mark and error; `-` where there is none."""
    if row.get("time_s") is None:
        return "-"
    digits = 3 if row["time_s"] < 100 else 1
    if not row["extrapolated"]:
        return f"{row['time_s']:.{digits}f}"
    error = "" if row.get("error_s") is None else f" ±{row['error_s']:.{digits}f}"
    return f"{EXTRAPOLATED}{row['time_s']:.{digits}f}{error}"


def size(value: float | None) -> str:
    """A size in GiB; small ones with more digits."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def level(row: dict[str, Any], column: str) -> str:
    """A ratio in dB, or the word for one that is no number."""
    value, note = row.get(column), row.get("quality_note") or ""
    if value is not None:
        return f"{value:.1f}"
    if column == "psnr_db":
        return "-"
    return "base" if note == IS_BASE else "equal" if note.startswith(EQUAL) else "-"


def first_words(text: str | None, most: int) -> str:
    """A reason's first sentences, at most `most` characters of one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= most else line[: most - 1] + "…"


def duration(value: float | None) -> str:
    """Seconds that something took once."""
    return "-" if value is None else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """Ours over the seed's."""
    return "-" if value is None else f"{value:.2f}" if abs(value - 1) >= 0.005 else "1.00"


def plain(value: float | None, digits: int = 3) -> str:
    """A number of the seed."""
    return "-" if value is None else f"{value:.{digits}f}"
