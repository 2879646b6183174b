"""What each allocation is for: one category, from the best that is known."""

from __future__ import annotations

import polars as pl
import pytest
from memory_tape import (
    BLOCK,
    CLIP,
    COMPILED,
    CONV,
    DEQUANTIZED,
    GENERATED,
    INSIDE_HOOK,
    LATENTS,
    LINEAR,
    LOADED,
    MIB,
    MODEL_HOOK,
    QUANTIZED,
    SCHEDULER,
    SDPA,
    T5,
    TUNED,
    USER_MODULE,
    Tape,
    phase,
    weight,
    write_run,
)

from profiler.core.errors import UnreadableInput
from profiler.metrics.memory import CATEGORIES, allocations

A = 0x7F0000000000


def _one(tmp_path, tape, address, **manifest):
    rows = allocations(write_run(tmp_path / "run", tape, **manifest)).filter(pl.col("address") == address)
    return rows.row(0, named=True)


@pytest.mark.parametrize(
    ("stack", "category", "component", "role"),
    [
        (BLOCK, "activations", "transformer", "activation"),
        (LINEAR, "activations", "transformer", "activation"),
        (GENERATED, "activations", "transformer", "activation"),
        (T5, "activations", "text_encoder_2", "activation"),
        (CLIP, "activations", "text_encoder", "activation"),
        (USER_MODULE, "activations", "unattributed", "activation"),
        (DEQUANTIZED, "activations", "transformer", "dequantized weight"),
        (INSIDE_HOOK, "activations", "transformer", "activation"),
        (SCHEDULER, "inputs and outputs", "scheduler", "inputs and outputs"),
        (LATENTS, "inputs and outputs", "pipeline", "inputs and outputs"),
        (TUNED, "compile buffers", "transformer", "autotune"),
        (COMPILED, "compile buffers", "transformer", "compilation"),
        (LOADED, "weights", "transformer", "weight"),
        ([("main", "/home/me/run.py", 3)], "unknown", "unattributed", "unknown"),
        (None, "unknown", "unattributed", "unknown"),
    ],
)
def test_a_stack_says_what_an_allocation_is_for(stack, category, component, role, tmp_path):
    tape = Tape()
    tape.alloc(A, 4096, stack)
    row = _one(tmp_path, tape, A)
    assert (row["category"], row["component"], row["role"]) == (category, component, role)
    assert category in CATEGORIES


def test_a_block_from_before_is_told_by_its_own_frames_else_it_is_before_recording(tmp_path):
    tape = Tape()
    tape.held(A, 100, SCHEDULER)
    tape.held(A + MIB, 100)
    tape.free(A + 2 * MIB, BLOCK, size=50)
    rows = {row["address"] - A: row for row in allocations(write_run(tmp_path / "run", tape)).iter_rows(named=True)}
    assert rows[0]["category"] == "inputs and outputs"
    assert rows[MIB]["category"] == "before recording"
    # The stack of its free says nothing about what it was.
    assert (rows[2 * MIB]["category"], rows[2 * MIB]["end_index"]) == ("before recording", 1)


def test_one_text_encoder_alone_is_the_first(tmp_path):
    tape = Tape()
    tape.alloc(A, 4096, T5)
    weights = [weight(A + MIB, 10, "shared.weight", "text_encoder"), weight(A + MIB, 10, "x", "transformer")]
    row = allocations(write_run(tmp_path / "run", tape, weights=weights)).row(0, named=True)
    assert row["component"] == "text_encoder"


def test_weights_are_known_by_their_address_with_role_dtype_and_module(tmp_path):
    tape = Tape()
    for number, size in enumerate((1000, 40, 200, 300)):
        tape.held(A + number * MIB, size, LINEAR)
    tape.alloc(A + 9 * MIB, 77, BLOCK)
    weights = [
        weight(A, 1000, "blocks.0.to_q.weight", role="quantized data", dtype="int8"),
        weight(A + MIB, 40, "blocks.0.to_q.weight", role="scale", dtype="float32"),
        weight(A + 2 * MIB, 200, "blocks.0.norm.weight"),
        weight(A + 3 * MIB, 300, "position_ids", "text_encoder", role="buffer", kind="buffer", dtype="int64"),
        # Freed and given out again since: no weight lies there now.
        weight(A + 9 * MIB, 999, "gone.weight"),
        weight(0, 0, "empty"),
    ]
    rows = allocations(write_run(tmp_path / "run", tape, weights=weights)).sort("address")
    assert rows["category"].to_list() == ["weights"] * 4 + ["activations"]
    assert rows["role"].to_list() == ["quantized data", "scale", "left in bf16", "buffer", "activation"]
    assert rows["dtype"].to_list() == ["int8", "float32", "bfloat16", "int64", ""]
    assert rows["component"].to_list() == ["transformer"] * 3 + ["text_encoder", "transformer"]
    assert rows["module"].to_list()[:4] == ["transformer.blocks.0.to_q"] * 2 + ["transformer.blocks.0.norm", "text_encoder"]
    assert rows["name"][0] == "transformer.blocks.0.to_q.weight"


