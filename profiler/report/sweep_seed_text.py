"""A sweep beside the seed, for people."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.core.lists import by_reason
from profiler.report import sweep_words as words
from profiler.report.names import shorten
from profiler.report.render import table
from profiler.report.sweep_seed_why import whys

_HEADERS = ("cell", "s", "seed", "ratio", "model", "seed", "ratio", "infer.", "seed", "ratio")
_GAP = 3


def seed_text(found: dict[str, Any], width: int) -> str:
    """The tables of both, then why they differ."""
    rows = by_time(found["rows"])
    if not rows:
        return "against the seed: none of its rows was measured" + _unmatched(found, width)
    head = f"against the seed: {found['measured']} of its {found['seed_rows']} rows (s and GiB; ratio: ours over the seed's)"
    parts = [f"{head}\n{_table(rows, width)}"]
    parts += ["\n".join(_wrapped(line, width) for line in facts(found))]
    parts += ["\n".join(_why(rows, width))] if any(row["causes"] for row in rows) else []
    return "\n\n".join(parts) + _unmatched(found, width)


def by_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fastest first, as in the table of the cells; those without a time last."""
    return sorted(rows, key=lambda row: (row["time_s"] is None, row["time_s"]))


def _table(rows: list[dict[str, Any]], width: int) -> str:
    cells = [_cells(row) for row in rows]
    sizes = [max(len(header), *(len(row[index]) for row in cells)) + _GAP for index, header in enumerate(_HEADERS)]
    room = max(12, width - sum(sizes[1:]))
    return table(_HEADERS, [[shorten(row[0], room), *row[1:]] for row in cells], width)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["id"] + ("" if row["same_gpu"] else f" ({row['seed_gpu']})"),
        words.seconds(row | {"error_s": None}),
        words.plain(row["seed_time_s"]),
        words.ratio(row["time_ratio"]),
        words.plain(row["model_memory_gib"], 2),
        words.plain(row["seed_model_memory_gib"], 2),
        words.ratio(row["model_memory_ratio"]),
        words.plain(row["inference_memory_gib"], 2),
        words.plain(row["seed_inference_memory_gib"], 2),
        words.ratio(row["inference_memory_ratio"]),
    ]


def facts(found: dict[str, Any]) -> list[str]:
    """What holds for many rows: model memory within 2 %, and whose inference memory is that of loading."""
    rows = found["rows"]
    lines = []
    same = [row for row in rows if row["same_layers"] and row["model_memory_ratio"] is not None]
    if same:
        near = [row for row in same if abs(row["model_memory_ratio"] - 1) <= found["thresholds"]["model_memory"]]
        far = max(abs(row["model_memory_ratio"] - 1) for row in same)
        lines.append(
            f"model memory, where the layers quantized are the same: {len(near)} of {len(same)} within 2 %, {far:.2%} off at most"
        )
    loading = [row for row in rows if row["seed_call_gib"] is not None]
    if loading:
        lines.append(_loading(loading))
    devices = sorted({row["seed_gpu"] for row in rows if not row["same_gpu"]})
    return lines + ([f"rows of another GPU ({', '.join(devices)}) are named so"] if devices else [])


def _loading(rows: list[dict[str, Any]]) -> str:
    # Two cells may be held against one row of the seed.
    count = len({row["seed_row"] for row in rows})
    several = f"{count} rows" if count > 1 else "one row"
    text = f"the seed's inference_memory (max_memory_allocated since the start, as ours here) of {several} is the peak of "
    text += f"loading and quantizing; by its bf16 rows a call alone needs {_sizes([row['seed_call_gib'] for row in rows])} GiB"
    both = [(row["inference_peak_gib"], row["seed_call_gib"]) for row in rows if row["inference_peak_gib"] is not None]
    if both:
        far = max(abs(mine / theirs - 1) for mine, theirs in both)
        text += f", and here takes {_sizes([mine for mine, _ in both])} ({far:.1%} off{' at most' if len(both) > 1 else ''})"
    return text


def _sizes(sizes: list[float]) -> str:
    least, most = f"{min(sizes):.2f}", f"{max(sizes):.2f}"
    return least if least == most else f"{least} to {most}"


def _why(rows: list[dict[str, Any]], width: int) -> list[str]:
    lines = ["why they differ (by more than 10 %, model memory by more than 2 %)"]
    for why in whys(rows):
        lines.append(_wrapped(f"{why.head()}:", width))
        lines += [_wrapped(f"  {text}", width) for text in why.causes]
    return lines


def _unmatched(found: dict[str, Any], width: int) -> str:
    lines = [_wrapped(f"not in the seed: {', '.join(cells)}: {why}", width) for why, cells in unmatched(found).items()]
    return "\n\n" + "\n".join(lines) if lines else ""


def unmatched(found: dict[str, Any]) -> dict[str, list[str]]:
    """Cells that the seed has no row for, by why."""
    return by_reason((each["cell"], each["why"]) for each in found["unmatched"])


def _wrapped(text: str, width: int) -> str:
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return "\n".join(textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False))
