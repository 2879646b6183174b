"""The part of the Compare page with the outputs: how near they are, the pictures and where they differ."""

from __future__ import annotations

import streamlit as st

from dashboards import data, parts
from dashboards.charts import outputs as charts
from profiler.core.errors import UnreadableInput
from profiler.metrics.compare import Comparison
from profiler.metrics.quality import TENSORS
from profiler.rundir import layout


def section(found: Comparison, names: tuple[str, str]) -> None:
    """`names` are base and new."""
    parts.section(
        "Outputs", "SQNR of the captured tensors against the base; random weights order schemes, and say little of pictures"
    )
    items = []
    for name in TENSORS:
        level = found.quality.sqnr.get(name)
        if level and level.db is not None:
            items.append((name.replace("_", " "), f"{level.db:,.1f}", "dB", "SQNR against the base"))
    if found.quality.psnr.db is not None:
        items.append(("picture", f"{found.quality.psnr.db:,.1f}", "dB", "PSNR against the base"))
    if items:
        parts.figures(items)
    else:
        parts.note(next((each.why for each in found.quality.sqnr.values() if each.why), "neither run kept its outputs"))
    if all((data.run(name).path / layout.OUTPUT_VIDEO).is_file() for name in names):
        _videos(names)
    else:
        _pictures(names)


def _pictures(names: tuple[str, str]) -> None:
    try:
        found = data.pictures(names[1], names[0])
    except UnreadableInput as error:
        _latents(names, error.message)
        return
    told = f"differ: brightest {found.largest} of 255 levels, mean {found.mean:.2f}, {found.changed:.1%} of the pixels"
    shown = ((found.base, names[0]), (found.new, names[1]), (found.difference, f"{told} (shown × {found.gain:.0f})"))
    for column, (picture, caption) in zip(st.columns(3), shown, strict=True):
        with column:
            st.image(picture, width="stretch")
            parts.note(caption)


def _latents(names: tuple[str, str], why: str) -> None:
    """Without pictures, where in the picture the latents differ."""
    try:
        found = data.latents(names[1], names[0])
    except UnreadableInput as error:
        parts.note(f"no pictures beside each other: {why}; no latents either: {error.message}")
        return
    parts.note(f"no pictures beside each other ({why}): the last latents instead, root mean square over their channels")
    scale = charts.highest([found.base, found.new])
    shown = (
        (found.base, names[0], scale),
        (found.new, names[1], scale),
        (found.difference, "their difference", charts.highest([found.difference])),
    )
    for number, (column, (values, caption, highest)) in enumerate(zip(st.columns(3), shown, strict=True)):
        with column:
            parts.note(caption)
            parts.plot(charts.latents(values, highest, "root mean square"), f"latents_{number}")


def _videos(names: tuple[str, str]) -> None:
    for column, name in zip(st.columns(2), names, strict=True):
        with column:
            st.video((data.run(name).path / layout.OUTPUT_VIDEO).read_bytes(), loop=True, muted=True)
            parts.note(name)
