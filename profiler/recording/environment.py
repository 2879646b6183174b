"""The environment: versions, hardware, and every switch that changes results."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from profiler.recording.device import query_gpu
from profiler.schemes.base import Hardware

_PACKAGES = ("torch", "torchao", "diffusers", "transformers", "accelerate", "triton", "numpy", "diffuscope")
_LIBRARIES = ("TORCH", "PYTORCH", "INDUCTOR", "TRITON", "OMP_", "MKL_", "HF_")
_VARIABLES = (*_LIBRARIES, "CUDA", "CUBLAS", "CUDNN", "NCCL", "NVIDIA_TF32_OVERRIDE", "NVIDIA_VISIBLE_DEVICES")
# Set for a process that was forked with its libraries imported: its load phase and its first call import nothing.
WARM = "DIFFUSCOPE_WARM"
# Values that may carry secrets stay out of a file that people send around.
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def describe_environment(hardware: Hardware) -> dict[str, Any]:
    """Everything beside the spec that decides a run's numbers, JSON-ready."""
    return {
        "device": hardware.device,
        "gpu": _gpu(hardware),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "machine": platform.machine()},
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "variables": {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith(_VARIABLES) and not any(each in key for each in _SECRET)
        },
        **({"imports": "before this process"} if WARM in os.environ else {}),
    }


def describe_switches() -> dict[str, Any]:
    """Torch's own switches, read late: quantizing and compiling change some of them."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "sdp_backends": _sdp_backends(),
        "inductor_changed": _changed("torch._inductor.config"),
        "dynamo_changed": _changed("torch._dynamo.config"),
    }


def _sdp_backends() -> list[str]:
    import torch

    enabled = {
        "flash": torch.backends.cuda.flash_sdp_enabled,
        "mem_efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
        "math": torch.backends.cuda.math_sdp_enabled,
        "cudnn": torch.backends.cuda.cudnn_sdp_enabled,
    }
    return [name for name, test in enabled.items() if test()]


def _changed(module: str) -> dict[str, str]:
    """Config entries that differ from their defaults, as text; empty where the module was never imported."""
    import sys

    config = sys.modules.get(module)
    entries = getattr(config, "_config", {})
    return {name: str(getattr(config, name)) for name, entry in entries.items() if _differs(config, name, entry)}


def _differs(config: Any, name: str, entry: Any) -> bool:
    # An alias is another name of an entry that is listed itself; reading a deprecated one warns.
    if getattr(entry, "alias", None) is not None or getattr(entry, "deprecated", False):
        return False
    value, default = getattr(config, name), entry.default
    return bool(value is not default and value != default)


def _gpu(hardware: Hardware) -> dict[str, Any] | None:
    if hardware.device != "cuda":
        return None
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    driver = query_gpu(["driver_version"], torch.cuda.current_device())
    return {
        "name": properties.name,
        "count": torch.cuda.device_count(),
        "capability": list(hardware.capability or ()),
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "driver": str(driver[0]) if driver else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
