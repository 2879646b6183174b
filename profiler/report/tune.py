"""A run of kind `tune` as plain data, and as text."""

from __future__ import annotations

from typing import Any

from profiler.metrics.tune import TUNED, UNTUNED, TuneResult, tune_result
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, number, percent, table
from profiler.tables.run import Run

_KERNEL_WIDTH = 40


def tune_data(run: Run) -> dict[str, Any]:
    """Everything `tune` prints, JSON-ready. Raises UnreadableInput where the run holds no results."""
    result = tune_result(run)
    return {
        "run": str(run.path),
        "status": run.manifest.status,
        "kind": run.manifest.kind,
        "spec": run.manifest.spec,
        "key": result.tables.key,
        "table": result.tables.table,
        "wanted": result.tables.wanted,
        "shapes": [_shape(result, row) for row in result.shapes.iter_rows(named=True)],
        "refused": [vars(each) for each in result.tables.refused],
        "rejected": result.rejected,
        "ceiling_tops": result.ceiling_tops,
        "step_ms": result.step_ms,
        "notes": run.manifest.applied.get("notes") or [],
    }


def _shape(result: TuneResult, row: dict[str, Any]) -> dict[str, Any]:
    found = result.tables.shapes[row["shape"]]
    best = {"kernel": found.best.kernel, "config": found.best.config, "us": row["us"], "tops": row["tops"]}
    return {
        **{name: row[name] for name in ("m", "k", "n", "count")},
        "best": best | {"share": row["share"]},
        "pays": row["pays"],
        "baselines": found.baselines,
        "spaces": {space: {"kernel": each.kernel, "us": each.us} for space, each in found.spaces.items()},
        **{name: row[name] for name in ("candidates", "failed", "wrong", "seconds")},
    }


def tune_text(data: dict[str, Any], width: int = MAX_WIDTH) -> str:
    """The text of `tune_data`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    parts = [_head(data), _shapes(data, width), _step(data), _notes(data)]
    return "\n\n".join(part for part in parts if part)


def _head(data: dict[str, Any]) -> str:
    done = len(data["shapes"])
    of = f" of {data['wanted']}" if done != data["wanted"] else ""
    tried = sum(each["candidates"] for each in data["shapes"])
    counts = f"{done}{of} shapes tuned, {tried} candidates, {data['rejected']} wrong ones rejected"
    key = data["key"]
    on = f"{key.get('device', '?')}, torch {key.get('torch', '?')}" + (f", triton {key['triton']}" if key.get("triton") else "")
    return f"{data['run']}  [{data['kind']}, {data['status']}]\n{on}\n{counts}"


def _shapes(data: dict[str, Any], width: int) -> str:
    if not data["shapes"]:
        return ""
    baselines = list(dict.fromkeys(name for each in data["shapes"] for name in each["baselines"]))
    ceiling = data["ceiling_tops"] is not None
    headers = ["M x K x N", "count", "kernel", "us", "TOPS", *(["% limit"] if ceiling else []), *baselines]
    rows = []
    for each in data["shapes"]:
        best = each["best"]
        name = shorten(best["kernel"], _KERNEL_WIDTH) + ("" if each["pays"] else " (no gain)")
        rates = [number(best["us"]), number(best["tops"], 1 if best["tops"] >= 10 else 3)]
        rates += [percent(best["share"])] if ceiling else []
        others = [number(each["baselines"].get(name)) for name in baselines]
        rows.append([f"{each['m']} x {each['k']} x {each['n']}", str(each["count"]), name, *rates, *others])
    return "microseconds a call\n" + table(headers, rows, width, left=(0, 2))


def _step(data: dict[str, Any]) -> str:
    if not data["step_ms"]:
        return ""
    against = data["step_ms"].get(UNTUNED)
    lines = ["all these products in one step, predicted"]
    for name, dur_ms in data["step_ms"].items():
        times = f"  {against / dur_ms:.2f} times as fast as untuned" if name == TUNED and against and dur_ms > 0 else ""
        lines.append(f"  {name:<16}{dur_ms:>10.3f} ms{times}")
    return "\n".join(lines)


def _notes(data: dict[str, Any]) -> str:
    lines = [f"{each['m']}x{each['k']}x{each['n']} was not tuned: {each['why']}" for each in data["refused"]]
    limit = data["ceiling_tops"]
    lines += [f"% limit: of {limit:,.0f} TOPS, this device's fastest 8-bit product, as measured in this run"] if limit else []
    return "\n".join([*lines, *data["notes"], f"kept in {data['table']}"])
