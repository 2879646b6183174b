"""The floor of small traces by hand: 1 TFLOP/s is 1000 FLOP a ns, 1 GB/s is a byte a ns."""

from __future__ import annotations

import pytest
from ledger_traces import kernel, launch, mark, op, run_of

from profiler.metrics.floor import floor
from profiler.metrics.floor_ceilings import Raised
from profiler.metrics.ledger import ledger

_RATES = {"bf16_tflops": 1.0, "copy_gbs": 1.0}
_BF16 = "c10::BFloat16"
_COLUMNS = ("class", "count", "priced", "clamped", "measured_ns", "floor_ns", "bound")


def _shaped(name, start, end, external, dims, types=None):
    inputs = {"Input Dims": dims, "Input type": types or [_BF16] * len(dims)}
    return op(name, start, end, **{"External id": external}, **inputs)


def _ran(start, end, correlation, external, name, **more):
    event = kernel(start, end, correlation, name)
    event["args"] |= {"External id": external, **more}
    return event


def _floor(folder, events, window="step", **manifest):
    run = run_of(folder, events, **{"environment": {"ceilings": _RATES}, **manifest})
    found = ledger(run, window)
    return found, floor(run, found)


def _step(index, at, external):
    """A product (15 us), a pointwise kernel (8 us), and an attention kernel (3 us) that no operator of the trace launched."""
    return [
        mark(f"diffuscope/step/{index}", at, at + 50),
        _shaped("aten::mm", at, at + 2, external, [[100, 100], [100, 500]]),
        launch(at, at + 1, external),
        _ran(at + 10, at + 25, external, external, "nvjet_sm90_tst_1"),
        _shaped("aten::gelu", at + 2, at + 4, external + 1, [[1000]]),
        launch(at + 3, at + 4, external + 1),
        _ran(at + 25, at + 33, external + 1, external + 1, "vectorized_elementwise_kernel"),
        launch(at + 5, at + 6, external + 2),
        _ran(at + 33, at + 36, external + 2, external + 2, "flash_fwd_kernel"),
    ]


def test_two_steps_by_hand(tmp_path):
    events = _step(0, 0, 10) + _step(1, 100, 20)
    found, of_step = _floor(tmp_path / "run", events)
    # 10^7 FLOP are 10 us and the product's 220 kB 220 us, more than it took; 4 kB are 4 us; the flash kernel has no operator.
    assert of_step.classes.select(_COLUMNS).rows() == [
        ("GEMM bf16", 1.0, 1.0, 1.0, 15_000.0, 15_000.0, "bytes"),
        ("pointwise", 1.0, 1.0, 0.0, 8_000.0, 4_000.0, "bytes"),
        ("attention", 1.0, 0.0, 0.0, 3_000.0, 3_000.0, ""),
    ]
    assert of_step.unpriced.rows() == [("no shapes", "flash_fwd_kernel", 1.0, 3_000.0)]
    assert (of_step.floor_ns, of_step.unpriced_ns, of_step.why) == (22_000.0, 3_000.0, "")
    assert of_step.classes["ratio"].to_list() == [1.0, 2.0, 1.0]
    busy = found.rows.filter(found.rows["kind"] == "busy")["total_ns"].sum()
    assert of_step.classes["measured_ns"].sum() == busy / 2


def test_kernels_of_one_call_share_its_work_and_a_helper_takes_none(tmp_path):
    dims = [[100, 100], [100, 500]]
    rates = {"bf16_tflops": 1.0, "copy_gbs": 1000.0}
    events = [
        mark("diffuscope/step/0", 0, 50),
        _shaped("aten::mm", 0, 5, 1, dims),
        launch(0, 1, 1),
        _ran(10, 22, 1, 1, "nvjet_sm90_tst_1"),
        launch(1, 2, 2),
        _ran(22, 26, 2, 1, "cublasLt::splitKreduce_kernel<__nv_bfloat16>"),
        launch(2, 3, 3),
        _ran(26, 30, 3, 1, "cudnn nchwToNhwcKernel"),
        launch(3, 4, 4),
        {**_ran(30, 31, 4, 1, "Memset (Device)", bytes=500), "cat": "gpu_memset"},
    ]
    _, of_step = _floor(tmp_path / "run", events, environment={"ceilings": rates})
    rows = {row[0]: row for row in of_step.classes.select("class", "measured_ns", "floor_ns", "flops").iter_rows()}
    products = [row for label, row in rows.items() if label.startswith("GEMM")]
    assert sum(row[1] for row in products) == 16_000
    assert sum(row[2] for row in products) == pytest.approx(10_000.0)
    assert sum(row[3] for row in products) == pytest.approx(1e7)
    assert rows["copy"] == ("copy", 4_000.0, 0.0, 0.0)
    assert rows["memset"] == ("memset", 1_000.0, 0.5, 0.0)
    assert of_step.classes.filter(of_step.classes["class"] == "copy")["ratio"].to_list() == [None]


