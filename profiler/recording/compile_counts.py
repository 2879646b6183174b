"""What dynamo counted in this process: graphs, graph breaks, recompiles."""

from __future__ import annotations

import sys

# Dynamo keeps the metrics of this many compilations; its own default (64) is fewer than a run with breaks makes.
_KEPT = 4096


def keep_every_compile() -> None:
    """Make dynamo keep the metrics of every compilation; call it before compiling."""
    from torch._dynamo.utils import set_compilation_metrics_limit

    set_compilation_metrics_limit(_KEPT)


def count_compiles() -> dict[str, int]:
    """Graphs compiled, graph breaks, and recompiles so far; zeros where nothing was ever compiled."""
    utils = sys.modules.get("torch._dynamo.utils")
    if utils is None:
        return {"graphs": 0, "graph_breaks": 0, "recompiles": 0}
    metrics = utils.get_compilation_metrics()
    return {
        "graphs": int(utils.counters["stats"]["unique_graphs"]),
        "graph_breaks": int(sum(utils.counters["graph_break"].values())),
        "recompiles": sum(1 for each in metrics if getattr(each, "recompile_reason", None)),
    }
