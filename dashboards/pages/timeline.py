"""Timeline: what happens at this moment? The trace in the Perfetto viewer, opened where the selection is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from dashboards import data, moments, navigation, parts
from dashboards.links import Selection, View, trace_file_url, trace_view_url
from dashboards.moments import Span
from profiler.core.errors import UnreadableInput
from profiler.metrics.ledger import Ledger
from profiler.report.names import readable, shorten
from profiler.rundir import layout
from profiler.tables.run import Run

_WHOLE = "the whole trace"
_HEIGHT = 760
# Compressed, a tenth of what Perfetto reads into the browser's memory.
_LARGE_BYTES = 20 << 20


@dataclass(frozen=True)
class _Moment:
    label: str
    span: Span | None
    to: Selection


def page() -> None:
    """The page."""
    left, right = st.columns(2)
    with left:
        name = navigation.choose_run(data.readable_runs(), navigation.traced, "stretch")
    if not name:
        return
    found = data.run(name)
    with right:
        rank = navigation.choose_rank(found)
    if not found.has(layout.TRACE, rank):
        parts.head("What happens when?", f"{name} was not traced.")
        parts.nothing("No trace", "This run holds no kernel trace.", f"diffuscope import TRACE -o {found.path}-traced")
        return
    with right:
        moment = _chosen(name, rank)
    parts.head("What happens when?", *_answer(name, moment))
    _viewer(name, found, moment, rank)
    _notes(found, rank)


def _chosen(name: str, rank: int) -> _Moment:
    """The moment that the address names, and a menu of others."""
    at = replace(navigation.selection(), run=name, rank=rank, also="")
    every = _moments(name, at)
    wanted = next((index for index, each in enumerate(every) if each.to == at), 0)
    st.session_state["moment_menu"] = wanted
    chosen: int = st.selectbox(
        "Open at",
        range(len(every)),
        key="moment_menu",
        format_func=lambda index: every[index].label,
        on_change=lambda: navigation.select(every[st.session_state["moment_menu"]].to),
    )
    return every[chosen]


def _moments(name: str, at: Selection) -> list[_Moment]:
    """The whole trace, what is selected, every finding that lies in the trace, every window."""
    ledgers = data.ledgers(name, at.rank)
    plain = Selection(run=name, base=at.base, rank=at.rank)
    windows = moments.windows(ledgers)
    found = [_Moment(_WHOLE, None, plain), *_selected(name, at, windows), *_of_findings(name, plain, ledgers)]
    return found + [_Moment(label, span, replace(plain, window=label)) for label, span in windows.items()]


def _selected(name: str, at: Selection, windows: dict[str, Span]) -> list[_Moment]:
    """The kernel, graph break or compiled region that the address names; none where the trace does not hold it."""
    run = data.run(name)
    if at.kernel:
        span = moments.of_kernel(run, at.kernel, windows.get(at.window), at.rank)
        label = f"kernel {shorten(readable(at.kernel), 80)}"
    elif at.graph_break:
        span, label = moments.of_break(run, at.graph_break, at.rank), f"graph break {shorten(at.graph_break, 80)}"
    elif at.region:
        span, label = moments.of_region(run, at.region, at.rank), f"compiled region {shorten(at.region, 40)}"
    else:
        return []
    if span is None:
        parts.note(f"The {label} is nowhere in this trace.")
        return []
    return [_Moment(label, span, at)]


def _of_findings(name: str, plain: Selection, ledgers: dict[str, Ledger]) -> list[_Moment]:
    try:
        report = data.report(name, rank=plain.rank)
    except UnreadableInput as error:
        # Trace and compile log may be of two programs: the trace is there all the same.
        parts.note(error.message)
        return []
    found = []
    for number, each in enumerate(report.findings, 1):
        span = moments.of_finding(each, ledgers)
        if span:
            label = f"finding {number}: {shorten(each.finding.title, 90)}"
            found.append(_Moment(label, span, replace(plain, finding=number)))
    return found


def _answer(name: str, moment: _Moment) -> tuple[str, str]:
    if moment.span is None:
        return f"All of {name}", "choose a finding, a step or a kernel to open the viewer there"
    length = (moment.span[1] - moment.span[0]) / 1e6
    return moment.label[:1].upper() + moment.label[1:], f"opened at {length:,.3f} ms of the trace, as traced"


def _viewer(name: str, found: Run, moment: _Moment, rank: int) -> None:
    title = f"{name} · {moment.label}"
    artifact = _artifact(found, rank)
    st.iframe(trace_view_url(name, rank, artifact, _view(artifact, moment.span), title), height=_HEIGHT)
    size = found.artifact(artifact, rank).stat().st_size
    with st.container(horizontal=True, gap="medium"):
        st.link_button(
            f"Download {artifact} ({size / 2**20:,.1f} MiB)", trace_file_url(name, rank, artifact), icon=":material/download:"
        )
    if size > _LARGE_BYTES:
        parts.note("A trace of this size takes the viewer a minute or more, and gigabytes of the browser's memory.")


def _artifact(found: Run, rank: int) -> str:
    """The trace to show: the priced one, or the one with stacks."""
    if not found.has(layout.PLACES, rank):
        return layout.TRACE
    with_stacks = st.toggle("one step with Python stacks, instead of the priced trace (other times: it is another call)")
    return layout.PLACES if with_stacks else layout.TRACE


def _view(artifact: str, span: Span | None) -> View | None:
    """Moments are of the priced trace: the one with stacks is of another call."""
    return View(moments.around(span), span) if span and artifact == layout.TRACE else None


def _notes(found: Run, rank: int) -> None:
    lost = found.trace(rank).lost
    if lost:
        parts.section("What diffuscope could not read of it")
        parts.bullets([f"{count:,} × {why}" for why, count in lost.items()])
    with st.expander("Reading it"):
        parts.bullets(
            [
                "W and S zoom, A and D move, a click on a slice shows its arguments; `/` finds a kernel by its name.",
                "GPU streams are the tracks called stream; launches on the host are joined to kernels by arrows.",
                "Times here are as traced. Prices on the Diagnosis page are of the untraced run.",
                "The line under the viewer says what Perfetto itself flags: events that it dropped or could not nest.",
            ]
        )
