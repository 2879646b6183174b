"""Every file name of a run directory, in one place."""

from __future__ import annotations

import re
from pathlib import Path

SCHEMA_VERSION = 1

MANIFEST = "run.json"
RESERVE = ".reserve"
CACHE_DIR = "cache"
OUTPUT_TENSORS = "output.npz"
OUTPUT_IMAGE = "output.png"
OUTPUT_VIDEO = "output.mp4"
# What a run of kind `tune` found.
TUNE = "tune.json"
# The plan that a run took in the place of a scheme.
PLAN = "plan.json"
# The cells of a run of kind `sweep`: what was asked of each, how it ended, and where its run directory lies.
SWEEP = "sweep.json"

TRACE = "trace.json.gz"
PLACES = "places.json.gz"
MEMORY = "memory.pickle.gz"
MEMORY_LOAD = "memory_load.pickle.gz"
# The memory phase of a CPU run: a trace with `[memory]` instants.
MEMORY_TRACE = "memory.json.gz"
COMPILE_LOG_DIR = "compile_log"
WEIGHTS = "weights.json"
SOURCES = "sources.json"
# What the noise of a call is drawn in (`applied.noise_dtype`), whatever the run's own dtype.
NOISE_DTYPE = "float32"
# More than any run has: what names more is no count of ranks, and every rank has a row wherever they are listed.
MOST_RANKS = 1 << 16
# `rank07` and other scripts' digits are no folders of ours.
_RANK_DIR = re.compile(r"rank(0|[1-9][0-9]{0,4})")
# One a rank of a run of several: how far it came, what it lost, its peaks.
RANK_STATUS = "rank.json"
GRAPH_BREAK_REGISTRY = "graph_break_registry.json.gz"

# Phases of a recorded run, in the order in which they happen.
LOAD, QUANTIZE, WARMUP, TIMED = "load", "quantize", "warmup", "timed"
UNTRACED, TRACED, PLACES_PHASE, MEMORY_PHASE = "untraced", "traced", "places", "memory"

# Names of the profiler annotations that mark a call's windows inside a trace.
MARK_PREFIX = "diffuscope/"
MARK_TEXT = MARK_PREFIX + "text"
MARK_STEP = MARK_PREFIX + "step/"
MARK_DECODE = MARK_PREFIX + "decode"
MARK_CALL = MARK_PREFIX + "call"
# In the memory phase of a CPU run: one range a call of a module, with the module's path behind it.
MARK_MODULE = MARK_PREFIX + "module/"


def rank_dir(run: Path, rank: int = 0) -> Path:
    """The folder of one process's artifacts."""
    return run / f"rank{rank}"


def rank_numbers(run: Path) -> list[int]:
    """The ranks that a run directory holds folders of."""
    found = (_RANK_DIR.fullmatch(path.name) for path in run.iterdir() if path.is_dir())
    return sorted(rank for match in found if match and (rank := int(match[1])) < MOST_RANKS)
