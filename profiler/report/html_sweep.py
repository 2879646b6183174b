"""A sweep, or a folder of runs, as one HTML file: what to ship, the Pareto front, every cell, the seed beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from profiler.core import palette
from profiler.report import sweep_words
from profiler.report.html_document import document
from profiler.report.html_parts import Figure, bullets, chip, figures, legend, lines, part, section, table
from profiler.report.html_points import Point, points
from profiler.report.html_tags import Html, Inside, joined, tag
from profiler.report.sweep_plan_text import HEADERS, notes
from profiler.report.sweep_plan_text import cells as plan_cells
from profiler.report.sweep_seed_text import facts, unmatched
from profiler.report.sweep_seed_why import whys

_MEMORY = {"inference_peak_gib": "peak of one call", "model_memory_gib": "model memory"}
_HEADERS = (
    "",
    "cell",
    "scheme",
    "time s",
    "peak GiB",
    "model GiB",
    "load GiB",
    "quantize s",
    "compile s",
    "breaks",
    "SQNR dB",
    "PSNR dB",
)
_SEED = ("cell", "s", "seed", "ratio", "model GiB", "seed", "ratio", "inference GiB", "seed", "ratio")


def page(data: Mapping[str, Any]) -> str:
    """The whole document of `sweep_data`'s result."""
    name = PurePath(data["run"]).name or str(data["run"])
    answers = [f"{each['what']}: {each['text']}" for each in _ranked(data)]
    body = tag(
        "main",
        section("advice", "What to ship", _advice(data), bullets(data["not_known"])),
        *(_group(each, data) for each in sorted(data["groups"], key=lambda each: -len(each["ids"]))),
        _unfinished(data),
        _seed(data["against_seed"]),
        _plan(data["plan"]),
    )
    return document(name, _head(name, data, answers), body)


def _head(name: str, data: Mapping[str, Any], answers: Sequence[str]) -> Html:
    done = [each for each in data["cells"] if each["status"] == "ok"]
    status = data["status"] or ""
    mark = tag("span", status, class_=f"status {'good' if status == 'ok' else 'bad'}") if status else None
    title = tag("p", tag("b", "diffuscope"), " ", name, mark, class_="name")
    answer = answers[0][:1].upper() + answers[0][1:] if answers else f"{len(done)} of {len(data['cells'])} cells went well"
    spec = [f"{data['model']}, preset {data['preset']}"] if data["preset"] else []
    return tag("header", title, tag("h1", answer), lines(spec), figures(_figures(data, done)))


