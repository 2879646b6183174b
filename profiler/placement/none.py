"""none: every weight stays on the device."""

from profiler.placement.base import OFFLOADS, Offload

OFFLOADS.add("none", Offload(name="none", summary="every weight stays on the device"))
