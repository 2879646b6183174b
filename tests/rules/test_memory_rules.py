"""Rules about memory: each fires on what it is about, with its bytes, and not on the clean counterpart."""

from __future__ import annotations

import pytest
from memory_runs import A, Call, found, not_checked, only
from memory_tape import BLOCK, CONV, MIB, Tape, phase, weight, write_run

from profiler.core.finding import CRITICAL, LOW, MEDIUM
from profiler.rundir.manifest import Failure


def _saves(granted):
    return granted.finding.saving_low_bytes, granted.finding.saving_high_bytes


def test_what_every_step_leaves_behind_is_a_leak(tmp_path):
    each = only(Call(leak=MIB, steps=4).write(tmp_path / "run", spec={"steps": 10}), "memory-leak")
    assert each.finding.title == "every step leaves 1.00 MiB behind: 9.00 MiB at the end of 10 steps"
    assert (each.finding.window, each.finding.count, each.cost_bytes) == ("step", 1, 9 * MIB)
    # Decoding is the peak, and holds all that the steps left: as much again as was recorded comes with six more steps.
    assert _saves(each) == (9 * MIB, 9 * MIB)
    place = each.finding.where[0]
    assert (place.file, place.line) == ("site-packages/diffusers/models/transformers/transformer_flux.py", 404)
    assert (place.function, place.module) == ("forward", "transformer")
    assert "3.00 MiB in 3 allocations by transformer (activations)" in each.finding.evidence


def test_a_leak_that_does_not_reach_the_peak_saves_nothing_of_it(tmp_path):
    each = only(Call(text=60, leak=MIB, steps=4).write(tmp_path / "run"), "memory-leak")
    assert (_saves(each), each.cost_bytes, each.severity) == ((0, 3 * MIB), 3 * MIB, LOW)


@pytest.mark.parametrize("leak", [0, 60_000])
def test_steps_that_leave_nothing_or_next_to_nothing(tmp_path, leak):
    assert not found(Call(leak=leak, steps=4).write(tmp_path / "run"), "memory-leak")


def test_two_steps_cannot_show_a_leak(tmp_path):
    why = not_checked(Call(leak=MIB, steps=2).write(tmp_path / "run"))
    assert why["memory-leak"] == "no memory events of three steps"


def _peaks(load, quantize, warmup, traced, model=20):
    sizes = {"load": (load, 30), "quantize": (quantize, model), "warmup": (warmup, model), "traced": (traced, model)}
    return [
        phase(name, at, at + 1, peak_bytes=peak * MIB, alloc_bytes=alloc * MIB)
        for at, (name, (peak, alloc)) in enumerate(sizes.items())
    ]


def _phased(tmp_path, *peaks, **spec):
    return write_run(tmp_path / "run", phases=_peaks(*peaks), spec=spec)


def test_quantizing_needs_more_than_a_call(tmp_path):
    each = only(_phased(tmp_path, 31, 33, 24, 22, scheme="int8dq", quantize_on="device"), "memory-masked")
    assert each.finding.title == "quantizing peaks 11.00 MiB above any call: it decides what device the run fits on"
    assert (each.finding.window, each.finding.once, each.cost_bytes, each.severity) == ("quantize", True, 11 * MIB, CRITICAL)
    # Without it the warm-up is left, 2 above a call, and the model with what converting held is 23: 1 above.
    assert _saves(each) == (9 * MIB, 11 * MIB)
    assert each.finding.change.startswith("--quantize-on per-layer")


def test_converting_a_layer_may_stay_above_a_call(tmp_path):
    each = only(_phased(tmp_path, 31, 36, 23, 22, scheme="int8dq"), "memory-masked")
    # 20 of model and the 6 that converting held: 4 above a call, and above the warm-up.
    assert _saves(each) == (10 * MIB, 14 * MIB)


def test_quantizing_layer_by_layer_already(tmp_path):
    each = only(_phased(tmp_path, 31, 33, 22, 22, scheme="int8dq", quantize_on="per-layer"), "memory-masked")
    assert each.finding.change == "--quantize-on cpu quantizes before anything is on the device"


