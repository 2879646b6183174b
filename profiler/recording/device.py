"""The device a run happens on: what it is, its memory counters, its clocks."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from profiler.core.errors import Refused
from profiler.core.imports import uncollected
from profiler.schemes.base import Hardware

_GPU_FIELDS = {
    "clocks.sm": "sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "clocks.max.sm": "sm_clock_max_mhz",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "temperature.gpu": "temperature_c",
    "clocks_event_reasons.active": "clock_event_reasons",
}


def find_hardware(asked: str) -> Hardware:
    """The device that `--device` means here.

    Raises:
        Refused: CUDA was asked for and is not there.
    """
    with uncollected():
        import torch

    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise Refused("--device cuda was asked, and torch sees no CUDA device", "use --device cpu, or a CUDA build of torch")
    if asked == "cpu" or not available:
        return Hardware("cpu", None, "no CUDA device" if not available else "--device cpu")
    return Hardware("cuda", torch.cuda.get_device_capability(), torch.cuda.get_device_name())


def synchronize(device: str) -> None:
    """Wait until the device has done all that was launched; nothing to do on a CPU."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def reset_peaks(device: str) -> None:
    """Start new allocator peaks, allocated and requested."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def memory_counters(device: str) -> dict[str, int | None]:
    """The allocator's counters in bytes, as fields of a manifest Phase; empty on a CPU."""
    if device != "cuda":
        return {}
    import torch

    stats = torch.cuda.memory_stats()
    return {
        "alloc_bytes": stats.get("allocated_bytes.all.current", 0),
        "requested_bytes": stats.get("requested_bytes.all.current", 0),
        "peak_bytes": stats.get("allocated_bytes.all.peak", 0),
        "peak_requested_bytes": stats.get("requested_bytes.all.peak", 0),
        "reserved_bytes": stats.get("reserved_bytes.all.current", 0),
    }


def sample_gpu(device: str) -> dict[str, Any] | None:
    """Clocks, power, temperature and throttle reasons as nvidia-smi gives them now; None where it cannot be asked."""
    if device != "cuda":
        return None
    import torch

    values = query_gpu(list(_GPU_FIELDS), torch.cuda.current_device())
    return dict(zip(_GPU_FIELDS.values(), values, strict=True)) if values else None


def query_gpu(names: list[str], index: int) -> list[float | str] | None:
    """Ask nvidia-smi for some properties of one GPU (numbers become floats); None where it is absent or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", "-i", _gpu_id(index)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    values = [_number(each.strip()) for each in done.stdout.strip().split(",")]
    return values if len(values) == len(names) else None


def _gpu_id(index: int) -> str:
    """The name by which nvidia-smi knows torch's device: CUDA_VISIBLE_DEVICES renumbers, the UUID does not."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return f"GPU-{uuid}" if uuid else str(index)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
