"""One device as the search needs it: compiles in worker processes, times, and checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from profiler.kernels.candidate import Candidate, Shape
from profiler.tune.check import Case, cases, fault, integers, ragged, without_bias
from profiler.tune.timing import Timer
from profiler.tune.workers import Workers


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
        # What is known of a kernel at a ragged shape: most are those of every shape.
        self._ragged: dict[tuple[str, Shape], str | None] = {}

    def prepare(self, shape: Shape, kernels: Sequence[str], done: Callable[[], None]) -> dict[str, str]:
        """Compile all kernels in the workers; those that cannot run, and why."""
        if self._workers is None:
            for _ in kernels:
                done()
            return {}
        failed: dict[str, str] = {}

        def note(job: Job, _value: Any, why: str | None) -> None:
            failed.update({job.kernel: why} if why is not None else {})
            done()

        self._workers.run([Job(kernel, shape, self._hardware.device, self._seed, False) for kernel in kernels], note)
        return failed

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
        return _first_fault(self._product, kernel, [without_bias(self._cases[0])])

    def _fault(self, kernel: str) -> str | None:
        return _first_fault(self._product, kernel, self._cases)

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
    product: Callable[..., Any] = int_scaled_matmul
    product(*_worker_operands(job.shape, job.device), job.kernel)
    if job.device == "cuda":
        torch.cuda.synchronize()
    return None


@lru_cache(maxsize=1)
def _worker_operands(shape: Shape, device: str) -> tuple[Any, ...]:
    import torch

    if device == "cuda":
        # Many processes share the GPU's memory.
        torch.cuda.empty_cache()
    a, b = integers(shape, device, torch.Generator(device).manual_seed(0))
    row, col = (torch.ones(size, device=device) for size in (shape.m, shape.n))
    return a, b, row, col, col.to(torch.bfloat16)


def check_at(job: Job, product: Callable[..., Any]) -> str | None:
    """What is wrong with a kernel at the job's shape; None where it is right there."""
    return _first_fault(product, job.kernel, cases(job.shape, job.device, job.seed))


def _first_fault(product: Callable[..., Any], kernel: str, tried: Iterable[Case]) -> str | None:
    def run(*operands: Any) -> Any:
        return product(*operands, kernel)

    for each in tried:
        try:
            why = fault(run, each)
        except Exception as error:  # noqa: BLE001 - a kernel that raises where it says that it runs is wrong
            why = f"{each.name}: {type(error).__name__}: {error}"[:500]
        if why is not None:
            return why
    return None
