"""Why the time of a call differs from the seed's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from profiler.core.scheme_bytes import DENSE
from profiler.metrics.sweep_seed_beside import BF16, counterpart, ratios, versions
from profiler.metrics.sweep_seed_facts import COMPILE_MODE, SETUPS
from profiler.metrics.sweep_seed_step import slow_parts

if TYPE_CHECKING:
    from profiler.metrics.sweep_seed_causes import Pair

Said = list[tuple[str, bool]]
# Two ratios nearer than this are the same difference.
_SAME = 0.10


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
    return [(f"ours is extrapolated from calls of {counts} steps, give or take {found.error_ms / 1e3:.2f} s ({share:.1%})", True)]


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
    own = pair.row["time_s"] / pair.seed["time_s"]
    if abs(ratio - 1) > _SAME and abs(own / ratio - 1) <= _SAME:
        return [(f"{row['id']} is at {ratio:.2f} of the seed's time too: not the scheme, but the machine and its software", True)]
    whose = "this difference is the scheme's own" if abs(ratio - 1) <= _SAME else "that much is not the scheme's"
    return [(f"{row['id']} is at {ratio:.2f} of the seed's time: {whose}", True)]


def _other_mode(pair: Pair) -> Said:
    """Whether the difference goes away with, or without, compiling."""
    found = ratios(pair, compile=(not pair.row["compile"],))
    if found is None:
        return []
    row, ratio = found
    mode = "eager" if pair.row["compile"] else "compiled"
    if abs(ratio - 1) > _SAME:
        return [(f"{mode} ({row['id']}) it is at {ratio:.2f} of the seed's time", True)]
    where = "what compiling gives" if pair.row["compile"] else "what compiling removes: kernels between the GEMMs, and launches"
    return [(f"{mode} ({row['id']}) it is at {ratio:.2f} of the seed's time: the difference lies in {where}", True)]


def _mode(pair: Pair) -> Said:
    mode = pair.row["compile_mode"]
    if not pair.row["compile"] or mode == COMPILE_MODE:
        return []
    return [(f"the seed compiled the whole transformer with {COMPILE_MODE}, this cell is --compile {mode}", False)]


def _tuned(pair: Pair) -> Said:
    """Kernels that `tune` chose, as the run itself notes them."""
    applied = pair.each.run.manifest.applied if pair.each.run else {}
    notes = [note for note in applied.get("notes") or [] if "tuned kernel" in note]
    return [(f"kernels tuned for this GPU: {'; '.join(notes)}", True)] if applied.get("tuned_tables") and notes else []


def _layers(pair: Pair) -> Said:
    """Linears that got another scheme than the one asked for; the seed gave it to all."""
    linears = (pair.each.run.manifest.applied.get("linears") or []) if pair.each.run else []
    others = Counter(each.get("scheme") for each in linears if each.get("scheme") != pair.row["scheme"])
    if pair.row["scheme"] in DENSE or not others:
        return []
    listed = ", ".join(f"{count} {'are left in bf16' if name == 'left' else name}" for name, count in others.most_common())
    return [(f"of {len(linears)} Linears {listed} here; the seed gave {pair.row['scheme']} to all", False)]


def _placement(pair: Pair) -> Said:
    spec = pair.each.run.manifest.spec if pair.each.run else {}
    said = [(f"--offload {spec['offload']} here", True)] if spec.get("offload") not in (None, "none") else []
    said += [
        (f"--{key.replace('_', '-')} here", False) for key in ("vae_tiling", "vae_slicing", "channels_last") if spec.get(key)
    ]
    breaks = pair.row.get("graph_breaks")
    return said + ([(f"{breaks} graph breaks here", True)] if breaks else [])
