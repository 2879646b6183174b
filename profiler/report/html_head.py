"""The top of the HTML report (the answer, key figures) and its end (what the run is, what was lost)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from profiler.core.finding import CRITICAL, HIGH
from profiler.core.units import GIB
from profiler.report import html_tune
from profiler.report.html_data import Gathered
from profiler.report.html_parts import Figure, bullets, figures, lines, part, section, table, unit_of
from profiler.report.html_tags import Html, joined, tag
from profiler.report.memory_findings import FATAL
from profiler.report.render import number
from profiler.report.show_text import (
    describe_applied,
    describe_environment,
    describe_recording,
    describe_spec,
    describe_timed,
    last_frames,
)

_SECTIONS = {
    "comparison": "Is the win real?",
    "tuning": "Tuning",
    "ledger": "Where time goes",
    "findings": "What to change",
    "kernels": "Kernels",
    "memory": "Memory",
    "run": "The run",
}


def name_of(found: Gathered) -> str:
    """The run's name: its folder."""
    return PurePath(found.show["run"]).name or found.show["run"]


def head(found: Gathered) -> Html:
    """Name, status, the answer in one sentence, what ran, how it ended, key figures."""
    data = found.show
    title = tag("p", tag("b", "diffuscope"), " ", name_of(found), _status(data["status"]), class_="name")
    spec = [line for line in (describe_spec(data["spec"]), describe_environment(data["environment"])) if line]
    return tag("header", title, tag("h1", _answer(found)), lines(spec), _against(found), _failure(data), figures(_figures(found)))


def menu(made: Mapping[str, Html]) -> Html:
    """Links to the sections that there are."""
    return tag("nav", *(tag("a", title, href=f"#{name}") for name, title in _SECTIONS.items() if made.get(name)))


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
        return _upper(str(first["title"]))
    if report["ledger"]:
        return f"Nothing was found that costs time in every {report['window']['name']}"
    return name_of(found)


def _ended(data: Mapping[str, Any]) -> str:
    failure = data["failure"]
    where = f" in phase {failure['phase']}" if failure.get("phase") else ""
    message = next(iter(str(failure["message"]).splitlines()), "") or failure["type"]
    return f"{_upper(data['status'])}{where}: {message}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


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


def end(found: Gathered) -> Html:
    """What ran, on what, by phase; what was lost and what could not be shown."""
    data = found.show
    missing = [f"{each.section}: {each.why}" + (f" ({each.hint})" if each.hint else "") for each in found.missing]
    lost = [[f"{each['count']:,}", each["what"], each["why"]] for each in data["lost"]["items"]]
    return section(
        "run",
        "The run",
        part("Not shown", bullets(missing)),
        part("Lost while recording or reading", table(("count", "what", "why"), lost, (1, 2))),
        part("What ran", _facts(data), bullets(describe_applied(data["applied"]))),
        part("Phases", _phases(data["phases"])),
    )


def _facts(data: Mapping[str, Any]) -> Html:
    environment = data["environment"]
    versions = environment.get("versions") or {}
    gpu = environment.get("gpu") or {}
    facts = {
        "run": data["run"],
        "kind": data["kind"],
        "options": _options(data["spec"]),
        "GPU": ", ".join(str(gpu[key]) for key in ("name", "driver") if gpu.get(key)),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "timed": describe_timed(dict(data)),
        "traced": describe_recording(dict(data)),
    }
    return tag("dl", *_pairs((name, str(value)) for name, value in facts.items() if value))


def _options(spec: Mapping[str, Any]) -> str:
    """What was asked, as far as it says anything: no defaults of False and None."""
    return ", ".join(f"{name} {shlex.quote(str(value))}" for name, value in spec.items() if value not in (None, False, ""))


def _pairs(items: Iterable[tuple[str, str]]) -> Iterable[Html]:
    return (joined(tag("dt", name), tag("dd", value)) for name, value in items)


def _phases(rows: Iterable[Mapping[str, Any]]) -> Html:
    known = list(rows)
    columns = [("start ms", "start_ms", 1), ("duration ms", "dur_ms", 1)]
    if any(each["peak_gib"] is not None for each in known):
        columns += [("allocated GiB", "alloc_gib", 3), ("peak GiB", "peak_gib", 3)]
    body = [[each["name"], *(number(each[key], decimals) for _, key, decimals in columns)] for each in known]
    return table(("phase", *(title for title, _, _ in columns)), body)
