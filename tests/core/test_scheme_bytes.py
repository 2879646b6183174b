"""Bytes of a quantized weight by arithmetic, against what torchao stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.core.scheme_bytes import WeightBytes, known, weight_bytes
from profiler.schemes.base import SCHEMES

_TRACES = Path(__file__).resolve().parents[2] / "traces"
_RUNS = [
    "flux-dev-bf16",
    "flux-dev-fp8dqrow-regional",
    "flux-dev-int8dq-regional",
    "flux-dev-int8wo-regional",
    "flux-dev-fp8wo-regional",
]


@pytest.mark.parametrize(
    ("scheme", "data", "scales", "zero_points"),
    [
        ("left", 2 * 3072 * 12288, 0, 0),
        ("bf16", 2 * 3072 * 12288, 0, 0),
        ("fp8wo", 3072 * 12288, 4 * 3072, 0),
        ("fp8dqrow", 3072 * 12288, 4 * 3072, 0),
        ("fp8dq", 3072 * 12288, 4, 0),
        ("int8wo", 3072 * 12288, 4 * 3072, 3072),
        ("int8dq", 3072 * 12288, 4 * 3072, 3072),
        ("int4wo", 3072 * 12288 // 2, 2 * 3072 * 96, 2 * 3072 * 96),
        ("int4dq", 3072 * 12288 // 2, 2 * 3072 * 384, 0),
        ("fp6_e3m2", 3072 * 12288 * 3 // 4, 2 * 3072, 0),
        ("fp5_e2m2", 3072 * 12288 * 5 // 8, 2 * 3072, 0),
        ("fp4_e2m1", 3072 * 12288 // 2, 2 * 3072, 0),
        ("sparsify", 3072 * 12288 * 5 // 8, 4 * 3072, 0),
        ("fp8-sparse", 3072 * 12288 * 5 // 8, 4 * 3072, 0),
    ],
)
def test_a_feed_forward_weight_of_flux(scheme: str, data: int, scales: int, zero_points: int):
    found = weight_bytes(scheme, 3072, 12288)
    assert found == WeightBytes(data, scales, zero_points)
    assert found.total == data + scales + zero_points


def test_ragged_sizes_are_rounded_up_and_padded():
    assert weight_bytes("fp5_e2m2", 1, 3) == WeightBytes(2, 2)
    assert weight_bytes("int4wo", 9, 1000) == WeightBytes(16 * 1024 // 2, 2 * 16 * 8, 2 * 16 * 8)
    assert weight_bytes("left", 5, 7, "float32") == WeightBytes(140)
    assert weight_bytes("int4dq", 2, 33, "float32") == WeightBytes(33, 16)


def test_what_is_not_known_has_no_arithmetic():
    assert weight_bytes("int3", 8, 8) is None
    assert weight_bytes("fp8wo", 8, 8, "int64") is None
    assert not known("as built")


def test_every_registered_scheme_is_known():
    assert [name for name in SCHEMES if not known(name)] == []


@pytest.mark.parametrize("name", _RUNS)
def test_every_linear_of_the_kept_runs_to_the_byte(name: str):
    run = _TRACES / name
    if not run.is_dir():
        pytest.skip("no golden runs in traces/")
    stored: dict[str, int] = {}
    for row in json.loads((run / "rank0" / "weights.json").read_text()):
        key = f"{row['component']}.{row['name']}"
        stored[key] = stored.get(key, 0) + row["bytes"]
    linears = json.loads((run / "run.json").read_text())["applied"]["linears"]
    assert len(linears) == 504
    for each in linears:
        found = weight_bytes(each["scheme"], each["out_features"], each["in_features"])
        assert found and found.total == stored[each["module"] + ".weight"], each


@pytest.mark.parametrize("scheme", ["fp8wo", "int8wo", "int8dq", "int4dq", "fp6_e3m2", "fp5_e2m2", "fp4_e2m1"])
def test_so_many_bytes_are_stored(scheme: str):
    torch = pytest.importorskip("torch")
    quantization = pytest.importorskip("torchao.quantization")
    from profiler.recording.weights import flatten

    config = SCHEMES.get(scheme).config
    assert config is not None
    model = torch.nn.Sequential(torch.nn.Linear(256, 96, dtype=torch.bfloat16))
    quantization.quantize_(model, config(False))
    roles: dict[str, int] = {}
    for role, tensor in flatten(model[0].weight):
        roles[role] = roles.get(role, 0) + tensor.numel() * tensor.element_size()
    expected = weight_bytes(scheme, 96, 256)
    assert expected == WeightBytes(roles["quantized data"], roles["scale"], roles.get("zero point", 0))
