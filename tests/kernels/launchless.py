"""A CUDA driver that compiles for an H100, launches nothing, and writes down what would have been launched. Needs Triton."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia


class Driver:
    """As much of Triton's driver as a launch asks for."""

    launcher_cls = nvidia.CudaLauncher

    def __init__(self) -> None:
        self.utils = self
        self.launches: list[tuple[Any, ...]] = []

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 7

    def load_binary(self, *_: Any) -> tuple[int, ...]:
        module, function, registers, spilled, threads = 1, 2, 168, 0, 1024
        return module, function, registers, spilled, threads

    def get_device_properties(self, _device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448}

    def fill_tma_descriptor(self, *given: Any) -> Any:
        return tuple(tuple(each) if isinstance(each, (list, tuple)) else each for each in given)

    def launch(self, *given: Any) -> None:
        """Addresses instead of tensors, as the compiled launcher reads them."""
        self.launches.append(tuple(each.data_ptr() if hasattr(each, "data_ptr") else each for each in given))


def install(patch: pytest.MonkeyPatch) -> Driver:
    """Make it Triton's driver while a test runs."""
    made = Driver()
    patch.setattr(nvidia, "compile_module_from_src", lambda **_: SimpleNamespace(launch=made.launch))
    patch.setattr(nvidia, "library_dirs", lambda: [])
    patch.setattr(triton.runtime.driver, "_active", made)
    return made
