"""Timeline: what happens at this moment? The trace in the Perfetto viewer, opened where the selection is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from dashboards import data, moments, navigation, parts
from dashboards.links import Selection, View, trace_file_url, trace_view_url
from dashboards.moments import Span
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
    if not found.has(layout.TRACE):
        parts.head("What happens when?", f"{name} was not traced.")
        parts.nothing("No trace", "This run holds no kernel trace.", f"diffuscope import TRACE -o {found.path}-traced")
        return
    with right:
        moment = _chosen(name)
    parts.head("What happens when?", *_answer(name, moment))
    _viewer(name, found, moment)
    _notes(name, found)


def _chosen(name: str) -> _Moment:
    """The moment that the address names, and a menu of others."""
    at = replace(navigation.selection(), run=name)
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
    plain = Selection(run=name, base=at.base)
    ledgers, report = data.ledgers(name), data.report(name)
    found = [_Moment(_WHOLE, None, plain)]
    if at.kernel:
        span = moments.of_kernel(data.run(name), at.kernel, moments.windows(ledgers).get(at.window))
        if span:
            found.append(_Moment(f"kernel {shorten(readable(at.kernel), 80)}", span, at))
    for number, each in enumerate(report.findings, 1):
        span = moments.of_finding(each, ledgers)
        if span:
            to = replace(plain, finding=number)
            found.append(_Moment(f"finding {number}: {shorten(each.finding.title, 90)}", span, to))
    windows = moments.windows(ledgers)
    return found + [_Moment(label, span, replace(plain, window=label)) for label, span in windows.items()]


def _answer(name: str, moment: _Moment) -> tuple[str, str]:
    if moment.span is None:
        return f"All of {name}", "choose a finding, a step or a kernel to open the viewer there"
    length = (moment.span[1] - moment.span[0]) / 1e6
    return moment.label[:1].upper() + moment.label[1:], f"opened at {length:,.3f} ms of the trace, as traced"


def _viewer(name: str, found: Run, moment: _Moment) -> None:
    title = f"{name} · {moment.label}"
    artifact = _artifact(found)
    st.iframe(trace_view_url(name, 0, artifact, _view(artifact, moment.span), title), height=_HEIGHT)
    size = found.artifact(artifact).stat().st_size
    with st.container(horizontal=True, gap="medium"):
        st.link_button(
            f"Download {artifact} ({size / 2**20:,.1f} MiB)", trace_file_url(name, 0, artifact), icon=":material/download:"
        )
    if size > _LARGE_BYTES:
        parts.note("A trace of this size takes the viewer a minute or more, and gigabytes of the browser's memory.")


def _artifact(found: Run) -> str:
    """The trace to show: the priced one, or the one with stacks."""
    if not found.has(layout.PLACES):
        return layout.TRACE
    with_stacks = st.toggle("one step with Python stacks, instead of the priced trace (other times: it is another call)")
    return layout.PLACES if with_stacks else layout.TRACE


def _view(artifact: str, span: Span | None) -> View | None:
    """Moments are of the priced trace: the one with stacks is of another call."""
    return View(moments.around(span), span) if span and artifact == layout.TRACE else None


def _notes(name: str, found: Run) -> None:
    lost = found.trace().lost
    if lost:
        parts.section("Not in the viewer as it was")
        parts.bullets([f"{count:,} × {why}" for why, count in lost.items()])
    with st.expander("Reading it"):
        parts.bullets(
            [
                "W and S zoom, A and D move, a click on a slice shows its arguments; `/` finds a kernel by its name.",
                "GPU streams are the tracks called stream; launches on the host are joined to kernels by arrows.",
                "Times here are as traced. Prices on the Diagnosis page are of the untraced run.",
                "Where Perfetto drops or repairs events it says so under the i in its top right corner.",
            ]
        )
