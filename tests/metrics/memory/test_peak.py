"""The peak: when, what lived, by how much it falls without something, and what was free then."""

from __future__ import annotations

import pytest
from memory_tape import BLOCK, CONV, LATENTS, MIB, T5, Tape, phase, weight, write_run

from profiler.core.errors import UsageError
from profiler.metrics.memory import peak, timeline, why_lower_bound

A = 0x7F0000000000


@pytest.fixture
def call():
    """1000 of weights; text takes 300, step 200 + 50, decode 400 + 60 with 90 of workspace."""
    tape = Tape()
    tape.held(A, 1000, BLOCK)
    at = A + MIB
    for window, sizes, stack in (("text", [300], T5), ("step/0", [200, 50], BLOCK), ("decode", [400, 60], CONV)):
        tape.mark(window, "START")
        for number, size in enumerate(sizes):
            tape.alloc(at + number * 4096, size, stack)
        if window == "decode":
            tape.alloc(at + 2 * 4096, 90, CONV)
            tape.free(at + 2 * 4096, CONV)
        for number, _ in enumerate(sizes):
            tape.free(at + number * 4096)
        tape.mark(window, "END")
    return tape


_WEIGHTS = [weight(A, 1000, "a.weight")]


def test_the_peak_and_what_lived_then(call, tmp_path):
    counted = {"peak_bytes": 2048, "peak_requested_bytes": 1550}
    run = write_run(tmp_path / "run", call, weights=_WEIGHTS, phases=[phase("memory", 0, 9_000_000, **counted)])
    found = peak(run)
    assert (found.requested_bytes, found.window, found.lower_bound) == (1550, "decode", "")
    assert (found.counted_bytes, found.allocated_bytes, found.rounding_bytes) == (1550, 2048, 498)
    assert found.by_category == {"weights": 1000, "activations": 460, "workspace": 90}
    assert found.by_component == {"transformer": 1000, "vae": 550}
    assert found.by_role == {"weight": 1000, "activation": 460, "convolution": 90}
    assert found.unresolved_bytes == 0
    assert found.windows.rows() == [("decode", found.index, 1550), ("text", 0, 1300), ("step/0", 4, 1250)]


def test_what_would_have_to_shrink(call, tmp_path):
    found = peak(write_run(tmp_path / "run", call, weights=_WEIGHTS))
    relief = dict(found.rows.select("size_bytes", "relief_bytes").iter_rows())
    # Without the largest activation of decoding, text encoding is the peak; without the workspace, the moment before it.
    assert relief == {1000: 1000, 400: 250, 90: 90, 60: 60}
    assert found.rows["stack_text"][1].splitlines()[0] == "site-packages/torch/nn/modules/conv.py:548 _conv_forward"
    groups = found.groups.select("category", "size_bytes", "count", "relief_bytes").rows()
    assert groups == [("weights", 1000, 1, 1000), ("activations", 460, 2, 250), ("workspace", 90, 1, 90)]
    assert found.groups["place"].to_list()[1] == "site-packages/diffusers/models/autoencoders/vae.py:304 forward"


def test_of_many_allocations_the_biggest_are_listed(call, tmp_path):
    found = peak(write_run(tmp_path / "run", call, weights=_WEIGHTS), top=2)
    assert found.rows["size_bytes"].to_list() == [1000, 400]


def test_an_allocator_that_counted_more_makes_every_sum_a_lower_bound(call, tmp_path):
    counted = {"peak_bytes": 2048, "peak_requested_bytes": 1551}
    run = write_run(tmp_path / "run", call, weights=_WEIGHTS, phases=[phase("memory", 0, 9_000_000, **counted)])
    assert "the events reach" in peak(run).lower_bound
    assert timeline(run).lower_bound == peak(run).lower_bound


def test_a_full_ring_buffer_that_the_recorder_noted_makes_a_lower_bound(call, tmp_path):
    lost = "the ring buffer of 10 events was full: the oldest are gone"
    run = write_run(tmp_path / "run", call)
    run.manifest.lose("rank0/memory.pickle.gz", lost)
    assert why_lower_bound(run) == lost


@pytest.mark.parametrize(("spare", "full"), [(-1, True), (0, True), (1, False)])
def test_as_many_events_as_the_buffer_holds_makes_a_lower_bound(spare, full, call, tmp_path):
    detail = {"max_entries": len(call.events) + spare, "events": len(call.events)}
    run = write_run(tmp_path / "run", call, phases=[phase("memory", 0, 9_000_000, detail=detail)])
    assert ("the ring buffer was full" in why_lower_bound(run)) is full


def test_an_import_with_a_round_number_of_events_may_have_lost_some(tmp_path):
    tape = Tape()
    for number in range(10_000):
        tape.alloc(A + number * 512, 1, BLOCK)
    assert "exactly 10000 events" in why_lower_bound(write_run(tmp_path / "import", tape, kind="import"))
    assert why_lower_bound(write_run(tmp_path / "own", tape)) == ""


def test_only_blocks_and_no_event(tmp_path):
    tape = Tape()
    tape.held(A, 700, LATENTS)
    found = peak(write_run(tmp_path / "run", tape))
    assert (found.index, found.requested_bytes, found.window, found.time_us) == (-1, 700, "", None)
    assert found.by_category == {"inputs and outputs": 700}
    assert timeline(write_run(tmp_path / "other", tape)).total["live_bytes"].to_list() == [700]


def test_reserved_and_free_memory_at_the_peak(tmp_path):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.segment(A + 16 * MIB, 2 * MIB, recorded=True)
    tape.alloc(A + MIB, 1000, BLOCK)
    tape.alloc(A + 3 * MIB, MIB, BLOCK)
    tape.alloc(A + 16 * MIB, 2 * MIB - 1, BLOCK)
    tape.free(A + MIB)
    tape.segment(A + 32 * MIB, 2 * MIB, recorded=True)
    tape.free_segment(A + 32 * MIB)
    run = write_run(tmp_path / "run", tape)
    free = peak(run).free
    assert (free.reserved_bytes, free.live_bytes, free.exact) == (6 * MIB, 3 * MIB + 999, False)
    assert (free.free_bytes, free.largest_free_bytes, free.pieces) == (3 * MIB - 1024, 2 * MIB - 1024, 2)
    reserved = timeline(run).total.select("index", "reserved_bytes").rows()
    assert reserved == [*((index, (4 if index == -1 else 6) * MIB) for index in (-1, 0, 1, 2, 3, 5)), (6, 8 * MIB), (7, 6 * MIB)]


def test_pieces_of_expandable_segments_are_not_guessed(tmp_path):
    tape = Tape()
    tape.segments.append({"address": A, "total_size": 4 * MIB, "segment_pool_id": (0, 0), "is_expandable": True})
    tape.alloc(A, MIB, BLOCK)
    tape.alloc(A + MIB, MIB, BLOCK)
    tape.free(A + MIB)
    free = peak(write_run(tmp_path / "run", tape)).free
    assert (free.free_bytes, free.largest_free_bytes, free.pieces) == (2 * MIB, None, None)
    assert (free.expandable_bytes, free.exact) == (4 * MIB, False)


def test_memory_is_told_apart_in_known_ways_only(call, tmp_path):
    with pytest.raises(UsageError, match="'colour'"):
        timeline(write_run(tmp_path / "run", call), by="colour")
