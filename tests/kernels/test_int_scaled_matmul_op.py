"""The op: registered soundly, whole under torch.compile and export, sent to the space that a kernel's name says."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul import SPACES, candidates, int_scaled_matmul, unknown
from profiler.kernels.operands import operands
from profiler.schemes.base import Hardware

KERNEL = "cpu:s8s8"


def arguments(m: int = 24, k: int = 32, n: int = 16, *, bias: bool = True) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(m)
    a, weight = (torch.randint(-128, 128, (rows, k), generator=generator).to(torch.int8) for rows in (m, n))
    row, col, shift = (torch.rand(size, generator=generator) for size in (m, n, n))
    return a, weight.t(), row[:, None], col, shift.to(torch.bfloat16) if bias else None


def expected(a: Any, b: Any, row: Any, col: Any, bias: Any) -> torch.Tensor:
    scaled = (a.double() @ b.double()).float() * row * col
    return (scaled if bias is None else scaled + bias.float()).to(torch.bfloat16)


class Layer(torch.nn.Module):
    def forward(self, *given: Any) -> torch.Tensor:
        return int_scaled_matmul(*given, KERNEL).relu()


@pytest.mark.parametrize("bias", [True, False])
def test_the_op_is_registered_soundly(bias: bool):
    torch.library.opcheck(torch.ops.diffuscope.int_scaled_matmul.default, (*arguments(bias=bias), KERNEL))


def test_it_is_one_node_of_a_whole_graph():
    given = arguments()
    compiled = torch.compile(Layer(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), expected(*given).relu())


def test_it_survives_export():
    given = arguments()
    exported = torch.export.export(Layer(), given)
    assert [each.target for each in exported.graph.nodes if "scaled" in str(each.target)] == [
        torch.ops.diffuscope.int_scaled_matmul.default
    ]
    torch.testing.assert_close(exported.module()(*given), expected(*given).relu())


def test_its_shape_is_known_without_data():
    from torch._subclasses.fake_tensor import FakeTensorMode

    kernel = "warpgroup:block_m=128"
    with FakeTensorMode() as mode:
        given = [None if each is None else mode.from_tensor(each) for each in arguments(bias=False)]
        out = int_scaled_matmul(*given, kernel)
    assert (out.shape, out.dtype) == ((24, 16), torch.bfloat16)


def test_what_compiled_graphs_on_disk_rely_on():
    """They call the op by this schema and take its result as it is here: what changes any of it must give the op another name.

    They hold no kernel, so another version of one needs no other graph.
    """
    op = torch.ops.diffuscope.int_scaled_matmul.default
    taken = "Tensor a, Tensor b, Tensor row_scale, Tensor col_scale, Tensor? bias, str kernel"
    assert str(op._schema) == f"diffuscope::int_scaled_matmul({taken}) -> Tensor"
    assert torch.Tag.pt2_compliant_tag in op.tags
    out = op(*(None if each is None else each.to("meta") for each in arguments(bias=False)), "warpgroup:block_m=128")
    assert (out.shape, out.stride(), out.dtype) == ((24, 16), (16, 1), torch.bfloat16)


def test_an_unknown_space_is_refused():
    with pytest.raises(ValueError, match="no space of kernels is called 'nowhere'"):
        int_scaled_matmul(*arguments(), "nowhere:a=1")


HOPPER = "hopper:block_m=128,block_n=256,block_k=128,stages=4,warps=8,group=8,parts=2,flatten=1,wide=1"
NOT_HERE = {
    "another device's": "hopper:block_m=128",
    "no configuration": "cpu:zzz",
    "no space": "nowhere",
    "a setting less": HOPPER.replace(",wide=1", ""),
    "a setting more": f"{HOPPER},turbo=1",
    "no number": HOPPER.replace("wide=1", "wide=yes"),
}


@pytest.mark.parametrize("case", NOT_HERE)
def test_a_kernel_that_no_space_can_run_is_known_before_it_runs(case: str):
    cpu, h100 = Hardware("cpu"), Hardware("cuda", (9, 0))
    own = [each.kernel for each in candidates(Shape(35, 1024, 64), cpu)] + ["cpu:s8s8"]
    assert unknown([*own, NOT_HERE[case]], cpu) == [NOT_HERE[case]]
    theirs = [HOPPER, "cublaslt:scaled", "pointers:block_m=16,block_n=64,block_k=64,stages=2,warps=4,group=4"]
    # torchao's configurations, which a file of its own may bring, are taken whether or not they are candidates.
    theirs.append("torchao:block_m=32,block_n=32,block_k=32,stages=1,warps=1")
    if case != "another device's":
        assert unknown([*theirs, NOT_HERE[case]], h100) == [NOT_HERE[case]]


@pytest.mark.parametrize("space", [each for each in SPACES["cuda"] if each != "cublaslt"])
def test_a_kernel_goes_to_its_space_with_its_configuration(space: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    module = importlib.import_module(f"profiler.kernels.int_scaled_matmul_{space}")

    def matmul(*given: Any) -> torch.Tensor:
        seen.append(blocks.config_of(given[-1]))
        return expected(*given[:-1])

    monkeypatch.setattr(module, "matmul", matmul)
    int_scaled_matmul(*arguments(), f"{space}:block_m=128,stages=4")
    assert seen == [{"block_m": 128, "stages": 4}]


def test_operands_that_fit_are_not_copied():
    a, b, row, col, bias = arguments()
    given = operands(a, b, row, col, bias)
    assert (given.a.data_ptr(), given.weight.data_ptr(), given.row_scale.data_ptr()) == (
        a.data_ptr(),
        b.data_ptr(),
        row.data_ptr(),
    )
    assert (given.row_scale.shape, given.weight.shape) == ((24,), (16, 32))
    assert (given.empty().shape, given.empty().dtype) == ((24, 16), torch.bfloat16)


def test_operands_that_the_copy_engine_cannot_read_are():
    a, b, row, col, bias = arguments()
    shifted = torch.empty(a.numel() + 1, dtype=torch.int8)[1:].view(a.shape).copy_(a)
    given = operands(shifted, b.contiguous(), row, col, bias)
    assert given.a.data_ptr() % 16 == given.weight.data_ptr() % 16 == 0
    assert given.weight.is_contiguous()
    assert torch.equal(given.a, a)
    assert torch.equal(given.weight.t(), b)
