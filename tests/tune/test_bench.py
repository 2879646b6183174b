"""Checking and timing on this CPU: right kernels pass, every planted fault is found, dead workers are no silence."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tune_fakes import candidates

from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul import candidates as real_candidates
from profiler.kernels.int_scaled_matmul import int_scaled_matmul
from profiler.schemes.base import Hardware
from profiler.tune.bench import DeviceBench, Job, work
from profiler.tune.check import cases, fault, ragged, without_bias
from profiler.tune.search import search
from profiler.tune.workers import Workers

CPU = Hardware("cpu")
SHAPE = Shape(160, 96, 72)
SHAPES = [SHAPE, Shape(37, 51, 29), Shape(64, 1024, 48), Shape(20, 3000, 16), *ragged(SHAPE)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_cpu_kernel_is_right_at_every_shape_that_it_takes(shape: Shape):
    names = [each.kernel for each in real_candidates(shape, CPU)]
    assert {"cpu:s8s8", "cpu:u8s8"} <= set(names)
    assert ("cpu:dequantize" in names) == (shape.k <= 1024), "float32 no longer holds every sum beyond"
    for case in cases(shape, "cpu", 5):
        for name in names:
            assert fault(lambda *given, name=name: int_scaled_matmul(*given, name), case) is None


def test_the_data_hold_the_extremes_and_the_reference_is_exact():
    full, small, scales = cases(Shape(64, 3072, 32), "cpu", 5)
    a, b = full.operands[:2]
    assert (int(a.min()), int(a.max()), b.stride()) == (-128, 127, (1, 3072))
    assert set(small.operands[0].unique().tolist()) == {-1, 0, 1}
    sums = small.operands[0].int() @ small.operands[1].int()
    assert 20 < int(sums.abs().max()) < 256, "each bit of a small sum is seen in bf16"
    assert (full.bound, small.bound, scales.bound is None) == (None, None, False)
    exact = a.int() @ b.int()
    assert torch.equal(full.expected, (exact.float() * full.operands[2][:, None] * full.operands[3]).bfloat16())
    assert full.operands[2].unique().numel() > 5
    assert int(exact.abs().max()) > 1 << 18


def _right(a: Any, b: Any, row: Any, col: Any, bias: Any, _kernel: str) -> Any:
    return int_scaled_matmul(a, b, row, col, bias, "cpu:s8s8")


def _last_k_lost(a: Any, b: Any, *rest: Any) -> Any:
    return _right(a[:, :-1], b[:-1], *rest)


def _block_past_k(a: Any, b: Any, *rest: Any) -> Any:
    """What torchao's kernel does where a block of 32 does not divide K: it reads on into what follows."""
    past = -a.shape[1] % 32
    return _right(torch.cat([a, a[:, :past]], 1), torch.cat([b, b[:past]], 0), *rest)


def _one_output_off(*given: Any) -> Any:
    out = _right(*given)
    out[-1, -1] += 1 + out[-1, -1].abs() / 64
    return out


def _scales_swapped(a: Any, b: Any, row: Any, col: Any, *rest: Any) -> Any:
    return _right(a, b, row.flip(0), col, *rest)


def _rounded_twice(a: Any, b: Any, row: Any, col: Any, bias: Any, kernel: str) -> Any:
    return _right(a, b, row, col.bfloat16().float(), bias, kernel)


def _sums_rounded(a: Any, b: Any, row: Any, col: Any, bias: Any, _kernel: str) -> Any:
    """A product in bf16 keeps 8 bits of each sum."""
    return ((a.bfloat16() @ b.bfloat16()) * row[:, None] * col + bias).bfloat16()


def _not_a_number(*given: Any) -> Any:
    return _right(*given).fill_(float("nan"))


def _bias_lost(a: Any, b: Any, row: Any, col: Any, _bias: Any, kernel: str) -> Any:
    return _right(a, b, row, col, None, kernel)


