"""What a rule is, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from profiler.core.finding import Finding
from profiler.core.registry import Registry
from profiler.rules.context import Context

RULES: Registry[Rule] = Registry("rule", "profiler.rules")

TRACE, GPU_TRACE, COMPILE_LOG, PLACES = "trace", "GPU trace", "compile log", "places"
TIMED, BASE, CLOCKS = "timed calls", "base run", "GPU clocks"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A detector.

    Attributes:
        needs: artifacts without which it cannot check; named in `not_checked`.
        priority: smaller is granted ledger rows first; a specific cause goes before a general one.
        check: reads the context, yields findings.
    """

    name: str
    summary: str
    check: Callable[[Context], Iterable[Finding]]
    needs: tuple[str, ...] = (TRACE,)
    priority: int = 50


def missing(rule: Rule, context: Context) -> str | None:
    """Why the rule cannot be checked on this run, or None."""
    absent = [need for need in rule.needs if not context.has(need)]
    return f"no {', no '.join(absent)}" if absent else None