def test_loading_and_the_warm_up_may_need_more_too(tmp_path):
    each = only(_phased(tmp_path / "a", 33, 30, 24, 22, scheme="int8dq"), "memory-masked")
    assert each.finding.window == "load" and each.finding.change.startswith("--quantize-on per-layer")
    each = only(_phased(tmp_path, 33, 30, 24, 22, scheme="bf16"), "memory-masked")
    assert each.finding.window == "load" and each.finding.change.startswith("--offload model")
    each = only(_phased(tmp_path / "b", 20, 20, 24, 22), "memory-masked")
    assert each.finding.window == "warmup" and "TORCHINDUCTOR_CACHE_DIR" in each.finding.change
    assert _saves(each) == (0, 2 * MIB)


def test_a_call_that_needs_most(tmp_path):
    assert not found(_phased(tmp_path, 21, 22, 22, 22), "memory-masked")


def test_without_peaks_by_phase_nothing_is_said(tmp_path):
    assert not_checked(Call().write(tmp_path / "run"))["memory-masked"] == "no memory peaks of its phases"


def test_text_encoders_that_stay(tmp_path):
    each = only(Call().write(tmp_path / "run"), "memory-resident")
    assert each.finding.title == "text encoders stay on the device after encoding: 40.00 MiB at the peak, in decode"
    assert (each.finding.window, each.cost_bytes) == ("decode", 40 * MIB)
    # The peak is 150 + 30; text encoding reaches 155, and steps without encoders 118.
    assert _saves(each) == (25 * MIB, 40 * MIB)
    assert [place.module for place in each.finding.where] == ["text_encoder_2"]
    assert each.finding.evidence[0] == "text_encoder_2 40.00 MiB"
    # Steps are the highest then: 158 less the encoder and the VAE.
    assert "--offload model leaves a peak of 0.105 GiB" in each.finding.evidence[2]


def test_text_encoders_that_are_elsewhere_or_are_the_peak(tmp_path):
    assert not found(Call({"transformer": 100, "vae": 10}).write(tmp_path / "a"), "memory-resident")
    assert not found(Call(text=60).write(tmp_path / "b"), "memory-resident")
    assert not found(Call({"text_encoder_2": 1, "transformer": 150}).write(tmp_path / "c"), "memory-resident")


def test_without_a_list_of_weights_encoders_are_not_known(tmp_path):
    call = Call()
    run = write_run(tmp_path / "run", call.tape)
    assert not_checked(run)["memory-resident"] == "no weights.json"


def test_decoding_is_the_peak(tmp_path):
    each = only(Call().write(tmp_path / "run", spec={"batch": 1}), "memory-decode")
    assert each.finding.title == "decoding is the peak of a call, 22.00 MiB above that of a step"
    assert (each.finding.window, each.cost_bytes) == ("decode", 30 * MIB)
    assert _saves(each) == (15 * MIB, 22 * MIB)
    assert each.finding.evidence[2].endswith("a quarter to a half of it is left with tiles of half the edge")
    assert "--vae-tiling" in each.finding.change
    assert each.finding.where[0].file == "site-packages/diffusers/models/autoencoders/vae.py"


def test_decoding_a_batch_can_be_sliced_once(tmp_path):
    each = only(Call(decode=40).write(tmp_path / "run", spec={"batch": 4}), "memory-decode")
    assert each.finding.change == "--vae-slicing decodes the 4 of a batch one at a time"
    # A quarter to three eighths of 40 MiB are left, and steps are 32 MiB lower.
    assert _saves(each) == (25 * MIB, 30 * MIB)
    placed = {"placement": {"vae": {"slicing": True, "tiling": None}}}
    each = only(Call(decode=40).write(tmp_path / "b", spec={"batch": 4}, applied=placed), "memory-decode")
    assert "--vae-tiling" in each.finding.change


def test_tiles_that_are_on_can_be_smaller(tmp_path):
    each = only(
        Call().write(tmp_path / "run", applied={"placement": {"vae": {"slicing": False, "tiling": None}}}), "memory-decode"
    )
    assert each.finding.change.startswith("--vae-tiling")
    tiled = {"placement": {"vae": {"slicing": False, "tiling": {"tile_sample_min_size": 1024}}}}
    each = only(Call().write(tmp_path / "b", applied=tiled), "memory-decode")
    assert each.finding.change.startswith("tiles are on: setting pipe.vae.tile_sample_min_size")


