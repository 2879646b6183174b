"""Compare: is the win real, where does it come from, what ate it?"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compare as charts
from dashboards.charts import memory as memory_charts
from dashboards.links import Selection
from profiler.core import palette
from profiler.metrics.compare import Comparison
from profiler.metrics.compare_timelines import overlay
from profiler.metrics.quality import TENSORS
from profiler.report.compare_verdict import verdicts
from profiler.report.compare_words import ABSENT, EATEN, MASKED, REAL, SLOWER, Verdict
from profiler.report.names import readable
from profiler.rundir import layout

_QUESTION = "Is the win real, where does it come from, and what ate it?"
_COLOURS = {REAL: palette.FASTER, SLOWER: palette.SLOWER, EATEN: palette.SLOWER, MASKED: "#C99700", ABSENT: "#C99700"}
_ROWS = 40


def page() -> None:
    """The page."""
    rows = navigation.recorded(data.readable_runs())
    names = [row.name for row in rows]
    if len(names) < 2:
        parts.head(_QUESTION, "Two runs are needed.")
        parts.nothing(
            "Fewer than two runs", "Record the same model twice, once with the change.", "diffuscope record MODEL --scheme int8dq"
        )
        return
    base, new = _pair(names)
    if base == new:
        parts.head(_QUESTION, "Choose two different runs.")
        return
    found = data.comparison(new, base)
    _verdicts(verdicts(found), (base, new))
    _differences(found)
    _time(found, (base, new))
    _memory(found, (base, new))
    _quality(found)
    _outputs((base, new))


def _verdicts(every: list[Verdict], names: tuple[str, str]) -> None:
    """The first in one sentence on top, then all of them with their numbers."""
    if not every:
        parts.head(_QUESTION, f"{names[1]} against {names[0]}")
        return
    first = every[0]
    parts.head(_QUESTION, f"{first.about.capitalize()}: {first.kind}. {_sentence(first.text)}")
    for number, column in enumerate(st.columns(2)):
        for each in every[number::2]:
            with column.container(border=True):
                tag, colour = f"{each.about}: {each.kind}", _COLOURS.get(each.kind, palette.TOTAL)
                parts.card(parts.Card(title="", tag=tag, colour=colour, price=each.text))


def _sentence(text: str) -> str:
    """The first sentence, without what stands in brackets."""
    first = text.partition(" (")[0].partition(". ")[0].removesuffix(".")
    return first[:1].upper() + first[1:] + "."


def _pair(names: list[str]) -> tuple[str, str]:
    at = navigation.selection()
    new = at.run if at.run in names else names[0]
    base = at.base if at.base in names else next(name for name in _bases(names, new) if name != new)
    st.session_state["compare_base"], st.session_state["compare_new"] = base, new
    left, right = st.columns(2)
    with left:
        st.selectbox("Base", names, key="compare_base", on_change=_changed)
    with right:
        st.selectbox("New", names, key="compare_new", on_change=_changed)
    return base, new


def _bases(names: list[str], new: str) -> list[str]:
    """What a run is held against best comes first: the same model, in bf16, not compiled."""
    specs = {name: data.run(name).manifest.spec for name in names}

    def distance(name: str) -> tuple[bool, bool, bool, int]:
        spec = specs[name]
        others = spec.get("model") != specs[new].get("model"), spec.get("scheme") != "bf16", spec.get("compile") != "none"
        return *others, names.index(name)

    return sorted(names, key=distance)


def _changed() -> None:
    navigation.select(Selection(run=st.session_state["compare_new"], base=st.session_state["compare_base"]))


def _differences(found: Comparison) -> None:
    lines = [f"{each.what}: {each.base} → {each.new}" for each in found.differences]
    spoiled = [
        f"{each.what} differs: {' and '.join(each.spoils)} cannot be compared" for each in found.differences if each.spoils
    ]
    parts.note(" · ".join(lines) if lines else "the two runs were asked for the same")
    if found.unknown:
        parts.note(f"not known to be the same: {', '.join(found.unknown)}")
    for line in spoiled:
        st.warning(navigation.plain(line), icon=":material/warning:")


def _time(found: Comparison, names: tuple[str, str]) -> None:
    if not found.windows:
        parts.section("Time")
        parts.nothing("Windows are not compared", found.windows_why or "no window is in both traces")
        return
    labels = [*(["a whole call"] if found.calls.parts else []), *found.windows]
    parts.section("Time", "untraced ms; green takes less than in the base, red more")
    preferred = "step" if "step" in labels else labels[0]
    label = st.segmented_control("Window", labels, default=preferred, key="compare_window") or preferred
    if label in found.windows:
        parts.plot(charts.waterfall(charts.of_window(found.windows[label]), f"ms a {label}", names), "time_waterfall")
        _kernels(found.windows[label].kernels)
    else:
        parts.plot(charts.waterfall(charts.of_call(found.calls), "ms a call", names), "time_waterfall")


def _kernels(kernels: pl.DataFrame) -> None:
    in_ms = [(pl.col(f"{name}_ns") / 1e6).alias(name) for name in ("base", "new", "delta")]
    rows = kernels.head(_ROWS).select(
        pl.col("detail").map_elements(readable, return_dtype=pl.String).alias("kernel"),
        pl.col("label").alias("class"),
        *in_ms,
        "status",
    )
    number = st.column_config.NumberColumn
    config = {name: number(f"{name}, ms", format="%.3f") for name in ("base", "new", "delta")}
    st.dataframe(
        rows,
        hide_index=True,
        key="compare_kernels",
        height=360,
        column_config={**config, "kernel": st.column_config.TextColumn("kernel or cause", width="large")},
    )


def _memory(found: Comparison, names: tuple[str, str]) -> None:
    parts.section("Memory at the peak of a call", found.memory.lower_bound)
    if found.memory.peak:
        changes, unit = charts.of_bytes(found.memory.peak)
        parts.plot(charts.waterfall(changes, unit, names), "memory_waterfall")
    else:
        parts.note(found.memory.not_compared or "neither run holds memory events")
    timelines = [(Path(each.run).name, each.points) for each in overlay([found.base, found.run]) if each.points]
    if len(timelines) > 1:
        parts.section("Live memory over a call")
        parts.plot(memory_charts.overlay(timelines), "memory_overlay")
    if found.expected:
        parts.section("Weights: what arithmetic promises, and what is stored")
        rows = [(each.component, (each.base, each.expected, each.new)) for each in found.expected.components]
        parts.plot(charts.expected(rows), "expected")
    elif found.expected_why:
        parts.note(f"weights are not compared with arithmetic: {found.expected_why}")


def _quality(found: Comparison) -> None:
    items = []
    for name in TENSORS:
        level = found.quality.sqnr.get(name)
        if level and level.db is not None:
            items.append((name.replace("_", " "), f"{level.db:,.1f}", "dB", "SQNR against the base"))
    if items:
        parts.section("Outputs")
        parts.figures(items)


def _outputs(names: tuple[str, str]) -> None:
    pictures = [(name, data.run(name).path / layout.OUTPUT_IMAGE) for name in names]
    if not all(path.is_file() for _, path in pictures):
        return
    for column, (name, path) in zip(st.columns(2), pictures, strict=True):
        with column:
            st.image(path.read_bytes(), caption=navigation.plain(name))
