"""`show` for people."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from typing import Any

from profiler.core.printable import one_line
from profiler.core.units import format_ms
from profiler.report.names import readable, shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, bar, number, percent, table
from profiler.report.several_ranks import ranks_text
from profiler.report.show_memory import memory_text
from profiler.rundir.summary import describe_repeats

# The space between two columns of a table.
_GAP = 3
_REASONS_SHOWN = 4
# A frame of a Python traceback: where, and the line of code.
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in (.+)\n +(.+)')
_SOURCES = {
    "gpu": ("GPU busy time by class", "GPU busy time by kernel"),
    "cpu": ("CPU operators by class (self time: the trace holds no GPU event)", "CPU operators"),
    "none": ("", ""),
}


def show_text(data: dict[str, Any], top: int, width: int = MAX_WIDTH) -> str:
    """The text of `show_data`'s result, at most `width` columns (80 to 120), with `top` kernels."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    parts = [
        _head(data),
        _failure(data, width),
        _facts(data, width),
        _phases(data, width),
        memory_text(data, width),
        ranks_text(data["ranks"], data["rank_window"], width) if data.get("ranks") else "",
        _classes(data, width),
        _kernels(data, top, width),
        _lost(data),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(data: dict[str, Any]) -> str:
    lines = [f"{data['run']}  [{data['kind']}, {data['status']}]"]
    lines += [line for line in (describe_spec(data["spec"]), describe_environment(data["environment"])) if line]
    return "\n".join(lines)


def describe_spec(spec: dict[str, Any]) -> str:
    """A run's spec in one line: model, scheme, compile mode, sizes."""
    shown = [str(spec[key]) for key in ("model",) if spec.get(key)]
    shown += [
        f"{key} {spec[key]}" for key in ("scheme", "compile", "batch", "steps", "frames", "seed") if spec.get(key) is not None
    ]
    if spec.get("height") and spec.get("width"):
        shown.append(f"{spec['height']}x{spec['width']} px")
    shown += [
        key.replace("_", "-")
        for key in ("compile_vae", "fuse_qkv", "channels_last", "quantize_vae", "quantize_text_encoder")
        if spec.get(key)
    ]
    parallel = _mapping(spec.get("parallel"))
    shown += [f"{parallel.get('kind')} over {parallel.get('degree')} ranks"] if parallel else []
    return one_line(" · ".join(shown))


def describe_environment(environment: dict[str, Any]) -> str:
    """A machine in one line: its GPU or CPU, and the versions that matter."""
    gpu, cpu, versions = (_mapping(environment.get(key)) for key in ("gpu", "cpu", "versions"))
    hardware = gpu.get("name") or cpu.get("model")
    shown = [str(hardware)] if hardware else []
    shown += [f"{name} {versions[name]}" for name in ("torch", "torchao", "diffusers") if versions.get(name)]
    return one_line(" · ".join(shown))


def _failure(data: dict[str, Any], width: int) -> str:
    failure = data["failure"]
    if failure is None:
        return ""
    where = f" in phase {failure['phase']}" if failure.get("phase") else ""
    text = f"{data['status']}{where}: {failure['type']}: {failure['message']}"
    filled = textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join([filled, *(f"  {line}" for line in last_frames(failure.get("traceback") or ""))])


def last_frames(traceback: str, most: int = 2) -> list[str]:
    """The innermost frames of a traceback, each `file:line function: code`; the whole of it is in the run's manifest."""
    found = _FRAME.findall(traceback)
    return [one_line(f"at {file}:{line} {function}: {code}") for file, line, function, code in found[-most:]]


def _facts(data: dict[str, Any], width: int) -> str:
    lines = [
        ("ranks", describe_ranks(data)),
        ("timed", describe_timed(data)),
        ("memory", _memory(data)),
        ("traced", describe_recording(data)),
    ]
    lines += [("applied", line) for line in describe_applied(data["applied"])]
    shown: list[str] = []
    last = ""
    for label, text in lines:
        if text:
            shown.append(shorten(f"{label if label != last else '':<9}{text}", width))
            last = label
    return "\n".join(shown)


def describe_ranks(data: dict[str, Any]) -> str:
    """Of several ranks, whose figures are shown; empty for a run of one process."""
    if not data.get("ranks"):
        return ""
    whose = [f"memory of rank {data['memory_rank']}"] if data["phases"] else []
    whose += [f"kernels of rank {data['trace']['rank']}"] if data["kernels"] else []
    whose += ["calls of the slowest"] if data["timed"]["median_ms"] is not None else []
    return f"{len(data['ranks'])}" + (f"; {', '.join(whose)} (--rank N)" if whose else "")


def describe_timed(data: dict[str, Any]) -> str:
    """What a timed call takes; empty where none was timed."""
    timed = data["timed"]
    if timed["median_ms"] is None:
        return ""
    return f"{format_ms(timed['median_ms'])} {describe_repeats(timed['repeats'], timed['spread_ms'])}"


