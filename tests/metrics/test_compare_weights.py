"""The win that arithmetic promises, against the recorded runs and small ones by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.core.errors import UnreadableInput
from profiler.metrics.compare_weights import ComponentBytes, expected_win
from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"


def _row(name, size, address, component="transformer", role="weight"):
    return {
        "component": component,
        "name": name,
        "role": role,
        "device": "cuda:0",
        "address": address,
        "bytes": size,
        "storage_bytes": size,
    }


def _linear(module, scheme, out=64, into=32, reason=""):
    return {"module": f"transformer.{module}", "scheme": scheme, "reason": reason, "out_features": out, "in_features": into}


ROWS = [
    _row("a.weight", 4096, 1),
    _row("a.bias", 128, 2),
    _row("b.weight", 4096, 3),
    _row("norm.weight", 64, 4),
    _row("shared.weight", 1000, 5, "text_encoder"),
    _row("embed.weight", 1000, 5, "text_encoder"),
]


@pytest.fixture
def make_run(tmp_path):
    def make(name, linears, rows=None, alloc=None, **manifest):
        rank = tmp_path / name / "rank0"
        rank.mkdir(parents=True)
        if rows is not None:
            (rank / "weights.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
        phases = [Phase(name="quantize", start_ns=0, end_ns=1, alloc_bytes=alloc)]
        applied = {"linears": linears, "base_dtype": "bfloat16"} | manifest.pop("applied", {})
        return Run(tmp_path / name, Manifest(applied=applied, phases=phases, **manifest))

    return make


BASE = [_linear("a", "left"), _linear("b", "left")]


def test_quantized_linears_shrink_and_the_rest_stays(make_run):
    base = make_run("base", BASE, ROWS, alloc=10_000)
    rows = [_row("a.weight", 2048, 1, role="quantized data"), _row("a.weight", 256, 6, role="scale"), *ROWS[1:]]
    new = make_run("new", [_linear("a", "fp8wo"), _linear("b", "left", reason="too small")], rows, alloc=8_210)
    found = expected_win(new, base)
    assert found.components == [
        ComponentBytes("transformer", 8384, 8384 - 4096 + 2048 + 256, 6592),
        ComponentBytes("text_encoder", 1000, 1000, 1000),
    ]
    assert (found.win, found.stored_win, found.measured) == (1792, 1792, 1790)
    assert found.error == pytest.approx(-2 / 1792)
    assert found.linears == {"fp8wo": 1, "left": 1}
    assert (found.left_bytes, found.added_bytes) == ({"too small": 4096}, 0)


def test_a_quantized_base_and_a_run_that_quantizes_less(make_run):
    rows = [_row("a.weight", 2048, 1), _row("a.weight", 256, 6), *ROWS[1:]]
    base = make_run("base", [_linear("a", "fp8wo"), _linear("b", "left")], rows)
    found = expected_win(make_run("new", [_linear("b", "left")]), base)
    assert (found.win, found.stored_win, found.measured, found.error) == (2304 - 4096, None, None, None)
    assert found.left_bytes == {}


def test_fused_projections_are_added(make_run):
    new = make_run("new", [*BASE, _linear("qkv", "fp8wo", 192)])
    found = expected_win(new, make_run("base", BASE, ROWS))
    assert found.added_bytes == 192 * 32 + 192 * 4
    assert found.win == -found.added_bytes


def test_what_the_manifest_sums_stands_in_for_missing_weights(make_run):
    sums = {"weight_bytes": {"transformer/weight/bfloat16": 5000, "transformer/scale/float32": 7, "vae/weight/bfloat16": 9}}
    found = expected_win(make_run("new", BASE, applied=sums), make_run("base", BASE, ROWS))
    assert [(each.component, each.new) for each in found.components] == [("transformer", 5007), ("text_encoder", 0), ("vae", 9)]


def test_weights_that_an_offload_packed_into_one_storage_are_told_apart(make_run):
    packed = [row | {"address": 9, "storage_bytes": 99_999, "device": "cpu"} for row in ROWS[:4]]
    found = expected_win(make_run("new", [_linear("a", "fp8wo"), _linear("b", "left")]), make_run("base", BASE, packed))
    assert (found.base_bytes, found.win, found.added_bytes) == (8384, 1792, 0)


def test_offloaded_weights_are_not_held_against_model_memory(make_run):
    base = make_run("base", BASE, ROWS, alloc=10_000)
    new = make_run("new", [_linear("a", "fp8wo"), _linear("b", "left")], alloc=100, spec={"offload": "model"})
    found = expected_win(new, base)
    assert (found.offloaded, found.measured, found.error) == (True, 9_900, None)


@pytest.mark.parametrize(
    ("linears", "rows", "why"),
    [
        ([_linear("a", "as built")], ROWS, "no arithmetic for scheme as built of 64x32 in bfloat16 (transformer.a)"),
        ([_linear("a", "fp8wo", "64")], ROWS, "no arithmetic for scheme fp8wo of 64x32"),
        ([_linear("a", "fp8wo", -4)], ROWS, "no arithmetic for scheme fp8wo of -4x32"),
        ([], ROWS, "does not say what each Linear got"),
        ([{"module": "a"}], ROWS, "has no 'scheme'"),
        (BASE, None, "holds no rank0/weights.json"),
        (BASE, "[", "is not what was recorded: JSONDecodeError"),
        (BASE, "[1]", "is not what was recorded: TypeError"),
        (BASE, [{"name": "a"}], "is not what was recorded: KeyError"),
        (BASE, [_row("a", -1, 1)], "a has -1 bytes"),
    ],
)
def test_what_cannot_be_reckoned_is_named(make_run, linears, rows, why):
    with pytest.raises(UnreadableInput) as caught:
        expected_win(make_run("new", linears), make_run("base", BASE, rows))
    assert why in caught.value.message


@pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")
@pytest.mark.parametrize(
    ("name", "win", "linears"),
    [
        ("fp8dqrow-regional", 11_886_059_264, {"fp8dqrow": 418, "fp8wo": 86}),
        ("int8dq-regional", 11_882_993_344, {"int8dq": 418, "int8wo": 86}),
        ("int8wo-regional", 11_882_993_344, {"int8wo": 504}),
        ("fp8wo-regional", 11_886_059_264, {"fp8wo": 504}),
    ],
)
def test_the_kept_runs_keep_their_promise_within_half_a_percent(name, win, linears):
    base, new = Run.open(_TRACES / "flux-dev-bf16"), Run.open(_TRACES / f"flux-dev-{name}")
    found = expected_win(new, base)
    assert (found.win, found.stored_win, found.linears) == (win, win, linears)
    assert abs(found.error) < 0.005
    assert all(each.expected == each.new for each in found.components)
    back = expected_win(base, new)
    assert (back.win, abs(back.error) < 0.005) == (-win, True)
