"""diffuscope: why a compiled diffusion pipeline is slow, where its graph breaks, and whether a memory win is real."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names, imported at first use: `import profiler` stays free of torch and polars.
_PUBLIC = {
    "record": "profiler.recording.session",
    "RunSpec": "profiler.core.spec",
    "Run": "profiler.tables.run",
    "DiffuscopeError": "profiler.core.errors",
}
__all__ = ["DiffuscopeError", "Run", "RunSpec", "__version__", "record"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'profiler' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
