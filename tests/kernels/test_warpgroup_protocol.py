"""The warpgroup kernel's protocol, on a model of the machine: buffers, barriers, halves, tiles cut along K, ragged edges."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gluon_model import Deadlock, modelled

TILE = {"block_m": 32, "block_n": 32, "block_k": 16, "stages": 3, "group": 2, "parts": 1, "slices": 1}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with modelled() as module:
        monkeypatch.setattr(module, "multiprocessors", lambda _device: 4)
        yield module


def wrong(kernels: Any, m: int, k: int, n: int, *, biased: bool = True, **config: int) -> int:
    """How many outputs are wrong."""
    generator = torch.Generator().manual_seed(m + k + n)
    a, weight = (torch.randint(-128, 128, (rows, k), generator=generator).to(torch.int8) for rows in (m, n))
    row, col, bias = (torch.rand(size, generator=generator) for size in (m, n, n))
    expected = (a.double() @ weight.double().t()).float() * row[:, None] * col[None, :]
    out = torch.full((m, n), 7.0, dtype=torch.bfloat16)
    kernels.warpgroup_matmul(a, weight, row, col, bias if biased else None, out, **(TILE | config))
    return int((out != (expected + bias if biased else expected).to(torch.bfloat16)).sum())


@pytest.mark.parametrize("shape", [(64, 64, 64), (33, 48, 40), (200, 80, 104), (1, 16, 8), (96, 272, 136)], ids=str)
@pytest.mark.parametrize("slices", [1, 3])
def test_every_output_is_right(kernels: Any, shape: tuple[int, int, int], slices: int):
    assert wrong(kernels, *shape, slices=slices) == 0


@pytest.mark.parametrize(
    "config",
    [{"parts": 2}, {"stages": 2}, {"stages": 5}, {"group": 1}, {"block_n": 16}, {"lead": 1}, {"lead": 2}, {"lead": 3}],
    ids=str,
)
def test_each_way_to_run_it_is_right(kernels: Any, config: dict[str, int]):
    assert wrong(kernels, 104, 144, 88, slices=2, biased=False, **config) == 0


def test_a_tail_that_is_cut_was_among_them(kernels: Any):
    # 5 x 2 tiles on 4 multiprocessors leave 2, so 2 programs for each of those.
    assert kernels.cut(10, 9, 4, 2) == 8
    assert wrong(kernels, 150, 144, 64, slices=2) == 0
    assert wrong(kernels, 150, 144, 64, slices=2, biased=False) == 0


def test_a_lead_longer_than_all_there_is_to_do(kernels: Any):
    assert wrong(kernels, 32, 16, 32, stages=5, lead=4) == 0
    assert wrong(kernels, 20, 48, 24, stages=5, lead=5) == 0


FAULTS = {
    "released before it was read": ("total = warpgroup_mma_wait(1, deps=[total])", "total = warpgroup_mma_wait(2, deps=[total])"),
    "no wait for the buffer": ("mbarrier.wait(empty.index(slot), (count // stages & 1) ^ 1)", "pass"),
    "no wait for the data": ("mbarrier.wait(ready.index(slot), count // stages & 1)", "pass"),
    "stored over a store": ("tma.store_wait(0)  # the buffer's last use", "pass"),
    "no fence": ("    fence_async_shared()\n    tma.async", "    tma.async"),
    "a slice too few": ("if other != beyond:", "if other > beyond:"),
    "never released": ("mbarrier.arrive(empty.index((count + stages - 1) % stages), count=1)\n", "pass\n"),
    "a lead never reached": ("pred=count == lead)", "pred=count == 99)"),
    "the other half": ("a_ring.index(2 * slot + mine)", "a_ring.index(2 * slot)"),
    "a step lost in a cut": ("steps * (part + 1) // slices, steps)", "steps * (part + 1) // slices - part, steps)"),
}


def planted(kernels: Any, right: str = "", faulty: str = "") -> Any:
    """The kernel's module with one piece of its source replaced."""
    source = inspect.getsource(kernels)
    assert right in source
    names: dict[str, Any] = {"__name__": "planted"}
    exec(compile(source.replace(right, faulty) if right else source, "planted", "exec"), names)
    names["multiprocessors"] = lambda _device: 4
    return SimpleNamespace(**names)


def fails(kernels: Any) -> bool:
    try:
        return wrong(kernels, 150, 400, 64, slices=2, parts=2, lead=2) > 0
    except (Deadlock, AssertionError):
        return True


# A late load may find the barrier of a kernel that has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_shows(kernels: Any, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gluon_model._LIMIT_S", 0.5)
    faulty = planted(kernels, *FAULTS[name])
    # What is asynchronous comes at random: one try in some may be lucky.
    assert any(fails(faulty) for _ in range(12))


def test_without_a_fault_nothing_shows(kernels: Any):
    assert not any(fails(planted(kernels)) for _ in range(5))