def _edge_unwritten(*given: Any) -> Any:
    out = _right(*given)
    out[out.shape[0] // 64 * 64 :] = 0
    return out


def _wrong_dtype(*given: Any) -> Any:
    return _right(*given).float()


def _raises(*_given: Any) -> Any:
    raise ValueError("no such layout")


FAULTS = [
    _last_k_lost,
    _one_output_off,
    _scales_swapped,
    _not_a_number,
    _bias_lost,
    _edge_unwritten,
    _wrong_dtype,
    _raises,
    _sums_rounded,
]


def bench_of(planted: Callable[..., Any]) -> DeviceBench:
    def product(*given: Any) -> Any:
        return (planted if given[-1] == "one:planted" else _right)(*given)

    return DeviceBench(CPU, 3, takes=lambda _shape, _hardware: candidates("one:planted", "one:right"), product=product)


@pytest.mark.parametrize("planted", FAULTS)
def test_a_planted_fault_is_found_and_never_wins(planted: Callable[..., Any]):
    found = search(SHAPE, candidates("one:planted", "one:right"), bench_of(planted))
    assert found.best.kernel == "one:right"
    assert set(found.wrong) | set(found.failed) == {"one:planted"}


def test_a_fault_of_ragged_shapes_alone_is_found():
    bench = bench_of(_block_past_k)
    even = Shape(160, 96, 64)
    case = next(iter(cases(even, "cpu", 3)))
    assert fault(lambda *given: _block_past_k(*given, ""), case) is None, "at its own shape it is right"
    (why,) = bench.faults(even, ["one:planted", "one:right"]).values()
    assert why.startswith("211x336x160 full: ")


def test_a_fault_without_a_bias_is_found():
    def planted(a: Any, b: Any, row: Any, col: Any, bias: Any, kernel: str) -> Any:
        return _right(a, b, row, col, torch.ones_like(col) * 1e6 if bias is None else bias, kernel)

    bench = bench_of(planted)
    assert bench.faults(SHAPE, ["one:planted"]) == {}
    assert "no bias: " in (bench.last_fault(SHAPE, "one:planted") or "")
    assert bench.last_fault(SHAPE, "one:right") is None


def test_arbitrary_scales_allow_one_rounding_and_no_more():
    full, _, scales = cases(SHAPE, "cpu", 3)
    assert fault(lambda *given: _right(*given, ""), scales) is None
    for planted in (_rounded_twice, _sums_rounded):
        assert "outputs are wrong" in (fault(lambda *given, planted=planted: planted(*given, ""), scales) or "")
    assert fault(lambda *given: _rounded_twice(*given, ""), full) is None, "powers of two do not round"


def test_fresh_seeds_give_fresh_data_and_one_seed_the_same():
    first, again, other = (next(iter(cases(SHAPE, "cpu", seed))).operands[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert without_bias(next(iter(cases(SHAPE, "cpu", 1)))).operands[4] is None


def test_the_search_picks_by_the_clock(monkeypatch):
    now = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])

    def product(*given: Any) -> Any:
        now[0] += 4_000_000 if given[-1] == "one:slow" else 10_000
        return _right(*given)

    names = candidates("one:slow", "one:fast")
    found = search(SHAPE, names, DeviceBench(CPU, 3, takes=lambda *_: names, product=product))
    assert (found.best.kernel, found.us) == ("one:fast", 10.0)


def _task(job: str) -> str:
    if job == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if job == "hang":
        time.sleep(600)
    if job == "poison":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if job == "fail":
        raise ValueError("out of resources")
    return f"{job} by {os.getpid()}"


def run_jobs(workers: Workers, jobs: list[str]) -> dict[str, tuple[str | None, str | None]]:
    ended: dict[str, tuple[str | None, str | None]] = {}
    workers.run(jobs, lambda job, value, why: ended.update({job: (value, why)}))
    return ended


def test_workers_outlive_crashes_hangs_and_poisoned_gpus():
    workers = Workers(1, _task)
    try:
        ended = run_jobs(workers, ["a", "fail", "b", "poison", "c", "crash", "d"])
        assert {job: why for job, (_, why) in ended.items() if why} == {
            "fail": "ValueError: out of resources",
            "poison": "RuntimeError: CUDA error: an illegal memory access was encountered",
            "crash": "its process died (SIGSEGV)",
        }
        by = {job: (ended[job][0] or "").rpartition(" ")[2] for job in "abcd"}
        assert by["a"] == by["b"] != by["c"], "after a CUDA error the process is replaced, after others it is not"
        assert by["c"] != by["d"] != ""
    finally:
        workers.close()


def test_a_job_that_hangs_is_given_up():
    workers = Workers(2, _task, limit_s=1.0)
    try:
        ended = run_jobs(workers, ["hang", "hang too"])
        assert ended["hang"] == (None, "took longer than 1 s")
        assert "hang too" in ended
    finally:
        workers.close()


def test_kernels_are_tried_in_the_workers():
    workers = Workers(1, work)
    try:
        bench = DeviceBench(CPU, 3, workers=workers)
        ticks: list[int] = []
        failed = bench.prepare(SHAPE, ["cpu:s8s8", "cpu:none"], lambda: ticks.append(1))
        assert (failed, len(ticks)) == ({"cpu:none": "ValueError: no CPU kernel is called 'cpu:none'"}, 2)
        assert bench.faults(SHAPE, ["cpu:s8s8"]) == {}
    finally:
        workers.close()
    assert work(Job("cpu:u8s8", SHAPE, "cpu", 3, True)) is None
