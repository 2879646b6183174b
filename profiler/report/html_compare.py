"""A run against its base in the HTML report: verdicts first, then where the difference comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.report import compare_ranks, html_compare_memory, html_compare_time, html_ranks
from profiler.report.compare_words import (
    ABSENT,
    EATEN,
    MASKED,
    NEAR_LINEAR,
    NO_FASTER,
    NOT_COMPARABLE,
    PARTLY,
    REAL,
    SLOWER,
    UNKNOWN,
    WITHIN,
)
from profiler.report.html_data import Gathered
from profiler.report.html_parts import beside, bullets, lines, part, section
from profiler.report.html_tags import Html, joined, tag

_COLOURS = {
    REAL: palette.FASTER,
    NEAR_LINEAR: palette.FASTER,
    PARTLY: palette.SEVERITIES["medium"],
    NO_FASTER: palette.SLOWER,
    "identical": palette.FASTER,
    MASKED: palette.SEVERITIES["medium"],
    EATEN: palette.SEVERITIES["medium"],
    ABSENT: palette.SLOWER,
    SLOWER: palette.SLOWER,
    "broken": palette.SEVERITIES["critical"],
    **dict.fromkeys((WITHIN, NOT_COMPARABLE, UNKNOWN), palette.SEVERITIES["low"]),
}


def comparison(found: Gathered) -> Html:
    """The comparison with the base run; nothing without one."""
    data = found.comparison
    if data is None:
        return joined()
    verdicts = [_verdict(about, each) for about, each in data["verdicts"].items()]
    return section(
        "comparison",
        "Is the win real?",
        *verdicts,
        lines([*_conditions(data), *compare_ranks.said(data["ranks"])]),
        html_ranks.scaling(data["scaling"]),
        *html_compare_time.changes(data),
        html_compare_memory.peak(data["memory"]["peak"]),
        _tables(data),
        part("Not compared", bullets(_not_compared(data))),
        note=f"{data['run']} against {data['base']}",
    )


def _verdict(about: str, verdict: Mapping[str, str]) -> Html:
    colour = _COLOURS.get(verdict["kind"], palette.TOTAL)
    head = tag("h4", tag("span", verdict["kind"], class_="mark"), about)
    return tag("article", head, tag("p", verdict["text"], class_="price"), class_="card", style=f"--c:{colour}")


def _conditions(data: Mapping[str, Any]) -> list[str]:
    spoiling = [each for each in data["differences"] if each["spoils"]]
    changed = [each for each in data["differences"] if not each["spoils"]]
    found = [f"not comparable in {_listed(spoiling)}"] if spoiling else []
    found += [f"changed: {_listed(changed)}"] if changed else []
    found += [f"not known to be the same: {', '.join(data['unknown'])}"] if data["unknown"] else []
    for name, ended in data["ended"].items():
        if ended["status"] != "ok":
            phase = f" in phase {ended['phase']}" if ended["phase"] else ""
            found.append(f"the {name} run ended {ended['status']}{phase}: its figures are of what it reached")
    return found


def _listed(differences: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['what']} {each['base']} → {each['new']}" for each in differences)


def _tables(data: Mapping[str, Any]) -> Html:
    memory, expected = data["memory"], data["expected"]
    return beside(
        html_compare_time.call(data["time"]),
        part("Model memory and peaks", html_compare_memory.sizes(memory["phases"])),
        part("At the peak of a call", html_compare_memory.sizes(memory["peak"])),
        part("Weights against arithmetic", html_compare_memory.weights(expected["components"]))
        if not expected["not_compared"]
        else joined(),
    )


def _not_compared(data: Mapping[str, Any]) -> list[str]:
    reasons = {
        "time by window": data["time"]["not_compared"],
        "memory by category": data["memory"]["not_compared"],
        "weights by arithmetic": data["expected"]["not_compared"],
        "picture": data["quality"]["psnr"]["why"] if data["quality"]["psnr"]["db"] is None else None,
    }
    return [f"{what}: {why}" for what, why in reasons.items() if why and why != "equal to the bit"]
