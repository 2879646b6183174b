"""What compiling leaves of elementwise kernels, by hand: a tensor of 1024 x 1024 bf16 elements is 2 MiB."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from profiler.metrics.plan_fusion import fusion

MIB = 1 << 20
BF16, FLOAT, SCALAR = "c10::BFloat16", "float", "Scalar"
ROWS = [1024, 1024]
_COLUMNS = ("class", "own_ns", "call_id", "name", "op", "input_dims", "input_types", "input_strides", "concrete_inputs")


class Events:
    """The events of a window, one after the other; every kernel takes 10 us."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, label: str, op: str | None, dims: list[Any], types: list[str] | None = None, name: str = "kernel") -> Events:
        kinds = json.dumps(types or [BF16] * len(dims))
        texts = (json.dumps(dims), kinds, None, None) if op else (None,) * 4
        self._rows.append((label, 10_000, len(self._rows), name, op, *texts))
        return self

    def product(self, dims: list[int] = ROWS) -> Events:
        return self.add("GEMM bf16", "aten::addmm", [[dims[1]], dims, [dims[1], 1024], [], []], [BF16] * 3 + [SCALAR] * 2)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self._rows, schema=_COLUMNS, orient="row", infer_schema_length=None)


def chains(events: Events) -> list[tuple[float, int]]:
    """MiB and kernels of each chain."""
    return [(size / MIB, kernels) for size, kernels in fusion(events.frame()).chains]


def test_a_chain_reads_what_the_product_before_wrote_and_writes_what_the_next_reads():
    events = Events().product().add("pointwise", "aten::gelu", [ROWS]).add("pointwise", "aten::neg", [ROWS]).product()
    found = fusion(events.frame())
    assert chains(events) == [(4.0, 1)], "read once, written once; between the two nothing is"
    assert (found.kernels, found.kept_us, found.eager_us) == (1, 0.0, 20.0)
    # 4 MiB at 1000 GB/s; never less than a launch.
    assert found.us(1000.0, 1.0) == pytest.approx(4.194304)
    assert found.us(1000.0, 7.0) == 7.0


def test_a_tensor_that_three_products_read_is_written_once_and_their_results_are_read_each():
    events = Events().product().add("norm", "aten::native_layer_norm", [ROWS]).product().product().product()
    events.add("pointwise", "aten::mul", [ROWS, ROWS]).add("pointwise", "aten::add", [ROWS, ROWS]).product()
    # The norm: 2 in, 2 out. Then three results in, one tensor out.
    assert chains(events) == [(4.0, 1), (8.0, 1)]


def test_a_residual_is_read_again_later():
    events = Events().product().add("pointwise", "aten::gelu", [ROWS]).product()
    events.add("pointwise", "aten::neg", [ROWS]).add("pointwise", "aten::add", [ROWS, ROWS]).product()
    # The second chain reads the product and what the first wrote for it, and writes one.
    assert chains(events) == [(4.0, 1), (6.0, 1)]


def test_a_cast_moves_the_bytes_of_both_dtypes_only_where_they_leave_the_chain():
    cast = [ROWS, ROWS, []]
    events = Events().product().add("copy", "aten::copy_", cast, [FLOAT, BF16, SCALAR])
    events.add("pointwise", "aten::mul", [ROWS, [1024, 1]], [FLOAT, FLOAT]).add(
        "copy", "aten::copy_", cast, [BF16, FLOAT, SCALAR]
    )
    assert chains(events.product()) == [(4.0, 1)]


def test_attention_reads_three_and_sizes_of_results_are_kernels():
    heads = [1, 8, 1024, 128]
    events = Events().product().add("norm", "aten::native_layer_norm", [ROWS]).product().product().product()
    for _ in range(2):
        events.add("norm", "aten::_fused_rms_norm", [[1024, 8, 128]])
    events.add("pointwise", "aten::silu", [[1, 512]])
    events.add("attention", "aten::_flash_attention_forward", [heads] * 3)
    # Two of three are normed: 2 in and 2 out each; the third goes straight. The small one costs a kernel and no bytes.
    assert chains(events) == [(4.0, 1), (8.0, 2)]


def test_what_cannot_be_fused_keeps_its_time():
    events = Events().product().add("memset", "aten::fill_", [ROWS]).add("pointwise", None, []).product()
    found = fusion(events.frame())
    assert (found.chains, found.kept_us, found.eager_us) == ([], 20.0, 20.0)


def test_cat_reads_its_list():
    events = Events().product().product()
    shapes = [[[1024, 1024], [1024, 1024]], []]
    events.add("copy", "aten::cat", shapes, ["TensorList", SCALAR], "CatArrayBatchedCopy_vec<OpaqueType<2u>, int>")
    assert chains(events.product([2048, 1024])) == [(8.0, 1)]
