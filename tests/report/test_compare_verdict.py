"""Every verdict of a comparison, each with its numbers in the sentence."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from profiler.metrics.compare_machine import Clock, Machine
from profiler.metrics.compare_memory import Bytes
from profiler.metrics.compare_runs import Difference
from profiler.metrics.host_speed import HostSpeed
from profiler.metrics.quality import TENSORS, Level, Quality
from profiler.report.compare_verdict import verdicts
from profiler.report.compare_words import scale_of, signed, size
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comparisons import COMPILE, GIB, SCHEME, calls, comparison, expected, memory, window

BATCH = Difference("batch", 1, 4, "work", ("time", "call time", "memory"))
STEPS = Difference("steps", 28, 50, "work", ("call time",))


def judge(about, **changed):
    """(kind, text) of one verdict; None where it is not given."""
    found = {each.about: (each.kind, each.text) for each in verdicts(comparison(**changed))}
    return found.get(about)


def unsteady(classes, spread_ms, **more):
    """A window whose classes vary by so much between repeats, and the whole by less."""
    made = window(classes, **more)
    return replace(made, classes=made.classes.with_columns(spread_ns=pl.lit(round(spread_ms * 1e6))))


def test_a_win_that_is_real_everywhere():
    assert [(each.about, each.kind) for each in verdicts(comparison())] == [
        ("time", "real"),
        ("scheme", "real"),
        ("memory", "real"),
        ("quality", "measured"),
    ]


def test_time_real_says_how_much_and_from_where():
    windows = {"step": window({"GEMM bf16": (9, 0), "GEMM fp8": (0, 4), "copy": (3, 1), "quantize/dequantize": (0, 1)})}
    kind, text = judge("time", windows=windows)
    assert kind == "real"
    assert text.startswith("a call takes 50.0 ms, not 100.0, 2.00 times as fast (calls of one run differ by up to 1.0 ms)")
    assert "A step is 6.00 ms shorter: GEMMs -5.00 ms and elementwise, norm and copy kernels -2.00 ms" in text
    assert text.endswith("eaten: quantization kernels +1.00 ms")


def test_a_difference_inside_the_spread_is_called_that():
    kind, text = judge("time", calls=calls(100, 99.5, spread_ms=2.0), windows={"step": window({"GEMM bf16": (9, 8.95)})})
    assert (kind, text) == (
        "within the spread",
        "a call takes 99.5 ms, not 100.0, 1.01 times as fast (calls of one run differ by up to 2.0 ms)",
    )


def test_calls_that_vary_do_not_hide_what_the_steps_show():
    kind, text = judge("time", calls=calls(100, 101, spread_ms=2.0), windows={"step": window({"copy": (3, 8)})})
    assert kind == "within the spread"
    assert text.endswith(
        ". By the traces, which are steadier: A step is 5.00 ms longer: elementwise, norm and copy kernels +5.00 ms"
    )


def test_what_varies_as_much_is_named_as_such():
    kind, text = judge("time", calls=calls(100, 140), windows={"step": window({"copy": (3, 3)}, idle=(1, 5), spread_ms=0.1)})
    assert kind == "slower" and text.endswith("A step is 4.00 ms longer: idle time +4.00 ms")
    varying = {"step": unsteady({"copy": (3, 3)}, 6.0, idle=(1, 5))}
    kind, text = judge("time", calls=calls(100, 140), windows=varying)
    assert text.endswith("A step is 4.00 ms longer: mostly idle time +4.00 ms, which varies by 6.00 ms between repeats")


SLOW, FAST = HostSpeed(5.6, 9.8), HostSpeed(9.8, 5.6)
LAUNCHES = ". The host was 1.8 times as slow: a launch takes 9.8 us, not 5.6, as traced. Idle time +4.00 ms a step: "


@pytest.mark.parametrize(
    ("host", "idle", "differences", "said"),
    [
        (SLOW, (1, 5), [], f"{LAUNCHES}the machine's, no option's"),
        (SLOW, (1, 5), [COMPILE], f"{LAUNCHES}in part the machine's"),
        (
            FAST,
            (5, 1),
            [],
            ". The host was 1.8 times as fast: a launch takes 5.6 us, not 9.8, as traced. Idle time -4.00 ms a step",
        ),
        # A slow host that costs nothing, one that is as fast as hosts are, one whose launches are not known.
        (SLOW, (1, 1), [], ""),
        (HostSpeed(5.6, 7.0), (1, 5), [], ""),
        (None, (1, 5), [], ""),
    ],
)
def test_a_slow_host_is_named_as_what_idle_time_comes_from(host, idle, differences, said):
    made = {"machine": Machine(host, None), "differences": differences, "windows": {"step": window({"copy": (3, 3)}, idle=idle)}}
    assert said in judge("time", calls=calls(100, 140), **made)[1]
    assert said or "The host" not in judge("time", calls=calls(100, 140), **made)[1]


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        (
            Clock(100, 108, 1, (False, False)),
            "take 1.08 times as long, a lower clock that others share: a GPU that is busier at its",
        ),
        (Clock(100, 108, 1, (False, True)), ": the new run's traced call reached the power limit, the base's did not"),
        (
            Clock(100, 93, 1, (True, False)),
            "take 0.93 times as long, a higher clock that others share: the base's traced call reached",
        ),
        (Clock(100, 93, 1, (True, True)), ": a GPU that waits, or computes less"),
        # Within what repeats differ by, or too little.
        (Clock(100, 108, 9, (False, True)), ""),
        (Clock(1000, 1015, 1, (False, True)), ""),
    ],
)
def test_attention_that_no_option_changes_shows_the_clock(clock, said):
    text = judge("time", machine=Machine(None, clock))[1]
    assert said in text
    assert said or "attention kernels" not in text


def test_gemms_that_gained_no_more_than_they_vary_by_are_not_eaten():
    made = unsteady({"GEMM fp8": (9, 8.5), "copy": (3, 8)}, spread_ms=1.0)
    assert judge("time", calls=calls(100, 140), windows={"step": made})[0] == "slower"


def test_single_calls_have_no_spread_and_that_is_said():
    kind, text = judge("time", calls=calls(100, 99.5, spread_ms=None))
    assert kind == "real" and "(single calls: their spread is not known)" in text


def test_slower_though_the_gemms_gained_is_eaten():
    windows = {"step": window({"GEMM bf16": (9, 0), "GEMM int8": (0, 6), "quantize/dequantize": (0, 5)}, idle=(1, 3))}
    kind, text = judge("time", calls=calls(100, 140), windows=windows)
    assert kind == "eaten" and "1.40 times as long" in text
    assert "A step is 4.00 ms longer: quantization kernels +5.00 ms and idle time +2.00 ms; gained: GEMMs -3.00 ms" in text
    kind, text = judge("scheme", calls=calls(100, 140), windows=windows)
    assert kind == "eaten"
    assert (
        text
        == "GEMMs take 6.00 ms a step, not 9.00 ms (-3.00 ms); against that quantization kernels +5.00 ms and idle time +2.00 ms"
    )


def test_slower_gemms_are_not_there_however_fast_the_rest_became():
    windows = {"step": window({"GEMM bf16": (9, 0), "GEMM int8": (0, 10), "pointwise": (20, 2)})}
    assert judge("time", windows=windows)[0] == "real"
    assert judge("scheme", windows=windows) == (
        "not there",
        "GEMMs take 10.00 ms a step, not 9.00 ms: what became faster is not the scheme's doing",
    )
    slower = {"step": window({"GEMM bf16": (9, 0), "GEMM int8": (0, 10)})}
    assert judge("time", calls=calls(100, 110), windows=slower)[0] == "slower"
    assert judge("scheme", windows=slower) == ("not there", "GEMMs take 10.00 ms a step, not 9.00 ms")


def test_what_is_fused_counts_against_the_scheme_only_where_both_are_compiled_alike():
    fused = {"GEMM bf16": (9, 0), "GEMM fp8": (0, 4), "fused pointwise": (2, 6)}
    kind, text = judge("scheme", windows={"step": window(fused)})
    assert kind == "eaten" and "against that elementwise, norm and copy kernels +4.00 ms" in text
    new = Run(Path("new"), Manifest(spec={"compile": "regional"}, applied={"linears": [{"scheme": "fp8dqrow"}]}))
    kind, text = judge("scheme", windows={"step": window(fused)}, differences=[SCHEME, COMPILE], run=new)
    assert kind == "real"
    assert "fused into other kernels is not told apart: a base of bf16 with --compile regional tells it" in text


def test_nobody_promised_faster_gemms_of_a_scheme_that_only_stores():
    new = Run(Path("new"), Manifest(spec={"scheme": "int8wo"}, applied={"linears": [{"scheme": "int8wo"}]}))
    near = {"step": window({"GEMM bf16": (9, 9.3)})}
    assert judge("scheme", windows=near, run=new) == (
        "none expected",
        "int8wo multiplies in the base dtype, and wins memory, not time: GEMMs take 9.30 ms a step, not 9.00 ms",
    )
    same = {"step": unsteady({"GEMM bf16": (9, 8.95)}, 0.1)}
    assert judge("scheme", windows=same, run=new)[1].endswith("GEMMs take 8.95 ms a step, not 9.00 ms, within their spread")
    assert judge("scheme", windows={"step": window({"GEMM bf16": (9, 12)})}, run=new) == (
        "not there",
        "GEMMs take 12.00 ms a step, not 9.00 ms",
    )


def test_no_scheme_no_verdict_on_it():
    assert judge("scheme", differences=[COMPILE]) is None
    back = Run(Path("new"), Manifest(spec={"scheme": "bf16"}, applied={"linears": [{"scheme": "left"}]}))
    assert judge("scheme", run=back) is None
    assert judge("scheme", windows={}) is None
    assert judge("scheme", windows={"step": window({"copy": (2, 1)})}) is None


def test_other_work_is_not_comparable_and_steps_are_still_shown():
    kind, text = judge("time", differences=[BATCH, SCHEME])
    assert (kind, text) == ("not comparable", "batch 1 -> 4; a step takes 5.00 ms here and 10.00 ms in the base")
    assert judge("scheme", differences=[BATCH, SCHEME]) is None
    kind, text = judge("memory", differences=[BATCH, SCHEME])
    assert (kind, text) == ("not comparable", "batch 1 -> 4; model memory falls from 30.00 to 20.00 GiB (-10.00)")
    assert judge("loading", differences=[BATCH], memory=memory(since=(32.0, 31.9))) is None


def test_other_numbers_of_steps_are_judged_by_the_step():
    kind, text = judge("time", differences=[STEPS, SCHEME])
    assert kind == "real"
    assert text.startswith(
        "a step takes 5.00 ms, not 10.00 ms, 2.00 times as fast (steps 28 -> 50: whole calls cannot be compared)"
    )
    close = {"step": window({"GEMM bf16": (9, 8.95)})}
    assert judge("time", differences=[STEPS], windows=close)[0] == "within the spread"


def test_without_untraced_times_a_difference_within_the_idle_time_is_unknown():
    idle = {
        "step": window({"GEMM bf16": (9, 8)}, idle=(0.5, 3), base_least_ns=9_000_000, new_least_ns=8_000_000, calibrated=False)
    }
    kind, text = judge("time", calls=calls(None, None), windows=idle)
    assert kind == "unknown" and "the difference is between -1.50 ms and +2.00 ms" in text
    sure = {
        "step": window({"GEMM bf16": (9, 4)}, idle=(0.5, 3), base_least_ns=9_000_000, new_least_ns=4_000_000, calibrated=False)
    }
    assert judge("time", calls=calls(None, None), windows=sure)[0] == "real"


def test_no_trace_and_no_timed_call_is_unknown():
    kind, text = judge("time", calls=calls(None, 1), windows={}, windows_why="holds no rank0/trace.json.gz")
    assert (kind, text) == ("unknown", "holds no rank0/trace.json.gz")


def test_memory_real_says_promise_and_peak():
    assert judge("memory") == (
        "real",
        "model memory falls from 30.00 to 20.00 GiB (-10.00); arithmetic promises 10.00 GiB, 0.00% off. "
        "The inference peak (step) falls from 32.00 to 22.00 GiB (-10.00)",
    )


def test_a_win_that_the_peak_masks_says_where_it_moved_to():
    at_peak = [Bytes("weights", 30 * GIB, 20 * GIB), Bytes("activations", 2 * GIB, 9 * GIB), Bytes("workspace", 0, GIB >> 12)]
    hidden = memory(peak=(32, 29), where=("step", "decode"), holders=("", "convolution workspace of vae"), lived=at_peak)
    kind, text = judge("memory", memory=hidden)
    assert kind == "masked at the peak"
    assert "The inference peak falls from 32.00 to 29.00 GiB (-3.00): 7.00 GiB are masked" in text
    assert "since it moved from step to decode, where convolution workspace of vae is the biggest that is no weight" in text
    assert text.endswith("; more at the peak: activations +7.00 GiB")


def test_a_promise_that_something_eats():
    kind, text = judge("memory", memory=memory(model=(30, 23)), expected=expected(measured=7, stored=10))
    assert kind == "eaten"
    assert "3.00 GiB of it are eaten; the weights are as small as they should be: the rest is no weight" in text
    kind, text = judge("memory", memory=memory(model=(30, 23)), expected=expected(measured=7, stored=7))
    assert kind == "eaten" and "transformer holds 3.00 GiB more than it should" in text


def test_a_promise_that_is_not_kept():
    kind, text = judge("memory", memory=memory(model=(30, 29)), expected=expected(measured=1, stored=1))
    assert kind == "not there"
    assert text.startswith("model memory falls from 30.00 to 29.00 GiB (-1.00); arithmetic promises 10.00 GiB, 90.00% off")
    assert judge("memory", memory=memory(model=(30, 31)), expected=expected(measured=-1, stored=-1))[0] == "not there"


def test_more_memory_as_arithmetic_says():
    kind, text = judge("memory", memory=memory(model=(20, 30)), expected=expected(base=20, win=-10, measured=-10))
    assert (kind, text) == ("grows", "model memory rises from 20.00 to 30.00 GiB (+10.00); arithmetic says 10.00 GiB, 0.00% off")


def test_nothing_expected():
    same = memory(model=(30, 30), peak=(32, 33), where=("decode", "step"))
    kind, text = judge("memory", memory=same, expected=expected(win=0, measured=0))
    assert kind == "none expected"
    assert text == "both hold weights of the same size; the inference peak rises from 32.00 to 33.00 GiB (+1.00)"


def test_without_arithmetic_or_counters_the_rest_is_said():
    kind, text = judge("memory", expected=None, expected_why="holds no rank0/weights.json")
    assert kind == "unknown"
    assert text == (
        "model memory falls from 30.00 to 20.00 GiB (-10.00); the inference peak falls from 32.00 to 22.00 GiB (-10.00); "
        "no arithmetic: holds no rank0/weights.json"
    )
    on_cpu = memory(model=(None, None), peak=(None, None))
    kind, text = judge("memory", memory=on_cpu, expected=expected(measured=None))
    assert kind == "real" and text.startswith("the size of all weights, wherever they are, falls from 30.00 to 20.00 GiB")
    assert text.endswith("The peak is not known")


def test_offloaded_weights_are_judged_by_their_size():
    kind, text = judge("memory", memory=memory(model=(30, 1), peak=(32, 12)), expected=expected(measured=29, offloaded=True))
    assert kind == "real" and text.startswith("the size of all weights, wherever they are, falls from 30.00 to 20.00 GiB")


def test_a_win_that_loading_does_not_have():
    kind, text = judge("loading", memory=memory(since=(32.0, 31.0)))
    assert kind == "not there"
    assert text == (
        "the peak since start falls from 32.00 to 31.00 GiB (-1.00), and lies in quantize: "
        "the weights were on the device unquantized first; --quantize-on cpu or per-layer keeps them off it"
    )
    assert judge("loading", memory=memory(since=(32.0, 24.0)))[0] == "eaten"
    assert judge("loading", memory=memory(since=(32.0, 22.1))) is None
    per_layer = Run(Path("new"), Manifest(spec={"quantize_on": "per-layer"}))
    assert "--quantize-on" not in judge("loading", memory=memory(since=(32.0, 31.0)), run=per_layer)[1]


@pytest.mark.parametrize(
    ("levels", "psnr", "kind", "text"),
    [
        (Level(None, "seed is 0 in the base and 1 here"), Level(None), "not compared", "seed is 0 in the base and 1 here"),
        (Level(math.inf), Level(math.inf), "identical", "latents are equal to the bit"),
        (Level(-math.inf, "3 values are not finite"), Level(None), "broken", "3 values are not finite"),
        (
            Level(20.0),
            Level(31.0),
            "measured",
            "SQNR 20.0 dB of the last latents, 20.0 dB of the first transformer output, after 2 steps; "
            "PSNR 31.0 dB of the picture (random weights: they order schemes, and say nothing about pictures)",
        ),
    ],
)
def test_quality(levels, psnr, kind, text):
    assert judge("quality", quality=Quality(dict.fromkeys(TENSORS, levels), psnr, 2)) == (kind, text)


def test_the_quality_of_pruned_weights_says_why():
    run = Run(Path("new"), Manifest(spec={"scheme": "sparsify"}))
    _, text = judge("quality", quality=Quality(dict.fromkeys(TENSORS, Level(6.6)), Level(18.0), 2), run=run)
    assert text.endswith("random weights have no redundancy to prune, and real ones need training for it")


def test_units_follow_the_size():
    assert (size(3 * GIB), size(-GIB / 20), scale_of(None, 5.0).unit, scale_of().unit) == ("3.00 GiB", "51.20 MiB", "MiB", "GiB")
    assert [signed(each) for each in (0.0001, -0.0001, 1.5, -1.5)] == ["0.000", "0.000", "+1.500", "-1.500"]
