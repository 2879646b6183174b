"""The part of the Ranks page that Holistic Trace Analysis (HTA) fills: run on a click, each result under its name."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, parts
from dashboards.charts import ranks as charts
from profiler.report.hta import OURS, hta_data, named, told
from profiler.tables.hta import EXTRA, Hta, installed
from profiler.tables.hta_answer import CRITICAL_PATH, IDLE, LATE_KERNEL_US, LAUNCHES, QUEUE, SLOW_CALL_US, TEMPORAL

_TITLE = "Holistic Trace Analysis"
# What HTA calls things by names of variables.
_WORDS = ("category", "bound_by")
_PIP = f"pip install 'diffuscope[{EXTRA}]'"
_BELOW = {
    IDLE: "of each stream: host wait, the host had queued nothing; kernel wait, gaps below 30 us; other, all else",
    LAUNCHES: f"short: kernels shorter than their call; slow: calls above {SLOW_CALL_US} us; "
    f"late: kernels more than {LATE_KERNEL_US} us after it",
    QUEUE: "launched and not yet done, of each stream",
    CRITICAL_PATH: "what bounds the window, and the event with most of it",
}


def section(name: str) -> None:
    """What HTA says of a run; a button where it was not asked yet."""
    if not installed():
        parts.section(_TITLE, "its own analyses of the same traces, beside ours")
        parts.nothing("HTA is not installed", "It is an extra: a hundred packages that nothing else here needs.", _PIP)
        return
    hta = Hta(data.run(name))
    parts.section(_TITLE, f"{named(hta)} on the same traces, in a process of its own; results are kept beside the run")
    if not hta.complete and not _asked(hta, name):
        return
    found = hta_data(data.run(name), hta)
    _beside(found)
    for each in found["analyses"]:
        _analysis(each)
    _left(found)


def _asked(hta: Hta, name: str) -> bool:
    """The button; once pressed HTA runs, and says what it is at."""
    if not st.button(f"Run {named(hta)}", key=f"run_hta/{name}", icon=":material/play_arrow:", type="primary"):
        parts.note(f"Not run yet. The command does the same: diffuscope ranks {name}")
        return False
    began = time.monotonic()
    with st.status("Starting", expanded=False) as status:
        for stage in hta.stages():
            status.update(label=f"{stage} … {time.monotonic() - began:.0f} s")
        status.update(label=f"Done in {time.monotonic() - began:.0f} s", state="complete")
    return True


def _beside(found: dict[str, Any]) -> None:
    """The numbers that both have."""
    if not found["beside"]:
        return
    name = found["hta"]["name"]
    temporal = next(each for each in found["analyses"] if each["name"] == TEMPORAL)
    theirs = {of["rank"]: of["rows"][0] for of in temporal["ranks"] if of["rows"]}
    parts.section(f"{name} beside {OURS}", "from a rank's first GPU event to the end of its last, as traced")
    parts.plot(charts.beside(found["own"], theirs, name), "ranks_beside")
    st.dataframe(
        _beside_table(found["beside"], name),
        hide_index=True,
        placeholder="–",
        key="ranks_beside_table",
        height=parts.table_height(len(found["beside"])),
    )


def _beside_table(rows: list[dict[str, Any]], name: str) -> pl.DataFrame:
    def value(row: dict[str, Any], key: str) -> str | None:
        if row[key] is None:
            return None
        return f"{row[key]:.1%}" if row["unit"] == "share" else f"{row[key] / 1e3:,.3f} ms"

    off = [None if row["difference"] is None else f"{row['difference']:+z.2%}" for row in rows]
    return pl.DataFrame(
        {
            "rank": [row["rank"] for row in rows],
            "what": [row["what"] for row in rows],
            name: [value(row, "hta") for row in rows],
            OURS: [value(row, "own") for row in rows],
            "difference": off,
        }
    )


def _analysis(each: dict[str, Any]) -> None:
    """One analysis as a table; those that stand beside ours are shown there."""
    rows = [{"rank": of["rank"]} | row for of in each["ranks"] for row in of["rows"]]
    if each["name"] not in _BELOW or not rows:
        return
    parts.section(f"{each['by']}: {each['title']}", _BELOW[each["name"]])
    plain = [{key: value.replace("_", " ") if key in _WORDS else value for key, value in row.items()} for row in rows]
    frame = pl.DataFrame(plain, infer_schema_length=None).rename(_spoken)
    times = {name: st.column_config.NumberColumn(name, format="%,.1f") for name in frame.columns if name.endswith(", us")}
    shares = {name: st.column_config.NumberColumn(name, format="percent") for name in frame.columns if name == "share"}
    st.dataframe(
        frame,
        hide_index=True,
        placeholder="–",
        key=f"ranks_{each['name']}",
        column_config=times | shares,
        height=parts.table_height(frame.height),
    )


def _spoken(column: str) -> str:
    if column == "dur_us":
        return "time, us"
    return f"{column.removesuffix('_us').replace('_', ' ')}, us" if column.endswith("_us") else column.replace("_", " ")


def _left(found: dict[str, Any]) -> None:
    """What failed, by name, and what HTA warned of."""
    lines = [f"rank {each['rank']} is not read by {each['by']}: {each['why']}" for each in found["not_read"]]
    for analysis in found["analyses"]:
        lines += [
            f"rank {of['rank']}: {analysis['by']}'s {analysis['title']} failed: {of['why']}"
            for of in analysis["ranks"]
            if of["why"]
        ]
    notes = told(found)
    if lines:
        parts.section("Failed")
        parts.bullets(lines)
    if notes:
        parts.section(f"What {found['hta']['name']} warns of")
        parts.bullets(notes)
