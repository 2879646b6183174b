"""Where every byte is: allocations and what they are for, timelines, peaks, growth, out of memory."""

from profiler.metrics.memory.allocations import Study, allocations, study
from profiler.metrics.memory.bands import memory_windows, phase_bands
from profiler.metrics.memory.growth import Growth, growth
from profiler.metrics.memory.labels import CATEGORIES
from profiler.metrics.memory.losses import why_lower_bound
from profiler.metrics.memory.oom import OomReport, oom_report
from profiler.metrics.memory.peak import MemoryPeak, peak
from profiler.metrics.memory.reserved import FreeMemory
from profiler.metrics.memory.source import LOAD_PART, MEMORY_PART, has_part
from profiler.metrics.memory.summary import MemorySummary, PhaseMemory, memory_summary
from profiler.metrics.memory.timeline import MemoryTimeline, timeline

__all__ = [
    "CATEGORIES",
    "LOAD_PART",
    "MEMORY_PART",
    "FreeMemory",
    "Growth",
    "MemoryPeak",
    "MemorySummary",
    "MemoryTimeline",
    "OomReport",
    "PhaseMemory",
    "Study",
    "allocations",
    "growth",
    "has_part",
    "memory_summary",
    "memory_windows",
    "oom_report",
    "peak",
    "phase_bands",
    "study",
    "timeline",
    "why_lower_bound",
]
