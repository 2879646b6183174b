"""A check as JUnit XML, the form in which CI servers read test results: one test case a line."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from profiler.report.check import FAIL, NOT_CHECKED
from profiler.report.check_text import sentence

_SUITE = "diffuscope.check"
# What XML 1.0 cannot hold, not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_junit(data: dict[str, Any]) -> str:
    """The XML of `check_data`'s result; a required line that was not checked is a failure, an optional one is skipped."""
    checks = data["checks"]
    counts = {
        "tests": len(checks),
        "failures": sum(not each["ok"] for each in checks),
        "errors": 0,
        "skipped": sum(each["ok"] and each["status"] == NOT_CHECKED for each in checks),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    suites = ElementTree.Element("testsuites", {"name": _SUITE, **numbers})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _text(data["run"]), **numbers})
    _properties(suite, data)
    for each in checks:
        _case(suite, each)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _properties(suite: ElementTree.Element, data: dict[str, Any]) -> None:
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("run", "budget", "base"):
        if data[name]:
            ElementTree.SubElement(properties, "property", {"name": name, "value": _text(data[name])})


def _case(suite: ElementTree.Element, check: dict[str, Any]) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"classname": _SUITE, "name": check["name"]})
    said = _text(sentence(check))
    if not check["ok"]:
        kind = FAIL if check["status"] == FAIL else NOT_CHECKED
        ElementTree.SubElement(case, "failure", {"type": kind, "message": said}).text = said
    elif check["status"] == NOT_CHECKED:
        ElementTree.SubElement(case, "skipped", {"message": said})
    else:
        ElementTree.SubElement(case, "system-out").text = said


def _text(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