def test_decoding_is_the_peak_of_a_snapshot_without_windows(tmp_path):
    each = only(write_run(tmp_path / "run", Call(marked=False).tape, kind="import"), "memory-decode")
    assert each.finding.title == "decoding is the peak of a call, 22.00 MiB above that of everything else"
    assert (each.cost_bytes, _saves(each)) == (30 * MIB, (15 * MIB, 22 * MIB))
    assert not found(write_run(tmp_path / "b", Call(step=40, marked=False).tape, kind="import"), "memory-decode")


def test_the_highest_step_is_what_decoding_stands_above(tmp_path):
    each = only(Call(leak=MIB, steps=4).write(tmp_path / "run"), "memory-decode")
    assert each.finding.title == "decoding is the peak of a call, 22.00 MiB above that of a step"


def test_a_peak_that_the_vae_has_only_a_part_in(tmp_path):
    call = Call(marked=False)
    call.tape.alloc(A + 300 * MIB, 20 * MIB, BLOCK)
    call.tape.alloc(A + 330 * MIB, 25 * MIB, CONV)
    assert not found(write_run(tmp_path / "run", call.tape, kind="import"), "memory-decode")


def test_a_step_is_the_peak(tmp_path):
    assert not found(Call(step=40).write(tmp_path / "run"), "memory-decode")


def test_far_more_reserved_than_used(tmp_path):
    each = only(Call(extra=400).write(tmp_path / "run"), "memory-fragmentation")
    assert each.finding.title == "0.891 GiB of the device are reserved for 0.176 GiB at the peak"
    # One segment of 512 MiB holds 180 of them; nothing ever touches the other of 400.
    assert each.cost_bytes == (512 - 180 + 400) * MIB
    assert _saves(each) == (400 * MIB, each.cost_bytes)
    assert each.severity == MEDIUM
    assert "torch.cuda.empty_cache()" in each.finding.change and "expandable_segments:True" in each.finding.change


@pytest.mark.parametrize("extra", [0, 40])
def test_what_is_reserved_is_used(tmp_path, extra):
    """470 of 512 live; with 40 more 82 are free, which is less than a fifth."""
    run = Call({"transformer": 440}, step=20, extra=extra).write(tmp_path / "run")
    assert not found(run, "memory-fragmentation")


def _quantized(tmp_path, scheme="int8wo", linears=(), size=4096, **spec):
    call = Call({"transformer": 64})
    call.listed[0] |= {"role": "quantized data", "dtype": "int8", "shape": [8192, 8192]}
    call._next = A + 400 * MIB  # behind all that the call used
    sizes = {"block.0.q.weight": (size, size), "shared.weight": (4096, 4096), "norm.weight": (4096,)}
    for name, shape in sizes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        call.listed.append(weight(call._held(size), size, name, "text_encoder_2", shape=list(shape)))
    return call.write(tmp_path / "run", spec={"scheme": scheme} | spec, applied={"linears": list(linears)})


def test_a_large_linear_stayed_unquantized(tmp_path):
    each = only(_quantized(tmp_path), "memory-left")
    # 16,777,216 weights in two bytes each; int8wo takes one, a scale of four bytes and a zero point of one a row.
    saved = 4096 * 4096 - 4096 * 5
    assert each.finding.title == "1 Linear of text_encoder_2 stayed in bf16: 32.00 MiB"
    assert each.cost_bytes == 32 * MIB
    assert _saves(each) == (round(0.95 * saved), saved)
    assert each.finding.change.startswith("--quantize-text-encoder")
    assert each.finding.where[0].module == "text_encoder_2.block.0.q"


def test_reasons_are_those_of_the_linears_that_were_left(tmp_path):
    linears = [
        {"module": "text_encoder_2.block.0.q", "scheme": "left", "reason": "too wide"},
        {"module": "text_encoder_2.block.0.k", "scheme": "int8wo", "reason": "M <= 16"},
        {"module": "transformer.x", "scheme": "left", "reason": "not asked"},
    ]
    each = only(_quantized(tmp_path, linears=linears), "memory-left")
    assert each.finding.evidence[1:] == ("1 left: too wide",)


def test_a_small_linear_is_not_worth_it(tmp_path):
    assert not found(_quantized(tmp_path, size=512), "memory-left")