def _memory(data: dict[str, Any]) -> str:
    sizes = data["memory"]
    names = (("model", "model_gib"), ("inference peak", "inference_peak_gib"), ("load peak", "load_peak_gib"))
    if all(sizes[key] is None for _, key in names):
        return ""
    return ", ".join(f"{name} {sizes[key]:,.2f} GiB" if sizes[key] is not None else f"{name} -" for name, key in names)


def describe_recording(data: dict[str, Any]) -> str:
    """The traced call beside the untraced one of the same length; empty where there is none."""
    recording = data["recording"]
    if recording["traced_ms"] is None and recording["untraced_ms"] is None:
        return ""
    if recording["factor"] is None:
        return f"{format_ms(recording['traced_ms'])}, untraced {format_ms(recording['untraced_ms'])}"
    return f"{format_ms(recording['traced_ms'])} = {recording['factor']:.2f} x untraced ({format_ms(recording['untraced_ms'])})"


def describe_applied(applied: dict[str, Any]) -> list[str]:
    """What was really done to the model, a line each."""
    return [*_linears(applied), *_compiled(applied), *(str(note) for note in applied.get("notes") or [])]


def _linears(applied: dict[str, Any]) -> list[str]:
    linears = [each for each in applied.get("linears") or [] if isinstance(each, dict)]
    if not linears:
        return []
    counts = Counter(str(each.get("scheme")) for each in linears)
    reasons: dict[tuple[str, str], int] = defaultdict(int)
    for each in linears:
        if each.get("reason"):
            reasons[str(each.get("scheme")), str(each["reason"])] += 1
    if len(counts) == 1 and list(reasons.values()) == [len(linears)]:
        scheme, reason = next(iter(reasons))
        return [f"{len(linears)} Linears {scheme}: {reason}"]
    lines = [f"{len(linears)} Linears: " + ", ".join(f"{count} {scheme}" for scheme, count in counts.most_common())]
    ranked = sorted(reasons.items(), key=lambda item: -item[1])
    lines += [f"  {count} {scheme}: {reason}" for (scheme, reason), count in ranked[:_REASONS_SHOWN]]
    if len(ranked) > _REASONS_SHOWN:
        lines.append(f"  and {len(ranked) - _REASONS_SHOWN} more reasons (--json lists every layer)")
    return lines


def _compiled(applied: dict[str, Any]) -> list[str]:
    if not applied.get("compiled") and not applied.get("graphs"):
        return []
    counts = {"module": len(applied.get("compiled") or []), "graph": applied.get("graphs")}
    counts |= {"graph break": applied.get("graph_breaks"), "recompile": applied.get("recompiles")}
    shown = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count is not None]
    return ["compiled: " + ", ".join(shown)]


def _phases(data: dict[str, Any], width: int) -> str:
    if not data["phases"]:
        return ""
    columns = [("phase", "name"), ("start ms", "start_ms"), ("duration ms", "dur_ms")]
    if any(each["alloc_gib"] is not None or each["peak_gib"] is not None for each in data["phases"]):
        columns += [("allocated GiB", "alloc_gib"), ("peak GiB", "peak_gib"), ("requested peak", "peak_requested_gib")]
    rows = [
        (each["name"], *(number(each[key], 3 if key.endswith("gib") else 1) for _, key in columns[1:])) for each in data["phases"]
    ]
    return table([header for header, _ in columns], rows, width)


def _classes(data: dict[str, Any], width: int) -> str:
    if not data["classes"]:
        return ""
    rows = [
        (each["class"], f"{each['count']:,}", number(each["total_us"] / 1e3, 3), percent(each["share"]), bar(each["share"]))
        for each in data["classes"]
    ]
    title = _SOURCES[data["trace"]["source"]][0]
    return f"{title}\n" + table(("class", "count", "total ms", "share %", ""), rows, width, left=(0, 4))


def _kernels(data: dict[str, Any], top: int, width: int) -> str:
    trace = data["trace"]
    if trace["problem"]:
        return f"no kernel breakdown: {trace['problem']}"
    shown = data["kernels"][:top]
    headers = ("name", "class", "count", "total us", "mean us", "share %")
    rows = [
        (each["class"], f"{each['count']:,}", number(each["total_us"]), number(each["mean_us"]), percent(each["share"]))
        for each in shown
    ]
    numbers = sum(_GAP + max(map(len, column)) for column in zip(headers[1:], *rows, strict=True))
    rows_named = [(shorten(readable(each["name"]), width - numbers), *row) for each, row in zip(shown, rows, strict=True)]
    title = _SOURCES[trace["source"]][1]
    of = f", the first {len(shown)} of {trace['kernels']} (--top N)" if len(shown) < trace["kernels"] else ""
    of += f", rank {trace['rank']} of {trace['ranks']}" if trace["ranks"] > 1 else ""
    return f"{title}{of}\n" + table(headers, rows_named, width, left=(0, 1))


def _lost(data: dict[str, Any]) -> str:
    items = data["lost"]["items"]
    if not items:
        return ""
    lines = [f"  {each['count']:,} x {each['what']}: {each['why']}" for each in items]
    return "\n".join([f"lost while recording or reading: {data['lost']['count']:,}", *lines])


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
