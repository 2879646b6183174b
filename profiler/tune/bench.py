"""One device as the search needs it: compiles in worker processes, times, and checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import gcd
from typing import Any, NamedTuple

from profiler.kernels.candidate import Candidate, Shape
from profiler.tune.check import Case, cases, fault, integers, ragged, without_bias
from profiler.tune.timing import Timer
from profiler.tune.workers import Workers

# Few rows, so that a first launch is short; their remainder by 16 is what a compiled kernel depends on.
_FEW_ROWS, _RAGGED_ROWS = 144, 211


class Job(NamedTuple):
    """What a worker does with a kernel: run it once (which compiles it), or check it at a shape with data of a seed."""

    kernel: str
    shape: Shape
    device: str
    seed: int
    check: bool


class DeviceBench:
    """Compiling, timing and checking on one device.

    Args:
        hardware: `device` and the rest of what `candidates` takes.
        seed: of all random data.
        takes: (shape, hardware) -> the candidates of that shape.
        workers: where kernels are compiled and first tried; without them everything runs here.
        product: (a, b, row_scale, col_scale, bias, kernel) -> the result; for tests, since workers call the real one.
    """

    def __init__(
        self,
        hardware: Any,
        seed: int,
        *,
        takes: Callable[[Shape, Any], list[Candidate]] | None = None,
        workers: Workers | None = None,
        product: Callable[..., Any] | None = None,
    ) -> None:
        from profiler.kernels import int_scaled_matmul as kernels

        self._hardware, self._seed, self._workers = hardware, seed, workers
        self._takes = takes or kernels.candidates
        self._product: Callable[..., Any] = product or kernels.int_scaled_matmul
        self._timer = Timer(hardware.device)
        self._shape: Shape | None = None
        self._operands: tuple[Any, ...] = ()
        self._cases: list[Case] = []
        # What is known of a kernel whatever the shape: is it compiled, is it right at a ragged shape.
        self._compiled: dict[tuple[Any, ...], str | None] = {}
        self._ragged: dict[tuple[str, Shape], str | None] = {}

    def prepare(self, shape: Shape, kernels: Sequence[str], done: Callable[[], None]) -> dict[str, str]:
        """Compile all kernels in the workers; those that cannot run, and why."""
        few = Shape(_FEW_ROWS if shape.m % 16 == 0 else _RAGGED_ROWS, shape.k, shape.n)
        key = {kernel: (kernel, shape.k, *(gcd(size, 16) for size in shape)) for kernel in kernels}
        new = [kernel for kernel in kernels if key[kernel] not in self._compiled]
        jobs = [Job(kernel, few, self._hardware.device, self._seed, False) for kernel in new]
        for _ in range(len(kernels) - len(jobs) if self._workers else len(kernels)):
            done()

        def note(job: Job, _value: Any, why: str | None) -> None:
            self._compiled[key[job.kernel]] = why
            done()

        if self._workers:
            self._workers.run(jobs, note)
        return {kernel: why for kernel in kernels if (why := self._compiled.get(key[kernel])) is not None}

    def time_us(self, shape: Shape, kernel: str, repeats: int) -> float:
        """The median of some calls, with a bias, as most Linears have one."""
        self._enter(shape)
        return self._timer.median_us(partial(self._product, *self._operands, kernel), repeats)

    def faults(self, shape: Shape, kernels: Sequence[str]) -> dict[str, str]:
        """The wrong ones of some kernels, at this shape and at ragged shapes that they say they take."""
        self._enter(shape)
        wrong = {kernel: why for kernel in kernels if (why := self._fault(kernel)) is not None}
        right = [kernel for kernel in kernels if kernel not in wrong]
        return wrong | self._ragged_faults(shape, right)

    def last_fault(self, shape: Shape, kernel: str) -> str | None:
        """What is wrong with a kernel's results without a bias: that is compiled apart."""
        self._enter(shape)
        return fault(partial(_with_kernel, self._product, kernel), without_bias(self._cases[0]))

    def _fault(self, kernel: str) -> str | None:
        run = partial(_with_kernel, self._product, kernel)
        return next((why for each in self._cases if (why := fault(run, each)) is not None), None)

    def _ragged_faults(self, shape: Shape, kernels: Sequence[str]) -> dict[str, str]:
        shapes = ragged(shape)
        taken = {each: {one.kernel for one in self._takes(each, self._hardware)} for each in shapes}
        wanted = [(kernel, each) for kernel in kernels for each in shapes if kernel in taken[each]]
        jobs = [Job(*each, self._hardware.device, self._seed, True) for each in wanted if each not in self._ragged]

        def note(job: Job, value: str | None, why: str | None) -> None:
            self._ragged[job.kernel, job.shape] = value if why is None else f"{job.shape}: {why}"

        if self._workers:
            self._workers.run(jobs, note)
        else:
            for job in jobs:
                note(job, check_at(job, self._product), None)
        return {kernel: why for kernel, each in reversed(wanted) if (why := self._ragged[kernel, each]) is not None}

    def _enter(self, shape: Shape) -> None:
        """Make a shape's data; those of the shape before are freed first."""
        if shape == self._shape:
            return
        self._operands, self._cases = (), []
        self._cases = list(cases(shape, self._hardware.device, self._seed))
        self._operands = self._cases[-1].operands
        self._shape = shape


def work(job: Job) -> str | None:
    """What a worker does: compile and run a kernel once, or say what is wrong with it at the job's shape."""
    import torch

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    if job.check:
        return check_at(job, int_scaled_matmul)
    a, b = integers(job.shape, job.device, torch.Generator(job.device).manual_seed(job.seed))
    row, col = (torch.ones(size, device=job.device) for size in (job.shape.m, job.shape.n))
    int_scaled_matmul(a, b, row, col, col.to(torch.bfloat16), job.kernel)
    if job.device == "cuda":
        torch.cuda.synchronize()
    return None


def check_at(job: Job, product: Callable[..., Any]) -> str | None:
    """What is wrong with a kernel at the job's shape; None where it is right there."""
    run = partial(_with_kernel, product, job.kernel)
    return next((why for each in cases(job.shape, job.device, job.seed) if (why := fault(run, each)) is not None), None)


def _with_kernel(product: Callable[..., Any], kernel: str, *operands: Any) -> Any:
    return product(*operands, kernel)
