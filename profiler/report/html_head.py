"""The top of the HTML report: the answer, what ran, how it ended, key figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from profiler.core.finding import CRITICAL, HIGH
from profiler.core.printable import upper_first
from profiler.core.units import GIB, unit_of
from profiler.report import html_tune
from profiler.report.html_data import Gathered
from profiler.report.html_parts import Figure, figures, lines
from profiler.report.html_tags import Html, tag
from profiler.report.memory_findings import FATAL
from profiler.report.show_text import (
    describe_environment,
    describe_spec,
    last_frames,
)


def name_of(found: Gathered) -> str:
    """The run's name: its folder."""
    return PurePath(found.show["run"]).name or found.show["run"]


def head(found: Gathered) -> Html:
    """Name, status, the answer in one sentence, what ran, how it ended, key figures."""
    data = found.show
    title = tag("p", tag("b", "diffuscope"), " ", name_of(found), _status(data["status"]), class_="name")
    spec = [line for line in (describe_spec(data["spec"]), describe_environment(data["environment"])) if line]
    return tag("header", title, tag("h1", _answer(found)), lines(spec), _against(found), _failure(data), figures(_figures(found)))


def _status(status: str) -> Html:
    return tag("span", status, class_=f"status {'good' if status == 'ok' else 'bad'}")


def _answer(found: Gathered) -> str:
    """What the run comes to: how it ended where it failed, else its worst finding."""
    if found.tune:
        return html_tune.headline(found.tune)
    report = found.diagnosis or {"findings": [], "memory": {"findings": []}, "ledger": []}
    often = [each for each in report["findings"] if not each["once"]]
    in_memory, failure = report["memory"]["findings"], found.show["failure"]
    if failure and not (in_memory and in_memory[0]["rule"] == FATAL):
        return _ended(found.show)
    worst = [each for each in often if each["severity"] in (CRITICAL, HIGH)]
    worst += [each for each in in_memory if each["severity"] == CRITICAL]
    first = next(iter([*worst, *often, *in_memory]), None)
    if first:
        return upper_first(str(first["title"]))
    if report["ledger"]:
        return f"Nothing was found that costs time in every {report['window']['name']}"
    return name_of(found)


def _ended(data: Mapping[str, Any]) -> str:
    failure = data["failure"]
    where = f" in phase {failure['phase']}" if failure.get("phase") else ""
    message = next(iter(str(failure["message"]).splitlines()), "") or failure["type"]
    return f"{upper_first(data['status'])}{where}: {message}"


def _against(found: Gathered) -> Html | None:
    """The verdicts in a word each."""
    data = found.comparison
    if data is None:
        return None
    verdicts = " · ".join(f"{about} {each['kind']}" for about, each in data["verdicts"].items())
    return tag("p", f"against {PurePath(data['base']).name}: ", tag("b", verdicts), class_="note")


def _failure(data: Mapping[str, Any]) -> Html | None:
    failure = data["failure"]
    if not failure:
        return None
    where = f" in phase {failure['phase']}" if failure.get("phase") else ""
    frames = last_frames(failure.get("traceback") or "", most=4)
    shown = tag("p", f"{data['status']}{where}: {failure['type']}: {failure['message']}")
    return tag("div", shown, tag("pre", "\n".join(frames)) if frames else None, class_="alarm")


def _figures(found: Gathered) -> list[Figure]:
    if found.tune:
        return html_tune.figures(found.tune)
    return [*_times(found), *_sizes(found.show["memory"])]


def _times(found: Gathered) -> list[Figure]:
    timed, made = found.show["timed"], []
    if timed["median_ms"] is not None:
        seconds = timed["median_ms"] >= 1000
        value = f"{timed['median_ms'] / 1e3:,.3f}" if seconds else f"{timed['median_ms']:,.1f}"
        repeats = "one call" if timed["repeats"] == 1 else f"median of {timed['repeats']}, spread {timed['spread_ms']:,.1f} ms"
        made.append(Figure("a call", value, "s" if seconds else "ms", repeats))
    report = found.diagnosis
    if report and report["ledger"]:
        window = report["window"]
        value_us = window["untraced_us"] if window["calibrated"] else window["dur_us"]
        made.append(
            Figure(f"a {window['name']}", f"{value_us / 1e3:,.2f}", "ms", "untraced" if window["calibrated"] else "traced")
        )
        busy_us = sum(each["priced_us"] for each in report["ledger"] if each["kind"] == "busy")
        made.append(
            Figure("busy", f"{busy_us / value_us:.1%}" if value_us else "-", "", f"of the {window['name']}; the rest is idle")
        )
        floor = report["floor"]
        if floor and floor["ratio"] is not None:
            made.append(Figure("above its floor", f"{floor['ratio']:.2f}", "×", "the least at this GPU's rates"))
    return made


def _sizes(memory: Mapping[str, Any]) -> list[Figure]:
    sizes = (
        ("model memory", memory["model_gib"], "after load and quantize"),
        ("inference peak", memory["inference_peak_gib"], "one call alone"),
        ("load peak", memory["load_peak_gib"], "loading and quantizing"),
    )
    made = [_size(name, size, what) for name, size, what in sizes if size is not None]
    since = memory["since_start_peak_gib"]
    if memory["inference_peak_gib"] is None and since is not None:
        made.append(_size("peak since start", since, f"in {memory['since_start_phase']}"))
    return made


def _size(name: str, size_gib: float, what: str) -> Figure:
    """In GiB, or in MiB below 0.1 GiB."""
    unit, size = unit_of(size_gib * GIB)
    return Figure(name, f"{size_gib * GIB / size:,.2f}", unit, what)
