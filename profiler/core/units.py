"""Units as they are printed everywhere: times in ms, sizes in GiB (2^30 bytes)."""

from __future__ import annotations

GIB = 1 << 30
MIB = 1 << 20
NS_PER_MS = 1_000_000


def gib(size_bytes: float | None) -> float | None:
    """Bytes to GiB; None stays None."""
    return None if size_bytes is None else size_bytes / GIB


def ms(dur_ns: float | None) -> float | None:
    """Nanoseconds to milliseconds; None stays None."""
    return None if dur_ns is None else dur_ns / NS_PER_MS


def format_ms(dur_ms: float | None) -> str:
    """A time for people: `-` where there is none."""
    if dur_ms is None:
        return "-"
    return f"{dur_ms:,.1f} ms" if abs(dur_ms) >= 1 else f"{dur_ms:.3f} ms"


def format_size(size_bytes: float | None) -> str:
    """A size for people, in GiB, or in MiB below 0.1 GiB; `-` where there is none."""
    if size_bytes is None:
        return "-"
    if abs(size_bytes) >= GIB / 10:
        return f"{size_bytes / GIB:.3f} GiB"
    return f"{size_bytes / MIB:.2f} MiB"


def unit_of(size_bytes: float) -> tuple[str, int]:
    """GiB, or MiB for what is below 0.1 GiB, and its bytes."""
    return ("GiB", GIB) if size_bytes >= GIB / 10 else ("MiB", MIB)
