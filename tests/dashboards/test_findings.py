"""Cards say what the report says, and nothing in them is markup."""

from __future__ import annotations

from dashboards import findings
from profiler.core.finding import Finding, Place
from profiler.report.grant import Granted
from profiler.report.memory_findings import FATAL, GrantedBytes

GIB = 1 << 30


def no_source(_file: str | None, _line: int | None) -> list[str]:
    return []


def finding(**more: object) -> Finding:
    return Finding(**{"rule": "host-sync", "title": "the host waits", "window": "step", **more})


def test_the_price_of_time():
    granted = Granted(finding(), cost_ns=1.44e6, share=0.056, per_call_ns=5.8e6, saving_low_ns=0.79e6, saving_high_ns=1.37e6)
    assert findings.time_price(granted) == "costs 1.44 ms a step (5.6%) · 5.8 ms a call · saves 0.79 to 1.37 ms"
    once = Granted(finding(once=True), cost_ns=2e9, saving_high_ns=1e9)
    assert findings.time_price(once) == "costs 2,000.00 ms once · saves 0.00 to 1,000.00 ms"
    assert findings.time_price(Granted(finding())) == "no price of its own (step)"


def test_the_price_of_memory():
    saved = finding(memory=True, saving_low_bytes=0, saving_high_bytes=GIB)
    granted = GrantedBytes(saved, cost_bytes=GIB, shared_bytes={"other": GIB})
    assert findings.memory_price(granted, 4 * GIB) == "costs 2.000 GiB (50.0% of the peak) · saves 0 to 1.000 GiB"
    fatal = GrantedBytes(finding(rule=FATAL, memory=True, saving_low_bytes=GIB, saving_high_bytes=3 * GIB))
    assert findings.memory_price(fatal, 0) == "short of 3.000 GiB"
    card = findings.of_memory(1, granted, 4 * GIB, no_source)
    assert "1.000 GiB of it are other's too, and are saved only once" in card.items


def test_places_of_one_line_are_one():
    where = (Place("a.py", 3, None, "f"), Place("a.py", 3, "block.1", "f"), Place("b.py", 9))
    card = findings.of_time(1, Granted(finding(where=where)), lambda file, line: [f"{line}> x"])
    assert card.places == [("at a.py:3 in f and 1 more", ["3> x"]), ("at b.py:9", ["9> x"])]


def test_markup_in_a_finding_is_text():
    bad = "<img src=x onerror=alert(1)>"
    where = (Place(f"{bad}.py", 3),)
    granted = Granted(finding(title=bad, evidence=(bad,), change=bad, where=where), also=[bad])
    html = findings.of_time(1, granted, lambda file, line: [f"3> {bad}"]).html()
    assert "<img" not in html
    assert html.count("&lt;img") == 6


def test_the_line_that_is_meant_stands_out():
    card = findings.of_time(1, Granted(finding(where=(Place("a.py", 3),))), lambda file, line: ["    2  a > b", "    3> c"])
    assert '<span class="line">    2  a &gt; b' in card.html()
    assert '<span class="hit">    3&gt; c' in card.html()
