"""Kept plans of cuSPARSELt, against a stub of it that multiplies on the host: what is planned and when torch's call stays."""

from __future__ import annotations

import ctypes
import subprocess
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from profiler.kernels import sparse_plans
from profiler.kernels.cusparselt import Library, Product, Unusable
from profiler.kernels.sparse_matmul import sparse_matmul
from profiler.kernels.sparse_plans import SEARCHED
from profiler.kernels.two_of_four import keep_two_of_four, pack, unpack
from profiler.recording.sparse_products import note_sparse_products
from profiler.rundir.manifest import Manifest

M, K, N = 16, 64, 96
FOUND = 19


@pytest.fixture(scope="module")
def stub_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("stub") / "libcusparseLt.so.0"
    source = Path(__file__).with_name("cusparselt_stub.cpp")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return str(path)


class Stub:
    """The stub's counters and faults, as attributes."""

    def __init__(self, path: str) -> None:
        vars(self)["_loaded"] = ctypes.CDLL(path)

    def __getattr__(self, name: str) -> int:
        kind = ctypes.c_int64 if name == "stream" else ctypes.c_int
        return int(kind.in_dll(self._loaded, f"stub_{name}").value)

    def __setattr__(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self._loaded, f"stub_{name}").value = value


@pytest.fixture
def stub(stub_path: str) -> Stub:
    made = Stub(stub_path)
    for name in ("inits", "plans", "products", "fail_plan", "fail_product", "wrong"):
        setattr(made, name, 0)
    made.version = 800
    return made


def operands() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    weight = keep_two_of_four(torch.randint(-127, 128, (N, K), generator=generator)).to(torch.int8)
    rows = torch.randint(-127, 128, (M, K), generator=generator).to(torch.int8)
    return rows, pack(weight), torch.rand(N, generator=generator) / 1000


