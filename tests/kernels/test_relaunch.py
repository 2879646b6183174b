"""A launch made again: the same arguments as by Triton's own way, and only for operands that lie as they did."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from profiler.kernels import relaunch
from profiler.kernels.relaunch import Launched, Relaunch, keep, ready

WARPGROUP = "warpgroup:block_m=128,block_n=128,block_k=128,stages=6,group=8,parts=1,slices={},lead=0,wide=0"
HOPPER = "hopper:block_m=128,block_n=128,block_k=128,stages=5,warps=8,group=8,parts=1,flatten=1,wide=0"
POINTERS = "pointers:block_m=64,block_n=64,block_k=64,stages=3,warps=4,group=8"
M, K, N = 48, 1024, 32

with_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here")


def operands(*, bias: bool = True) -> tuple[Any, ...]:
    a, weight = torch.ones(M, K, dtype=torch.int8), torch.ones(N, K, dtype=torch.int8)
    shift = torch.ones(N, dtype=torch.bfloat16) if bias else None
    return a, weight.t(), torch.ones(M), torch.ones(N), shift


class Fake:
    """A compiled kernel whose launcher takes plain pointers, with what it was launched with."""

    def __init__(self, **launcher: Any) -> None:
        self.launches: list[tuple[Any, ...]] = []
        known = {"global_scratch_size": 0, "profile_scratch_size": 0, "launch_cooperative_grid": False, "launch_pdl": False}
        self.run = SimpleNamespace(**known | {"launch": lambda *given: self.launches.append(given)} | launcher)
        self.function, self.packed_metadata = 2, (4, 1, 99)

    def launched(self, given: tuple[Any, ...], partial: int | None = None) -> Launched:
        out = torch.empty(M, N, dtype=torch.bfloat16)
        return Launched(self, 5, (given[0], given[1].t(), out), (M, N, K, True), partial, partial)


def made(fake: Fake, given: tuple[Any, ...], partial: int | None = None) -> Relaunch:
    return Relaunch(fake.launched(given, partial), lambda index: 70 + index)


def addresses(*tensors: Any) -> tuple[int, ...]:
    return tuple(each.data_ptr() for each in tensors)


def test_it_launches_by_addresses_alone():
    fake, given, other = Fake(), operands(), operands()
    out = made(fake, given)(*other)
    assert out is not None
    assert (out.shape, out.dtype) == ((M, N), torch.bfloat16)
    a, b, row, col, bias = other
    head = (5, 1, 1, 70, 2, False, False, None, None, (4, 1, 99), None, None, None)
    assert fake.launches == [(*head, *addresses(a, b, out, row, col, bias), M, N, K, True)]


def test_without_a_bias_an_address_takes_its_place_that_is_not_read():
    fake, given = Fake(), operands(bias=False)
    made(fake, given)(*given)
    assert fake.launches[0][16:19] == addresses(given[2], given[3], given[2])


@pytest.mark.parametrize("size", [0, 8])
def test_sums_of_slices_get_memory_where_there_are_slices(size: int):
    fake, given = Fake(), operands()
    made(fake, given, size)(*given)
    partial, arrived = fake.launches[0][19:21]
    row = given[2].data_ptr()
    assert (partial == row, arrived == row) == (size == 0, size == 0)


def shifted(tensor: torch.Tensor) -> torch.Tensor:
    """The same values an element further on: no 16-byte address."""
    room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)[1:]
    return room.view(tensor.shape).copy_(tensor)


CHANGES = {
    "a at an odd address": (0, shifted),
    "a with a stride": (0, lambda each: each.repeat(1, 2)[:, :K]),
    "b in the other layout": (1, lambda each: each.contiguous()),
    "scales at an odd address": (2, shifted),
    "scales with a stride": (3, lambda each: each.repeat_interleave(2)[::2]),
    "bias with a stride": (4, lambda each: each.repeat_interleave(8)[::8]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_operands_that_lie_otherwise_are_left_to_triton(change: str):
    fake, given = Fake(), list(operands())
    again = made(fake, tuple(given))
    at, how = CHANGES[change]
    given[at] = how(given[at])
    assert again(*given) is None
    assert fake.launches == []


def test_a_kernel_that_wants_memory_of_its_own_is_not_launched_so():
    with pytest.raises(ValueError, match="memory of its own"):
        made(Fake(global_scratch_size=64), operands())


def test_what_is_kept_is_found_by_kernel_sizes_and_dtypes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relaunch, "_KEPT", {})
    fake, given = Fake(), operands()
    relaunch._KEPT[relaunch._key(*given, "pointers:x")] = made(fake, given)
    assert ready(*given, "pointers:x") is not None
    assert ready(*given, "pointers:y") is None
    assert ready(*operands(bias=False), "pointers:x") is None
    assert ready(given[0][:32], *given[1:], "pointers:x") is None
    assert ready(*given[:2], given[2].bfloat16(), *given[3:], "pointers:x") is None
    assert len(fake.launches) == 1


@pytest.mark.parametrize("compiled", [None, SimpleNamespace(run=SimpleNamespace())], ids=["interpreted", "another Triton's"])
def test_a_launcher_that_is_not_as_known_is_not_kept(monkeypatch: pytest.MonkeyPatch, compiled: Any):
    monkeypatch.setattr(relaunch, "_KEPT", {})
    given = operands()
    assert not keep(*given, "pointers:x", Fake().launched(given)._replace(compiled=compiled))
    assert relaunch._KEPT == {}


def test_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relaunch, "_MOST_MAPS", 2)
    maps = relaunch._Maps(lambda address: (address, "map"))
    assert [maps[each] for each in (16, 32, 16)] == [(16, "map"), (32, "map"), (16, "map")]
    assert set(maps) == {16, 32}
    assert maps[48] == (48, "map")
    assert set(maps) == {48}


@with_triton
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [WARPGROUP.format(1), WARPGROUP.format(2), HOPPER, POINTERS])
def test_the_launcher_gets_what_triton_gives_it(monkeypatch: pytest.MonkeyPatch, kernel: str, bias: bool):
    """Through Triton's own launcher, compiled for an H100; only the last call, into C, is a stand-in."""
    from launchless import install

    from profiler.kernels import int_scaled_matmul_gluon, int_scaled_matmul_triton
    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    driver = install(monkeypatch)
    monkeypatch.setattr(relaunch, "_KEPT", {})
    for each in (int_scaled_matmul_gluon, int_scaled_matmul_triton):
        monkeypatch.setattr(each, "multiprocessors", lambda _device: 132)
        for jitted in vars(each).values():
            getattr(jitted, "device_caches", {}).clear()
    given = operands(bias=bias)
    outs = [int_scaled_matmul(*given, kernel) for _ in range(3)]
    assert len(relaunch._KEPT) == 1
    first, *again = [_told(each, [*given, out]) for each, out in zip(driver.launches, outs, strict=True)]
    assert again == [first, first]


def _told(launch: tuple[Any, ...], known: list[Any]) -> list[Any]:
    """A launch with its tensors by name; hooks, empty ones too, and memory that only slices use, left out."""
    names = {each.data_ptr(): f"operand {at}" for at, each in enumerate(known) if each is not None}

    def told(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(told, value))
        return names.get(value, "memory") if isinstance(value, int) and not isinstance(value, bool) and value > 1 << 20 else value

    return [told(each) for each in (*launch[:10], *launch[13:])]