def test_what_lay_where_a_weight_came_to_lie_later_is_none(tmp_path):
    tape = Tape()
    tape.alloc(A, 100, BLOCK)
    tape.free(A)
    tape.alloc(A, 100, BLOCK)
    rows = allocations(write_run(tmp_path / "run", tape, weights=[weight(A, 100, "a.weight")]))
    assert rows["category"].to_list() == ["activations", "weights"]


def test_tensors_that_share_a_storage_are_one_weight_named_after_the_largest(tmp_path):
    tape = Tape()
    tape.held(A, 512, BLOCK)
    shared = [weight(A, size, name, storage_bytes=512) | {"bytes": size} for name, size in (("view", 8), ("whole", 512))]
    rows = allocations(write_run(tmp_path / "run", tape, weights=shared))
    assert rows.select("size_bytes", "name").rows() == [(512, "transformer.whole")]


def test_a_block_that_waits_for_a_stream_still_counts(tmp_path):
    tape = Tape()
    tape.held(A, 100, SCHEDULER)
    tape.ask_free(A)
    row = _one(tmp_path, tape, A)
    assert (row["start_index"], row["end_index"], row["category"]) == (-1, None, "inputs and outputs")


def test_where_nothing_is_quantized_a_weight_is_a_weight(tmp_path):
    tape = Tape()
    tape.held(A, 64, BLOCK)
    row = allocations(write_run(tmp_path / "run", tape, weights=[weight(A, 64, "a.weight")])).row(0, named=True)
    assert row["role"] == "weight"


def test_a_compiled_region_is_named(tmp_path):
    tape = Tape()
    tape.alloc(A, 64, GENERATED, compile_context="Torch-Compiled Region: 1/1")
    row = _one(tmp_path, tape, A)
    assert (row["region"], row["place"]) == ("Torch-Compiled Region: 1/1", f"{BLOCK[0][1]}:404 forward")


def test_a_recorded_module_is_trusted_before_the_stack(tmp_path):
    tape = Tape()
    tape.alloc(A, 64, USER_MODULE, module="transformer.blocks.3.attn")
    tape.alloc(A + MIB, 64, BLOCK, module="scheduler")
    rows = allocations(write_run(tmp_path / "run", tape))
    assert rows["component"].to_list() == ["transformer", "scheduler"]
    assert rows["module"].to_list() == ["transformer.blocks.3.attn", "scheduler"]
    assert rows["category"].to_list() == ["activations", "inputs and outputs"]


@pytest.mark.parametrize(("stack", "role"), [(CONV, "convolution"), (LINEAR, "GEMM"), (SDPA, "attention")])
def test_what_an_operator_gives_back_before_it_returns_is_its_workspace(stack, role, tmp_path):
    tape = Tape()
    tape.alloc(A, 5000, stack)
    tape.alloc(A + MIB, 900, stack)
    tape.free(A + MIB, stack)
    tape.free(A, BLOCK)
    rows = allocations(write_run(tmp_path / "run", tape))
    assert rows.select("size_bytes", "category", "role").rows() == [
        (5000, "activations", "activation"),
        (900, "workspace", role),
    ]


def test_a_result_that_a_later_call_of_the_same_line_gives_back_is_no_workspace(tmp_path):
    tape = Tape()
    tape.alloc(A, 5000, LINEAR)
    tape.alloc(A + MIB, 5000, BLOCK)
    tape.free(A, LINEAR)
    assert set(allocations(write_run(tmp_path / "run", tape))["category"]) == {"activations"}


def test_cublas_keeps_a_workspace_of_a_known_size_since_the_first_product(tmp_path):
    tape = Tape()
    tape.held(A, 32 * MIB, [LINEAR[0], *CLIP])
    tape.held(A + 64 * MIB, MIB, GENERATED)
    # A result of the same size that lives on.
    tape.alloc(A + 128 * MIB, 32 * MIB, LINEAR)
    rows = allocations(write_run(tmp_path / "run", tape)).sort("address")
    assert rows["category"].to_list() == ["workspace", "activations", "activations"]
    assert rows.select("component", "role").row(0) == ("shared", "GEMM")


def test_the_recorder_knows_the_workspaces_of_cublas(tmp_path):
    tape = Tape()
    tape.held(A, 12345, BLOCK)
    tape.held(A + MIB, 12345, BLOCK)
    said = {"cublas_workspaces": [{"address": A, "bytes": 12800, "requested_bytes": 12345}, "odd", {"address": -1}]}
    run = write_run(tmp_path / "run", tape, phases=[phase("memory", 0, 9_000_000, detail=said)])
    assert allocations(run).sort("address")["category"].to_list() == ["workspace", "activations"]


