"""The end of the HTML report: what ran, on what, by phase; what was lost and what could not be shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from profiler.report.html_data import Gathered
from profiler.report.html_parts import bullets, part, section, table
from profiler.report.html_tags import Html, joined, tag
from profiler.report.render import number
from profiler.report.show_text import (
    describe_applied,
    describe_recording,
    describe_timed,
)


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
