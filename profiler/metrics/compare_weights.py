"""The memory that a scheme should save by arithmetic: the base run's weights, and what `run.json` says each Linear got."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from profiler.core.errors import UnreadableInput
from profiler.core.scheme_bytes import weight_bytes
from profiler.rundir import layout, summary
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

_MAX_BYTES = 256 << 20
_LEFT = "left"


@dataclass(frozen=True)
class ComponentBytes:
    """Weights and buffers of one component in bytes: as the base stores them, by arithmetic, as the new run stores them.

    `new` is None where the new run does not say what it stores.
    """

    component: str
    base: int
    expected: int
    new: int | None


@dataclass(frozen=True)
class ExpectedWin:
    """What the new run's weights should take less, and what its model memory does take less, in bytes.

    Args:
        components: one a component, biggest first; their sums are `base_bytes` and `expected_bytes`.
        added_bytes: expected bytes of Linears that the base does not have (fused projections).
        linears: scheme to number of Linears, as applied.
        left_bytes: what Linears that the scheme left in the base dtype take, by reason.
        measured: model memory, base less new, as the allocator counts it; None on a CPU.
        offloaded: whether weights leave the device, so that model memory is not their sum.
    """

    components: list[ComponentBytes]
    added_bytes: int
    linears: dict[str, int]
    left_bytes: dict[str, int]
    measured: int | None
    offloaded: bool

    @property
    def base_bytes(self) -> int:
        """Weights and buffers of the base."""
        return sum(each.base for each in self.components)

    @property
    def expected_bytes(self) -> int:
        """The same of the new run, by arithmetic."""
        return sum(each.expected for each in self.components)

    @property
    def win(self) -> int:
        """What arithmetic says is saved."""
        return self.base_bytes - self.expected_bytes

    @property
    def stored_win(self) -> int | None:
        """What the weights really take less, whatever device they are on; None where the new run does not say."""
        stored = [each.new for each in self.components]
        return None if None in stored else self.base_bytes - sum(each or 0 for each in stored)

    @property
    def error(self) -> float | None:
        """(measured - expected) / expected win; None where none is expected or measured, or where weights are offloaded."""
        if self.measured is None or self.offloaded or not self.win:
            return None
        return (self.measured - self.win) / abs(self.win)


@dataclass(frozen=True)
class _Weight:
    component: str
    module: str
    bytes: int


def expected_win(run: Run, base: Run, ranks: tuple[int, int] = (0, 0)) -> ExpectedWin:
    """The win that arithmetic promises for a run against its base.

    Args:
        ranks: of the base and of the run: each rank holds its own weights.

    Raises:
        UnreadableInput: the base's weights or what each Linear got are not known, or a scheme has no arithmetic.
    """
    weights = list(_weights(base, ranks[0]))
    mine, theirs = _linears(run), _linears(base)
    expected = {name: _expected(each, run) for name, each in mine.items()}
    # Quantized in the base and not even listed here: as if left.
    expected |= {name: _expected(each | {"scheme": _LEFT}, run) for name, each in theirs.items() if name not in expected}
    stored = {each.module for each in weights}
    added = {name: size for name, size in expected.items() if name not in stored}
    base_model, model = (summary.model_bytes(manifest_of(*each)) for each in zip((base, run), ranks, strict=True))
    return ExpectedWin(
        components=_components(weights, expected, added, _stored(run, ranks[1])),
        added_bytes=sum(added.values()),
        linears=summary.count_linears(run.manifest),
        left_bytes=_left(mine, expected),
        measured=None if base_model is None or model is None else base_model - model,
        offloaded=any(each.manifest.spec.get("offload") not in (None, "none") for each in (run, base)),
    )


def _components(
    weights: list[_Weight], expected: dict[str, int], added: dict[str, int], stored: dict[str, int] | None
) -> list[ComponentBytes]:
    before: dict[str, int] = defaultdict(int)
    after: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for each in weights:
        before[each.component] += each.bytes
        if each.module not in expected:
            after[each.component] += each.bytes
        elif each.module not in seen:
            seen.add(each.module)
            after[each.component] += expected[each.module]
    for name, size in added.items():
        after[name.partition(".")[0]] += size
    names = sorted({*before, *after, *(stored or {})}, key=lambda name: (-before[name], name))
    return [ComponentBytes(name, before[name], after[name], None if stored is None else stored.get(name, 0)) for name in names]


def _expected(linear: dict[str, Any], run: Run) -> int:
    rows, columns = linear.get("out_features"), linear.get("in_features")
    base_dtype = run.manifest.applied.get("base_dtype") or "bfloat16"
    found = weight_bytes(linear["scheme"], rows, columns, base_dtype) if _is_size(rows) and _is_size(columns) else None
    if found is None:
        shape = f"{rows}x{columns}"
        raise UnreadableInput(f"no arithmetic for scheme {linear['scheme']} of {shape} in {base_dtype} ({linear['module']})")
    return found.total


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 1 << 31


def _linears(run: Run) -> dict[str, dict[str, Any]]:
    listed = run.manifest.applied.get("linears") or []
    if not listed:
        raise UnreadableInput(f"{run.path} does not say what each Linear got")
    try:
        return {each["module"]: {"scheme": each["scheme"], **each} for each in listed}
    except KeyError as error:
        raise UnreadableInput(f"a Linear in {run.path} has no {error}") from None


def _left(linears: dict[str, dict[str, Any]], expected: dict[str, int]) -> dict[str, int]:
    """Bytes of what was left, by reason; empty where the scheme quantizes nothing."""
    if all(each["scheme"] == _LEFT for each in linears.values()):
        return {}
    found: dict[str, int] = defaultdict(int)
    for name, each in linears.items():
        if each["scheme"] == _LEFT:
            found[str(each.get("reason") or "no reason given")] += expected[name]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _stored(run: Run, rank: int) -> dict[str, int] | None:
    """Bytes by component as the run stores them, from its weights or from its manifest's sums; None where it says neither."""
    found: dict[str, int] = defaultdict(int)
    if run.has(layout.WEIGHTS, rank):
        for each in _weights(run, rank):
            found[each.component] += each.bytes
        return dict(found)
    sums = run.manifest.applied.get("weight_bytes")
    for name, size in (sums or {}).items():
        found[name.partition("/")[0]] += size
    return dict(found) if sums else None


def _weights(run: Run, rank: int) -> Iterator[_Weight]:
    """Parameters and buffers; of tied ones the first.

    Raises:
        UnreadableInput: no `weights.json`, or not of the shape that is written.
    """
    path = run.artifact(layout.WEIGHTS, rank)
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise UnreadableInput(f"{run.path} holds no {path.parent.name}/{layout.WEIGHTS}")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        yield from _first_of_storage(rows)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not what was recorded: {type(error).__name__}: {error}") from None


def _first_of_storage(rows: Iterable[dict[str, Any]]) -> Iterator[_Weight]:
    seen: set[tuple[str, int]] = set()
    for row in rows:
        storage, size = (row["device"], row["address"]), row["bytes"]
        if not isinstance(size, int) or size < 0:
            raise ValueError(f"{row['name']} has {size!r} bytes")
        # Parts of one big storage (an offload packs them) are told apart; a tensor that fills its storage is there once.
        if row["address"] and size == row["storage_bytes"]:
            if storage in seen:
                continue
            seen.add(storage)
        owner = row["name"].rpartition(".")[0] if row["name"].endswith(".weight") else row["name"]
        yield _Weight(row["component"], f"{row['component']}.{owner}", size)
