"""A diagnosis as text: findings first, then where the window's time goes, then what was not checked."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

from profiler.report import floor as floor_report
from profiler.report import memory_findings, several_ranks
from profiler.report.diagnose import Report
from profiler.report.grant import Granted
from profiler.report.names import shorten
from profiler.report.render import bar, number, percent, table
from profiler.rules.context import Row
from profiler.rundir import layout

# Names in a trace are anybody's: a terminal must not act on them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_GAP, _WIDEST_BAR, _LEAST_BAR = 3, 12, 4
_MARKS = {"critical": "!!", "high": "! ", "medium": "- ", "low": "  "}


def render(report: Report, width: int = 100) -> str:
    """The report for people, at most `width` columns where names allow."""
    if not report.run.has(layout.TRACE, report.rank):
        return "\n\n".join(memory_findings.render_alone(report.run, report.memory, _not_checked(report.not_checked)))
    parts = [_head(report)]
    often = [each for each in report.findings if not each.finding.once]
    once = [each for each in report.findings if each.finding.once]
    parts += [_card(number_, each, report) for number_, each in enumerate(often, 1)]
    if not often:
        parts.append("nothing found that costs time in every call")
    if once:
        parts.append("once, not in every call:")
        parts += [_card(number_, each, report) for number_, each in enumerate(once, len(often) + 1)]
    if report.ranks:
        parts += several_ranks.text(report.ranks, width)
    parts.append(_ledger(report, width))
    if report.memory.granted:
        parts.append(memory_findings.render(report.memory))
    if report.floor:
        parts.append(floor_report.render(report.floor, report.window, report.untraced_ns, width))
    if report.not_checked:
        parts.append(_not_checked(report.not_checked))
    return "\n\n".join(parts)


def _not_checked(rules: list[tuple[str, str]]) -> str:
    reasons: dict[str, list[str]] = defaultdict(list)
    for rule, why in rules:
        reasons[why].append(rule)
    return "\n".join(f"not checked, {why}: {', '.join(named)}" for why, named in reasons.items())


def _head(report: Report) -> str:
    lines = [f"{report.run.path}: a {report.window} takes {report.untraced_ns / 1e6:,.2f} ms untraced"]
    if report.calibrated:
        lines.append(
            f"traced it took {report.dur_ns / 1e6:,.2f} ms; idle time is priced at {report.factor:.2f} of what the trace shows"
        )
    else:
        lines[0] = f"{report.run.path}: a {report.window} took {report.dur_ns / 1e6:,.2f} ms traced"
        lines.append("no untraced time is known: every idle price below may be as low as 0 (import --timed-ms N tells it)")
    if report.note and report.calibrated:
        lines.append(report.note)
    if report.ranks:
        of = several_ranks.described(report.rank, report.ranks.summary.ranks.height, report.ranks.summary.median)
        lines.append(f"{of} (--rank N for another)")
    return "\n".join(lines)


def _card(number_: int, each: Granted, report: Report) -> str:
    finding = each.finding
    lines = [f"{_MARKS[each.severity]}{number_}. {finding.title}  [{each.severity}]"]
    lines.append("     " + _price(each))
    lines += [f"     at     {place}" for place in finding.where]
    if finding.where:
        lines += [f"       | {line}" for line in _source(report, finding.where[0].file, finding.where[0].line)]
    lines += [f"     seen   {each}" for each in finding.evidence]
    lines += [f"     less   {cost_ns / 1e6:,.2f} ms that {rule} accounts for" for rule, cost_ns in each.elsewhere_ns.items()]
    if finding.change:
        lines.append(f"     change {finding.change}")
    if finding.doc:
        lines.append(f"     read   {finding.doc}")
    if each.also:
        lines.append(f"     also   {', '.join(each.also)}")
    return "\n".join(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines)


def _price(each: Granted) -> str:
    window = "once" if each.finding.once else f"a {each.finding.window}"
    if not each.cost_ns and not each.saving_high_ns:
        return f"no price of its own ({each.finding.window})"
    saving = f"saves {each.saving_low_ns / 1e6:,.2f} to {each.saving_high_ns / 1e6:,.2f} ms"
    if not each.cost_ns:
        return f"no cost of its own, {saving} {window}"
    if each.noisy:
        saving = f"less than calls differ by: saves at most {each.saving_high_ns / 1e6:,.2f} ms"
    share = "" if each.finding.once else f" ({each.share:.1%})"
    call = "" if each.finding.once else f"; {each.per_call_ns / 1e6:,.1f} ms a call"
    return f"costs  {each.cost_ns / 1e6:,.2f} ms {window}{share}, {saving}{call}"


def _source(report: Report, file: str | None, line: int | None) -> list[str]:
    """The source line of a place and the two around it, from what was recorded."""
    path = report.run.artifact(layout.SOURCES, report.rank)
    if not (file and line and path.is_file()):
        return []
    return source_lines(path, file, line)


def source_lines(path: Path, file: str, line: int, around: int = 1) -> list[str]:
    """Lines of `sources.json` around one, numbered; empty where the file or line was not kept."""
    kept = json.loads(path.read_text(encoding="utf-8")).get(file, {}).get(str(line))
    if not kept:
        return []
    first, lines = kept
    wanted = range(max(first, line - around), min(first + len(lines), line + around + 1))
    return [f"{number_:5d}{'>' if number_ == line else ' '} {lines[number_ - first]}" for number_ in wanted]


def _ledger(report: Report, width: int) -> str:
    """Ledger rows by label: the kernels behind a label are in `show` and in the JSON."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in report.rows:
        groups[row.kind, row.label].append(row)
    ordered = sorted(groups.items(), key=lambda item: -sum(row.priced_ns for row in item[1]))
    shown = [_group(kind, label, rows, report) for (kind, label), rows in ordered]
    headers = (f"where a {report.window} goes", "", "count", "traced ms", "untraced ms", "share %")
    # Numbers are never cut: labels give way to them, and bars get what they leave.
    numbers = sum(_GAP + max(map(len, column)) for column in zip(headers[1:], *(cells[1:] for _, cells in shown), strict=True))
    body = [[shorten(cells[0], width - numbers), *cells[1:]] for _, cells in shown]
    room = min(_WIDEST_BAR, width - numbers - _GAP - max(len(cells[0]) for cells in (headers, *body)))
    if room < _LEAST_BAR:
        return table(headers, body, width, left=(0, 1))
    barred = [(*cells, bar(share, room)) for (share, _), cells in zip(shown, body, strict=True)]
    return table((*headers, ""), barred, width, left=(0, 1, 6))


def _group(kind: str, label: str, rows: list[Row], report: Report) -> tuple[float, list[str]]:
    total, priced = sum(row.total_ns for row in rows), sum(row.priced_ns for row in rows)
    share = priced / report.untraced_ns if report.untraced_ns else 0.0
    counted = number(sum(row.count for row in rows), 0)
    return share, [label, kind, counted, number(total / 1e6, 3), number(priced / 1e6, 3), percent(share)]
