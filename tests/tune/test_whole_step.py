"""A whole step of the tiny Flux, tuned against untuned: every product bit for bit, and a planted fault is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.kernels import int_scaled_matmul_cpu as cpu
from profiler.kernels.tuned import Entry, save_merged, table_of
from profiler.recording.tuned import current_key
from profiler.schemes.base import Hardware
from profiler.tune.shapes import shapes_of_model
from profiler.tune.whole_step import StepResult, compare_step

CPU = Hardware("cpu")
KERNELS = ("cpu:u8s8", "cpu:s8s8", "cpu:dequantize")


def spec(table: Path | str) -> RunSpec:
    return RunSpec(model="flux-tiny", scheme="int8dq", height=64, width=64, tuned=str(table))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kernel of a CPU at some shape of the step."""
    path = tmp_path_factory.mktemp("table") / "t.json"
    wanted, _ = shapes_of_model(spec("off"))
    entries = {each.shape: Entry(kernel=KERNELS[at % len(KERNELS)], us=1.0) for at, each in enumerate(wanted)}
    save_merged(path, table_of(current_key(CPU), entries))
    return path


@pytest.fixture(scope="module")
def result(table: Path) -> StepResult:
    return compare_step(spec(table), CPU)


def test_every_product_is_what_torchaos_int32_sums_come_to(result: StepResult):
    assert {each.kernel for each in result.layers} == set(KERNELS)
    assert [each.unequal for each in result.layers] == [0] * len(result.layers)
    assert [each.far for each in result.layers] == [0] * len(result.layers), "within the roundings that torchao's own has"
    assert len({each.module for each in result.layers}) == len(result.layers) == 23
    assert all(each.outputs == each.shape.m * each.shape.n for each in result.layers)


def test_the_step_differs_from_the_untuned_one_by_less_than_that_from_bf16(result: StepResult):
    assert 0.0 < result.difference < result.quantization_error < 0.05
    assert result.tuned_error == pytest.approx(result.quantization_error, rel=0.05)
    assert result.right
    assert result.notes == ["23 of 23 int8dq Linears run tuned kernels"]


def test_a_planted_fault_is_seen_in_the_layers_that_have_it(table: Path, monkeypatch: pytest.MonkeyPatch):
    real = cpu._SUMS["u8s8"]

    def one_product_lost(a: Any, b: Any) -> torch.Tensor:
        return real(a[:, :-1].contiguous(), b[:-1])

    monkeypatch.setitem(cpu._SUMS, "u8s8", one_product_lost)
    found = compare_step(spec(table), CPU, blocks=1)
    assert {each.kernel for each in found.layers if each.unequal} == {"cpu:u8s8"}
    assert all(each.far for each in found.layers if each.kernel == "cpu:u8s8")
    assert not found.right


def test_fewer_blocks_have_fewer_layers(table: Path, result: StepResult):
    found = compare_step(spec(table), CPU, blocks=1)
    assert {each.module for each in found.layers} < {each.module for each in result.layers}
    assert {each.module.split(".")[2] for each in found.layers if "blocks" in each.module} == {"0"}
    assert found.right


def test_without_a_tuned_kernel_there_is_nothing_to_compare():
    with pytest.raises(UsageError, match="no Linear of flux-tiny has a tuned kernel here"):
        compare_step(spec("off"), CPU, blocks=1)
