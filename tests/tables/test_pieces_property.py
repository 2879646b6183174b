"""Wherever a trace is cut for reading, and however it is written, its tables are the same."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from profiler.tables import schema
from profiler.tables.trace import open_trace, write_tables

_CATS = ("kernel", "gpu_memcpy", "cpu_op", "cuda_runtime", "python_function", "user_annotation")
_TEXT = st.text(alphabet=st.sampled_from('ab{}[],:"\\ \n\u00e9\U0001f600'), max_size=12)
_MICROSECONDS = st.integers(0, 5_000_000_000).map(lambda ns: ns / 1000)
_EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "ph": st.just("X"),
            "cat": st.sampled_from(_CATS),
            "name": _TEXT,
            "pid": st.integers(0, 3),
            "tid": st.one_of(st.integers(0, 3), _TEXT),
            "ts": _MICROSECONDS,
            "dur": _MICROSECONDS,
            "args": st.fixed_dictionaries(
                {},
                optional={
                    "correlation": st.integers(0, 9),
                    "Input Dims": st.just([[1, 2], []]),
                    "unknown": _TEXT,
                    "nested": st.just([{"a": 1}, {"b": {}}]),
                },
            ),
        }
    ),
    max_size=12,
)


def _tables(path: Path, piece_bytes: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as cache:
        tables = open_trace(path, Path(cache), piece_bytes=piece_bytes)
        assert tables.lost == {}
        return {name: tables.frame(name) for name in schema.TABLES}


@given(events=_EVENTS, piece_bytes=st.integers(1, 700), indent=st.sampled_from([None, 0, 2]), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_piece_size_and_any_writing_gives_the_same_tables(events, piece_bytes, indent, seed):
    shuffled = [dict(random.Random(seed).sample(list(event.items()), len(event))) for event in events]
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "a.json", Path(folder) / "b.json.gz"
        plain.write_text(json.dumps({"traceEvents": events}))
        packed.write_bytes(
            gzip.compress(json.dumps({"before": 1, "traceEvents": shuffled, "after": [{"x": 1}]}, indent=indent).encode())
        )
        expected, got = _tables(plain, 1 << 23), _tables(packed, piece_bytes)
    for name, frame in expected.items():
        if name == "host":
            # The JSON text of a list is kept as written, spaces and all.
            assert_frame_equal(frame.drop("input_dims"), got[name].drop("input_dims"))
        else:
            assert_frame_equal(frame, got[name])
    assert sum(frame.height for frame in expected.values()) == len(events)


@pytest.mark.parametrize("piece_bytes", [10_007, 65_536, 1_000_003])
def test_real_traces_do_not_depend_on_the_piece_size(shared, piece_bytes, tmp_path):
    path = shared / "h100" / "flux_small_item_breaks.trace.json.gz"
    expected, got = open_trace(path, tmp_path / "a"), open_trace(path, tmp_path / "b", piece_bytes=piece_bytes)
    assert (got.events, got.lost, got.metadata) == (expected.events, {}, expected.metadata)
    for name in schema.TABLES:
        assert_frame_equal(expected.frame(name), got.frame(name))


def test_no_event_of_a_real_trace_goes_missing(shared_trace, tmp_path):
    facts = write_tables(shared_trace, tmp_path, 0)
    walked = json.loads(gzip.decompress(shared_trace.read_bytes()))["traceEvents"]
    flows = sum(event["ph"] in ("s", "f") for event in walked)
    assert sum(facts["events"].values()) == len(walked) - flows
    assert facts["lost"] == {}
