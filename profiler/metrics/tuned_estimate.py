"""What tuned int8 kernels would take for the products of a run that was recorded without them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.core.errors import DiffuscopeError
from profiler.core.product import Shape
from profiler.rundir.manifest import Manifest
from profiler.rundir.tuned_table import KERNEL_VERSION, Entry, Table, TableKey, own_table, read_table, shipped_tables

_SCHEME = "int8dq"
# Of a tuned time: how a step's products differ from it, whose operands may lie in L2 and whose clocks may be lower.
_FROM_TABLE = (0.95, 1.1)
# Of the time at the device's fastest 8-bit product: large shapes that were tuned so far reached 0.78 to 1 of its rate.
_FROM_CEILING = (1.0, 1 / 0.7)
_CEILINGS = ("int8_tops", "fp8_tflops")
# Bytes an output that scaling the int32 sums moves: none where it happens in a kernel that is needed anyway, at most all that
# a kernel of its own reads and writes.
_SCALING = (0, 6)


@dataclass(frozen=True, kw_only=True)
class TunedEstimate:
    """Times of one step in ns, each from its low end to its high end.

    Attributes:
        products: the untuned int8 products, if tuned kernels computed them.
        scaling: what is spared beside the products: the sums are scaled where they are computed.
        table: the file that holds times of these shapes for this GPU and these versions; None where there is none, and the
            device's own ceiling stands in.
        shapes: how many different ones there are, `known` of them in the table.
    """

    products: tuple[float, float]
    scaling: tuple[float, float]
    table: Path | None
    shapes: int
    known: int


def tuned_estimate(manifest: Manifest) -> TunedEstimate | None:
    """The estimate for a run; None where its untuned int8 products are not listed, or nothing says how fast they could be."""
    wanted = _products(manifest.applied)
    entries, table = table_entries(manifest.environment)
    ceilings = manifest.environment.get("ceilings") or {}
    rate = max((float(ceilings[name]) for name in _CEILINGS if ceilings.get(name)), default=None)
    low = high = 0.0
    for shape, count in wanted.items():
        entry = entries.get(shape)
        if entry is None and rate is None:
            return None
        ns = entry.us * 1e3 if entry else shape.ops / (rate or 1.0) / 1e3
        shares = _FROM_TABLE if entry else _FROM_CEILING
        low, high = low + count * ns * shares[0], high + count * ns * shares[1]
    if not wanted:
        return None
    known = sum(each in entries for each in wanted)
    outputs = sum(count * shape.m * shape.n for shape, count in wanted.items())
    spared = [outputs * size / float(ceilings["copy_gbs"]) if ceilings.get("copy_gbs") else 0.0 for size in _SCALING]
    return TunedEstimate(
        products=(low, high),
        scaling=(spared[0], spared[1]),
        table=table if known else None,
        shapes=len(wanted),
        known=known,
    )


def _products(applied: dict[str, Any]) -> Counter[Shape]:
    """Shapes of the int8 products that run without a tuned kernel, with their number in a step."""
    found: Counter[Shape] = Counter()
    for each in applied.get("linears") or []:
        sizes = [each.get(name) for name in ("rows", "in_features", "out_features")]
        if each.get("scheme") == _SCHEME and not each.get("kernel") and all(isinstance(size, int) and size > 0 for size in sizes):
            found[Shape(*sizes)] += 1
    return found


def table_entries(environment: dict[str, Any]) -> tuple[dict[Shape, Entry], Path | None]:
    """What tables hold for the GPU and the versions of a run, as far as it pays; and the last file that had any."""
    found: dict[Shape, Entry] = {}
    source = None
    for path in (*shipped_tables(), own_table()):
        try:
            table = read_table(path) if path.is_file() else Table()
        except DiffuscopeError:
            # An estimate may do without it; `record` and `tune` say what is wrong with it.
            continue
        for key in (each.key for each in table.sections if _fits(each.key, environment)):
            found |= {shape: entry for shape, entry in table.find(key).items() if entry.pays}
            source = path
    return found, source


def _fits(key: TableKey, environment: dict[str, Any]) -> bool:
    """Whether a table's section was tuned for a run's GPU, torch and Triton. A run keeps torch's version without its build."""
    gpu, versions = environment.get("gpu") or {}, environment.get("versions") or {}
    same = (key.device, key.torch.partition("+")[0], key.triton) == (
        gpu.get("name"),
        str(versions.get("torch", "")).partition("+")[0],
        versions.get("triton"),
    )
    return same and key.kernels == KERNEL_VERSION
