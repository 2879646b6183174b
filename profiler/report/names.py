"""Kernel names at a width that fits a line."""

from __future__ import annotations

import re

# What every other native kernel begins with tells a reader nothing.
_NOISE = re.compile(r"^void |at::native::|\(anonymous namespace\)::|c10::(?=BFloat16|Half)|std::(?=array)")
_PARAMETERS = re.compile(r"(?<=>)\(.*\)$")
_ELLIPSIS = "…"


def readable(name: str) -> str:
    """A kernel's name without C++ namespaces and parameter list."""
    return _PARAMETERS.sub("", _NOISE.sub("", name))


def shorten(text: str, width: int) -> str:
    """At most `width` characters, cut in the middle: beginnings name the kernel, ends its variant."""
    if len(text) <= width:
        return text
    if width <= 1:
        return _ELLIPSIS[:width]
    head = (width - 1) * 2 // 3
    tail = width - 1 - head
    return text[:head] + _ELLIPSIS + text[len(text) - tail :]
