"""Two traces beside each other: rows sum to the difference, and each says what became of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_traces import kernel, launch, mark, run_of

from profiler.metrics.compare_calls import LONGER, OUTSIDE, compare_calls
from profiler.metrics.compare_time import Group, compare_windows, window_ledgers
from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"
GEMM, FP8, CAT = "nvjet_sm90_tst_1", "nvjet_sm90_qqtst_1", "CatArrayBatchedCopy"


def steps_of(*steps):
    """A trace of steps, each busy with (kernel, us) one after the other but for its first microsecond, which launches."""
    events, clock, number = [], 0, 0
    for index, kernels in enumerate(steps):
        end = clock + 1
        for name, dur in kernels:
            number += 1
            events += [launch(clock, clock + 0.5, number), kernel(end, end + dur, number, name)]
            end += dur
        events.append(mark(f"diffuscope/step/{index}", clock, end))
        clock = end
    return events


def _compare(folder, base, new):
    runs = [run_of(folder / name, steps_of(*steps)) for name, steps in (("base", base), ("new", new))]
    ledgers = [window_ledgers(run) for run in runs]
    return compare_windows(ledgers[1], ledgers[0])


def _rows(frame, *columns):
    return {row[0]: row[1:] for row in frame.select(columns).iter_rows()}


def _conserved(window):
    assert sum(each.delta_ns for each in window.groups()) == window.delta_ns
    for frame in (window.classes, window.kernels):
        assert frame["delta_ns"].sum() == window.delta_ns == window.new_ns - window.base_ns
        assert (frame["base_ns"].sum(), frame["new_ns"].sum()) == (window.base_ns, window.new_ns)
        assert (frame["delta_ns"] == frame["new_ns"] - frame["base_ns"]).all()
        assert frame["delta_ns"].abs().is_sorted(descending=True)


def test_what_was_added_removed_faster_and_slower(tmp_path):
    found = _compare(
        tmp_path,
        [[(GEMM, 100), (CAT, 10), ("flash_fwd", 50), ("silu_elementwise_kernel", 3)]],
        [[(FP8, 60), (CAT, 12), ("flash_fwd", 40), ("silu_elementwise_kernel", 3)]],
    )
    step = found["step"]
    _conserved(step)
    assert (step.base_ns, step.new_ns, step.delta_ns) == (164_000, 116_000, -48_000)
    assert (step.base_repeats, step.new_repeats, step.calibrated) == (1, 1, False)
    assert _rows(step.classes.filter(pl.col("kind") == "busy"), "label", "delta_ns", "status") == {
        "GEMM bf16": (-100_000, "removed"),
        "GEMM fp8": (60_000, "added"),
        "attention": (-10_000, "faster"),
        "copy": (2_000, "slower"),
        "pointwise": (0, "about the same"),
    }
    assert step.classes["spread_ns"].to_list() == [None] * step.classes.height
    assert _rows(step.kernels, "detail", "base_count", "new_count")[FP8] == (0.0, 1.0)
    assert step.groups() == [
        Group("GEMMs", 100_000, 60_000),
        Group("attention", 50_000, 40_000),
        Group("elementwise, norm and copy kernels", 13_000, 15_000),
        Group("idle time", 1_000, 1_000),
    ]
    assert step.group("quantization kernels") == Group("quantization kernels", 0, 0)


def test_a_change_within_the_spread_of_the_repeats_is_called_that(tmp_path):
    step = _compare(tmp_path, [[(GEMM, 100)], [(GEMM, 110)]], [[(GEMM, 108)], [(GEMM, 112)]])["step"]
    (row,) = step.kernels.filter(pl.col("kind") == "busy").iter_rows(named=True)
    assert (row["base_ns"], row["new_ns"], row["spread_ns"], row["status"]) == (105_000, 110_000, 10_000, "within spread")
    assert (step.spread_ns, step.within_spread) == (10_000, True)
    step = _compare(tmp_path / "more", [[(GEMM, 100)], [(GEMM, 110)]], [[(GEMM, 120)], [(GEMM, 130)]])["step"]
    assert _rows(step.classes, "label", "status")["GEMM bf16"] == ("slower",)


def test_what_comes_in_one_step_only_varies_by_all_of_itself(tmp_path):
    step = _compare(tmp_path, [[(GEMM, 100)], [(GEMM, 100)]], [[(GEMM, 100), (CAT, 8)], [(GEMM, 100)]])["step"]
    assert _rows(step.kernels, "detail", "new_ns", "spread_ns", "new_count", "status")[CAT] == (4_000, 8_000, 0.5, "added")


def test_the_first_repeat_counts_once_in_a_call_of_many(tmp_path):
    """The trace holds two steps, the call ten: the first step's filling of the pipe is paid once in ten."""
    runs = [
        run_of(tmp_path / name, steps_of([(GEMM, first)], [(GEMM, 100)]), timed={"steps": 10})
        for name, first in (("base", 200), ("new", 150))
    ]
    step = compare_windows(window_ledgers(runs[1]), window_ledgers(runs[0]))["step"]
    _conserved(step)
    assert step.group("GEMMs") == Group("GEMMs", 110_000, 105_000, spread_ns=100_000)
    assert (step.base_traced_ns, step.new_traced_ns) == (302_000, 252_000)


