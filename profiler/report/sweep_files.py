"""A sweep's answer to keep: a Markdown page, and a CSV table with the seed's columns first."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from profiler.metrics.sweep_cells import COLUMNS
from profiler.report import sweep_words as words
from profiler.report.sweep_plan_text import HEADERS, PART_HEADERS, cells, left_out, notes, part_cells
from profiler.report.sweep_seed_text import by_time, facts, unmatched
from profiler.report.sweep_seed_why import NAMES, sentence, whys

SEED_COLUMNS = (
    "model",
    "gpu",
    "batch_size",
    "compile",
    "compile_vae",
    "fuse_qkv",
    "quantize_vae",
    "quantization",
    "sparsify",
    "model_memory_gib",
    "inference_memory_gib",
    "time_s",
)
"""The header of the seed's own table, in its order."""

_MORE = (
    "seed_gpu",
    "same_gpu",
    "same_layers",
    "seed_call_gib",
    "seed_model_memory_gib",
    "seed_inference_memory_gib",
    "seed_time_s",
    "model_memory_ratio",
    "inference_memory_ratio",
    "time_ratio",
)
_SIZES = ("inference peak GiB", "since start GiB", "model GiB", "load peak GiB")
_HEADERS = ("", "cell", "time s", *_SIZES, "quantize s", "compile s", "graph breaks", "SQNR dB", "PSNR dB")
_DECIMALS = 6


def sweep_csv(data: dict[str, Any]) -> str:
    """One line a cell: the seed's columns, then ours; with the seed beside it, its figures, the ratios, and the causes."""
    columns = [*SEED_COLUMNS, *(name for name in COLUMNS if name not in SEED_COLUMNS)]
    beside = {row["id"]: row for row in data["against_seed"]["rows"]} if data["against_seed"] else {}
    more = [*_MORE, "causes"] if data["against_seed"] else []
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, *more])
    for cell in data["cells"]:
        row = cell | {"extrapolated": bool(cell["extrapolated"])} | {name: beside.get(cell["id"], {}).get(name) for name in _MORE}
        row["causes"] = "; ".join(_cause(each) for each in beside.get(cell["id"], {}).get("causes", ()))
        writer.writerow([_plain(row.get(name)) for name in (*columns, *more)])
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS)
    # A cell that begins like a formula is one to a spreadsheet.
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _cause(cause: dict[str, Any]) -> str:
    return f"{NAMES[cause['quantity']]}: {sentence(cause)}"


def sweep_markdown(data: dict[str, Any]) -> str:
    """A page: what to ship, the table of each kind of work, what has no result, the seed beside it."""
    parts = [f"# {data['run']}", _advice(data)]
    parts += [_group(each, data) for each in data["groups"]]
    parts += [_unfinished(data), _list(data["not_known"])]
    parts += [_seed(data["against_seed"])] if data["against_seed"] else []
    parts += [_plan(data["plan"])] if data["plan"] else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _advice(data: dict[str, Any]) -> str:
    several = len(data["groups"]) > 1
    return _list(
        f"**{each['what']}**{' (' + words.work(each['work']) + ')' if several else ''}: {each['text']}"
        for each in data["recommended"]
    )


def _group(group: dict[str, Any], data: dict[str, Any]) -> str:
    rows = sorted((row for row in data["cells"] if row["id"] in group["ids"]), key=lambda row: row["time_s"])
    return f"## {words.work(group['work'])}\n\n" + _table(_HEADERS, [_cells(row) for row in rows], 2) + "\n\n" + _legend(rows)


def _cells(row: dict[str, Any]) -> list[str]:
    sizes = ("inference_peak_gib", "inference_memory_gib", "model_memory_gib", "load_peak_gib")
    spent = [words.duration(row[name]) for name in ("quantize_s", "compile_s")]
    breaks = "-" if row["graph_breaks"] is None else str(row["graph_breaks"])
    head = [words.FRONT if row["pareto"] else "", row["id"], words.seconds(row), *(words.size(row[name]) for name in sizes)]
    return [*head, *spent, breaks, *(words.level(row, name) for name in ("sqnr_db", "psnr_db"))]


def _legend(rows: list[dict[str, Any]]) -> str:
    used = [words.FRONT] * any(row["pareto"] for row in rows) + [words.EXTRAPOLATED] * any(row["extrapolated"] for row in rows)
    return "  \n".join(f"`{mark}` {words.LEGEND[mark]}" for mark in used)


def _unfinished(data: dict[str, Any]) -> str:
    named = {name for group in data["groups"] for name in group["ids"]}
    rows = [[row["id"], row["status"], words.first_words(row["reason"], 200)] for row in data["cells"] if row["id"] not in named]
    return "## Cells without a time\n\n" + _table(("cell", "status", "reason"), rows, 3) if rows else ""


def _seed(found: dict[str, Any]) -> str:
    if not found["rows"]:
        return "\n\n".join(["## Against the seed\n\nNone of its rows was measured.", *_not_in_seed(found)])
    rows = by_time(found["rows"])
    headers = ("cell", "seed's GPU", "time s", "seed", "ratio", "model GiB", "seed", "ratio", "since start GiB", "seed", "ratio")
    table = _table(headers, [_beside(row) for row in rows], 2)
    why = [f"{each.head('`{}`')}: {text}" for each in whys(rows) for text in each.causes]
    parts = [
        f"## Against the seed\n\n{found['measured']} of its {found['seed_rows']} rows; ratios are ours over the seed's.",
        table,
    ]
    parts += [_list(facts(found)), "### Why they differ\n\n" + _list(why) if why else ""]
    parts += _not_in_seed(found)
    return "\n\n".join(part for part in parts if part)


def _not_in_seed(found: dict[str, Any]) -> list[str]:
    named = [f"{', '.join(f'`{cell}`' for cell in cells)}: {why}" for why, cells in unmatched(found).items()]
    return ["Not in the seed:\n\n" + _list(named)] if named else []


def _beside(row: dict[str, Any]) -> list[str]:
    cells = [row["id"], row["seed_gpu"], words.seconds(row), words.plain(row["seed_time_s"]), words.ratio(row["time_ratio"])]
    for name in ("model_memory", "inference_memory"):
        cells += [words.plain(row[f"{who}{name}_gib"]) for who in ("", "seed_")] + [words.ratio(row[f"{name}_ratio"])]
    return cells


def _plan(found: dict[str, Any]) -> str:
    head = f"## Predicted and measured\n\nBy `{found['path']}`, from {found['source']}."
    if not found["rows"]:
        return f"{head} It says nothing about these cells."
    split = [part_cells(row) for row in found["rows"] if row["predicted_products_ms"] is not None]
    parts = [_table(PART_HEADERS, split, 1)] if split else []
    return "\n\n".join(
        [head, _table(HEADERS, [cells(row) for row in found["rows"]], 1), *parts, _list([*notes(found), *left_out(found)])]
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table whose first `left` columns are text."""
    rules = [":--" if index < left else "--:" for index in range(len(headers))]
    lines = [headers, rules, *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("~", "\\~")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {each}" for each in items)
