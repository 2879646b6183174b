"""A model of the machine that `warpgroup_kernel` runs on, in plain Python: its source runs unchanged, without Triton or a GPU.

Every partition is a thread; barriers have phases, counts and bytes. What is asynchronous happens as late as the rules allow:
a load first fills its buffer with rubbish and writes the data some time later, a product reads its buffers only when somebody
waits for it, and so does a store. A buffer that is reused too early, a missing wait or a barrier that nobody arrives at shows
as a wrong result or as a deadlock.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

_LIMIT_S = 20.0
_here = threading.local()
_launch = SimpleNamespace(program=0, programs=1)
_changed = threading.Condition()


class Deadlock(Exception):
    """A barrier that nobody completes."""


class Tile:
    """A tensor in registers; an accumulator has no value until its product is done."""

    def __init__(self, value: Any, layout: Any = None, product: Callable[[], torch.Tensor] | None = None) -> None:
        self._value, self._product = value, product
        self.type = SimpleNamespace(layout=layout)

    @property
    def value(self) -> torch.Tensor:
        assert self._value is not None, "an accumulator was read while the tensor cores write it"
        return self._value

    def finish(self) -> None:
        self._value = self._product()

    @property
    def shape(self) -> Any:
        return self.value.shape

    def to(self, dtype: torch.dtype) -> Tile:
        return Tile(self.value.to(dtype), self.type.layout)

    def _with(self, other: Any, do: Callable[[Any, Any], Any]) -> Tile:
        return Tile(do(self.value, other.value if isinstance(other, Tile) else other), self.type.layout)

    def __add__(self, other: Any) -> Tile:
        return self._with(other, lambda x, y: x + y)

    def __mul__(self, other: Any) -> Tile:
        return self._with(other, lambda x, y: x * y)

    def __lt__(self, other: Any) -> Tile:
        return self._with(other, lambda x, y: x < y)

    __radd__, __rmul__ = __add__, __mul__


class Pointer:
    """An address in a flat tensor, or a tile of them."""

    def __init__(self, data: torch.Tensor, at: Any = 0) -> None:
        self.data, self.at = data, at

    def __add__(self, offset: Any) -> Pointer:
        return Pointer(self.data, self.at + (offset.value if isinstance(offset, Tile) else offset))


class Buffer:
    """Shared memory."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.shape = tuple(data.shape)

    def index(self, at: int) -> Buffer:
        assert 0 <= at < self.shape[0]
        return Buffer(self.data[at])

    def permute(self, order: tuple[int, ...]) -> Buffer:
        return Buffer(self.data.permute(order))

    def store(self, value: Tile) -> None:
        self.data.copy_(value.value)
        _here.unfenced = True


class Barrier:
    """Completes a phase when `count` arrivals and all expected bytes have come."""

    def __init__(self) -> None:
        self.count = self.left = self.bytes = self.phases = 0

    def change(self, arrivals: int = 0, size: int = 0) -> None:
        with _changed:
            self.left -= arrivals
            self.bytes += size
            assert self.left >= 0, "more arrivals than a phase has"
            if self.left == 0 and self.bytes == 0:
                self.phases, self.left = self.phases + 1, self.count
            _changed.notify_all()

    def wait(self, parity: int) -> None:
        with _changed:
            if not _changed.wait_for(lambda: (self.phases - 1) % 2 == parity, _LIMIT_S):
                raise Deadlock(f"phase {self.phases}, {self.left} arrivals and {self.bytes} bytes short")


class Barriers(Buffer):
    def __init__(self, count: int) -> None:
        self.barriers = [Barrier() for _ in range(count)]

    def index(self, at: int) -> Any:
        assert 0 <= at < len(self.barriers)
        return self.barriers[at]


class Descriptor:
    """A tensor as the copy engine sees it: what lies outside reads as 0 and is not written."""

    def __init__(self, tensor: torch.Tensor, block_shape: list[int], layout: Any) -> None:
        self.tensor, self.block_shape, self.layout, self.dtype = tensor, block_shape, layout, tensor.dtype

    from_tensor = classmethod(lambda cls, *args: cls(*args))

    def part(self, at: list[int]) -> tuple[slice, ...]:
        return tuple(slice(x, min(x + size, end)) for x, size, end in zip(at, self.block_shape, self.tensor.shape, strict=True))


