"""Offloads: the registry, refusals, and diffusers' hooks on tiny pipelines whose "GPU" is the CPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import diffusers.hooks
import pytest
import torch
from fakes import called, made, offload_sequentially
from processes import QUICK, diffuscope

from profiler.core.errors import Refused, UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.placement.base import OFFLOADS, refuse_placement
from profiler.placement.group import offload_component
from profiler.placement.resident import count_hooks
from profiler.recording import prepare
from profiler.recording.weights import describe_weights
from profiler.schemes.base import Hardware

pytestmark = pytest.mark.usefixtures("one_thread")
COMPILE_MODES = ("default", "regional", "max-autotune", "reduce-overhead")
QUANTIZED = {"scheme": "int8wo", "quantize_text_encoder": True}


def offload(name: str, pipe: Any) -> None:
    if name == "sequential":
        offload_sequentially(pipe)
    else:
        OFFLOADS.get(name).apply(pipe, "cpu")


def test_the_registry_names_every_offload():
    assert sorted(OFFLOADS) == ["group", "model", "none", "sequential"]
    assert {each.name for each in OFFLOADS.values() if each.offloads} == {"group", "model", "sequential"}
    with pytest.raises(UsageError, match="no offload is called 'disk'"):
        OFFLOADS.get("disk")


def test_listing_offloads_imports_no_torch():
    code = "import sys; from profiler.placement.base import OFFLOADS; print(len(OFFLOADS.values()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False"]


@pytest.mark.parametrize("name", ["model", "sequential", "group"])
def test_without_a_gpu_an_offload_is_refused(name: str):
    with pytest.raises(Refused, match=f"--offload {name} moves weights between the CPU and a GPU, and there is none here"):
        refuse_placement(OFFLOADS.get(name), "cpu", "none", compiles_vae=False)
    refuse_placement(OFFLOADS.get("none"), "cpu", "regional", compiles_vae=True)


@pytest.mark.parametrize(
    ("name", "works"),
    [("model", {"default", "regional"}), ("group", {"regional"}), ("sequential", set()), ("none", {*COMPILE_MODES})],
)
def test_what_compiles_under_an_offload(name: str, works: set[str]):
    for mode in COMPILE_MODES:
        if mode in works:
            refuse_placement(OFFLOADS.get(name), "cuda", mode, compiles_vae=False)
            continue
        with pytest.raises(UsageError, match=f"--offload {name} cannot be combined with --compile {mode}: ") as caught:
            refuse_placement(OFFLOADS.get(name), "cuda", mode, compiles_vae=False)
        assert "--compile" in caught.value.hint
    for mode in ("none", *works):
        if name != "none":
            with pytest.raises(UsageError, match="which --compile-vae compiles"):
                refuse_placement(OFFLOADS.get(name), "cuda", mode, compiles_vae=True)


def test_a_missing_accelerate_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Refused, match="needs the package accelerate"):
        refuse_placement(OFFLOADS.get("model"), "cuda", "none", compiles_vae=False)


def test_what_is_no_diffusers_pipeline_is_named():
    for name in ("model", "sequential", "group"):
        with pytest.raises(UsageError, match="a object has none"):
            OFFLOADS.get(name).apply(object(), "cuda")


@pytest.mark.parametrize("name", ["model", "sequential", "group"])
@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("flux-tiny", {}),
        ("flux-tiny", QUANTIZED),
        ("cogvideox-tiny", {}),
        ("cogvideox-tiny", QUANTIZED | {"scheme": "int8dq"}),
        ("cogvideox-tiny", QUANTIZED | {"scheme": "fp8wo"}),
    ],
)
def test_an_offload_changes_no_bit(model: str, asked: dict[str, Any], name: str):
    expected = called(*made(model, **asked))
    plan, pipe = made(model, **asked)
    offload(name, pipe)
    for _ in range(2):
        assert torch.equal(called(plan, pipe), expected)


HOOKS = {
    "model": {"CpuOffload"},
    "sequential": {"AlignDevicesHook"},
    "group": {"GroupOffloadingHook"},
}


@pytest.mark.parametrize("name", HOOKS)
def test_every_component_gets_its_hooks_and_keeps_its_rows(name: str):
    plan, pipe = made("cogvideox-tiny", **QUANTIZED)
    before = describe_weights(pipe)
    offload(name, pipe)
    called(plan, pipe)
    for part in ("transformer", "text_encoder", "vae"):
        assert set(count_hooks(getattr(pipe, part))) == HOOKS[name]
    assert {each["device"] for each in describe_weights(pipe)} == {"cpu"}
    assert _rows(describe_weights(pipe)) == _rows(before)
    assert all(each["address"] for each in describe_weights(pipe) if each["storage_bytes"])


def _rows(weights: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    kept = ("component", "name", "kind", "role", "dtype", "bytes", "storage_bytes")
    return sorted(tuple(each[key] for key in kept) for each in weights)


def test_group_takes_the_transformer_block_by_block_and_the_rest_in_leaves():
    _, pipe = made("flux-tiny")
    offload("group", pipe)
    # 2 + 2 blocks and what lies beside them.
    assert count_hooks(pipe.transformer) == {"GroupOffloadingHook": 5}
    linears = sum(isinstance(each, torch.nn.Linear) for each in pipe.text_encoder_2.modules())
    assert count_hooks(pipe.text_encoder_2)["GroupOffloadingHook"] > linears


def test_the_vae_notes_no_order_of_its_layers_for_ever():
    from diffusers.hooks import HookRegistry
    from diffusers.hooks.group_offloading import LazyPrefetchGroupOffloadingHook

    from profiler.placement import group

    plan, pipe = made("cogvideox-tiny")
    expected = called(plan, pipe)
    offload_component(pipe.vae, "cpu", level="leaf_level")
    before = count_hooks(pipe.vae)
    # What a copy stream would bring: it needs a device that has streams.
    HookRegistry.check_if_exists_or_initialize(pipe.vae).register_hook(LazyPrefetchGroupOffloadingHook(), group._PREFETCH_HOOK)
    assert set(count_hooks(pipe.vae)) == {"GroupOffloadingHook", "LazyPrefetchGroupOffloadingHook", "LayerExecutionTrackerHook"}
    group._forget_order(pipe)
    assert count_hooks(pipe.vae) == before
    assert torch.equal(called(plan, pipe), expected)


@pytest.mark.parametrize("name", ["model", "sequential", "group"])
def test_the_command_refuses_before_a_run_is_made(tmp_path: Any, name: str):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = diffuscope("record", "flux-tiny", *QUICK, "--offload", name, "-o", tmp_path / "run", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: --offload {name} moves weights between the CPU and a GPU, and there is none here" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_pipeline_that_offloads_is_recorded_where_it_runs():
    from profiler.recording.session import _device_of

    cpu, cuda = torch.device("cpu"), torch.device("cuda:0")
    assert _device_of(SimpleNamespace(device=cpu, _execution_device=cuda)) == "cuda"
    assert _device_of(SimpleNamespace(device=cuda)) == "cuda"
    _, pipe = made("flux-tiny")
    offload("sequential", pipe)
    assert pipe.device.type == "meta"
    assert _device_of(pipe) == "cpu"


@pytest.mark.parametrize(("where", "moves"), [("device", ["cuda", "cpu"]), ("per-layer", ["cpu"]), ("cpu", [])])
def test_under_an_offload_nothing_stays_where_it_was_quantized(monkeypatch: pytest.MonkeyPatch, where: str, moves: list[str]):
    seen: list[Any] = []
    component = SimpleNamespace(to=seen.append)
    quantized: list[Any] = []
    monkeypatch.setattr(prepare, "quantize", lambda *_args, device, **_kwargs: quantized.append((list(seen), device)))
    spec, model = RunSpec(model="flux-tiny", scheme="int8wo", offload="model", quantize_on=where), MODELS.get("flux-tiny")
    plan = prepare.look_up(spec, model, Hardware("cuda"))
    prepare._quantize_component(plan, "transformer", component, [])
    assert seen == moves
    assert quantized == [(["cuda"] if where == "device" else [], "cuda" if where == "per-layer" else None)]


def test_under_an_offload_the_pipeline_is_built_on_the_cpu_and_never_moved_as_a_whole():
    built: list[Any] = []

    def build(device: str, *_: Any) -> Any:
        built.append(device)
        return SimpleNamespace(transformer=torch.nn.Linear(2, 2))

    model = dataclasses.replace(MODELS.get("flux-tiny"), build=build, rows=lambda *_: {})
    for name, device in (("none", "cuda"), ("model", "cpu"), ("sequential", "cpu"), ("group", "cpu")):
        plan = prepare.look_up(RunSpec(model="flux-tiny", offload=name), model, Hardware("cuda"))
        # A pipeline without `to`: moving it would raise.
        prepare.quantize_pipeline(plan, prepare.load(plan))
        assert built.pop() == device
    plan = prepare.look_up(RunSpec(model="flux-tiny", offload="group", quantize_on="cpu"), model, Hardware("cuda"))
    prepare.quantize_pipeline(plan, prepare.load(plan))


def test_the_offload_asked_for_is_called_with_the_device(monkeypatch: pytest.MonkeyPatch):
    _, pipe = made("cogvideox-tiny")
    calls: list[Any] = []
    for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        monkeypatch.setattr(pipe, name, lambda device, name=name: calls.append((name, device)), raising=True)
    monkeypatch.setattr(
        diffusers.hooks, "apply_group_offloading", lambda module, **how: calls.append((type(module).__name__, how))
    )
    for name in ("none", "model", "sequential", "group"):
        spec = RunSpec(model="cogvideox-tiny", offload=name)
        prepare.place_pipeline(prepare.look_up(spec, MODELS.get("cogvideox-tiny"), Hardware("cuda")), pipe)
    assert calls[:2] == [("enable_model_cpu_offload", "cuda"), ("enable_sequential_cpu_offload", "cuda")]
    groups = {module: (how["offload_type"], how["num_blocks_per_group"], how["use_stream"]) for module, how in calls[2:]}
    assert groups == {
        "CogVideoXTransformer3DModel": ("block_level", 1, True),
        "T5EncoderModel": ("leaf_level", None, True),
        "AutoencoderKLCogVideoX": ("leaf_level", None, True),
    }
    assert {how["onload_device"] for _, how in calls[2:]} == {torch.device("cuda")}
