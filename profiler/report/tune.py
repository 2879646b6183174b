"""A run of kind `tune` as plain data, and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from profiler.metrics.tune import ABOUT_UNTUNED, TUNED, UNTUNED, UNTUNED_IS, TuneResult, tune_result
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, table
from profiler.tables.run import Run

# Headers of the baselines that the table shows; the JSON has all.
_SHOWN = {UNTUNED: "untuned", "bf16": "bf16", "fp8 row-wise": "fp8"}


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
        "ceiling_from": result.ceiling_from,
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
    parts = [_head(data), _shapes(data, width), _step(data, width), _notes(data)]
    return "\n\n".join(part for part in parts if part)


def _head(data: dict[str, Any]) -> str:
    done = len(data["shapes"])
    of = f" of {data['wanted']}" if done != data["wanted"] else ""
    tried = sum(each["candidates"] for each in data["shapes"])
    counts = (
        f"{done}{of} shape{'' if data['wanted'] == 1 else 's'} tuned, {tried} candidates, {data['rejected']} wrong ones rejected"
    )
    key = data["key"]
    on = f"{key.get('device', '?')}, torch {key.get('torch', '?')}" + (f", triton {key['triton']}" if key.get("triton") else "")
    return f"{data['run']}  [{data['kind']}, {data['status']}]\n{on}\n{counts}"


def _shapes(data: dict[str, Any], width: int) -> str:
    if not data["shapes"]:
        return ""
    shown = [name for name in _SHOWN if any(name in each["baselines"] for each in data["shapes"])]
    headers = ["M x K x N", "count", "us", "TOPS", "limit", *(_SHOWN[name] for name in shown)]
    rows = [[*_rates(each), *(_us(each["baselines"].get(name)) for name in shown)] for each in data["shapes"]]
    names = [shorten(f"  {shape_name(each):<18}{each['best']['kernel']}{_gain(each)}", width) for each in data["shapes"]]
    return "\n".join(["microseconds a call", table(headers, rows, width), "", "kernels", *names])


def _rates(shape: dict[str, Any]) -> list[str]:
    best = shape["best"]
    tops = f"{best['tops']:.1f}" if best["tops"] >= 10 else f"{best['tops']:.3f}"
    share = "-" if best["share"] is None else f"{best['share']:.0%}"
    return [shape_name(shape), str(shape["count"]), _us(best["us"]), tops, share]


def shape_name(shape: Mapping[str, Any]) -> str:
    """M x K x N of a shape in the JSON of a tuning."""
    return f"{shape['m']}x{shape['k']}x{shape['n']}"


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _gain(shape: dict[str, Any]) -> str:
    return "" if shape["pays"] else "  (no gain: left untuned)"


def _step(data: dict[str, Any], width: int) -> str:
    if not data["step_ms"]:
        return ""
    against = data["step_ms"].get(UNTUNED)
    model = (data["spec"] or {}).get("model")
    lines = ["all these products in one step, predicted" if model else "each of these products once, predicted"]
    for name, dur_ms in data["step_ms"].items():
        faster = name == TUNED and against and dur_ms > 0
        times = f"  {against / dur_ms:.2f} times as fast as {UNTUNED_IS}" if faster else ""
        lines.append(f"  {name:<16}{dur_ms:>10.3f} ms{times}")
    told = textwrap.wrap(ABOUT_UNTUNED, width, subsequent_indent="  ", break_on_hyphens=False) if against else []
    return "\n".join([*lines, *told])


def _notes(data: dict[str, Any]) -> str:
    lines = [f"{shape_name(each)} was not tuned: {each['why']}" for each in data["refused"]]
    limit = data["ceiling_tops"]
    lines += [f"limit: {limit:,.0f} TOPS, reached in this run by {data['ceiling_from']}"] if limit else []
    kept = [f"kept in {data['table']}"] if data["shapes"] else []
    return "\n".join([*lines, *data["notes"], *kept])
