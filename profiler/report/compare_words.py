"""Words that the verdicts share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.core.units import GIB, MIB
from profiler.metrics.compare_runs import Difference

REAL, MASKED, EATEN, ABSENT, NONE_EXPECTED = "real", "masked at the peak", "eaten", "not there", "none expected"
WITHIN, SLOWER, NOT_COMPARABLE, UNKNOWN = "within the spread", "slower", "not comparable", "unknown"
# Of scaling: from 90 % of linear on, faster than the base at all, no faster.
NEAR_LINEAR, PARTLY, NO_FASTER = "near linear", "partly", "no faster"


@dataclass(frozen=True)
class Verdict:
    """One verdict.

    Args:
        about: time, scheme, scaling, memory, loading, quality.
        kind: `real`, `masked at the peak`, `eaten`, `not there`, `within the spread`, `not comparable` and so on, for scripts.
        text: a sentence with the numbers.
    """

    about: str
    kind: str
    text: str


def listed(differences: Sequence[Difference]) -> str:
    """`batch 1 -> 64, GPU A -> B`."""
    return ", ".join(f"{each.what} {each.base} -> {each.new}" for each in differences)


@dataclass(frozen=True)
class Scale:
    """The unit of a table or sentence."""

    unit: str
    size: int

    def of(self, size_bytes: float) -> float:
        """A size in the unit."""
        return size_bytes / self.size


def scale_of(*sizes_bytes: float | None) -> Scale:
    """GiB, or MiB where all sizes are below 0.1 GiB."""
    biggest = max((abs(each) for each in sizes_bytes if each is not None), default=GIB)
    return Scale("GiB", GIB) if biggest >= GIB / 10 else Scale("MiB", MIB)


def size(size_bytes: float) -> str:
    """A size, or a difference of sizes without its sign."""
    scale = scale_of(size_bytes)
    return f"{abs(scale.of(size_bytes)):,.2f} {scale.unit}"


def ms(dur_ns: float) -> str:
    """A time, or a difference of times without its sign."""
    return f"{abs(dur_ns) / 1e6:,.2f} ms"


def several(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def signed(value: float, decimals: int = 3) -> str:
    """A difference with its sign; none where it is 0 as shown."""
    text = f"{value:+,.{decimals}f}"
    return text if text.strip("+-0.,") else text[1:]
