"""Out of memory: what asked, what held, what was free in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
from kept_runs import kept_run
from memory_tape import BLOCK, CONV, MIB, Tape, phase, write_run

from profiler.metrics.memory import oom_report
from profiler.rundir.manifest import Failure

A = 0x7F0000000000
_OOM_RUN = Path(__file__).resolve().parents[3] / "traces" / "flux-dev-batch64-oom"


def _failed(tmp_path, tape, **manifest):
    failure = Failure(
        type="OutOfMemoryError",
        message="CUDA out of memory. Tried to allocate 3.00 MiB. GPU 0 has 1.00 GiB of which 512.00 MiB is free.",
        phase="warmup",
    )
    phases = [phase("warmup", 900_000, None)]
    return write_run(tmp_path / "run", tape, status="oom", failure=failure, phases=phases, **manifest)


def _tape(asked, device_free):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.alloc(A, MIB, BLOCK)
    tape.alloc(A + 2 * MIB, MIB, BLOCK)
    tape.oom(asked, device_free, CONV)
    return tape


def test_what_asked_and_what_held_the_memory(tmp_path):
    found = oom_report(_failed(tmp_path, _tape(3 * MIB, MIB)))
    assert (found.asked_bytes, found.device_free_bytes, found.live_bytes) == (3 * MIB, MIB, 2 * MIB)
    assert (found.component, found.window, found.phase) == ("vae", "warmup", "warmup")
    assert found.place == "site-packages/diffusers/models/autoencoders/vae.py:304 forward"
    assert found.stack_text.startswith("site-packages/torch/nn/modules/conv.py:548 _conv_forward")
    assert found.by_category == {"activations": 2 * MIB}
    assert found.by_component == {"transformer": 2 * MIB}
    assert found.rows["size_bytes"].to_list() == [MIB, MIB]
    assert found.message.startswith("CUDA out of memory")


@pytest.mark.parametrize(("asked", "in_pieces"), [(3 * MIB, True), (4 * MIB, False)])
def test_whether_it_would_have_fit_in_one_piece(asked, in_pieces, tmp_path):
    found = oom_report(_failed(tmp_path, _tape(asked, MIB)))
    assert (found.free.free_bytes, found.free.largest_free_bytes, found.free.pieces) == (2 * MIB, MIB, 2)
    assert found.free.exact
    assert found.by_fragmentation is in_pieces


def test_what_was_freed_after_the_failure_was_still_held_at_it(tmp_path):
    tape = _tape(3 * MIB, MIB)
    tape.free(A)
    found = oom_report(_failed(tmp_path, tape))
    assert found.live_bytes == 2 * MIB
    assert (found.free.free_bytes, found.free.exact) == (2 * MIB, False)


def test_without_an_event_it_is_told_from_the_message_and_what_was_left(tmp_path):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.held(A, MIB, BLOCK)
    found = oom_report(_failed(tmp_path, tape))
    assert (found.asked_bytes, found.device_free_bytes, found.rounded) == (3 * MIB, 512 * MIB, True)
    assert (found.live_bytes, found.by_category) == (MIB, {"activations": MIB})
    assert (found.free.largest_free_bytes, found.free.exact, found.by_fragmentation) == (3 * MIB, True, True)
    assert (found.time_us, found.place, found.stack_text) == (None, "", "")


def test_a_run_without_memory_events_is_told_from_its_manifest(tmp_path):
    found = oom_report(_failed(tmp_path, None))
    assert (found.phase, found.asked_bytes, found.rounded, found.free) == ("warmup", 3 * MIB, True, None)
    assert "Tried to allocate" in found.message


def test_a_cpu_says_what_it_was_asked_for_in_its_own_words(tmp_path):
    message = "err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12"
    run = write_run(tmp_path / "run", status="oom", failure=Failure(type="RuntimeError", message=message, phase="warmup"))
    assert (oom_report(run).asked_bytes, oom_report(run).device_free_bytes) == (99, None)


def test_a_run_that_had_room_has_no_report(tmp_path):
    tape = Tape()
    tape.alloc(A, 10, BLOCK)
    assert oom_report(write_run(tmp_path / "run", tape)) is None
    assert oom_report(write_run(tmp_path / "other")) is None


@pytest.mark.skipif(not _OOM_RUN.is_dir(), reason="no kept run out of memory in traces/")
def test_the_kept_run_failed_for_want_of_one_piece():
    """Flux at batch 64: the VAE asked for 16 GiB; 12.97 GiB of the device and 6.83 GiB in ten pieces were free."""
    run = kept_run(_OOM_RUN.name)
    found = oom_report(run)
    assert (found.asked_bytes, found.device_free_bytes) == (16 << 30, 13_926_989_824)
    assert found.free.free_bytes == 67_226_304_512 - 59_892_207_104
    assert (found.free.pieces, found.free.largest_free_bytes, found.free.exact) == (10, 4 << 30, True)
    assert found.by_fragmentation
    assert found.live_bytes == run.manifest.phase("warmup").requested_bytes == sum(found.by_category.values())
    assert (found.component, found.window) == ("vae", "warmup")
    assert set(found.by_category) == {"weights", "activations", "inputs and outputs", "workspace"}
    assert found.by_category["weights"] == 33_741_198_894