def _load(descriptor: Descriptor, at: list[int], barrier: Barrier, buffer: Buffer) -> None:
    assert list(buffer.shape) == descriptor.block_shape
    buffer.data.random_(-128, 128)

    def arrive() -> None:
        found = descriptor.tensor[descriptor.part(at)]
        buffer.data.zero_()
        buffer.data[tuple(slice(0, size) for size in found.shape)] = found
        barrier.change(size=-buffer.data.nbytes)

    threading.Timer(random.random() * 0.002, arrive).start()


def _expect(barrier: Barrier, size: int) -> None:
    barrier.change(1, size)


def _store(descriptor: Descriptor, at: list[int], buffer: Buffer) -> None:
    assert not _here.unfenced, "the copy engine may not see what was stored: no fence"

    def read() -> None:
        to = descriptor.tensor[descriptor.part(at)]
        to.copy_(buffer.data[tuple(slice(0, size) for size in to.shape)])

    _here.stores.append(read)


def _finish(pending: list[Callable[[], None]], left: int) -> None:
    while len(pending) > left:
        pending.pop(0)()


def _product(a: Buffer, b: Buffer, total: Tile, use_acc: bool, is_async: bool) -> Tile:
    assert is_async

    def run() -> torch.Tensor:
        sums = (a.data.double() @ b.data.double()).to(torch.int32)
        return total.value + sums if use_acc else sums

    made = Tile(None, total.type.layout, run)
    _here.products.append(made.finish)
    return made


def _wait_products(left: int, deps: list[Tile]) -> Tile:
    _finish(_here.products, left)
    return deps[0]


def _get(pointer: Pointer, mask: Tile | None = None, other: Any = 0, cache_modifier: str = "") -> Tile:
    inside = torch.ones_like(pointer.at, dtype=torch.bool) if mask is None else mask.value
    assert not inside.any() or int(pointer.at[inside].max()) < len(pointer.data), "read beyond the end"
    return Tile(torch.where(inside, pointer.data[torch.where(inside, pointer.at, 0)], other))


def _set(pointer: Pointer, value: Tile) -> None:
    pointer.data[pointer.at.flatten()] = value.value.flatten()


def _atomic_add(pointer: Pointer, value: int, sem: str) -> int:
    assert sem == "acq_rel"
    before = int(pointer.data[pointer.at])
    pointer.data[pointer.at] = before + value
    return before


def _specialize(work: list[tuple[Any, tuple[Any, ...]]], warps: list[int], registers: list[int]) -> None:
    assert len(work) == len(warps) + 1 == len(registers) + 1
    failed: list[BaseException] = []

    def run(function: Any, arguments: tuple[Any, ...]) -> None:
        _here.products, _here.stores, _here.unfenced = [], [], False
        try:
            function(*arguments)
            assert _here.products == _here.stores == [], "left before what it began was done"
        except BaseException as error:  # noqa: BLE001 - a failing partition fails the kernel
            failed.append(error)

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in work]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failed:
        raise failed[0]


