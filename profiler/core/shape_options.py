"""The options of a command that decide the shapes of a model's products: `record` and `tune` have the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shape_options(spec: Mapping[str, Any]) -> str:
    """A spec's sizes as options, each after a space; nothing for what is as it would be without them.

    Args:
        spec: a run's spec as a mapping; missing keys are as by default.
    """
    parts = [f"--batch {spec['batch']}"] if spec.get("batch") not in (None, 1) else []
    height, width = spec.get("height"), spec.get("width")
    if height and width:
        parts.append(f"--size {height}" if height == width else f"--size {height}x{width}")
    parts += [f"--{name} {spec[name]}" for name in ("frames", "guidance") if spec.get(name) is not None]
    parts += ["--fuse-qkv"] if spec.get("fuse_qkv") else []
    return "".join(f" {each}" for each in parts)
