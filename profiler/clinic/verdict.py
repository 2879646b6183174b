"""Whether a diagnosis found what was planted, and whether the saving that it predicts is the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from profiler.clinic.base import Fault
from profiler.rundir.manifest import Manifest

_SEVERE = ("critical", "high")


@dataclass(frozen=True)
class Verdict:
    """What the diagnosis of a planted fault was worth. Times are ms a call; for a fault of one-time cost, of all but the first.

    Attributes:
        found, title, where: the first finding; empty where there was none.
        right: the first finding is of an expected rule; for a control, nothing of severity high was found.
        place_right: it names the planted line, or its function's first; None where none is expected.
        saving_low_ms, saving_high_ms: what it predicts; None where there is no finding.
        real_ms: what the fix saved.
        inside: whether the real saving lies in the predicted range.
        others: the other findings, as `rule (severity)`.
    """

    fault: str
    found: str
    title: str
    where: str
    right: bool
    place_right: bool | None
    saving_low_ms: float | None
    saving_high_ms: float | None
    real_ms: float | None
    inside: bool | None
    others: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def judge(fault: Fault, diagnosis: Mapping[str, Any], faulty: Manifest, fixed: Manifest) -> Verdict:
    """Hold a diagnosis (the JSON of `diffuscope diagnose`) of the faulty run against what was planted."""
    findings = [each for each in diagnosis["findings"] if bool(each["once"]) == fault.once]
    first = findings[0] if findings else None
    low, high = _predicted(first, faulty)
    real = _real_ms(fault, faulty, fixed)
    place = first["where"][0] if first and first["where"] else None
    return Verdict(
        fault=fault.name,
        found=first["rule"] if first else "",
        title=first["title"] if first else "",
        where=f"{place['file']}:{place['line']}" if place else "",
        right=_right(fault, diagnosis["findings"], first),
        place_right=_place_right(fault, first) if fault.place() else None,
        saving_low_ms=low,
        saving_high_ms=high,
        real_ms=real,
        # What is found beside nothing planted is no prediction of it.
        inside=low <= real <= high if not fault.control and None not in (low, high, real) else None,  # type: ignore[operator]
        others=tuple(f"{each['rule']} ({each['severity']})" for each in diagnosis["findings"] if each is not first),
    )


def _right(fault: Fault, findings: list[Any], first: Any) -> bool:
    if fault.control:
        return not any(each["severity"] in _SEVERE for each in findings)
    return first is not None and first["rule"] in fault.expects


def _place_right(fault: Fault, first: Any) -> bool:
    """Traces name a file relative to sys.path."""
    wanted = fault.place()
    if first is None or wanted is None:
        return False
    file, begins, planted = wanted
    return any(
        each["file"] and each["line"] and _same_file(file, each["file"]) and begins <= each["line"] <= planted
        for each in first["where"]
    )


def _same_file(one: str, other: str) -> bool:
    """A run may come from another machine, where the project lies elsewhere."""
    return Path(one).parts[-3:] == Path(other).parts[-3:]


def _predicted(first: Any, faulty: Manifest) -> tuple[float | None, float | None]:
    if first is None:
        return None, None
    steps = faulty.timed.get("steps") or 1
    repeats = steps if first["window"] == "step" and not first["once"] else 1
    return first["saving_us"]["low"] * repeats / 1e3, first["saving_us"]["high"] * repeats / 1e3


def _real_ms(fault: Fault, faulty: Manifest, fixed: Manifest) -> float | None:
    values = _all_calls if fault.once else _median_call
    slow, fast = values(faulty), values(fixed)
    return None if slow is None or fast is None else (slow - fast) / 1e6


def _median_call(manifest: Manifest) -> float | None:
    calls = manifest.timed.get("iterations_ns")
    return median(calls) if calls else None


def _all_calls(manifest: Manifest) -> float | None:
    """Every untraced call but the first, which compiles what there is to compile in any case."""
    warmup = manifest.phase("warmup")
    calls = list(warmup.detail.get("calls_ns", [])[1:]) if warmup else []
    calls += [*manifest.timed.get("iterations_ns", []), *manifest.untraced.get("calls_ns", [])]
    return float(sum(calls)) if calls else None