class _Jit:
    """`kernel[grid](...)`: the programs one after another, in any order, since none may wait for another."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        def launch(*args: Any, num_warps: int, maxnreg: int, enable_fp_fusion: bool, **constants: Any) -> None:
            assert (num_warps, enable_fp_fusion) == (4, False)
            given = [Pointer(each.flatten()) if isinstance(each, torch.Tensor) else each for each in args]
            order = list(range(grid[0]))
            random.shuffle(order)
            for program in order:
                _launch.program, _launch.programs = program, grid[0]
                self.function(*given, **constants)

        return launch


def _jit(function: Any = None, **_: Any) -> Any:
    return _Jit if function is None else _Jit(function)


def _language() -> ModuleType:
    gl: Any = ModuleType("triton.experimental.gluon.language")
    gl.constexpr = lambda value: value
    gl.int8, gl.int32, gl.int64 = torch.int8, torch.int32, torch.int64
    gl.float16, gl.float32, gl.bfloat16 = torch.float16, torch.float32, torch.bfloat16
    gl.program_id, gl.num_programs = lambda _: _launch.program, lambda _: _launch.programs
    gl.cdiv, gl.minimum, gl.maximum = lambda x, y: -(-x // y), min, max
    gl.where = lambda condition, x, y: x if condition else y
    gl.static_range = range
    gl.NVMMADistributedLayout = lambda *args: ("mma", *args)
    gl.NVMMASharedLayout = SimpleNamespace(get_default_for=lambda *_: None)
    gl.SliceLayout = lambda axis, parent: ("slice", axis, parent)
    gl.zeros = lambda shape, dtype, layout: Tile(torch.zeros(shape, dtype=dtype), layout)
    gl.arange = lambda start, end, layout: Tile(torch.arange(start, end), layout)
    gl.expand_dims = lambda tile, axis: Tile(tile.value.unsqueeze(axis), tile.type.layout)
    gl.reshape = lambda tile, shape: Tile(tile.value.reshape(shape))
    gl.permute = lambda tile, order: Tile(tile.value.permute(order))
    gl.split = lambda tile: (Tile(tile.value[..., 0]), Tile(tile.value[..., 1]))
    gl.load, gl.store, gl.atomic_add, gl.thread_barrier = _get, _set, _atomic_add, lambda: None
    gl.warp_specialize = _specialize
    gl.allocate_shared_memory = lambda dtype, shape, layout: (
        Barriers(shape[0]) if layout == "barrier" else Buffer(torch.zeros(shape, dtype=dtype))
    )
    return gl


def _hopper() -> ModuleType:
    hopper: Any = ModuleType("triton.experimental.gluon.language.nvidia.hopper")

    def init(barrier: Barrier, count: int) -> None:
        barrier.count = barrier.left = count

    hopper.mbarrier = SimpleNamespace(
        MBarrierLayout=lambda: "barrier",
        init=init,
        wait=lambda barrier, parity: barrier.wait(parity),
        arrive=lambda barrier, count, pred=True: barrier.change(count) if pred else None,
        expect=_expect,
    )
    hopper.tma = SimpleNamespace(
        async_copy_global_to_shared=_load,
        async_copy_shared_to_global=_store,
        store_wait=lambda left: _finish(_here.stores, left),
    )

    def fence() -> None:
        _here.unfenced = False

    hopper.fence_async_shared, hopper.warpgroup_mma, hopper.warpgroup_mma_wait = fence, _product, _wait_products
    return hopper


@contextmanager
def modelled() -> Iterator[Any]:
    """The module `int_scaled_matmul_gluon`, imported onto the model."""
    triton: Any = ModuleType("triton")
    triton.jit, triton.cdiv = _jit, lambda x, y: -(-x // y)
    triton.language, triton.experimental, triton.tools = (ModuleType(name) for name in ("language", "experimental", "tools"))
    triton.language.constexpr = None
    gluon: Any = ModuleType("triton.experimental.gluon")
    gluon.jit, gluon.language = _jit, _language()
    triton.experimental.gluon = gluon
    stubs = {
        "triton": triton,
        "triton.language": triton.language,
        "triton.tools": triton.tools,
        "triton.tools.tensor_descriptor": SimpleNamespace(TensorDescriptor=Descriptor),
        "triton.experimental": triton.experimental,
        "triton.experimental.gluon": gluon,
        "triton.experimental.gluon.language": gluon.language,
        "triton.experimental.gluon.language.nvidia": ModuleType("n"),
        "triton.experimental.gluon.language.nvidia.hopper": _hopper(),
        "triton.experimental.gluon.nvidia": ModuleType("n"),
        "triton.experimental.gluon.nvidia.hopper": SimpleNamespace(TensorDescriptor=Descriptor),
    }
    ours = [f"profiler.kernels.int_scaled_matmul_{name}" for name in ("triton", "gluon")]
    before = {name: sys.modules.pop(name, None) for name in (*stubs, *ours)}
    sys.modules.update(stubs)
    try:
        import importlib

        yield importlib.import_module(ours[1])
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
