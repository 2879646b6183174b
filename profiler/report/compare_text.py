"""`compare` for people: the verdicts first, then where the difference comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from profiler.core.lists import by_reason
from profiler.report import compare_ranks, compare_text_memory, compare_text_runs, compare_text_time
from profiler.report.render import MAX_WIDTH, MIN_WIDTH

_INDENT = 9
TENSOR_NAMES = {
    "first_transformer_output": "first transformer output",
    "first_latents": "first latents",
    "last_transformer_output": "last transformer output",
    "last_latents": "last latents",
}


def compare_text(data: dict[str, Any], window: str = "step", top: int = 10, width: int = 100) -> str:
    """The text of `compare_data`'s result, at most `width` columns (80 to 120).

    Args:
        window: whose classes and kernels are shown.
        top: at most so many kernels.
    """
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    if len(data["comparisons"]) > 1:
        return _joined([compare_text_runs.runs(data, width), *(_short(each, width) for each in data["comparisons"])])
    (comparison,) = data["comparisons"]
    return _joined(
        [
            _head(comparison, width),
            _verdicts(comparison, width),
            compare_ranks.text(comparison, width),
            compare_text_time.call(comparison, width),
            compare_text_time.window(comparison, window, width),
            compare_text_time.kernels(comparison, window, top, width),
            compare_text_memory.phases(comparison, width),
            compare_text_memory.peak(comparison, width),
            compare_text_memory.windows(comparison, width),
            compare_text_memory.weights(comparison, width),
            _quality(comparison, width),
            _not_compared(comparison, width),
        ]
    )


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _short(comparison: dict[str, Any], width: int) -> str:
    return "\n".join([_head(comparison, width), _verdicts(comparison, width)])


def _head(comparison: dict[str, Any], width: int) -> str:
    lines = [f"{comparison['run']} against {comparison['base']}"]
    if comparison["shared"]:
        lines += _filled("both: ", ", ".join(f"{name} {value}" for name, value in _shared(comparison)), width)
    named = {kind: [each for each in comparison["differences"] if bool(each["spoils"]) == kind] for kind in (True, False)}
    if named[True]:
        lines += _filled("NOT COMPARABLE: ", f"{_listed(named[True])} differ; {_still(comparison)}", width)
    if named[False]:
        lines += _filled("changed: ", _listed(named[False]), width)
    if comparison["unknown"]:
        lines += _filled("not known to be the same: ", ", ".join(comparison["unknown"]), width)
    lines += [line for said in compare_ranks.said(comparison["ranks"]) for line in _filled("", said, width)]
    for name, ended in comparison["ended"].items():
        if ended["status"] != "ok":
            phase = f" in phase {ended['phase']}" if ended["phase"] else ""
            lines.append(f"the {name} run ended {ended['status']}{phase}: its figures are of what it reached")
    return "\n".join(lines)


def _shared(comparison: dict[str, Any]) -> list[tuple[str, Any]]:
    """What both have; the device's name says what kind of device it is."""
    shared = comparison["shared"]
    named = "GPU" in shared or "CPU" in shared
    return [(name, value) for name, value in shared.items() if value is not None and not (name == "device" and named)]


def _still(comparison: dict[str, Any]) -> str:
    fine = [name.replace("_", " ") for name, holds in comparison["comparable"].items() if holds]
    return f"what can still be compared: {', '.join(fine)}" if fine else "nothing below says what the options did"


def _listed(differences: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{each['what']} {each['base']} -> {each['new']}" for each in differences)


def _verdicts(comparison: dict[str, Any], width: int) -> str:
    lines: list[str] = []
    for about, verdict in comparison["verdicts"].items():
        lines += _filled(f"{about:<{_INDENT}}", f"{verdict['kind'].upper()}: {verdict['text']}", width, _INDENT)
    return "\n".join(lines)


def _filled(label: str, text: str, width: int, indent: int = 2) -> list[str]:
    filled = textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return filled or [label]


def _quality(comparison: dict[str, Any], width: int) -> str:
    quality = comparison["quality"]
    levels = [(TENSOR_NAMES.get(name, name), each) for name, each in quality["sqnr"].items()]
    shown = [f"{name} {_decibel(each)}" for name, each in levels if each["db"] is not None or each["why"] == "equal to the bit"]
    lines = _filled("SQNR: ", ", ".join(shown), width) if shown else []
    if quality["psnr"]["db"] is not None or quality["psnr"]["why"] == "equal to the bit":
        lines += _filled("PSNR: ", f"picture {_decibel(quality['psnr'])}", width)
    return "\n".join(lines)


def _decibel(level: dict[str, Any]) -> str:
    return f"{level['db']:.1f} dB" if level["db"] is not None else str(level["why"])


def _not_compared(comparison: dict[str, Any], width: int) -> str:
    """What is missing, and why; a reason once, however many things it holds for."""
    levels = [*comparison["quality"]["sqnr"].items(), ("picture", comparison["quality"]["psnr"])]
    reasons = (
        ("time by window", comparison["time"]["not_compared"]),
        ("memory by category", comparison["memory"]["not_compared"]),
        ("weights by arithmetic", comparison["expected"]["not_compared"]),
        *((TENSOR_NAMES.get(name, name), each["why"]) for name, each in levels if each["db"] is None),
    )
    named = by_reason((name, why) for name, why in reasons if why and why != "equal to the bit")
    lines = [line for why, names in named.items() for line in _filled("not compared: ", f"{', '.join(names)}: {why}", width)]
    bound = comparison["memory"]["lower_bound"]
    lines += _filled("memory is a lower bound: ", bound, width) if bound else []
    return "\n".join(lines)