_INT8_STEP = [[100, 100], [100, 500], [100], [500]]


def _int8_step(us, **environment):
    """A product of 10^7 operations on int8 that takes `us`, and one of half as many that takes 40 us."""
    types = ["signed char", "signed char", "float", "float"]
    events = [
        mark("diffuscope/step/0", 0, 200),
        _shaped("diffuscope::int_scaled_matmul", 0, 2, 1, _INT8_STEP, types),
        launch(0, 1, 1),
        _ran(10, 10 + us, 1, 1, "warpgroup_kernel"),
        _shaped("aten::_int_mm", 2, 4, 2, [[100, 100], [100, 250]], types[:2]),
        launch(2, 3, 2),
        _ran(100, 140, 2, 2, "cutlass_80_tensorop_i16832gemm_s8"),
    ]
    return events, {"ceilings": {"int8_tops": 0.2, "copy_gbs": 1000.0}, **environment}


def test_a_ceiling_that_another_kernel_beats_is_raised_and_named(tmp_path):
    events, environment = _int8_step(25, ceiling_kernels={"int8_tops": "aten::_int_mm at 8192x8192x8192"})
    _, of_step = _floor(tmp_path / "run", events, environment=environment)
    reached = pytest.approx(0.4)
    assert of_step.raised == (Raised("int8_tops", 0.2, reached, "warpgroup_kernel", "aten::_int_mm at 8192x8192x8192"),)
    # The first stands at its floor, the other would take half as long as the first: 12.5 us instead of 40.
    row = of_step.classes.row(0, named=True)
    assert (row["class"], row["clamped"], row["measured_ns"]) == ("GEMM int8", 0.0, 65_000.0)
    assert row["floor_ns"] == pytest.approx(37_500.0)


@pytest.mark.parametrize(("us", "rate"), [(42, 0.2), (16, 0.2), (25, 0.35)])
def test_another_clock_or_a_call_too_short_to_time_raises_nothing(tmp_path, us, rate):
    events, environment = _int8_step(us)
    environment["ceilings"]["int8_tops"] = rate
    _, of_step = _floor(tmp_path / "run", events, environment=environment)
    assert of_step.raised == ()
    assert of_step.classes["clamped"].to_list() == [1.0]


def test_all_kernels_of_a_call_count_in_its_rate(tmp_path):
    events, environment = _int8_step(25)
    events += [launch(5, 6, 3), _ran(40, 70, 3, 1, "cublasLt::splitKreduce_kernel<int>")]
    _, of_step = _floor(tmp_path / "run", events, environment=environment)
    assert of_step.raised == ()


def test_beside_another_kernel_only_its_own_part_counts(tmp_path):
    events = [
        mark("diffuscope/step/0", 0, 50),
        _shaped("aten::gelu", 0, 2, 1, [[1000]]),
        launch(0, 1, 1),
        _ran(10, 20, 1, 1, "vectorized_elementwise_kernel"),
        _shaped("aten::silu", 2, 4, 2, [[1000]]),
        launch(2, 3, 2),
        {**_ran(15, 25, 2, 2, "vectorized_elementwise_kernel"), "tid": 8},
    ]
    _, of_step = _floor(tmp_path / "run", events)
    # Both need 4 us; half of the second is covered by the first.
    assert of_step.classes.select("measured_ns", "floor_ns", "clamped").rows() == [(15_000.0, 6_000.0, 0.0)]


def test_a_trace_without_shapes_is_its_own_floor(tmp_path):
    events = [mark("diffuscope/step/0", 0, 50), op("aten::mm", 0, 2, **{"External id": 1}), launch(0, 1, 1)]
    _, of_step = _floor(tmp_path / "run", [*events, _ran(10, 20, 1, 1, "nvjet_sm90_tst_1")])
    assert of_step.unpriced.rows() == [("no shapes", "aten::mm", 1.0, 10_000.0)]
    assert of_step.floor_ns == 10_000.0


def test_why_there_is_no_floor(tmp_path):
    gpu = [mark("diffuscope/step/0", 0, 50), launch(0, 1, 1), _ran(10, 20, 1, 1, "nvjet_sm90_tst_1")]
    none = "the run has no measured ceilings"
    _, imported = _floor(tmp_path / "imported", gpu, environment={})
    _, recorded = _floor(tmp_path / "recorded", gpu, environment={"ceilings": {}}, kind="record")
    _, on_cpu = _floor(tmp_path / "cpu", [op("aten::mm", 0, 10)])
    assert [each.why for each in (imported, recorded, on_cpu)] == [
        f"{none} (an imported trace brings none)",
        none,
        "nothing ran on a GPU",
    ]
    assert imported.classes.is_empty() and imported.unpriced.is_empty() and imported.floor_ns == 0.0
