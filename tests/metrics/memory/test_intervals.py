"""Live intervals: reuse, several devices, what lived before and after; and any stream of events against a plain allocator."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.metrics.memory.intervals import live_intervals
from profiler.metrics.memory.live import alive_at, live_total
from profiler.metrics.memory.source import EVENTS, HELD


def _events(*rows):
    columns = [dict(zip(("action", "address", "size_bytes", "device", "stack"), (*row, 0, -1)[:5], strict=False)) for row in rows]
    frame = pl.DataFrame(columns, schema={name: EVENTS[name] for name in ("action", "address", "size_bytes", "device", "stack")})
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in EVENTS.items() if name not in (*frame.columns, "index")]
    return frame.with_columns(missing).with_row_index("index").select(pl.col(name).cast(kind) for name, kind in EVENTS.items())


def _held(*rows):
    columns = ["address", "size_bytes", "device", "stack"]
    frame = pl.DataFrame([(*row, 0, -1)[:4] for row in rows], schema=columns, orient="row")
    return frame.select(pl.col(name).cast(kind) for name, kind in HELD.items())


def _lives(events, held=None):
    found = live_intervals(events, _held() if held is None else held)
    rows = found.rows.select("address", "size_bytes", "start_index", "end_index").rows()
    return rows, found.problems


def test_an_address_is_reused_and_live_bytes_fall_when_the_free_completes():
    events = _events(
        ("alloc", 1, 100),
        ("free_requested", 1, 100),
        ("alloc", 2, 30),
        ("free_completed", 1, 100),
        ("alloc", 1, 7),
    )
    rows, problems = _lives(events, _held((2, 30), (1, 7)))
    assert rows == [(1, 100, 0, 3), (2, 30, 2, None), (1, 7, 4, None)]
    assert problems == {}
    total = live_total(live_intervals(events, _held()).rows)
    assert total.rows() == [(-1, 0), (0, 100), (2, 130), (3, 30), (4, 37)]


def test_one_address_on_two_devices_is_two_blocks():
    rows, problems = _lives(_events(("alloc", 1, 100, 0), ("alloc", 1, 50, 1), ("free_completed", 1, 100, 0)))
    assert rows == [(1, 100, 0, 2), (1, 50, 1, None)]
    assert problems == {}


def test_a_free_without_an_allocation_and_a_block_without_events_lived_before():
    rows, problems = _lives(_events(("free_requested", 5, 40), ("free_completed", 5, 40)), _held((9, 11)))
    assert rows == [(5, 40, -1, 1), (9, 11, -1, None)]
    assert problems == {}


def test_contradictions_are_counted_and_never_counted_twice():
    rows, problems = _lives(
        _events(
            ("alloc", 1, 10),
            ("alloc", 1, 20),
            ("free_completed", 1, 20),
            ("free_completed", 1, 99),
        ),
        _held((1, 99)),
    )
    assert rows == [(1, 10, 0, 1), (1, 20, 1, 2)]
    assert problems == {
        "frees of an address that was free": 1,
        "allocations at an address that was in use": 1,
        "blocks that live without an allocation event": 1,
    }


def test_a_block_that_waits_for_a_stream_is_alive_and_knows_who_gave_it_back():
    events = _events(("alloc", 1, 10, 0, 4), ("free_requested", 1, 10, 0, 8))
    row = live_intervals(events, _held((1, 10))).rows.row(0, named=True)
    assert (row["end_index"], row["freed_index"], row["freed_stack"]) == (None, 1, 8)
    later = live_intervals(
        _events(("alloc", 1, 10), ("free_completed", 1, 10), ("alloc", 1, 10), ("free_requested", 1, 10)), _held()
    )
    assert later.rows["freed_index"].to_list() == [None, 3]


def test_nothing_recorded_is_nothing_alive():
    found = live_intervals(_events(), _held())
    assert found.rows.is_empty()
    assert live_total(found.rows).rows() == [(-1, 0)]


_STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1000), st.booleans()), max_size=60)


@given(st.dictionaries(st.integers(0, 5), st.integers(1, 1000)), _STEPS)
@settings(max_examples=200, deadline=None)
def test_live_bytes_are_those_of_a_plain_allocator(before, steps):
    """Any valid stream: at every event, and at the end, exactly what a dictionary of blocks holds."""
    blocks, rows, expected = dict(before), [], []
    waiting: dict[int, int] = {}
    for address, size, completes in steps:
        if address in waiting:
            rows.append(("free_completed", address, waiting.pop(address)))
            del blocks[address]
        elif address in blocks:
            rows.append(("free_requested", address, blocks[address]))
            waiting[address] = blocks[address]
            if completes:
                expected.append(sum(blocks.values()))
                rows.append(("free_completed", address, waiting.pop(address)))
                del blocks[address]
        else:
            rows.append(("alloc", address, size))
            blocks[address] = size
        expected.append(sum(blocks.values()))
    found = live_intervals(_events(*rows), _held(*blocks.items()))
    assert found.problems == {}
    total = live_total(found.rows)
    at = pl.DataFrame({"index": range(-1, len(rows))}, schema={"index": pl.Int64}).join_asof(total, on="index")
    assert at["live_bytes"].to_list() == [sum(before.values()), *expected]
    for index in {-1, len(rows) // 2 - 1, len(rows) - 1}:
        assert alive_at(found.rows, index)["size_bytes"].sum() == at.filter(pl.col("index") == index)["live_bytes"].item()
