"""Adding to a finding where its operators are called from."""

from __future__ import annotations

from dataclasses import replace

from profiler.core.finding import Finding
from profiler.metrics.places import Calls
from profiler.rules.context import Context
from profiler.rules.host_sync import places


def called_from(context: Context, operators: set[str], finding: Finding) -> Finding:
    """The finding with the places that call some operators in its window; none where no trace with stacks tells."""
    return replace(finding, where=places(context.callers(Calls(frozenset(operators), finding.window))))
