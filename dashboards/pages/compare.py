"""Compare: is the win real, where does it come from, what ate it?"""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compare as charts
from dashboards.charts import memory_runs as memory_charts
from dashboards.links import Selection
from dashboards.pages import compare_outputs, compare_ranks, compare_several
from profiler.core import palette
from profiler.core.units import GIB, MIB, format_size
from profiler.metrics.compare import Comparison
from profiler.metrics.compare_weights import ExpectedWin
from profiler.report.compare_verdict import verdicts
from profiler.report.compare_words import ABSENT, EATEN, MASKED, NEAR_LINEAR, NO_FASTER, PARTLY, REAL, SLOWER, Verdict
from profiler.report.names import readable

_QUESTION = "Is the win real, where does it come from, and what ate it?"
_COLOURS = {REAL: palette.FASTER, SLOWER: palette.SLOWER, EATEN: palette.SLOWER, MASKED: "#C99700", ABSENT: "#C99700"}
_COLOURS |= {NEAR_LINEAR: palette.FASTER, PARTLY: "#C99700", NO_FASTER: palette.SLOWER}
_ROWS = 40
_MOST = 10


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
    base, new, more = _chosen(names)
    if base == new:
        parts.head(_QUESTION, "Choose two different runs.")
        return
    found = data.comparison(new, base, compare_ranks.choose(base, new))
    _verdicts(verdicts(found), (base, new))
    if more:
        compare_several.section(base, [new, *more])
    _differences(found)
    compare_ranks.section(found)
    _time(found, (base, new))
    _memory(found, (base, new), overlaid=not more)
    compare_outputs.section(found, (base, new))


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


def _chosen(names: list[str]) -> tuple[str, str, list[str]]:
    """Base, new, and more runs to hold against the base."""
    at = navigation.selection()
    new = at.run if at.run in names else names[0]
    base = at.base if at.base in names else next(name for name in _bases(names, new) if name != new)
    st.session_state["compare_base"], st.session_state["compare_new"] = base, new
    others = [name for name in names if name not in (base, new)]
    st.session_state["compare_more"] = [name for name in at.others if name in others]
    left, middle, right = st.columns([0.3, 0.3, 0.4])
    with left:
        st.selectbox("Base", names, key="compare_base", on_change=_changed)
    with middle:
        st.selectbox("New", names, key="compare_new", on_change=_changed)
    with right:
        more = st.multiselect(
            "More runs", others, key="compare_more", on_change=_changed, placeholder="none", max_selections=_MOST
        )
    return base, new, more


def _bases(names: list[str], new: str) -> list[str]:
    """What a run is held against best comes first: the same model, in bf16, not compiled."""
    specs = {name: data.run(name).manifest.spec for name in names}

    def distance(name: str) -> tuple[bool, bool, bool, int]:
        spec = specs[name]
        others = spec.get("model") != specs[new].get("model"), spec.get("scheme") != "bf16", spec.get("compile") != "none"
        return *others, names.index(name)

    return sorted(names, key=distance)


def _changed() -> None:
    also = "\n".join(st.session_state["compare_more"])
    navigation.select(Selection(run=st.session_state["compare_new"], base=st.session_state["compare_base"], also=also))


def _differences(found: Comparison) -> None:
    lines = [f"{each.what}: {each.base} → {each.new}" for each in found.differences]
    spoiled: dict[str, list[str]] = defaultdict(list)
    for each in found.differences:
        for what in each.spoils:
            spoiled[what].append(each.what)
    parts.note(" · ".join(lines) if lines else "the two runs were asked for the same")
    if found.unknown:
        parts.note(f"not known to be the same: {', '.join(found.unknown)}")
    if spoiled:
        lines = [f"{what} cannot be compared: {', '.join(why)} differ{'s' * (len(why) == 1)}" for what, why in spoiled.items()]
        st.warning(navigation.plain(" · ".join(lines)), icon=":material/warning:")


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
        pl.coalesce(pl.col("detail").replace("", None), "label").map_elements(readable, return_dtype=pl.String).alias("kernel"),
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


def _memory(found: Comparison, names: tuple[str, str], overlaid: bool) -> None:
    parts.section("Memory at the peak of a call", found.memory.lower_bound)
    if found.memory.peak:
        changes, unit = charts.of_bytes(found.memory.peak)
        parts.plot(charts.waterfall(changes, unit, names, _promised(found, changes, unit)), "memory_waterfall")
    else:
        parts.note(found.memory.not_compared or "neither run holds memory events")
    if overlaid:
        _overlay(names)
    if found.spoils("memory"):
        parts.note("the runs differ in what weights are: nothing is promised")
    elif found.expected:
        parts.section("Weights: the win that arithmetic promises, and the one that was measured", _win(found.expected))
        parts.plot(charts.expected(found.expected, names), "expected")
    elif found.expected_why:
        parts.note(f"weights are not compared with arithmetic: {found.expected_why}")


def _promised(found: Comparison, changes: list[charts.Change], unit: str) -> float | None:
    """What the peak would be were only the promised bytes gone; of offloaded weights nobody can say."""
    if found.expected is None or found.expected.offloaded or not found.expected.win or found.spoils("memory"):
        return None
    return sum(each.base for each in changes) - found.expected.win / (GIB if unit == "GiB" else MIB)


def _win(expected: ExpectedWin) -> str:
    text = f"promised {format_size(expected.win)}"
    if expected.stored_win is not None:
        text += f" · stored weights take {format_size(expected.stored_win)} less"
    if expected.measured is not None:
        off = f" ({expected.error:+.2%} of the promise)" if expected.error is not None else ""
        text += f" · model memory on the device fell by {format_size(expected.measured)}{off}"
    return text


def _overlay(names: tuple[str, str]) -> None:
    lines = [(name, each.points) for name, each in zip(names, data.live_over_call(names), strict=True) if each.points]
    if len(lines) > 1:
        parts.section("Live memory over a call")
        parts.plot(memory_charts.overlay(lines), "memory_overlay")
