"""Why the time of a call differs from the seed's."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from profiler.core.scheme_bytes import DENSE
from profiler.metrics.sweep_seed_beside import BF16, Row, counterpart, ratios, versions
from profiler.metrics.sweep_seed_facts import COMPILE_MODE, SETUPS
from profiler.metrics.sweep_seed_step import slow_parts

if TYPE_CHECKING:
    from profiler.metrics.sweep_seed_causes import Pair

Said = list[tuple[str, bool]]
# Of a difference: a share this small is none of it, and all but that is all of it.
_LITTLE = 0.2


def time(pair: Pair) -> Said:
    """The causes, each with whether numbers show it."""
    said = _machine(pair) + _extrapolated(pair) + _eager_quantized(pair) + _plain(pair) + _other_mode(pair) + _tuned(pair)
    said += _mode(pair)
    if pair.row["time_s"] > pair.seed["time_s"] and pair.each.run is not None:
        said += slow_parts(pair.each.run)
    return said + _layers(pair) + _placement(pair) + versions(pair)


def _machine(pair: Pair) -> Said:
    gpu = pair.row.get("gpu") or "another device"
    return [] if pair.seed["gpu"] in gpu else [(f"the seed measured on an {pair.seed['gpu']}, this is {gpu}", True)]


def _extrapolated(pair: Pair) -> Said:
    found = pair.each.cell.extrapolated
    if found is None:
        return []
    counts = " and ".join(str(each) for each in found.from_steps)
    share = found.error_ms / 1e3 / pair.row["time_s"] if pair.row["time_s"] else 0.0
    differ = abs(1 - pair.seed["time_s"] / pair.row["time_s"]) if pair.row["time_s"] else 0.0
    # An error explains what it covers, and a part where it is not much smaller.
    if share < _LITTLE * differ:
        return []
    text = f"ours is extrapolated from calls of {counts} steps, give or take {found.error_ms / 1e3:.2f} s ({share:.1%})"
    return [(text, share >= differ)]


def _eager_quantized(pair: Pair) -> Said:
    """Eager runs of schemes that quantize activations: kernels of their own before every GEMM."""
    compiled = counterpart(pair.seeds, pair.seed, compile=(True,))
    if pair.row["compile"] or "dq" not in pair.row["quantization"] or compiled is None:
        return []
    linears = (pair.each.run.manifest.applied.get("linears") or []) if pair.each.run else []
    count = sum(each.get("scheme") == pair.row["scheme"] for each in linears)
    setup = SETUPS[pair.row["model"]]
    lost = pair.seed["time_s"] - compiled["time_s"]
    each = f", {lost / setup.steps / count * 1e3:.2f} ms for each of {count} Linears a step" if count else ""
    text = f"eager, the seed quantized activations in kernels of their own: {lost:.1f} s more than its compiled row{each}"
    mine = counterpart([row for row in pair.rows if row.get("time_s") is not None], pair.row, compile=(True,))
    beside = f"; here {pair.row['time_s'] - mine['time_s']:.1f} s more than {mine['id']}" if mine else ""
    return [(text + beside, True)]


def _plain(pair: Pair) -> Said:
    """Whether bf16 under the same options differs as much: then the scheme is not the reason."""
    found = None if pair.row["scheme"] in DENSE else ratios(pair, **BF16)
    if found is None:
        return []
    row, ratio = found
    share, left = _share(pair, ratio)
    if share >= 1 - _LITTLE:
        return [(f"{row['id']} is at {ratio:.2f} of the seed's time too: not the scheme, but the machine and its software", True)]
    whose = "this difference is the scheme's own"
    if share > _LITTLE:
        whose = f"so much is the machine's and its software's, and what is left, {left:.2f}, the scheme's own"
    return [(f"{row['id']} is at {ratio:.2f} of the seed's time: {whose}", True)]


def _share(pair: Pair, ratio: float) -> tuple[float, float]:
    """How much of a cell's difference one of this ratio makes, of 1 and below 0 where it goes the other way; the ratio left."""
    own = pair.row["time_s"] / pair.seed["time_s"]
    if min(own, ratio) <= 0:
        return 0.0, own
    return math.log(ratio) / math.log(own), own / ratio


