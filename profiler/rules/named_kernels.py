"""Rules about kernels that their names alone give away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import busy, kernel_finding, milliseconds


@dataclass(frozen=True, kw_only=True)
class NamedKernels:
    """Kernels whose names match `pattern`, where they take at least the share `least` of a window.

    `title` may name `{ms}` and `{window}`. `change` is what to do in a window of a run.
    """

    rule: str
    summary: str
    pattern: str
    least: float
    title: str
    saving: Saving
    change: Callable[[Context, str], str]

    def check(self, context: Context) -> Iterable[Finding]:
        """One finding a window."""
        for window in context.windows():
            rows = busy(context, window, self.pattern)
            if rows and 1e6 * milliseconds(rows) >= self.least * context.duration_ns(window):
                title = self.title.format(ms=milliseconds(rows), window=window)
                yield kernel_finding(self.rule, window, rows, title, self.saving, self.change(context, window))


def vae_compiled(context: Context) -> str:
    """The options that compile the VAE, beside how the run was compiled already."""
    mode = context.spec.get("compile", "none")
    return "--compile-vae" if mode != "none" else "--compile default --compile-vae"


def register(kernels: NamedKernels) -> Rule:
    """Make a rule of it."""
    rule = Rule(name=kernels.rule, summary=kernels.summary, check=kernels.check, needs=(GPU_TRACE,), priority=30)
    return RULES.add(kernels.rule, rule)
