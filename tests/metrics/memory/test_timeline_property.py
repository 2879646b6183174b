"""Conservation on any snapshot: at every event the labels of every kind sum to the live bytes, and nothing has two."""

from __future__ import annotations

import memory_tape as tapes
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_frames import tables_of
from memory_tape import MIB, Tape, weight

from profiler.metrics.memory.allocations import tell_apart
from profiler.metrics.memory.labels import CATEGORIES
from profiler.metrics.memory.source_cuda import recording_of
from profiler.metrics.memory.timeline import BY, timeline_of
from profiler.metrics.memory.weights import STORAGES
from profiler.rundir.manifest import Manifest

_STACKS = [
    None,
    *(
        getattr(tapes, name)
        for name in ("BLOCK", "LINEAR", "CONV", "SDPA", "T5", "SCHEDULER", "LOADED", "QUANTIZED", "TUNED", "MODEL_HOOK")
    ),
]
_SIZES = st.sampled_from([1, 512, 513, 1000, MIB, 32 * MIB])
_ACTIONS = st.tuples(
    st.integers(0, 7),
    _SIZES,
    st.sampled_from(_STACKS),
    st.sampled_from(["", "transformer.blocks.0", "scheduler"]),
    st.sampled_from(["", "text", "step/0", "step/1", "decode"]),
)
_SPACING = 64 * MIB


def _record(before, actions):
    tape = Tape()
    for number, size in before.items():
        tape.held(number * _SPACING, size, _STACKS[number % len(_STACKS)])
    expected = [sum(before.values())]
    for number, size, stack, module, window in actions:
        address = number * _SPACING
        if window:
            tape.mark(window, "START")
        if address in tape.blocks:
            tape.free(address, stack)
            expected += [expected[-1], expected[-1] - _size_of_last(tape)]
        else:
            tape.alloc(address, size, stack, module)
            expected.append(expected[-1] + size)
        if window:
            tape.mark(window, "END")
    return tape, expected


def _size_of_last(tape):
    return tape.events[-1]["size"]


def _study(tape, weights):
    tables = tables_of(tape.snapshot())
    storages = pl.DataFrame([{name: row[name] for name in STORAGES} for row in weights], schema=STORAGES)
    return tell_apart(recording_of(tables.__getitem__, {}), storages, Manifest())


@pytest.mark.parametrize("by", BY)
@given(
    st.dictionaries(st.integers(0, 7), _SIZES, max_size=5),
    st.lists(_ACTIONS, max_size=40),
    st.dictionaries(st.integers(0, 7), st.tuples(_SIZES, st.sampled_from(["transformer", "vae"]))),
)
@settings(max_examples=60, deadline=None)
def test_labels_sum_to_the_live_bytes_at_every_event(by, before, actions, weighed):
    tape, expected = _record(before, actions)
    weights = [
        weight(number * _SPACING, size, "a.weight", part) | {"size_bytes": size, "module": f"{part}.a"}
        for number, (size, part) in weighed.items()
    ]
    found = _study(tape, weights)
    assert found.problems == {}
    assert set(found.rows["category"]) <= set(CATEGORIES)
    assert not any(found.rows[name].null_count() for name in ("category", "component", "role", "module"))
    line = timeline_of(found, by)
    wide = pl.DataFrame({"index": range(-1, len(tape.events))}, schema={"index": pl.Int64}).join_asof(line.wide(), on="index")
    sums = wide.select(pl.sum_horizontal(pl.lit(0), *line.labels))
    assert sums.to_series().to_list() == expected
    assert line.total["live_bytes"].max() == max(expected)
    assert line.total["index"].to_list() == sorted(set(line.total["index"]))


@given(st.lists(_ACTIONS, min_size=1, max_size=40), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_a_thinned_timeline_keeps_the_peak(actions, points):
    tape, expected = _record({}, actions)
    line = timeline_of(_study(tape, []), "category")
    thin = line.thinned(points)
    assert thin.height <= max(points, 1)
    assert thin.select(pl.sum_horizontal(pl.lit(0), *line.labels)).to_series().max() == max(expected)
    assert thin["index"].is_sorted()
