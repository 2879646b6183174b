"""Findings as cards: what it costs, where with the source lines, what to change, how it was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.core.finding import Place
from profiler.core.units import format_size
from profiler.report.html_parts import bullets
from profiler.report.html_tags import Html, joined, tag
from profiler.report.memory_findings import FATAL

Sources = Mapping[tuple[str, int], Sequence[str]]
# Places of one finding that are shown one by one.
_PLACES = 5


def of_time(number: int, finding: Mapping[str, Any], sources: Sources) -> Html:
    """The card of a finding of `diagnose --json` about time."""
    also = [f"also seen by {', '.join(finding['also'])}"] if finding["also"] else []
    items = [*finding["evidence"], *also]
    mark = "once" if finding["once"] else finding["severity"]
    return _card(f"finding-{number}", f"{number}. {finding['title']}", mark, finding, time_price(finding), items, sources)


def of_memory(number: int, finding: Mapping[str, Any], peak_bytes: int, sources: Sources) -> Html:
    """The card of a finding about memory; `peak_bytes` is what shares are of, 0 where it is not known."""
    shared = [
        f"{format_size(size)} of it are {rule}'s too, and are saved only once" for rule, size in finding["shared_bytes"].items()
    ]
    price, items = memory_price(finding, peak_bytes), [*finding["evidence"], *shared]
    return _card(
        f"memory-finding-{number}", f"m{number}. {finding['title']}", finding["severity"], finding, price, items, sources
    )


def time_price(finding: Mapping[str, Any]) -> str:
    """What a finding costs, and what changing it saves."""
    cost_ms, low, high = (each / 1e3 for each in (finding["cost_us"], *finding["saving_us"].values()))
    if not cost_ms and not high:
        return f"no price of its own ({finding['window']})"
    saving = f"saves {low:,.2f} to {high:,.2f} ms"
    if finding["once"]:
        return f"costs {cost_ms:,.2f} ms once · {saving}"
    call = f"{finding['per_call_us'] / 1e3:,.1f} ms a call"
    return f"costs {cost_ms:,.2f} ms a {finding['window']} ({finding['share']:.1%}) · {saving} · {call}"


def memory_price(finding: Mapping[str, Any], peak_bytes: int) -> str:
    """The same in bytes; of a run that died what it was short of."""
    low, high = finding["saving_bytes"]["low"], finding["saving_bytes"]["high"]
    if finding["rule"] == FATAL:
        return f"short of {format_size(high)}"
    claimed = finding["cost_bytes"] + sum(finding["shared_bytes"].values())
    share = f" ({claimed / peak_bytes:.1%} of the peak)" if peak_bytes else ""
    between = "" if low == high else f"{format_size(low) if low else '0'} to "
    return f"costs {format_size(claimed)}{share} · saves {between}{format_size(high)}"


def _card(
    name: str, title: str, mark: str, finding: Mapping[str, Any], price: str, items: Sequence[str], sources: Sources
) -> Html:
    change = tag("p", tag("b", "Change"), " ", finding["change"], class_="change") if finding["change"] else None
    head = tag("h4", tag("span", mark, class_="mark"), title)
    inside = (
        head,
        tag("p", price, class_="price"),
        change,
        _places(finding["where"], sources),
        bullets(items),
        _doc(finding["doc"]),
    )
    return tag("article", *inside, class_="card", id=name, style=f"--c:{palette.of_severity(finding['severity'])}")


def _doc(doc: str) -> Html | None:
    """Where to read more: a page of the web is a link, anything else is text."""
    if not doc:
        return None
    shown = tag("a", doc, href=doc, rel="noreferrer") if doc.startswith("https://") else doc
    return tag("p", "read ", shown, class_="note")


def _places(where: Sequence[Mapping[str, Any]], sources: Sources) -> Html:
    """Distinct lines of code, each with its source; modules of one line are counted."""
    found: dict[tuple[str | None, int | None], list[str]] = {}
    for each in where:
        place = Place(each["file"], each["line"], each["module"], each["function"])
        found.setdefault((place.file, place.line), []).append(str(place))
    shown = [_place(key, texts, sources) for key, texts in list(found.items())[:_PLACES]]
    more = len(found) - len(shown)
    return joined(*shown, tag("p", f"and {more} places more (--json lists them)", class_="note") if more > 0 else None)


def _place(key: tuple[str | None, int | None], texts: Sequence[str], sources: Sources) -> Html:
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    where = tag("p", f"at {texts[0]}{more}", class_="where")
    code = sources.get(key) if key[0] and key[1] else None  # type: ignore[arg-type]
    return joined(where, source(code) if code else None)


def source(code: Sequence[str]) -> Html:
    """Numbered source lines; the one that is meant has `>` behind its number."""
    return tag("pre", *(tag("span", each, "\n", class_="hit" if is_hit(each) else None) for each in code))


def is_hit(line: str) -> bool:
    """Whether a numbered source line is the one that is meant."""
    return line.lstrip().partition(" ")[0].endswith(">")
