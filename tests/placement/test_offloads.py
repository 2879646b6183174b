"""Offloads: the registry, refusals, and diffusers' hooks on tiny pipelines whose "GPU" is the CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch
from fakes import called, made, offload_sequentially
from processes import QUICK, diffuscope

from profiler.core.errors import Refused, UsageError
from profiler.placement.base import OFFLOADS, refuse_placement
from profiler.placement.group import offload_component
from profiler.placement.resident import count_hooks
from profiler.recording.weights import describe_weights

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