class Torch:
    """As much of torch on CUDA as a plan needs, on CPU tensors; it counts its own calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        self.searches, self.products, self.capturing, self.noise = 0, [], False, 0.0
        monkeypatch.setattr(torch, "_cslt_sparse_mm", self.product)
        monkeypatch.setattr(torch, "_cslt_sparse_mm_search", self.search)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: -1)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.capturing)
        monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda _device: 77, raising=False)
        monkeypatch.setattr(sparse_plans, "Library", partial(Library, path))
        monkeypatch.setattr(sparse_plans, "_HERE", sparse_plans._OfThread())
        monkeypatch.setattr(sparse_plans, "_SEEN", {})

    def product(self, packed: Any, columns: Any, *, alpha: Any, alg_id: int, **others: Any) -> torch.Tensor:
        assert others == {"out_dtype": torch.bfloat16, "transpose_result": True}
        self.products.append(alg_id)
        out = sparse_matmul(columns.t(), packed, alpha)
        return out + self.noise * out if alg_id else out

    def search(self, packed: Any, columns: Any, **others: Any) -> int:
        self.searches += 1
        return FOUND


@pytest.fixture
def torchs(monkeypatch: pytest.MonkeyPatch, stub_path: str) -> Torch:
    return Torch(monkeypatch, stub_path)


def expected() -> torch.Tensor:
    rows, packed, scale = operands()
    return ((rows.long() @ unpack(packed).long().t()).float() * scale).to(torch.bfloat16)


@pytest.mark.parametrize("algorithm", [0, 3])
def test_a_plan_is_the_product_that_was_meant(stub_path: str, stub: Stub, algorithm: int):
    rows, packed, scale = operands()
    product = Product(Library(stub_path), M, K, N, algorithm)
    out, workspace = torch.empty(M, N, dtype=torch.bfloat16), torch.empty(256, dtype=torch.int8)
    assert product.workspace == (256 if algorithm else 0)
    beside = workspace.data_ptr() if product.workspace else 0
    product(packed.data_ptr(), rows.data_ptr(), scale.data_ptr(), out.data_ptr(), beside, 12345)
    assert torch.equal(out, expected())
    assert (stub.algorithm, stub.stream) == (algorithm, 12345)


def test_a_shape_is_searched_planned_and_checked_once(stub: Stub, torchs: Torch):
    rows, packed, scale = operands()
    for _ in range(3):
        assert torch.equal(sparse_plans.matmul(rows, packed, scale, SEARCHED), expected())
    assert (torchs.searches, stub.inits, stub.plans) == (1, 1, 1)
    # The check's launch, and one a call.
    assert (stub.products, stub.algorithm, stub.stream) == (4, FOUND, 77)
    # The search is held against the default, the plan against the call that it replaces; then torch is not called again.
    assert torchs.products == [FOUND, 0, FOUND]
    assert sparse_plans.describe() == [{"m": M, "k": K, "n": N, "device": -1, "algorithm": FOUND, "kept": True}]
    assert torch.equal(sparse_plans.matmul(rows[:0].new_zeros(32, K), packed, scale, SEARCHED), torch.zeros(32, N).bfloat16())
    assert (torchs.searches, stub.inits, stub.plans) == (2, 1, 2)


def test_a_run_writes_down_what_was_kept_and_nothing_where_nothing_was_sparse(stub: Stub, torchs: Torch):
    note_sparse_products(manifest := Manifest())
    assert manifest.applied == {}
    sparse_plans.matmul(*operands(), SEARCHED)
    note_sparse_products(manifest)
    assert manifest.applied == {"sparse_products": sparse_plans.describe()}


def test_an_algorithm_that_is_asked_for_is_not_searched(stub: Stub, torchs: Torch):
    assert torch.equal(sparse_plans.matmul(*operands(), 4), expected())
    assert (torchs.searches, torchs.products, stub.algorithm) == (0, [4], 4)


@pytest.mark.parametrize(("noise", "taken"), [(0.0, FOUND), (0.004, FOUND), (0.05, 0)])
def test_a_fast_algorithm_may_round_otherwise_and_no_more(stub: Stub, torchs: Torch, noise: float, taken: int):
    torchs.noise = noise
    agrees = not noise or not taken
    with nullcontext() if agrees else pytest.warns(UserWarning, match="not that of torch's own call"):
        sparse_plans.matmul(*operands(), SEARCHED)
    found = sparse_plans.describe()[0]
    assert (stub.algorithm, found["algorithm"], found["kept"]) == (taken, taken, agrees)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"wrong": 1}, "a plan's result is not that of torch's own call"),
        ({"fail_plan": 7}, "cusparseLtMatmulPlanInit returned status 7"),
        ({"fail_product": 6}, "cusparseLtMatmul returned status 6"),
        ({"version": 502}, "cuSPARSELt 502 is none of 600 to 899"),
    ],
)
def test_a_plan_that_fails_leaves_torchs_call_for_good_and_says_so(stub: Stub, torchs: Torch, fault: dict[str, int], why: str):
    for name, value in fault.items():
        setattr(stub, name, value)
    with pytest.warns(UserWarning, match=f"{M}x{K}x{N} run torch's own call.*{why}"):
        assert torch.equal(sparse_plans.matmul(*operands(), SEARCHED), expected())
    stub.wrong = stub.fail_plan = stub.fail_product = 0
    tried = stub.plans, len(torchs.products)
    assert torch.equal(sparse_plans.matmul(*operands(), SEARCHED), expected())
    assert (stub.plans, len(torchs.products)) == (tried[0], tried[1] + 1)
    assert torchs.products[-1] == FOUND
    assert sparse_plans.describe() == [{"m": M, "k": K, "n": N, "device": -1, "algorithm": FOUND, "kept": False, "why": why}]
    note_sparse_products(manifest := Manifest(applied={"notes": ["one"]}))
    assert manifest.applied["sparse_products"] == sparse_plans.describe()
    said = f"2:4 sparse products of {M}x{K}x{N} run torch's own call, which costs the host more: {why}"
    assert manifest.applied["notes"] == ["one", said]


def test_a_launch_that_fails_later_still_gives_the_result(stub: Stub, torchs: Torch):
    sparse_plans.matmul(*operands(), SEARCHED)
    stub.fail_product = 10
    with pytest.warns(UserWarning, match="cusparseLtMatmul returned status 10"):
        assert torch.equal(sparse_plans.matmul(*operands(), SEARCHED), expected())
    assert not sparse_plans.describe()[0]["kept"]


def test_nothing_is_searched_or_checked_while_a_graph_is_captured(stub: Stub, torchs: Torch):
    torchs.capturing = True
    assert torch.equal(sparse_plans.matmul(*operands(), SEARCHED), expected())
    assert (torchs.searches, torchs.products, stub.plans, sparse_plans.describe()) == (0, [0], 0, [])
    torchs.capturing = False
    sparse_plans.matmul(*operands(), SEARCHED)
    torchs.capturing = True
    before = len(torchs.products)
    assert torch.equal(sparse_plans.matmul(*operands(), SEARCHED), expected())
    assert len(torchs.products) == before


def test_operands_that_lie_otherwise_take_torchs_call(stub: Stub, torchs: Torch):
    rows, packed, scale = operands()
    sparse_plans.matmul(rows, packed, scale, SEARCHED)
    shifted = torch.empty(M * K + 16, dtype=torch.int8)[1 : M * K + 1].view(M, K).copy_(rows)
    before = stub.products
    assert torch.equal(sparse_plans.matmul(shifted, packed, scale, SEARCHED), expected())
    assert (stub.products, torchs.products[-1]) == (before, FOUND)


def test_a_process_without_the_library_or_with_another_one_says_what_is_missing():
    with pytest.raises(Unusable, match="libcusparseLt"):
        Library()
    with pytest.raises(Unusable, match="cusparseLtInit"):
        Library("libm.so.6")
