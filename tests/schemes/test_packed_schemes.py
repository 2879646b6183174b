"""The schemes with packed weights on the tiny Flux: what each Linear gets, true bytes, closeness, offloads, refusals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "placement"))
from fakes import called, made

from profiler.core.errors import Refused
from profiler.core.scheme_bytes import weight_bytes
from profiler.kernels.packed_weight import PackedWeight
from profiler.placement.base import OFFLOADS
from profiler.recording import prepare
from profiler.recording.weights import describe_weights, flatten
from profiler.schemes.base import SCHEMES, Hardware, LinearInfo
from profiler.schemes.policy import LEFT, plan_linears

# Bytes of a weight's data, and how close two steps of the tiny Flux stay, in dB.
PACKED = {"fp6_e3m2": (0.75, 24, 40), "fp5_e2m2": (0.625, 23, 40), "fp4_e2m1": (0.5, 16, 30), "int4dq": (0.5, 16, 30)}
PACKED_SCHEMES = pytest.mark.parametrize("scheme", PACKED)
H100 = Hardware("cuda", (9, 0), "H100")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base() -> torch.Tensor:
    return called(*made("flux-tiny"))


@pytest.fixture(scope="module", params=PACKED)
def run(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    return request.param, *made("flux-tiny", scheme=request.param)


def test_every_linear_is_packed_and_the_picture_stays_close(run: tuple[str, Any, Any], base: torch.Tensor):
    scheme, plan, pipe = run
    linears = [each for each in pipe.transformer.modules() if isinstance(each, torch.nn.Linear)]
    assert len(linears) == 50
    assert all(isinstance(each.weight, PackedWeight) for each in linears)
    assert not any(isinstance(each, PackedWeight) for part in (pipe.vae, pipe.text_encoder) for each in part.parameters())
    _, low, high = PACKED[scheme]
    found = called(plan, pipe)
    assert low < float(20 * torch.log10(base.norm() / (base - found).norm())) < high


def test_weights_json_has_their_parts_and_arithmetic_their_bytes(run: tuple[str, Any, Any]):
    scheme, _, pipe = run
    rows = [each for each in describe_weights(pipe) if each["role"] in ("quantized data", "scale", "zero point")]
    linears = {n: m for n, m in pipe.transformer.named_modules() if isinstance(m, torch.nn.Linear)}
    sizes = {name: weight_bytes(scheme, each.out_features, each.in_features) for name, each in linears.items()}
    for name, size in sizes.items():
        mine = {each["role"]: each for each in rows if each["name"] == f"{name}.weight"}
        assert set(mine) == {"quantized data", "scale"}
        assert size is not None
        assert (mine["quantized data"]["bytes"], mine["scale"]["bytes"]) == (size.data, size.scales)
        assert (mine["quantized data"]["dtype"], mine["quantized data"]["kind"]) == ("int32", "parameter")
        assert mine["quantized data"]["storage_bytes"] == size.data
    parameters = sum(each.out_features * each.in_features for each in linears.values())
    assert sum(each["bytes"] for each in rows if each["role"] == "quantized data") == parameters * PACKED[scheme][0]


@PACKED_SCHEMES
def test_the_packed_flux_has_the_bits_that_its_name_promises(scheme: str):
    """Flux.1-dev's transformer by the shapes of its Linears: within 1 % of the bits, int4dq's many scales aside."""
    shapes = {(3072, 3072): 266, (12288, 3072): 76, (3072, 12288): 38, (3072, 15360): 38, (18432, 3072): 38, (9216, 3072): 38}
    parameters = sum(n * k * count for (n, k), count in shapes.items())
    total = sum(weight_bytes(scheme, n, k).total * count for (n, k), count in shapes.items())  # type: ignore[union-attr]
    assert (
        parameters * PACKED[scheme][0] < total < parameters * (PACKED[scheme][0] * 1.01 + (1 / 16 if scheme == "int4dq" else 0))
    )


@PACKED_SCHEMES
@pytest.mark.parametrize("compiling", [True, False])
def test_all_but_ragged_linears_are_packed_wherever_they_lie(scheme: str, compiling: bool):
    linears = [LinearInfo("a", 64, 7, None, False), LinearInfo("b", 3072, 18432, 1, True), LinearInfo("c", 48, 64, 9, True)]
    first, second, third = plan_linears(SCHEMES.get(scheme), linears, compiling=compiling)
    assert (first.scheme, second.scheme, third.scheme) == (scheme, scheme, LEFT)
    assert third.reason == f"{scheme} packs 32 inputs of a row together, and this one has 48"
    assert first.reason == second.reason == ""


def test_int4wo_takes_whole_groups_alone():
    linears = [LinearInfo("a", 64, 3072, 4096, True), LinearInfo("b", 3072, 64, 4096, False)]
    first, second = plan_linears(SCHEMES.get("int4wo"), linears, compiling=True)
    assert (first.scheme, first.reason) == (LEFT, "128 inputs share a scale in int4wo, and this one has 64")
    assert (second.scheme, second.reason) == ("int4wo", "")


def test_int4wo_is_refused_on_a_cpu_and_the_packed_ones_run_there():
    with pytest.raises(Refused, match="scheme int4wo needs a CUDA device; this machine has cpu") as caught:
        made_early("int4wo")
    assert set(PACKED) <= set(caught.value.hint.removeprefix("schemes that run here: ").split(", "))
    for scheme in PACKED:
        made_early(scheme)
        assert SCHEMES.get(scheme).obstacle(H100) is None
    assert SCHEMES.get("int4wo").obstacle(Hardware("cuda", (7, 5), "T4")) == "CUDA compute capability 8.0 or newer"


def made_early(scheme: str) -> None:
    from profiler.core.spec import RunSpec
    from profiler.models.base import MODELS

    model = MODELS.get("flux-tiny")
    prepare.refuse_early(prepare.look_up(model.resolve(RunSpec(model="flux-tiny", scheme=scheme)), model, Hardware("cpu")))


def test_int4wo_asks_torchao_for_the_packing_that_there_is():
    config = SCHEMES.get("int4wo").config
    assert config is not None
    made_config = config(False)
    assert (made_config.group_size, str(made_config.int4_packing_format)) == (128, "tile_packed_to_4d")


def test_tile_packed_scales_and_zero_points_are_told_apart():
    from torchao.quantization import Int4TilePackedTo4dTensor

    # 24 x 1000, padded to 24 x 1024.
    both = torch.zeros(8, 24, 2, dtype=torch.bfloat16)
    weight = Int4TilePackedTo4dTensor(torch.zeros(3, 8, 32, 4, dtype=torch.int32), both, [1, 128], torch.Size((24, 1000)))
    stored = {role: each.numel() * each.element_size() for role, each in flatten(weight)}
    expected = weight_bytes("int4wo", 24, 1000)
    assert expected is not None
    assert stored == {"quantized data": expected.data, "scale": expected.scales, "zero point": expected.zero_points}


def test_the_manifest_says_what_int4dq_multiplies():
    plan, pipe = made("flux-tiny", scheme="int4dq")
    notes = prepare.describe_applied(plan, pipe, [], [])["notes"]
    assert "int4dq rounds activations to int8 and multiplies in bf16: the weights' scales change along K" in notes
    assert prepare.describe_applied(*made("flux-tiny", scheme="fp6_e3m2"), [], [])["notes"] == []


@pytest.mark.parametrize("offload", ["model", "group"])
def test_an_offloaded_pipeline_paints_the_same_picture(offload: str, monkeypatch: pytest.MonkeyPatch):
    from profiler.placement.quantized import move_without_swapping

    monkeypatch.setattr(torch.utils, "swap_tensors", torch.utils.swap_tensors)
    asked = {"scheme": "fp6_e3m2", "quantize_text_encoder": True}
    expected = called(*made("flux-tiny", **asked))
    plan, pipe = made("flux-tiny", **asked)
    move_without_swapping()
    OFFLOADS.get(offload).apply(pipe, "cpu")  # type: ignore[misc]
    assert torch.equal(called(plan, pipe), expected)
    assert isinstance(pipe.text_encoder_2.encoder.block[0].layer[0].SelfAttention.q.weight, PackedWeight)


def graphs(scheme: str) -> int:
    """Graphs that the blocks of the tiny Flux are compiled to, each block whole."""
    from torch._dynamo.testing import CompileCounterWithBackend

    from profiler.compilers.base import COMPILERS

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    plan, pipe = made("flux-tiny", scheme=scheme)
    for name in COMPILERS.get("regional").regions(pipe.transformer):
        pipe.transformer.get_submodule(name).compile(backend=counter, fullgraph=True)
    called(plan, pipe)
    torch._dynamo.reset()
    return int(counter.frame_count)


def test_blocks_compile_whole_and_as_often_as_in_bf16():
    assert graphs("int4dq") == graphs("bf16") >= 2
