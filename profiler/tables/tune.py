"""`tune.json`, what a tuning found, to frames: one row a shape, and one row a shape and baseline."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.shape import build
from profiler.tables.run import Run

SHAPES = {
    "shape": pl.UInt32,
    "m": pl.Int64,
    "k": pl.Int64,
    "n": pl.Int64,
    "count": pl.Int64,
    "kernel": pl.Utf8,
    "us": pl.Float64,
    "candidates": pl.Int64,
    "failed": pl.Int64,
    "wrong": pl.Int64,
    "seconds": pl.Float64,
}
BASELINES = {"shape": pl.UInt32, "baseline": pl.Utf8, "us": pl.Float64}
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Best:
    """The fastest right kernel of a shape: name, configuration, median microseconds, 10^12 operations a second."""

    kernel: str
    us: float
    tops: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TunedShape:
    """One shape. `failed` and `wrong` say of each rejected kernel why; `baselines` are microseconds by name."""

    m: int
    k: int
    n: int
    count: int
    best: Best
    baselines: dict[str, float] = field(default_factory=dict)
    spaces: dict[str, Best] = field(default_factory=dict)
    candidates: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RefusedShape:
    """A shape that no kernel fits, and why."""

    m: int
    k: int
    n: int
    count: int
    why: str


@dataclass(frozen=True, kw_only=True)
class TuneTables:
    """Everything `tune.json` says.

    Attributes:
        key: device and versions that the times hold for.
        table: the file that the kernels were added to.
        wanted: how many shapes were to be tuned; an interrupted run has fewer.
    """

    key: dict[str, Any] = field(default_factory=dict)
    table: str = ""
    seed: int = 0
    wanted: int = 0
    shapes: list[TunedShape] = field(default_factory=list)
    refused: list[RefusedShape] = field(default_factory=list)

    @property
    def frame(self) -> pl.DataFrame:
        """One row a shape, in the order in which they were tuned; columns as `SHAPES`."""
        rows = []
        for index, each in enumerate(self.shapes):
            counts = (each.candidates, len(each.failed), len(each.wrong), each.seconds)
            rows.append((index, each.m, each.k, each.n, each.count, each.best.kernel, each.best.us, *counts))
        return pl.DataFrame(rows, schema=SHAPES, orient="row")

    @property
    def baselines(self) -> pl.DataFrame:
        """One row a shape and baseline; columns as `BASELINES`."""
        rows = [(index, name, us) for index, each in enumerate(self.shapes) for name, us in each.baselines.items()]
        return pl.DataFrame(rows, schema=BASELINES, orient="row")


def read_tune(run: Run) -> TuneTables:
    """What a run of kind `tune` found, whole or not.

    Raises:
        UnreadableInput: the run holds no such file, or one of another shape.
    """
    path = run.path / layout.TUNE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UnreadableInput(f"{path} has more than {_MAX_BYTES >> 20} MiB", "tune again")
        # NaN and Infinity are no JSON, and no time either.
        return build(TuneTables, json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None), layout.TUNE)
    except OSError as error:
        raise UnreadableInput(f"{run.path} holds no {layout.TUNE}: {error.strerror}", "make one with `diffuscope tune`") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableInput(f"{path} cannot be read: {error}", "the file was changed after tuning; tune again") from None
