"""The formats of a sweep's answer, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from profiler.report.sweep_files import sweep_csv, sweep_markdown
from profiler.report.sweep_text import sweep_text

TEXT = "text"
FORMATS: dict[str, Callable[[dict[str, Any], int], str]] = {
    TEXT: sweep_text,
    "markdown": lambda data, _: sweep_markdown(data),
    "csv": lambda data, _: sweep_csv(data),
    "json": lambda data, _: json.dumps(data, indent=1) + "\n",
}
"""Renderers of `sweep_data`'s result, each given the width in columns."""
