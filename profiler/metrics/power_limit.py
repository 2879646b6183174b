"""Whether a GPU was at its power limit, by the sample that `run.json` holds of each phase's end."""

from __future__ import annotations

from typing import Any

from profiler.rundir.manifest import Manifest

# NVML's reasons for a clock below the highest: the limit of power, in software or hardware.
_POWER_REASONS = 0x4 | 0x80


def at_its_limit(manifest: Manifest, *phases: str) -> bool:
    """Whether the GPU lowered its clock for its power right after one of these phases."""
    sampled = [each.gpu or {} for each in manifest.phases if each.name in phases]
    return any(clock_reasons(each.get("clock_event_reasons")) & _POWER_REASONS for each in sampled)


def clock_reasons(text: Any) -> int:
    """NVML's bit mask of why a clock is below its highest, from the hexadecimal text of nvidia-smi; 0 without one."""
    try:
        return int(str(text), 16)
    except ValueError:
        return 0