def _figures(data: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> list[Figure]:
    made = [Figure("cells", f"{len(done)}", f"of {len(data['cells'])}", "went well")]
    for name, key, unit in (("fastest", "time_s", "s"), ("smallest peak", "inference_peak_gib", "GiB")):
        known = [each for each in done if each[key] is not None]
        if known and len(data["groups"]) == 1:
            least = min(known, key=lambda each: each[key])
            made.append(
                Figure(name, sweep_words.seconds(dict(least)) if unit == "s" else sweep_words.size(least[key]), unit, least["id"])
            )
    return [*made, Figure("Pareto front", f"{len(data['pareto'])}", "", "cells that none beats in time, memory and SQNR")]


def _colours(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = list(dict.fromkeys(_scheme(each) for each in rows))
    return {name: palette.SCHEMES[place % len(palette.SCHEMES)] for place, name in enumerate(names)}


def _scheme(row: Mapping[str, Any]) -> str:
    return str(row["spec"].get("scheme") or "bf16")


def _group(group: Mapping[str, Any], data: Mapping[str, Any]) -> Html:
    rows = sorted((each for each in data["cells"] if each["id"] in set(group["ids"])), key=lambda each: each["time_s"])
    colours, memory = _colours(rows), group["memory"]
    drawn = [
        Point(number, each["time_s"], each[memory], colours[_scheme(each)], _note(each, memory), each["id"] in group["front"])
        for number, each in enumerate(rows, 1)
        if memory and each[memory] is not None
    ]
    figure = points(drawn, "s a call", f"{_MEMORY.get(memory, memory)}, GiB") if len(drawn) > 1 else joined()
    named = legend((colour, name, "") for name, colour in colours.items()) if figure else joined()
    cells = table(_HEADERS, [_cells(number, each, colours) for number, each in enumerate(rows, 1)], (1, 2))
    note = "ringed and *: no cell beats it in time, memory and SQNR; the line: in time and memory; ~ before a time: extrapolated"
    return section(
        f"work-{group['ids'][0]}", sweep_words.work(group["work"]), figure, named, cells, note=note if figure else None
    )


def _note(row: Mapping[str, Any], memory: str) -> str:
    return f"{row['id']}: {sweep_words.seconds(dict(row))} s, {sweep_words.size(row[memory])} GiB"


def _cells(number: int, row: Mapping[str, Any], colours: Mapping[str, str]) -> list[Inside]:
    found = dict(row)
    sizes = [sweep_words.size(row[name]) for name in ("inference_peak_gib", "model_memory_gib", "load_peak_gib")]
    spent = [sweep_words.duration(row[name]) for name in ("quantize_s", "compile_s")]
    breaks = "-" if row["graph_breaks"] is None else str(row["graph_breaks"])
    levels = [sweep_words.level(found, name) for name in ("sqnr_db", "psnr_db")]
    front = sweep_words.FRONT if row["pareto"] else ""
    scheme = chip(colours[_scheme(row)], _scheme(row))
    return [f"{front} {number}", tag("code", row["id"]), scheme, sweep_words.seconds(found), *sizes, *spent, breaks, *levels]


def _unfinished(data: Mapping[str, Any]) -> Html:
    named = {name for group in data["groups"] for name in group["ids"]}
    rows: list[Sequence[Inside]] = [
        [each["id"], each["status"], each["reason"] or ""] for each in data["cells"] if each["id"] not in named
    ]
    return section("unfinished", "Cells without a time", table(("cell", "status", "why"), rows, (0, 1, 2)))


def _advice(data: Mapping[str, Any]) -> Html:
    """Of each kind of work, the one with most cells first, what to choose."""
    several = len(data["groups"]) > 1
    return joined(*(_card(each, sweep_words.work(each["work"]) if several else "") for each in _ranked(data)))


def _ranked(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    sizes = {str(each["work"]): len(each["ids"]) for each in data["groups"]}
    return sorted(data["recommended"], key=lambda each: -sizes.get(str(each["work"]), 0))


def _card(each: Mapping[str, Any], work: str) -> Html:
    head = tag("h4", tag("span", each["what"], class_="mark"), work)
    return tag("article", head, tag("p", each["text"], class_="price"), class_="card", style=f"--c:{palette.FASTER}")


def _seed(found: Mapping[str, Any] | None) -> Html:
    if not found or not found["rows"]:
        return joined()
    causes = [f"{each.head()}: {text}" for each in whys(found["rows"]) for text in each.causes]
    rows = table(_SEED, [_beside(each) for each in found["rows"]])
    note = f"{len(found['rows'])} of its {found['seed_rows']} rows; ratio: ours over the seed's"
    absent = [f"{', '.join(cells)}: {why}" for why, cells in unmatched(dict(found)).items()]
    more = (part("Why", bullets(causes)), part("Not in the seed", bullets(absent)), bullets(facts(dict(found))))
    return section("seed", "Against the seed", rows, *more, note=note)


def _plan(found: Mapping[str, Any] | None) -> Html:
    if not found or not found["rows"]:
        return joined()
    rows = table(HEADERS, [plan_cells(dict(each)) for each in found["rows"]])
    note = f"by {found['path']}, from {found['source']}; predicted > measured"
    return section("plan", "Predicted and measured", rows, bullets(notes(dict(found))), note=note)


def _beside(row: Mapping[str, Any]) -> list[Inside]:
    made: list[Inside] = [tag("code", row["id"], "" if row["same_gpu"] else f" ({row['seed_gpu']})")]
    for ours, seed, ratio in (
        ("time_s", "seed_time_s", "time_ratio"),
        ("model_memory_gib", "seed_model_memory_gib", "model_memory_ratio"),
        ("inference_memory_gib", "seed_inference_memory_gib", "inference_memory_ratio"),
    ):
        mine = sweep_words.seconds(dict(row) | {"error_s": None}) if ours == "time_s" else sweep_words.plain(row[ours])
        made += [mine, sweep_words.plain(row[seed]), sweep_words.ratio(row[ratio])]
    return made
