"""What steps leave behind, and whether that goes on."""

from __future__ import annotations

from memory_tape import BLOCK, LATENTS, SCHEDULER, Tape, write_run

from profiler.metrics.memory import growth

A = 0x7F0000000000


def _call(steps, leaks=0, once=0, end=True):
    """Each step replaces its latents, and forgets to free `leaks` bytes; the second step fills a cache of `once` bytes."""
    tape, free = Tape(), A
    tape.mark("call", "START")
    tape.alloc(A, 64, LATENTS)
    held = A
    for step in range(steps):
        tape.mark(f"step/{step}", "START")
        free += 4096
        tape.alloc(free, 64, SCHEDULER)
        tape.free(held)
        held = free
        for size, stack in ((leaks, BLOCK), (once if step == 1 else 0, LATENTS)):
            if size:
                free += 4096
                tape.alloc(free, size, stack)
        if end or step + 1 < steps:
            tape.mark(f"step/{step}", "END")
    tape.alloc(free + 4096, 9999, BLOCK)
    return tape


def test_a_leak_is_what_every_step_leaves_behind(tmp_path):
    found = growth(write_run(tmp_path / "run", _call(4, leaks=100, once=7)))
    assert found.steps.select("step", "label", "live_bytes", "grown_bytes").rows() == [
        (0, "step/0", 164, None),
        (1, "step/1", 271, 107),
        (2, "step/2", 371, 100),
        (3, "step/3", 471, 100),
    ]
    assert found.leak_bytes == 100
    assert found.kept.select("bytes", "count", "steps", "steady", "component").rows() == [
        (300, 3, 3, True, "transformer"),
        (64, 1, 1, False, "scheduler"),
        (7, 1, 1, False, "pipeline"),
    ]
    assert found.kept["stack_text"][0].startswith("site-packages/diffusers/models/transformers/transformer_flux.py:404")


def test_steps_that_replace_what_they_made_leak_nothing(tmp_path):
    found = growth(write_run(tmp_path / "run", _call(4)))
    assert found.leak_bytes == 0
    assert found.steps["grown_bytes"].to_list() == [None, 0, 0, 0]


def test_a_cache_that_one_step_fills_is_no_leak(tmp_path):
    found = growth(write_run(tmp_path / "run", _call(4, once=500)))
    assert found.leak_bytes == 0
    assert found.steps["grown_bytes"].to_list() == [None, 500, 0, 0]


def test_two_steps_tell_nothing_about_a_leak(tmp_path):
    found = growth(write_run(tmp_path / "run", _call(2, leaks=100)))
    assert found.leak_bytes is None
    assert found.steps["grown_bytes"].to_list() == [None, 100]


def test_a_call_without_steps_or_with_one(tmp_path):
    none = growth(write_run(tmp_path / "none", _call(0)))
    assert (none.leak_bytes, none.steps.height, none.kept.height) == (None, 0, 0)
    one = growth(write_run(tmp_path / "one", _call(1, leaks=5)))
    assert (one.leak_bytes, one.steps.height, one.kept.height) == (None, 1, 0)
