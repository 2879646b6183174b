"""Why model memory and inference memory differ from the seed's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profiler.core.errors import UnreadableInput
from profiler.core.scheme_bytes import DENSE, weight_bytes
from profiler.metrics.memory import MEMORY_PART, has_part, peak
from profiler.metrics.memory.summary import summarize
from profiler.metrics.sweep_seed_beside import BF16, counterpart, versions
from profiler.metrics.sweep_seed_layers import component_gib, left_gib, left_linears, text_encoder_left
from profiler.rundir import layout

if TYPE_CHECKING:
    from profiler.metrics.sweep_seed_causes import Pair

Said = list[tuple[str, bool]]
_LOADING = (layout.LOAD, layout.QUANTIZE)
# By how much a peak must be above what a call needs to be one of loading.
_ABOVE = 1.05
# By how much a first call must need more than a later one for compiling to be the reason.
_MORE = 1.01


def model(pair: Pair) -> Said:
    """Bytes after load and quantize: layers left in the base dtype, a text encoder, offloads."""
    run = pair.each.run
    if run is None:
        return []
    delta = pair.row["model_memory_gib"] - pair.seed["model_memory_gib"]
    known, said = 0.0, []
    left = list(left_linears(run.manifest)) if pair.row["scheme"] not in DENSE else []
    if left:
        size = left_gib(pair.row, run.manifest)
        known += size
        reason = left[0].get("reason") or "no reason given"
        said.append((f"{len(left)} Linears stay in bf16 here and not in the seed ({reason}): {size:+.2f} GiB", True))
    encoder = text_encoder_left(pair.row, run.manifest) if pair.row["scheme"] not in DENSE else ""
    if encoder:
        stored = component_gib(run.manifest, encoder)
        ratio = _packed_share(pair)
        known += stored * (1 - ratio)
        said.append((f"the seed quantized {encoder} too, here it stays in bf16: {stored * (1 - ratio):+.2f} GiB", True))
    if run.manifest.spec.get("offload") not in (None, "none"):
        said.append((f"offload {run.manifest.spec['offload']}: weights are not on the device", True))
    if said and abs(delta - known) > 0.02 * pair.seed["model_memory_gib"]:
        said.append((f"{delta - known:+.2f} GiB of {delta:+.2f} are not explained by that", True))
    return said


def _packed_share(pair: Pair) -> float:
    """Bytes of a weight as the scheme packs it over those of bf16, by arithmetic."""
    sizes = [weight_bytes(scheme, 4096, 4096) for scheme in (str(pair.row["scheme"]), "bf16")]
    return sizes[0].total / sizes[1].total if sizes[0] and sizes[1] else 1.0


def inference(pair: Pair) -> Said:
    """The highest allocation since the start: whose phase it is decides what it says."""
    run = pair.each.run
    if run is None:
        return []
    summary, call = summarize(run.manifest), pair.row["inference_peak_gib"]
    loads, theirs = summary.since_start_phase in _LOADING, seed_call_gib(pair.seed, pair.seeds)
    said: Said = []
    seed_loads = theirs is not None and loading_peak(pair.seed, theirs)
    if seed_loads:
        ours = f", ours {call:.2f} GiB" if call is not None and not loads else ""
        said.append((_of_loading("the seed's", pair.seed, f"its call needs about {theirs:.2f} GiB{ours}"), True))
    if loads:
        said.append((_of_loading("ours", pair.row, f"the call alone peaks at {call:.2f} GiB"), True))
    elif summary.since_start_phase == layout.WARMUP and call is not None and pair.row["inference_memory_gib"] > call * _MORE:
        said.append((f"ours is reached while compiling (warm-up); the call alone peaks at {call:.2f} GiB", True))
    if loads == seed_loads:
        said += _above_weights(pair)
    on = run.manifest.spec.get("quantize_on")
    said += [(f"--quantize-on {on} keeps the peak of quantizing low here", False)] if on not in (None, "device") else []
    return said + versions(pair)


def loading_peak(seed: Mapping[str, Any], call_gib: float) -> bool:
    """Whether the seed's inference memory is more than its call needs: then it was reached while loading and quantizing."""
    return seed["inference_memory_gib"] is not None and seed["inference_memory_gib"] > call_gib * _ABOVE


def _of_loading(whose: str, row: Mapping[str, Any], call: str) -> str:
    return f"{whose} is the peak of loading and quantizing ({row['inference_memory_gib']:.2f} GiB); {call}"


def _above_weights(pair: Pair) -> Said:
    """Both are peaks of a call: what it takes beside the weights."""
    if None in (pair.row["model_memory_gib"], pair.seed["model_memory_gib"]):
        return []
    mine, theirs = (each["inference_memory_gib"] - each["model_memory_gib"] for each in (pair.row, pair.seed))
    return [(f"beside the weights a call takes {mine:.2f} GiB here and {theirs:.2f} GiB in the seed{_where(pair)}", True)]


def _where(pair: Pair) -> str:
    """The window of our peak, where memory events were recorded."""
    run = pair.each.run
    if run is None or not has_part(run, 0, MEMORY_PART):
        return ""
    try:
        window = peak(run, 0, top=0).window
    except UnreadableInput:
        return ""
    return f"; ours is reached in {window}" if window else ""


def seed_call_gib(seed: Mapping[str, Any], seeds: Sequence[Mapping[str, Any]]) -> float | None:
    """What a call of a seed's row needs: its weights, and what its bf16 row takes beside them; None without such a row."""
    base = counterpart(seeds, seed, **BF16)
    own = seed["model_memory_gib"]
    if base is None or None in (own, base["inference_memory_gib"], base["model_memory_gib"]):
        return None
    return float(own + base["inference_memory_gib"] - base["model_memory_gib"])