def _other_mode(pair: Pair) -> Said:
    """Whether the difference goes away with, or without, compiling."""
    found = ratios(pair, compile=(not pair.row["compile"],))
    if found is None:
        return []
    row, ratio = found
    mode = "eager" if pair.row["compile"] else "compiled"
    share, left = _share(pair, ratio)
    if share >= 1 - _LITTLE:
        return [(f"{mode} ({row['id']}) it is at {ratio:.2f} of the seed's time too", True)]
    where = "what compiling gives" if pair.row["compile"] else "what compiling removes: kernels between the GEMMs, and launches"
    what = "the difference" if share <= _LITTLE else f"what is left of the difference, {left:.2f},"
    return [(f"{mode} ({row['id']}) it is at {ratio:.2f} of the seed's time: {what} lies in {where}", True)]


def _mode(pair: Pair) -> Said:
    mode = pair.row["compile_mode"]
    if not pair.row["compile"] or mode == COMPILE_MODE:
        return []
    return [(f"the seed compiled the whole transformer with {COMPILE_MODE}, this cell is --compile {mode}", False)]


def _tuned(pair: Pair) -> Said:
    """Kernels that `tune` chose, as the run itself notes them; what they are worth, where a cell does without."""
    applied = pair.each.run.manifest.applied if pair.each.run else {}
    notes = [note for note in applied.get("notes") or [] if "tuned kernel" in note]
    if not applied.get("tuned_tables") or not notes:
        return []
    without = _untuned(pair)
    beside = f"; without them ({without['id']}) {without['time_s']:.3f} s" if without else ""
    return [(f"kernels tuned for this GPU: {'; '.join(notes)}{beside}", without is not None)]


def _untuned(pair: Pair) -> Row | None:
    """The same cell with torchao's own products."""
    plain = [
        row
        for row in pair.rows
        if (other := pair.runs.get(row["id"])) and other.run and not other.run.manifest.applied.get("tuned_tables")
        if row.get("time_s") is not None and row["compile_mode"] == pair.row["compile_mode"]
    ]
    return counterpart(plain, pair.row)


def _layers(pair: Pair) -> Said:
    """Linears that got another scheme than the one asked for; the seed gave it to all."""
    linears = (pair.each.run.manifest.applied.get("linears") or []) if pair.each.run else []
    if pair.row["fuse_qkv"]:
        linears = [each for each in linears if not _fused_away(each)]
    others = Counter(each.get("scheme") for each in linears if each.get("scheme") != pair.row["scheme"])
    if pair.row["scheme"] in DENSE or not others:
        return []
    listed = ", ".join(f"{count} {'are left in bf16' if name == 'left' else name}" for name, count in others.most_common())
    which = " that a call runs" if pair.row["fuse_qkv"] else ""
    return [(f"of {len(linears)} Linears{which} {listed} here; the seed gave {pair.row['scheme']} to all", False)]


def _fused_away(linear: dict[str, Any]) -> bool:
    """Fused projections stand beside those that they were made of, which no call runs: no rows were seen."""
    return linear.get("rows") is None and str(linear.get("module")).startswith("transformer.")


def _placement(pair: Pair) -> Said:
    spec = pair.each.run.manifest.spec if pair.each.run else {}
    said = [(f"--offload {spec['offload']} here", True)] if spec.get("offload") not in (None, "none") else []
    said += [
        (f"--{key.replace('_', '-')} here", False) for key in ("vae_tiling", "vae_slicing", "channels_last") if spec.get(key)
    ]
    breaks = pair.row.get("graph_breaks")
    return said + ([(f"{breaks} graph breaks here", True)] if breaks else [])
