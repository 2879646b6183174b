"""What of two runs is their machines': how fast a host launches, how fast a GPU clocks."""

from __future__ import annotations

from ledger_traces import call, kernel, launch, mark, op, run_of

from profiler.metrics.compare import compare
from profiler.metrics.compare_machine import Clock
from profiler.metrics.host_speed import host_speed, launches, median_us
from profiler.rundir.manifest import Phase
from profiler.tables.run import Run

GPU = {"gpu": {"name": "H100"}}
SPEC = {"model": "flux-tiny", "steps": 1}


def steps_of(launch_us: float, attention_us: float = 30, kernels: int = 80):
    """Two steps of so many kernels; each launch ends a microsecond before its kernel begins, the first is attention's."""
    events, clock, number = [], 0.0, 0
    for index in range(2):
        start = clock
        for position in range(kernels):
            number += 1
            dur, name = (attention_us, "flash_fwd") if position == 0 else (10, "nvjet_sm90_tst_1")
            events += [
                launch(clock, clock + launch_us, number),
                kernel(clock + launch_us + 1, clock + launch_us + 1 + dur, number, name),
            ]
            clock += launch_us + 1 + dur
        events.append(mark(f"diffuscope/step/{index}", start, clock))
    return events


def run(folder, launch_us: float, attention_us: float = 30, limited: bool = False, **spec) -> Run:
    phases = [Phase(name="traced", start_ns=0, gpu={"clock_event_reasons": "0x4" if limited else "0x0"})]
    asked = SPEC | spec
    return run_of(folder, steps_of(launch_us, attention_us), kind="record", spec=asked, environment=GPU, phases=phases)


def test_a_slow_host_is_known_by_its_launches(tmp_path):
    base, new = run(tmp_path / "base", 5), run(tmp_path / "new", 10)
    assert median_us(launches(new)) == 10.0
    found = compare(new, base).machine.host
    assert (found.base_us, found.new_us, found.ratio) == (5.0, 10.0, 2.0)


def test_calls_are_weighed_by_what_both_make(tmp_path):
    events = steps_of(5)
    other = [
        {**each, "name": "cuLaunchKernelEx"} if each["name"] == "cudaLaunchKernel" and index % 4 == 0 else each
        for index, each in enumerate(events)
    ]
    base, new = launches(run_of(tmp_path / "base", events)), launches(run_of(tmp_path / "new", other))
    assert set(new) == {"cudaLaunchKernel", "cuLaunchKernelEx"}
    assert host_speed(new, base).ratio == 1.0
    assert host_speed({"cuLaunchKernelEx": new["cuLaunchKernelEx"]}, base) is None
    assert median_us({}) is None


def test_a_launch_that_waits_for_the_queue_is_no_sign_of_the_host(tmp_path):
    # 1100 launches while nothing runs: those beyond the queue wait 40 us each.
    events, clock = [], 0.0
    for number in range(1, 1101):
        dur = 4 if number <= 900 else 40
        events.append(launch(clock, clock + dur, number))
        clock += dur + 1
    events += [kernel(20_000 + 10 * number, 20_009 + 10 * number, number) for number in range(1, 1101)]
    events.append(mark("diffuscope/step/0", 0, clock))
    found = launches(run_of(tmp_path / "run", events))["cudaLaunchKernel"]
    assert (found.count, found.median_us) == (900, 4.0)


def test_without_launches_or_a_gpu_nothing_is_said(tmp_path):
    assert launches(run_of(tmp_path / "cpu", [op("aten::mm", 0, 10)])) == {}
    assert launches(run_of(tmp_path / "call", [call("cudaMalloc", 0, 10), kernel(20, 30, 5)])) == {}
    few = run_of(tmp_path / "few", [mark("diffuscope/step/0", 0, 50), launch(0, 5, 1), kernel(10, 20, 1)])
    assert median_us(launches(few)) is None


def test_the_clock_is_that_of_attention(tmp_path):
    base, new = run(tmp_path / "base", 5, 30), run(tmp_path / "new", 5, 33, limited=True)
    assert compare(new, base).machine.clock == Clock(30_000, 33_000, 0, (False, True))
    # Other work, or other attention kernels, tell nothing of a clock.
    assert compare(run(tmp_path / "other", 5, 33, batch=2), base).machine.clock is None
    plain = run_of(tmp_path / "plain", [{**each, "name": "nvjet_1"} if each["cat"] == "kernel" else each for each in steps_of(5)])
    assert compare(plain, base).machine.clock is None
    # Nor does a CPU, whose kernels other programs slow down.
    on_cpu = run(tmp_path / "cpu", 5, 33)
    on_cpu.manifest.environment["device"] = "cpu"
    assert compare(on_cpu, base).machine.clock is None
