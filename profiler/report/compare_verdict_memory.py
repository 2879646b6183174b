"""The verdict on memory: is the win that arithmetic promises in model memory, at the peak, and while loading."""

from __future__ import annotations

from profiler.metrics.compare import Comparison
from profiler.metrics.compare_memory import INFERENCE, MODEL, SINCE_START, Bytes
from profiler.metrics.compare_runs import MEMORY
from profiler.metrics.compare_weights import ExpectedWin
from profiler.report.compare_words import (
    ABSENT,
    EATEN,
    MASKED,
    NONE_EXPECTED,
    NOT_COMPARABLE,
    REAL,
    UNKNOWN,
    Verdict,
    listed,
    scale_of,
    several,
    size,
)

# From this share of a promise on it is kept, below the other it is not there; between them something eats it.
_KEPT, _GONE = 0.95, 0.5
# Less than this share of the base is no promise and no change.
_NOTHING = 0.002
# A category that grew is named from this share of the peak on.
_WORTH = 5e-4
GROWS = "grows"


def of_memory(comparison: Comparison) -> Verdict:
    """Whether the memory that the scheme promises is really won."""
    spoiled = comparison.spoils(MEMORY)
    model, unit = _model(comparison)
    change = f"{unit} {_goes(model)}" if model.delta is not None else "no model memory is known"
    if spoiled:
        return Verdict("memory", NOT_COMPARABLE, f"{listed(spoiled)}; {change}")
    if comparison.expected is None or model.delta is None or model.base is None:
        return Verdict("memory", UNKNOWN, f"{change}; {_at_peak(comparison)}no arithmetic: {comparison.expected_why}")
    if abs(comparison.expected.win) < _NOTHING * model.base:
        return _nothing_expected(comparison, change)
    return _held(comparison, comparison.expected, model, change)


def _held(comparison: Comparison, expected: ExpectedWin, model: Bytes, change: str) -> Verdict:
    saved = -(model.delta or 0)
    share = saved / expected.win
    error = f", {abs(expected.error):.2%} off" if expected.error is not None else ""
    change += f"; arithmetic {'promises' if expected.win > 0 else 'says'} {size(expected.win)}{error}"
    if expected.win < 0:
        return Verdict("memory", GROWS, change)
    if share < _GONE:
        return Verdict("memory", ABSENT, change + _beside(expected))
    if share < _KEPT:
        return Verdict("memory", EATEN, f"{change}: {size(expected.win - saved)} of it are eaten{_beside(expected)}")
    return _masked(comparison, saved, change)


def _masked(comparison: Comparison, saved: int, change: str) -> Verdict:
    peak = _peak(comparison)
    if peak is None or peak.delta is None or peak.new is None:
        return Verdict("memory", REAL, f"{change}. The peak is not known")
    if -peak.delta >= _KEPT * saved:
        where = f"The inference peak ({peak.new_where})" if peak.new_where else "The inference peak"
        return Verdict("memory", REAL, f"{change}. {where} {_goes(peak)}")
    text = f"{change}. The inference peak {_goes(peak)}: {size(saved + peak.delta)} are masked"
    return Verdict("memory", MASKED, text + _moved(comparison, peak) + _grown(comparison))


def _moved(comparison: Comparison, peak: Bytes) -> str:
    holder = comparison.memory.holders[1]
    held = f", where {holder} is the biggest that is no weight" if holder else ""
    if peak.base_where and peak.new_where and peak.base_where != peak.new_where:
        return f" since it moved from {peak.base_where} to {peak.new_where}{held}"
    return f" in {peak.new_where}{held}" if peak.new_where else ""


def _grown(comparison: Comparison) -> str:
    total = sum(each.base or 0 for each in comparison.memory.peak)
    grown = sorted((each for each in comparison.memory.peak if (each.delta or 0) > 0), key=lambda each: -(each.delta or 0))
    named = [f"{each.name} +{size(each.delta or 0)}" for each in grown if (each.delta or 0) >= _WORTH * total]
    return f"; more at the peak: {several(named)}" if named else ""


def _nothing_expected(comparison: Comparison, change: str) -> Verdict:
    peak = _peak(comparison)
    same = comparison.expected is not None and abs(comparison.expected.win) < 1 << 20
    text = "both hold weights of the same size" if same else change
    if peak is None or peak.delta is None or peak.base is None:
        return Verdict("memory", NONE_EXPECTED, text)
    return Verdict("memory", NONE_EXPECTED, f"{text}; the inference peak {_goes(peak)}{_grown(comparison)}")


def of_loading(comparison: Comparison) -> Verdict | None:
    """Whether the win is there while loading and quantizing too; None where nothing was won or it is."""
    model, since = comparison.memory.phase(MODEL), comparison.memory.phase(SINCE_START)
    if comparison.spoils(MEMORY) or model.delta is None or since.delta is None or since.new is None:
        return None
    saved = -model.delta
    if saved <= _NOTHING * (model.base or 0) or -since.delta >= _KEPT * saved or since.new_where not in ("load", "quantize"):
        return None
    text = f"the peak since start {_goes(since)}, and lies in {since.new_where}: the weights were on the device unquantized first"
    if comparison.run.manifest.spec.get("quantize_on") == "device":
        text += "; --quantize-on cpu or per-layer keeps them off it"
    return Verdict("loading", ABSENT if -since.delta < _GONE * saved else EATEN, text)


def _model(comparison: Comparison) -> tuple[Bytes, str]:
    """Model memory; where no allocator counts it or weights are offloaded, what the weights take wherever they are."""
    model, expected = comparison.memory.phase(MODEL), comparison.expected
    counted = model.delta is not None and not (expected and expected.offloaded)
    if counted or expected is None or expected.stored_win is None:
        return model, MODEL
    weights = Bytes("weights", expected.base_bytes, expected.base_bytes - expected.stored_win)
    return weights, "the size of all weights, wherever they are,"


def _peak(comparison: Comparison) -> Bytes | None:
    """The inference peak; where no allocator counts it, the highest of the memory events."""
    counted = comparison.memory.phase(INFERENCE)
    if counted.delta is not None or not comparison.memory.peak:
        return counted
    sums = [sum((each.base if old else each.new) or 0 for each in comparison.memory.peak) for old in (True, False)]
    return Bytes(INFERENCE, sums[0], sums[1], counted.base_where, counted.new_where)


def _at_peak(comparison: Comparison) -> str:
    peak = _peak(comparison)
    return f"the inference peak {_goes(peak)}; " if peak and peak.delta is not None else ""


def _goes(of: Bytes) -> str:
    """`falls from 31.43 to 20.36 GiB (-11.07)`."""
    base, new = of.base or 0, of.new or 0
    if abs(new - base) < _NOTHING * max(base, 1):
        return f"stays at {size(new)}"
    scale = scale_of(base, new)
    change = f"from {scale.of(base):,.2f} to {scale.of(new):,.2f} {scale.unit} ({scale.of(new - base):+,.2f})"
    return f"{'falls' if new < base else 'rises'} {change}"


def _beside(expected: ExpectedWin) -> str:
    """What keeps a promise from being seen: components that are bigger than arithmetic says, or bytes that are no weights."""
    bigger = [each for each in expected.components if each.new is not None and each.new - each.expected >= _WORTH * each.base]
    if bigger:
        named = [f"{each.component} holds {size((each.new or 0) - each.expected)} more than it should" for each in bigger]
        return f"; {several(named)}"
    return "; the weights are as small as they should be: the rest is no weight" if expected.stored_win == expected.win else ""
