"""A sweep beside the seed, for people."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.report import sweep_words as words
from profiler.report.names import shorten
from profiler.report.render import table

NAMES = {"model_memory": "model memory", "inference_memory": "inference memory", "time": "time"}
_HEADERS = ("cell", "s", "seed", "ratio", "model", "seed", "ratio", "infer.", "seed", "ratio")
_GAP = 3


def seed_text(found: dict[str, Any], width: int) -> str:
    """The tables of both, then why they differ."""
    rows = found["rows"]
    if not rows:
        return "against the seed: none of its rows was measured" + _unmatched(found, width)
    head = f"against the seed: {found['measured']} of its {found['seed_rows']} rows (s and GiB; ratio: ours over the seed's)"
    parts = [f"{head}\n{_table(rows, width)}"]
    parts += ["\n".join(_wrapped(line, width) for line in facts(found))]
    parts += ["\n".join(_why(rows, width))] if any(row["causes"] for row in rows) else []
    return "\n\n".join(parts) + _unmatched(found, width)


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
    needs = [row["seed_call_gib"] for row in rows]
    text = f"the seed's inference_memory of {len(rows)} rows is the peak of loading and quantizing (infer. is the same of ours: "
    text += f"max_memory_allocated since the start); by its bf16 rows their calls need {min(needs):.2f} to {max(needs):.2f} GiB"
    both = [(row["inference_peak_gib"], row["seed_call_gib"]) for row in rows if row["inference_peak_gib"] is not None]
    if both:
        own, far = [mine for mine, _ in both], max(abs(mine / theirs - 1) for mine, theirs in both)
        text += f", and here take {min(own):.2f} to {max(own):.2f} ({far:.1%} off at most)"
    return text


def _why(rows: list[dict[str, Any]], width: int) -> list[str]:
    lines = ["why they differ (by more than 10 %, model memory by more than 2 %)"]
    for row in rows:
        before = None
        for cause in row["causes"]:
            if cause["quantity"] != before:
                before = cause["quantity"]
                lines.append(_wrapped(f"{row['id']}, {NAMES[before]} {words.ratio(row[before + '_ratio'])}:", width))
            lines.append(_wrapped(f"  {'' if cause['measured'] else 'may be: '}{cause['text']}", width))
    return lines


def _unmatched(found: dict[str, Any], width: int) -> str:
    by_why: dict[str, list[str]] = {}
    for each in found["unmatched"]:
        by_why.setdefault(each["why"], []).append(each["cell"])
    lines = [_wrapped(f"not in the seed: {', '.join(cells)}: {why}", width) for why, cells in by_why.items()]
    return "\n\n" + "\n".join(lines) if lines else ""


def _wrapped(text: str, width: int) -> str:
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return "\n".join(textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False))
