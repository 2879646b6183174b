"""Conservation on any trace: rows and segments sum to their window exactly, disjoint, inside it, nothing negative."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_traces import call, check_conserved, copy, graph, kernel, launch, lookup, mark, op, overhead, region, run_of

from profiler.metrics.ledger import ledger, ledgers

_TIMES = st.integers(0, 400)
_LENGTHS = st.integers(0, 60)
_HOST = {
    "op": lambda a, b, tid: op("aten::mm", a, b, tid),
    "item": lambda a, b, tid: op("aten::item", a, b, tid),
    "region": lambda a, b, _: region("0/0", a, b),
    "nested": lambda a, b, _: region("1/0", a, b),
    "graph": lambda a, b, _: graph(a, b),
    "lookup": lambda a, b, _: lookup(a, b),
    "dynamo": lambda a, b, _: op("dynamo", a, b),
    "overhead": lambda a, b, _: overhead("Command Buffer Full", a, b),
    "wait": lambda a, b, tid: call("cudaStreamSynchronize", a, b, tid=tid),
    "malloc": lambda a, b, tid: call("cudaMalloc", a, b, tid=tid),
}
_HOST_EVENTS = st.lists(st.tuples(st.sampled_from(sorted(_HOST)), _TIMES, _LENGTHS, st.sampled_from([1, 2])), max_size=25)
# What runs on the device: when launched and for how long, how much later it starts, for how long, stream, how many of one launch.
_DEVICE_EVENTS = st.lists(
    st.tuples(
        _TIMES, st.integers(0, 8), st.integers(-3, 40), _LENGTHS, st.sampled_from([7, 8, 9]), st.integers(0, 3), st.booleans()
    ),
    max_size=25,
)
_MARKS = st.lists(st.tuples(st.sampled_from(["text", "step/0", "step/1", "decode", "call"]), _TIMES, _LENGTHS), max_size=5)


def _device(drawn):
    events = []
    for correlation, (launched, took, later, dur, stream, kernels, copies) in enumerate(drawn, 1):
        # Nothing at all of `kernels`: a launch that ran nothing the trace knows of.
        events.append(launch(launched, launched + took, correlation, 1 + stream % 2))
        for number in range(kernels):
            start = max(0, launched + later + number * dur)
            made = copy(start, start + dur, correlation, "Memcpy HtoD (Pageable -> Device)", stream)
            events.append(made if copies else kernel(start, start + dur, correlation, f"k{number}", stream))
    return events


@given(_HOST_EVENTS, _DEVICE_EVENTS, _MARKS, st.sampled_from([None, 1, 50, 5000]))
@settings(max_examples=60, deadline=None)
def test_rows_sum_to_the_window(host, device, marks, timed_us):
    events = [_HOST[kind](start, start + dur, tid) for kind, start, dur, tid in host] + _device(device)
    events += [mark(f"diffuscope/{name}", start, start + dur) for name, start, dur in marks]
    untraced = {} if timed_us is None else {"dur_ns": timed_us * 1000}
    with tempfile.TemporaryDirectory() as folder:
        windows = ledgers(run_of(Path(folder) / "run", events, untraced=untraced), ["step", "call", "text"])
    for found in windows.values():
        check_conserved(found)
        assert found.pricing.calibrated == (timed_us is not None and found.windows.height > 0)
        busy = found.rows["kind"] == "busy"
        assert (found.rows["priced_ns"].filter(busy) == found.rows["total_ns"].filter(busy)).all()
        assert (found.rows["priced_low_ns"] <= found.rows["priced_ns"]).all()


@given(_HOST_EVENTS, st.lists(st.tuples(_TIMES, _LENGTHS, st.sampled_from([7, 8])), min_size=1, max_size=25))
@settings(max_examples=40, deadline=None)
def test_busy_time_is_the_union_of_all_streams(host, kernels):
    events = [_HOST[kind](start, start + dur, tid) for kind, start, dur, tid in host]
    events += [kernel(start, start + dur, number, stream=stream) for number, (start, dur, stream) in enumerate(kernels, 1)]
    with tempfile.TemporaryDirectory() as folder:
        found = ledger(run_of(Path(folder) / "run", events), "call")
    check_conserved(found)
    union = len({instant for start, dur, _ in kernels for instant in range(start, start + dur)})
    assert found.rows.filter(found.rows["kind"] == "busy")["total_ns"].sum() == union * 1000
