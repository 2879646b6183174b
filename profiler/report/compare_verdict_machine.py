"""What of a difference is the machine's: a host that launches more slowly, a GPU that clocks otherwise."""

from __future__ import annotations

from profiler.metrics.compare import Comparison
from profiler.metrics.compare_machine import Clock
from profiler.metrics.compare_runs import OPTION
from profiler.metrics.compare_time import IDLE, WindowDifference
from profiler.metrics.host_speed import HostSpeed
from profiler.report.compare_words import signed

# Sound hosts of one kind differ by a fifth; slowed ones took 1.6 to 2 times as long.
_HOST = 1.3
# From this share of a window on idle time is worth a word.
_IDLE = 0.01
_CLOCK = 0.02


def of_machine(comparison: Comparison, window: WindowDifference | None) -> str:
    """Sentences to go after a verdict on time; empty where the machine is no cause."""
    if window is None:
        return ""
    host, clock = comparison.machine.host, comparison.machine.clock
    alone = all(each.kind != OPTION for each in comparison.differences)
    return (_of_host(host, window, alone) if host else "") + (_of_clock(clock) if clock else "")


def _of_host(host: HostSpeed, window: WindowDifference, alone: bool) -> str:
    idle = window.group(IDLE).delta_ns
    slower = host.ratio >= _HOST and idle >= _IDLE * window.base_ns
    faster = host.ratio <= 1 / _HOST and -idle >= _IDLE * window.base_ns
    if not (slower or faster):
        return ""
    much = f"{host.ratio:.1f} times as slow" if slower else f"{1 / host.ratio:.1f} times as fast"
    launch = f"a launch takes {host.new_us:.1f} us, not {host.base_us:.1f}, as traced"
    whose = "the machine's, no option's" if alone else "in part the machine's"
    return f". The host was {much}: {launch}. Idle time {signed(idle / 1e6, 2)} ms a {window.name}: {whose}"


def is_worth_a_word(clock: Clock) -> bool:
    """Whether the clocks of two runs differ by more than repeats of one do."""
    return abs(clock.ratio - 1) >= _CLOCK and abs(clock.new_ns - clock.base_ns) > clock.spread_ns


def _of_clock(clock: Clock) -> str:
    if not is_worth_a_word(clock):
        return ""
    lower = clock.ratio > 1
    base, new = clock.limited
    why = "a GPU that is busier at its power limit" if lower else "a GPU that waits, or computes less"
    if base != new and new == lower:
        why = "the new run's traced call reached the power limit" if new else "the base's traced call reached the power limit"
        why = f"{why}, the {'base' if new else 'new run'}'s did not"
    kind = "lower" if lower else "higher"
    return f". The same attention kernels take {clock.ratio:.2f} times as long, a {kind} clock that others share: {why}"