def test_a_kernel_that_inductor_numbered_anew_is_the_same_kernel(tmp_path):
    base = [[("triton_poi_fused_add_0", 10), ("triton_poi_fused_add_7", 20)]]
    new = [[("triton_poi_fused_add_3", 28), ("triton_poi_fused_mul_3", 5)]]
    step = _compare(tmp_path, base, new)["step"]
    _conserved(step)
    busy = _rows(step.kernels.filter(pl.col("kind") == "busy"), "detail", "base_count", "new_count", "delta_ns", "status")
    assert busy == {
        "triton_poi_fused_add": (2.0, 1.0, -2_000, "faster"),
        "triton_poi_fused_mul": (0.0, 1.0, 5_000, "added"),
    }


def test_only_windows_of_both_are_compared(tmp_path):
    base = run_of(tmp_path / "base", steps_of([(GEMM, 5)]))
    new = run_of(tmp_path / "new", [launch(0, 1, 1), kernel(1, 9, 1)])
    assert list(compare_windows(window_ledgers(new), window_ledgers(base))) == ["call"]


_STEPS = st.lists(
    st.lists(
        st.tuples(st.sampled_from([GEMM, FP8, CAT, "triton_red_fused_sum_1", "x"]), st.integers(1, 9)), min_size=1, max_size=4
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(base=_STEPS, new=_STEPS)
def test_rows_always_sum_to_the_difference(tmp_path_factory, base, new):
    for window in _compare(tmp_path_factory.mktemp("pair"), base, new).values():
        _conserved(window)


def _manifest(calls_ns, first_ns=0, quantize_ns=0, steps=10):
    return Manifest(
        timed={"iterations_ns": calls_ns, "steps": steps},
        untraced={"dur_ns": 100_000, "steps": 1},
        phases=[
            Phase(name="quantize", start_ns=0, end_ns=quantize_ns),
            Phase(name="warmup", start_ns=0, end_ns=1, detail={"first_call_ns": first_ns, "steps": 1}),
        ],
    )


def test_the_parts_of_a_call_sum_to_what_was_timed(tmp_path):
    windows = _compare(tmp_path, [[(GEMM, 99)]], [[(FP8, 59)]])
    found = compare_calls(_manifest([700_000, 720_000, 740_000]), _manifest([1_100_000, 1_110_000, 1_115_000]), windows)
    assert [each.name for each in found.parts] == ["step", OUTSIDE, LONGER]
    assert [each.base_ms for each in found.parts] == pytest.approx([1.0, 0.0, 0.11])
    assert [each.new_ms for each in found.parts] == pytest.approx([0.6, 0.0, 0.12])
    assert sum(each.delta_ms for each in found.parts) == pytest.approx(found.delta_ms) == pytest.approx(-0.39)
    assert found.speedup == pytest.approx(1110 / 720)
    assert (found.spread_ms, found.within_spread) == (0.04, False)


def test_a_difference_inside_the_spread():
    found = compare_calls(_manifest([100, 130, 140]), _manifest([110, 120, 150]), {})
    assert (found.within_spread, found.parts) == (True, [])
    assert compare_calls(_manifest([100]), _manifest([110, 120, 150]), {}).within_spread is None
    assert compare_calls(Manifest(), _manifest([110]), {}).delta_ms is None


def test_compiling_is_earned_back_after_so_many_calls():
    base, new = _manifest([10_000_000], 100_000), _manifest([8_000_000], 20_000_000, 1_100_000)
    found = compare_calls(new, base, {})
    assert (found.ready_ms, found.break_even_calls) == (pytest.approx(21.0), pytest.approx(10.5))
    assert compare_calls(base, new, {}).break_even_calls is None
    other = _manifest([1], 1)
    other.untraced = {"dur_ns": 5, "steps": 2}
    assert compare_calls(other, base, {}).ready_ms is None


_GOLDEN = pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")


@_GOLDEN
def test_bf16_against_fp8dqrow_on_the_kept_runs():
    base, new = (Run.open(_TRACES / f"flux-dev-{name}") for name in ("bf16", "fp8dqrow-regional"))
    windows = compare_windows(window_ledgers(new), window_ledgers(base))
    assert list(windows) == ["step", "text", "decode", "call"]
    for each in windows.values():
        _conserved(each)
        assert each.calibrated
    step = windows["step"]
    classes = _rows(step.classes.filter(pl.col("kind") == "busy"), "label", "base_count", "new_count", "delta_ns", "status")
    assert classes["GEMM bf16"] == (507.0, 3.0, -78_567_679, "faster")
    assert classes["GEMM fp8"] == (0.0, 418.0, 43_623_222, "added")
    assert classes["attention"][::3] == (57.0, "within spread")
    assert step.group("GEMMs") == Group("GEMMs", 78_612_539, 45_593_113, 508_581)
    assert (step.spread_ns < 10_000_000, step.within_spread) == (True, False)
    assert step.delta_ns == pytest.approx(-79.6e6, rel=0.01)
    calls = compare_calls(new.manifest, base.manifest, windows)
    assert calls.delta_ms == pytest.approx(-2289.9927)
    assert calls.speedup == pytest.approx(1.7689, abs=1e-4)
    assert (calls.spread_ms, calls.within_spread) == (pytest.approx(34.254791), False)
    assert sum(each.delta_ms for each in calls.parts) == pytest.approx(calls.delta_ms)
    parts = {each.name: each.delta_ms for each in calls.parts}
    assert parts["step"] == pytest.approx(28 * step.delta_ns / 1e6)
    # What the windows do not explain is little beside what they do.
    assert abs(parts[LONGER]) < 0.05 * abs(calls.delta_ms)
    assert calls.break_even_calls == pytest.approx(9.95, abs=0.1)
