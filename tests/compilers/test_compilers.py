"""Compile modes: which submodules become regions, and what a machine cannot compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import QUICK, diffuscope

from profiler.compilers.base import COMPILERS, refuse_machine
from profiler.core.errors import Refused
from profiler.models.base import MODELS

FLUX_BLOCKS = ["transformer_blocks.0", "transformer_blocks.1", "single_transformer_blocks.0", "single_transformer_blocks.1"]


def transformer(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        module: torch.nn.Module = MODELS.get(name).components()["transformer"]
    return module


@pytest.mark.parametrize(
    ("model", "regions"), [("flux-tiny", FLUX_BLOCKS), ("cogvideox-tiny", ["transformer_blocks.0", "transformer_blocks.1"])]
)
def test_regional_compiles_each_block_in_place(model: str, regions: list[str]):
    module = transformer(model)
    assert COMPILERS.get("regional").apply(module) == regions
    compiled = {name for name, each in module.named_modules() if each._compiled_call_impl is not None}
    assert compiled == set(regions)


def test_cogvideox_names_no_repeated_blocks_of_its_own():
    # Why the regions are read off the structure: diffusers' own list is empty here.
    assert not transformer("cogvideox-tiny")._repeated_blocks
    assert len(COMPILERS.get("regional").regions(transformer("cogvideox-5b"))) == 42
    assert len(COMPILERS.get("regional").regions(transformer("flux-dev"))) == 19 + 38


@pytest.mark.parametrize("mode", ["default", "max-autotune", "reduce-overhead"])
def test_the_other_modes_compile_the_whole(mode: str):
    module = transformer("flux-tiny")
    assert COMPILERS.get(mode).apply(module) == [""]
    assert module._compiled_call_impl is not None
    assert [name for name, each in module.named_modules() if name and each._compiled_call_impl is not None] == []


def test_none_compiles_nothing():
    module = transformer("flux-tiny")
    assert COMPILERS.get("none").apply(module) == []
    assert module._compiled_call_impl is None


@pytest.fixture
def no_compiler(tmp_path: Path) -> str:
    """A PATH with nothing of a compiler on it."""
    (tmp_path / "bin").mkdir()
    return str(tmp_path / "bin")


def test_without_a_compiler_the_cpu_compiles_nothing(no_compiler: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", no_compiler)
    monkeypatch.delenv("CXX", raising=False)
    for mode in ("default", "regional", "max-autotune"):
        with pytest.raises(Refused, match="needs a C\\+\\+ compiler, and none is on the PATH"):
            refuse_machine(COMPILERS.get(mode), "cpu")
    refuse_machine(COMPILERS.get("none"), "cpu")


@pytest.mark.parametrize("name", ["g++", "clang++"])
def test_either_compiler_will_do(no_compiler: str, monkeypatch: pytest.MonkeyPatch, name: str):
    program = Path(no_compiler) / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", no_compiler)
    monkeypatch.delenv("CXX", raising=False)
    refuse_machine(COMPILERS.get("regional"), "cpu")


def test_cuda_graphs_are_refused_on_a_cpu():
    with pytest.raises(Refused, match="--compile reduce-overhead needs CUDA") as caught:
        refuse_machine(COMPILERS.get("reduce-overhead"), "cpu")
    assert "default or regional" in caught.value.hint


def test_the_command_refuses_by_name_and_eager_still_runs(tmp_path: Path, no_compiler: str):
    without = {key: "" for key in ("CXX",) if key in os.environ} | {"PATH": no_compiler}
    compiled = diffuscope("record", "flux-tiny", *QUICK, "--compile", "regional", "-o", tmp_path / "compiled", **without)
    assert compiled.returncode == 2
    assert "error: compiling on the CPU needs a C++ compiler, and none is on the PATH" in compiled.stderr
    assert "--compile none" in compiled.stderr
    assert "Traceback" not in compiled.stderr
    assert not (tmp_path / "compiled").exists()
    eager = diffuscope("record", "flux-tiny", *QUICK, "--phases", "timed", "-o", tmp_path / "eager", **without)
    assert eager.returncode == 0, eager.stderr
    assert f"{tmp_path / 'eager'}: ok" in eager.stdout


def test_reduce_overhead_is_refused_before_anything_is_made(tmp_path: Path):
    done = diffuscope("record", "flux-tiny", *QUICK, "--compile", "reduce-overhead", "-o", tmp_path / "run", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1
    assert "needs CUDA: it replays CUDA graphs" in done.stderr
    assert not (tmp_path / "run").exists()


def test_listing_modes_imports_no_torch():
    code = "import sys; from profiler.compilers.base import COMPILERS; print(len(COMPILERS.values()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
