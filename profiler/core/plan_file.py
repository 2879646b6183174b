"""A plan on disk: which scheme each Linear of a model gets. JSON; torchao's own `FqnToConfig` JSON is read too.

{"schema": 1, "kind": "plan", "model": "flux-dev", "layers": {"transformer.x_embedder": "fp8wo", ...}, ...}. A layer is a module's
name, or `re:` and an expression that matches whole names; what it gets is the name of a scheme, `left`, null (left too), or a
torchao config as `torchao.core.config.config_to_dict` writes it. Names win over expressions, of these the first that matches.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import Any

from profiler.core.errors import UnreadableInput

SCHEMA = 1
KIND = "plan"
ENDING = ".json"
REGEX = "re:"
# A plan for thousands of layers, with all that was measured, is a megabyte.
_MAX_BYTES = 64 << 20
_HINT = "make one with `diffuscope plan MODEL -o plan.json`"
# What torchao's configs apply to: the part that a user quantizes.
_PART = "transformer."

Entry = str | dict[str, Any] | None
"""The name of a scheme, a torchao config as JSON, or None for a layer that is left."""


@dataclass(frozen=True)
class PlanFile:
    """A plan.

    Attributes:
        path: where it was read.
        layers: name or expression -> what such a layer gets.
        model: the model that it was made for; None where the file does not say (torchao's own form does not).
        spec: sizes and options that it was made for; empty where the file does not say.
    """

    path: str
    layers: Mapping[str, Entry]
    model: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(key, re.compile(key.removeprefix(REGEX))) for key in self.layers if key.startswith(REGEX)]

    def key_of(self, module: str) -> str | None:
        """The entry that decides about a module; None where none does."""
        if module in self.layers:
            return module
        return next((key for key, pattern in self._patterns if pattern.fullmatch(module)), None)

    def strangers(self, modules: set[str]) -> list[str]:
        """Names that none of these modules has; an expression that matches nothing is no mistake."""
        return [key for key in self.layers if not key.startswith(REGEX) and key not in modules]


def names_plan(scheme: str) -> bool:
    """Whether what stands where a scheme's name could is a plan's file."""
    return scheme.endswith(ENDING)


def content_hash(path: str) -> str | None:
    """SHA-256 of a plan's file; None where there is none to read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else None
    except OSError:
        return None


def read_plan(path: str) -> PlanFile:
    """Read a plan.

    Raises:
        UnreadableInput: no such file, or one of another shape.
    """
    raw = _load(path)
    if isinstance(raw, dict) and raw.get("_type") in ("FqnToConfig", "ModuleFqnToConfig"):
        data = raw.get("_data")
        layers = (data.get("fqn_to_config") or data.get("module_fqn_to_config")) if isinstance(data, dict) else None
        return PlanFile(path, {_within_part(key): value for key, value in _checked(path, layers).items()})
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise UnreadableInput(f"{path} is no plan", _HINT)
    if not isinstance(raw.get("schema"), int) or raw["schema"] > SCHEMA:
        raise UnreadableInput(
            f"{path} has schema {raw.get('schema')!r}; this diffuscope reads up to {SCHEMA}", "upgrade diffuscope"
        )
    model, spec = raw.get("model"), raw.get("spec") or {}
    if not (model is None or isinstance(model, str)) or not isinstance(spec, dict):
        raise UnreadableInput(f"{path} is a plan whose model or spec cannot be read", _HINT)
    return PlanFile(path, _checked(path, raw.get("layers")), model, spec)


def _load(path: str) -> Any:
    try:
        stat = Path(path).stat()
        # A pipe or a device would keep the reader for ever.
        if not S_ISREG(stat.st_mode) or stat.st_size > _MAX_BYTES:
            raise UnreadableInput(f"{path} is no file of at most {_MAX_BYTES >> 20} MiB, and no plan", _HINT)
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableInput(f"cannot read the plan {path}: {error.strerror}", _HINT) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not JSON: {error}", _HINT) from None


def _within_part(key: str) -> str:
    if key.startswith(REGEX):
        return f"{REGEX}{re.escape(_PART)}(?:{key.removeprefix(REGEX)})"
    return _PART + key


def _checked(path: str, layers: Any) -> dict[str, Entry]:
    if not isinstance(layers, dict) or not layers:
        raise UnreadableInput(f"{path} is a plan without layers", _HINT)
    for key, value in layers.items():
        if not (value is None or isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("_type"), str))):
            raise UnreadableInput(f"{path} gives {key[:80]} no scheme and no torchao config", _HINT)
        if key.startswith(REGEX):
            try:
                re.compile(key.removeprefix(REGEX))
            except (re.error, OverflowError, RecursionError) as error:
                raise UnreadableInput(f"{path} has the expression {key[:80]!r}, which cannot be read: {error}", _HINT) from None
    return layers
