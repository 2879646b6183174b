"""The verdict on time: of a call, and of what the scheme itself changed in a step."""

from __future__ import annotations

from dataclasses import replace

from profiler.metrics.compare import Comparison
from profiler.metrics.compare_runs import CALL_TIME, TIME
from profiler.metrics.compare_time import ELEMENTWISE, GEMMS, IDLE, QUANTIZATION, WindowDifference
from profiler.metrics.windows import CALL, STEP
from profiler.report.compare_verdict_machine import of_machine
from profiler.report.compare_words import (
    ABSENT,
    EATEN,
    NONE_EXPECTED,
    NOT_COMPARABLE,
    REAL,
    SLOWER,
    UNKNOWN,
    WITHIN,
    Verdict,
    listed,
    ms,
    several,
    signed,
)

# A group is worth a word from this share of the window's difference.
_WORTH = 0.02
# Eaten: what quantizing adds is at least this share of what the GEMMs gain.
_EATEN = 0.5
# What unpacking may add to the GEMMs of schemes that store weights in fewer bits and multiply in the base dtype.
_NEAR = 0.05
_WEIGHT_ONLY = ("int8wo", "fp8wo", "int4wo", "fp6_e3m2", "fp5_e2m2", "fp4_e2m1", "int4dq")


def main_window(comparison: Comparison) -> WindowDifference | None:
    """What times are given for: a step, or the call of traces without steps."""
    return comparison.windows.get(STEP) or comparison.windows.get(CALL)


def of_time(comparison: Comparison) -> Verdict:
    """Whether a call really became faster, and where that comes from."""
    window, spoiled = main_window(comparison), comparison.spoils(TIME)
    if spoiled:
        beside = f"; a {window.name} takes {ms(window.new_ns)} here and {ms(window.base_ns)} in the base" if window else ""
        return Verdict("time", NOT_COMPARABLE, f"{listed(spoiled)}{beside}")
    delta = comparison.calls.delta_ms
    if delta is not None and not comparison.spoils(CALL_TIME):
        return _with_machine(_judged(delta, comparison.calls.within_spread, _call_words(comparison), window), comparison)
    if window is None:
        return Verdict("time", UNKNOWN, comparison.windows_why or "no window that both traces hold")
    words = f"a {window.name} takes {ms(window.new_ns)}, not {ms(window.base_ns)}, {_ratio(window.base_ns, window.new_ns)}"
    words += f" ({listed(comparison.spoils(CALL_TIME))}: whole calls cannot be compared)" if comparison.spoils(CALL_TIME) else ""
    if not window.is_certain:
        return Verdict("time", UNKNOWN, words + _uncertain(window))
    return _with_machine(_judged(window.delta_ns / 1e6, window.within_spread, words, window), comparison)


def _with_machine(verdict: Verdict, comparison: Comparison) -> Verdict:
    return replace(verdict, text=verdict.text + of_machine(comparison, main_window(comparison)))


def _uncertain(window: WindowDifference) -> str:
    """Where the truth may lie while an untraced time is not known."""
    least, most = window.new_least_ns - window.base_ns, window.new_ns - window.base_least_ns
    text = f". An untraced time is not known: the difference is between {_signed(least)} and {_signed(most)}"
    return f"{text}{_sources(window)}"


def _judged(delta_ms: float, within: bool | None, words: str, window: WindowDifference | None) -> Verdict:
    if within:
        return Verdict("time", WITHIN, words + _yet(window))
    if delta_ms <= 0:
        return Verdict("time", REAL, words + _sources(window))
    gained = window is not None and -window.group(GEMMS).delta_ns > window.group(GEMMS).spread_ns
    return Verdict("time", EATEN if gained else SLOWER, words + _sources(window))


def _yet(window: WindowDifference | None) -> str:
    """Calls that vary may hide what each traced step shows."""
    if window is None or window.within_spread is not False or not window.is_certain:
        return ""
    return f". By the traces, which are steadier:{_sources(window).removeprefix('.')}"


def _call_words(comparison: Comparison) -> str:
    calls = comparison.calls
    base, new = calls.base.median_ms or 0.0, calls.new.median_ms or 0.0
    spread = "single calls: their spread is not known"
    if calls.spread_ms is not None:
        spread = f"calls of one run differ by up to {calls.spread_ms:,.1f} ms"
    return f"a call takes {new:,.1f} ms, not {base:,.1f}, {_ratio(base, new)} ({spread})"


def _ratio(base: float, new: float) -> str:
    if not base or not new:
        return "times of 0"
    return f"{base / new:.2f} times as fast" if new <= base else f"{new / base:.2f} times as long"


