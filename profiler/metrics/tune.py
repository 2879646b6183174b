"""What tuned kernels are worth: rates, the share of what the device can do, and milliseconds a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from profiler.tables.run import Run
from profiler.tables.tune import TuneTables, read_tune

# What int8dq runs where no kernel was tuned.
UNTUNED = "int_mm x scale"
UNTUNED_IS = "torchao's eager product"
ABOUT_UNTUNED = (
    f"untuned is {UNTUNED_IS}, {UNTUNED}: `_int_mm`, then its scales and bias in kernels of their own; "
    "torch.compile fuses these, and comes near int_mm at best"
)
TUNED = "tuned"
# The fastest of 8-bit products is what an int8 product can be held against: int8 and fp8 have the same peak.
_LARGE = "{} at 8192x8192x8192"
_CEILINGS = {
    "int8_tops": _LARGE.format("cuBLASLt's int8"),
    "fp8_tflops": _LARGE.format("cuBLASLt's fp8"),
    # Runs of before a ceiling named its kernel have it apart.
    "own_int8_tops": _LARGE.format("our own int8"),
}
_ALSO = ("int_mm", "fp8 row-wise")


@dataclass(frozen=True)
class TuneResult:
    """A tuning in numbers.

    Attributes:
        tables: what was read.
        shapes: one row a shape: `m`, `k`, `n`, `count`, `kernel`, `us`, `tops`, `share` (of the ceiling), `untuned_us`,
            `pays` (whether a recorded run uses it), `candidates`, `failed`, `wrong`.
        ceiling_tops: the fastest 8-bit product of this run, those that were tuned among them; None where no large one was
            measured, as on a CPU.
        ceiling_from: which one that was, in words; "" where there is none.
        step_ms: all products of a step in ms, by what they run: `tuned` (the faster of tuned and untuned) and each
            baseline that was measured for every shape.
    """

    tables: TuneTables
    shapes: pl.DataFrame
    ceiling_tops: float | None
    ceiling_from: str
    step_ms: dict[str, float]

    @property
    def rejected(self) -> int:
        """Candidates whose results were wrong."""
        return int(self.shapes["wrong"].sum())


def tune_result(run: Run) -> TuneResult:
    """The numbers of a run of kind `tune`.

    Raises:
        UnreadableInput: it holds no results, or some that cannot be read.
    """
    tables = read_tune(run)
    untuned = tables.baselines.filter(pl.col("baseline") == UNTUNED).select("shape", untuned_us="us")
    tops = 2 * pl.col("m") * pl.col("k") * pl.col("n") / pl.col("us") / 1e6
    shapes = tables.frame.join(untuned, on="shape", how="left", maintain_order="left").with_columns(tops=tops)
    ceiling, source = _ceiling(run, tables, shapes)
    share = pl.col("tops") / ceiling if ceiling else pl.lit(None, dtype=pl.Float64)
    shapes = shapes.with_columns(share=share, pays=(pl.col("us") < pl.col("untuned_us")).fill_null(True))
    return TuneResult(tables, shapes, ceiling, source, _step_ms(tables, shapes))


def _ceiling(run: Run, tables: TuneTables, shapes: pl.DataFrame) -> tuple[float | None, str]:
    """The highest rate that any 8-bit product had in this run, and which product that was."""
    measured = run.manifest.environment.get("ceilings") or {}
    kernels = run.manifest.environment.get("ceiling_kernels") or {}
    found = {_words(name, kernels): float(measured[name]) for name in _CEILINGS if measured.get(name)}
    if not found:
        return None, ""
    for row in shapes.iter_rows(named=True):
        name = "{m}x{k}x{n}".format(**row)
        found[f"{row['kernel'].partition(':')[0]} at {name}"] = row["tops"]
        for baseline in _ALSO:
            us = tables.shapes[row["shape"]].baselines.get(baseline)
            found |= {f"{baseline} at {name}": row["tops"] * row["us"] / us} if us else {}
    source = max(found, key=found.__getitem__)
    return found[source], source


def _words(name: str, kernels: Mapping[str, str]) -> str:
    """What reached a ceiling: a library's product, unless the run names a kernel of ours."""
    kernel, _, shape = kernels.get(name, "").partition(" at ")
    return f"{kernel.partition(':')[0]} at {shape}" if shape and "::" not in kernel else _CEILINGS[name]


def _step_ms(tables: TuneTables, shapes: pl.DataFrame) -> dict[str, float]:
    if shapes.is_empty():
        return {}
    fastest = pl.min_horizontal("us", "untuned_us") * pl.col("count")
    found = {TUNED: float(shapes.select(fastest.sum()).item()) / 1e3}
    costs = tables.baselines.join(shapes.select("shape", "count"), on="shape").with_columns(us=pl.col("us") * pl.col("count"))
    for (name,), rows in costs.group_by("baseline", maintain_order=True):
        if rows.height == shapes.height:
            found[str(name)] = float(rows["us"].sum()) / 1e3
    return found