def test_a_private_pool_belongs_to_cuda_graphs(tmp_path):
    tape = Tape()
    tape.segment(A, 8 * MIB)
    tape.segment(A + 8 * MIB, 8 * MIB, pool=(0, 1))
    tape.alloc(A, 4096, BLOCK)
    tape.alloc(A + 8 * MIB, 4096, BLOCK)
    # Its segment is gone by the end: only the event says so.
    tape.alloc(A + 64 * MIB, 4096, BLOCK, pool_id=(0, 1))
    tape.free(A + 64 * MIB)
    rows = allocations(write_run(tmp_path / "run", tape)).sort("address")
    assert rows["category"].to_list() == ["activations", "cuda-graph pool", "cuda-graph pool"]
    assert set(rows["component"]) == {"transformer"}


def test_what_quantizing_replaces_was_a_weight_and_what_it_needs_meanwhile_is_conversion(tmp_path):
    load = Tape(start_us=1_000)
    load.alloc(A, 800, LOADED)
    load.alloc(A + MIB, 30, LOADED)
    load.free(A + MIB)
    load.mark("-", "START")
    load._time_us = 5_000
    load.alloc(A + 2 * MIB, 500, QUANTIZED)
    load.alloc(A + 3 * MIB, 400, QUANTIZED)
    load.free(A + 2 * MIB)
    load.free(A)
    run = write_run(
        tmp_path / "run",
        load=load,
        weights=[weight(A + 3 * MIB, 400, "a.weight", role="quantized data", dtype="int8")],
        phases=[phase("load", 900, 4_000), phase("quantize", 4_500, 9_000)],
    )
    rows = allocations(run, part="load")
    assert set(rows["category"]) == {"weights"}
    assert rows.select("size_bytes", "role", "component", "window").rows() == [
        (800, "weight", "transformer", "load"),
        (30, "in conversion", "transformer", "load"),
        (500, "in conversion", "transformer", "quantize"),
        (400, "quantized data", "transformer", "quantize"),
    ]


def test_an_offload_hook_brings_weights_known_by_their_sizes(tmp_path):
    tape = Tape()
    for number, size in enumerate((1000, 64, 640)):
        tape.alloc(A + number * MIB, size, MODEL_HOOK)
    # The hook also moves inputs, and the forward inside it makes activations.
    tape.alloc(A + 3 * MIB, 48, MODEL_HOOK)
    tape.alloc(A + 4 * MIB, 64, INSIDE_HOOK)
    # Another component's turn: of a size that both have, told by the rest of what came with it.
    tape.alloc(A + 5 * MIB, 64, MODEL_HOOK)
    tape.alloc(A + 6 * MIB, 7, MODEL_HOOK)
    weights = [
        weight(1, 1000, "a.weight", role="quantized data", dtype="int8", device="cpu"),
        weight(2, 64, "a.weight", role="scale", dtype="float32", device="cpu"),
        weight(3, 640, "b.weight", device="cpu"),
        weight(4, 64, "c.weight", "vae", device="cpu"),
        weight(5, 7, "c.bias", "vae", device="cpu"),
    ]
    rows = allocations(write_run(tmp_path / "run", tape, weights=weights)).sort("address")
    assert rows["category"].to_list() == ["weights"] * 3 + ["inputs and outputs", "activations", "weights", "weights"]
    assert rows["component"].to_list() == ["transformer"] * 3 + ["pipeline", "transformer", "vae", "vae"]
    assert rows["role"].to_list()[:3] == ["quantized data", "scale", "left in bf16"]


def test_an_offload_hook_inside_a_recorded_module_brings_that_modules_weights(tmp_path):
    tape = Tape()
    tape.alloc(A, 64, MODEL_HOOK, module="vae.decoder.conv_in")
    # The next group's weights, brought while this one still runs.
    tape.alloc(A + MIB, 128, MODEL_HOOK, module="vae.decoder.conv_in")
    weights = [
        weight(1, 64, "a.weight", device="cpu"),
        weight(6, 128, "b.weight", device="cpu"),
        weight(2, 64, "decoder.conv_in.weight", "vae", device="cpu"),
        weight(3, 64, "decoder.conv_out.weight", "vae", device="cpu"),
        weight(4, 128, "decoder.mid.weight", "vae", device="cpu"),
        weight(5, 128, "decoder.up.weight", "vae", device="cpu"),
    ]
    rows = allocations(write_run(tmp_path / "run", tape, weights=weights))
    assert rows["category"].to_list() == ["weights", "weights"]
    assert rows["module"].to_list() == ["vae.decoder.conv_in", "vae"]
    assert rows["name"].to_list() == ["vae.decoder.conv_in.weight", ""]


@pytest.mark.parametrize("text", ["[", "3", '[{"component": 3}]', "[1]", '{"a": [1]}'])
def test_weights_that_are_no_list_of_weights_are_one_clear_error(text, tmp_path):
    tape = Tape()
    tape.alloc(A, 64, BLOCK)
    run = write_run(tmp_path / "run", tape, weights=[])
    path = tmp_path / "run" / "rank0" / "weights.json"
    path.write_text(text)
    with pytest.raises(UnreadableInput, match=r"weights\.json"):
        allocations(run)


def test_a_run_without_memory_events_says_so(tmp_path):
    with pytest.raises(UnreadableInput, match="memory_load"):
        allocations(write_run(tmp_path / "run", Tape()), part="load")
