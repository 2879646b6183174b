"""A snapshot's tables without its file: what reading a small one would give, for tests that make thousands."""

from __future__ import annotations

from typing import Any

import polars as pl

from profiler.tables.snapshot_schema import TABLES


def tables_of(snapshot: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """The tables of a snapshot as torch writes it."""
    stacks: dict[tuple[Any, ...], int] = {}

    def number(frames: list[dict[str, Any]]) -> int:
        content = tuple((each["name"], each["filename"], each["line"]) for each in frames)
        return stacks.setdefault(content, len(stacks)) if content else -1

    events = [
        {**each, "index": index, "device": device, "stack": number(each["frames"])}
        for device, trace in enumerate(snapshot["device_traces"])
        for index, each in enumerate(trace)
    ]
    segments = [
        {**each, "stack": -1, "pool_a": each["segment_pool_id"][0], "pool_b": each["segment_pool_id"][1]}
        for each in snapshot["segments"]
    ]
    blocks = [
        {**block, "device": segment["device"], "stack": number(block["frames"]), "segment_address": segment["address"]}
        for segment in segments
        for block in segment["blocks"]
    ]
    frames = [
        {"stack": stack, "depth": depth, "name": name, "filename": file, "line": line}
        for content, stack in stacks.items()
        for depth, (name, file, line) in enumerate(content)
    ]
    rows = {"events": events, "blocks": blocks, "segments": segments, "stacks": frames}
    return {name: _frame(name, each) for name, each in (rows | {"annotations": snapshot["external_annotations"]}).items()}


def _frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = TABLES[table].columns
    data = {each.name: [row.get(each.name, row.get(each.source)) for row in rows] for each in columns}
    texts = {"compile_context", "user_metadata"}
    filled = {name: [value or "" for value in values] if name in texts else values for name, values in data.items()}
    return pl.DataFrame(filled, schema={each.name: each.dtype for each in columns})
