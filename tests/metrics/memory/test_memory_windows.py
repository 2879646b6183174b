"""Windows of a call and the phases around it."""

from __future__ import annotations

import polars as pl
from memory_tape import BLOCK, Tape, phase, write_run

from profiler.metrics.memory import allocations, memory_windows, phase_bands, timeline
from profiler.metrics.memory.nested import innermost, named_at

A = 0x7F0000000000


def test_each_allocation_lies_in_the_innermost_window_else_in_a_phase(tmp_path):
    tape = Tape(start_us=1_000)
    tape.alloc(A, 10, BLOCK)
    for address, window in enumerate(["call", "text", "step/0", "step/1"], 1):
        tape.mark(window, "START")
        tape.alloc(A + 4096 * address, 10, BLOCK)
        if window != "call":
            tape.mark(window, "END")
    tape.alloc(A + 4096 * 9, 10, BLOCK)
    tape.mark("module/transformer", "START")
    tape.mark("call", "END")
    run = write_run(tmp_path / "run", tape, phases=[phase("memory", 900, 5_000), phase("timed", 100, 800)])
    assert allocations(run)["window"].to_list() == ["memory", "call", "text", "step/0", "step/1", "call"]
    windows = memory_windows(run)
    assert windows.select("name", "index", "label").rows() == [
        ("call", 0, "call"),
        ("text", 0, "text"),
        ("step", 0, "step/0"),
        ("step", 1, "step/1"),
    ]
    assert timeline(run).windows.equals(windows)
    assert (windows["end_us"] >= windows["start_us"]).all()


def test_a_window_that_a_failure_left_open_never_ends(tmp_path):
    tape = Tape(start_us=1_000)
    tape.mark("decode", "END")
    tape.mark("decode", "START")
    tape.alloc(A, 10, BLOCK)
    run = write_run(tmp_path / "run", tape, phases=[phase("memory", 900, None)])
    assert allocations(run)["window"].to_list() == ["decode"]
    assert memory_windows(run)["end_us"][0] > 10**18


def test_phases_are_bands_of_the_whole_run(tmp_path):
    phases = [phase("load", 10, 20, alloc_bytes=5, peak_bytes=7, reserved_bytes=9), phase("warmup", 30, None)]
    bands = phase_bands(write_run(tmp_path / "run", phases=phases))
    assert bands.rows() == [("load", 10, 20, 5, 7, 9), ("warmup", 30, None, None, None, None)]


def test_ranges_that_nest_are_told_by_thread():
    changes = innermost([(1, 0, 100, "outer"), (1, 10, 20, "inner"), (1, 20, 30, "next"), (2, 5, 8, "other")])
    moments = pl.DataFrame({"thread": [1] * 6 + [2] * 3, "ts": [-1, 0, 10, 20, 30, 100, 4, 5, 8]})
    named = named_at(moments, changes, "ts", "name")["name"].to_list()
    assert named == ["", "outer", "inner", "next", "outer", "", "", "other", ""]
