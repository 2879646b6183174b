"""The grid: every combination of the values that were asked for, as specs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import find_model

# Options that are off, or off and on.
SWITCHES = ("fuse_qkv", "compile_vae", "quantize_vae", "quantize_text_encoder")
# What a scheme of no compression and no compiling is compared with.
BASELINE = "bf16"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What varies.

    Attributes:
        switches: the names of `SWITCHES` that are tried both off and on; the others stay off.
    """

    schemes: Sequence[str] = (BASELINE,)
    compile: Sequence[str] = ("none",)
    batch: Sequence[int] = (1,)
    switches: Sequence[str] = ()

    def specs(self, base: RunSpec) -> list[RunSpec]:
        """Every combination; what no axis names is as in `base`."""
        both = [(False, True) if name in self.switches else (False,) for name in SWITCHES]
        made = []
        for batch, scheme, mode, *chosen in product(self.batch, self.schemes, self.compile, *both):
            values: dict[str, Any] = {"batch": batch, "scheme": scheme, "compile": mode}
            values |= zip(SWITCHES, chosen, strict=True)
            made.append(replace(base, **values))
        return made


def resolve(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """The specs with the model's own defaults filled in: what a run of them will say it was asked for.

    Raises:
        UsageError: a size or frame count that the model cannot take, the same for all of them.
    """
    return [find_model(each.model).resolve(each) for each in specs]


def refuse_steps(steps: int | None, sources: Sequence[int]) -> None:
    """Refuse step counts that nothing can be extrapolated from.

    Raises:
        UsageError: not two different counts, or more steps than are asked for.
    """
    if len(sources) != 2 or sources[0] >= sources[1]:
        raise UsageError("--extrapolate-from takes two step counts, the smaller one first", "for example 4,8")
    if steps is not None and sources[1] > steps:
        raise UsageError(
            f"--extrapolate-from runs {sources[1]} steps, more than the {steps} asked for", "take fewer, or leave it out"
        )