def test_text_encoders_asked_for_and_left_have_another_way(tmp_path):
    each = only(_quantized(tmp_path, quantize_text_encoder=True), "memory-left")
    assert "layer policy" in each.finding.change


def test_nothing_is_left_where_nothing_is_quantized(tmp_path):
    assert not found(_quantized(tmp_path, scheme="bf16"), "memory-left")
    assert not found(_quantized(tmp_path / "own", scheme="a scheme without arithmetic"), "memory-left")
    assert not found(Call().write(tmp_path / "b", spec={"scheme": "int8wo"}), "memory-left")


def _pooled(tmp_path, pool):
    tape = Tape()
    tape.segment(A, 100 * MIB)
    tape.segment(A + 200 * MIB, 20 * MIB, pool=pool)
    tape.held(A, 90 * MIB, BLOCK)
    tape.held(A + 200 * MIB, 12 * MIB)
    tape.alloc(A + 95 * MIB, MIB, BLOCK)
    return write_run(tmp_path / "run", tape)


def test_cuda_graphs_keep_a_pool(tmp_path):
    each = only(_pooled(tmp_path, (1, 0)), "memory-graph-pool")
    assert each.finding.title == "CUDA graphs keep 20.00 MiB in 1 private pool"
    assert (each.cost_bytes, each.finding.count, _saves(each)) == (20 * MIB, 1, (0, 20 * MIB))
    assert each.finding.evidence[0].startswith("12.00 MiB of it live at the peak")


def test_no_private_pool(tmp_path):
    assert not found(_pooled(tmp_path, (0, 0)), "memory-graph-pool")


_MESSAGE = "CUDA out of memory. Tried to allocate 3.00 MiB. GPU 0 has 1.00 GiB of which 1.00 MiB is free."


def _out_of_memory(tmp_path, tape=None, **manifest):
    failure = Failure(type="OutOfMemoryError", message=_MESSAGE, phase="warmup")
    phases = [phase("warmup", 900_000, None)]
    return write_run(tmp_path / "run", tape, status="oom", failure=failure, phases=phases, **manifest)


def test_out_of_memory_by_its_event(tmp_path):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.alloc(A, MIB, BLOCK)
    tape.alloc(A + 2 * MIB, MIB, BLOCK)
    tape.oom(3 * MIB, MIB, CONV)
    each = only(_out_of_memory(tmp_path, tape, spec={"batch": 8}), "out-of-memory")
    assert each.finding.title == "out of memory in warmup: 3.00 MiB asked by vae, 1.00 MiB free on the device"
    assert (each.severity, each.cost_bytes, _saves(each)) == (CRITICAL, 3 * MIB, (0, 2 * MIB))
    assert "held: activations 2.00 MiB (2.00 MiB live)" in each.finding.evidence
    assert "4.00 MiB reserved, 2.00 MiB of it free in 2 pieces, the largest 1.00 MiB" in each.finding.evidence
    assert "free on the device and free in pieces together are enough: in one piece it would have fit" in each.finding.evidence
    for option in ("--vae-slicing decodes the 8 pictures", "--offload model", "expandable_segments:True"):
        assert option in each.finding.change


def test_one_picture_that_does_not_fit_is_cut_into_tiles(tmp_path):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.alloc(A, 4 * MIB, BLOCK)
    tape.oom(3 * MIB, MIB, CONV)
    each = only(_out_of_memory(tmp_path, tape, spec={"batch": 1}), "out-of-memory")
    assert each.finding.change.startswith("--vae-tiling decodes tile by tile; or --offload model")
    # Nothing is free in pieces: all that was missing must be freed.
    assert _saves(each) == (2 * MIB, 2 * MIB)
    assert "expandable" not in each.finding.change


def test_out_of_memory_by_its_message_alone(tmp_path):
    each = only(_out_of_memory(tmp_path, spec={"offload": "model"}), "out-of-memory")
    assert (each.cost_bytes, _saves(each)) == (3 * MIB, (2 * MIB, 2 * MIB))
    assert not each.finding.where and "--offload" not in each.finding.change


def test_a_run_that_ended_well_is_not_out_of_memory(tmp_path):
    assert not found(Call().write(tmp_path / "run"), "out-of-memory")
    why = not_checked(Call().write(tmp_path / "b"))
    assert "out-of-memory" not in why