def _sources(window: WindowDifference | None) -> str:
    """Where the difference of a window comes from: what goes along with it, then what goes against it."""
    if window is None or not window.delta_ns:
        return ""
    shorter = window.delta_ns < 0
    groups = [each for each in window.groups() if abs(each.delta_ns) > max(each.spread_ns, _WORTH * abs(window.delta_ns))]
    along = sorted((each for each in groups if (each.delta_ns < 0) == shorter), key=lambda each: -abs(each.delta_ns))
    against = sorted((each for each in groups if (each.delta_ns < 0) != shorter), key=lambda each: -abs(each.delta_ns))
    text = f". A {window.name} is {ms(window.delta_ns)} {'shorter' if shorter else 'longer'}"
    text += ": " + several([f"{each.name} {_signed(each.delta_ns)}" for each in along]) if along else _unsteady(window)
    if against:
        text += f"; {'eaten' if shorter else 'gained'}: " + several([f"{each.name} {_signed(each.delta_ns)}" for each in against])
    return text


def _unsteady(window: WindowDifference) -> str:
    """No group changed by more than it does between repeats: the one that makes most of the difference is named as such."""
    alike = [each for each in window.groups() if each.delta_ns and (each.delta_ns < 0) == (window.delta_ns < 0)]
    most = max(alike, key=lambda each: abs(each.delta_ns), default=None)
    if most is None or 2 * abs(most.delta_ns) < abs(window.delta_ns):
        return ""
    return f": mostly {most.name} {_signed(most.delta_ns)}, which varies by {ms(most.spread_ns)} between repeats"


def _signed(delta_ns: float) -> str:
    return f"{signed(delta_ns / 1e6, 2)} ms"


def of_scheme(comparison: Comparison) -> Verdict | None:
    """What the scheme did to a step: its GEMMs against what quantizing costs; None where it did nothing or no times tell."""
    window = main_window(comparison)
    changed = {each.what for each in comparison.differences}
    if window is None or "scheme" not in changed or comparison.spoils(TIME) or not _quantizes(comparison):
        return None
    gemms, gained = window.group(GEMMS), -window.group(GEMMS).delta_ns
    if not gemms.base_ns or not gemms.new_ns:
        return None
    words = f"GEMMs take {ms(gemms.new_ns)} a {window.name}, not {ms(gemms.base_ns)}"
    if gained <= gemms.spread_ns:
        return _not_there(comparison, window, words)
    eaten = {name: window.group(name).delta_ns for name in _eaters(changed) if window.group(name).delta_ns > 0}
    against = several([f"{name} {_signed(size)}" for name, size in eaten.items()]) if eaten else ""
    words += f" ({_signed(-gained)})" + (f"; against that {against}" if against else "")
    kind = EATEN if sum(eaten.values()) >= _EATEN * gained else REAL
    return Verdict("scheme", kind, words + _untold(comparison, changed))


def _not_there(comparison: Comparison, window: WindowDifference, words: str) -> Verdict:
    """GEMMs are no faster: nobody promised that of a scheme that multiplies in the base dtype."""
    gemms, scheme = window.group(GEMMS), comparison.run.manifest.spec.get("scheme")
    near = abs(gemms.delta_ns) <= max(gemms.spread_ns, _NEAR * gemms.base_ns)
    words += ", within their spread" if abs(gemms.delta_ns) <= gemms.spread_ns else ""
    if scheme in _WEIGHT_ONLY and near:
        return Verdict("scheme", NONE_EXPECTED, f"{scheme} multiplies in the base dtype, and wins memory, not time: {words}")
    words += ": what became faster is not the scheme's doing" if window.delta_ns < 0 else ""
    return Verdict("scheme", ABSENT, words)


def _quantizes(comparison: Comparison) -> bool:
    return any(each.get("scheme") != "left" for each in comparison.run.manifest.applied.get("linears") or [])


def _eaters(changed: set[str]) -> tuple[str, ...]:
    """Where quantizing shows; compiled alike, also in the kernels that Inductor fuses it into."""
    return (QUANTIZATION, IDLE) if "compile" in changed else (QUANTIZATION, ELEMENTWISE, IDLE)


def _untold(comparison: Comparison, changed: set[str]) -> str:
    if "compile" not in changed or comparison.run.manifest.spec.get("compile") in (None, "none", "as built"):
        return ""
    scheme, mode = comparison.base.manifest.spec.get("scheme"), comparison.run.manifest.spec.get("compile")
    return f". Quantizing that is fused into other kernels is not told apart: a base of {scheme} with --compile {mode} tells it"
