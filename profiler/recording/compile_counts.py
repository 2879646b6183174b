"""What dynamo counted in this process: graphs, graph breaks, recompiles."""

from __future__ import annotations

import sys
from typing import Any

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


# What torch counts, by our names: of FX graphs in Inductor's cache, and of AOTAutograd's, which holds whole compiled graphs.
_CACHES = {
    "fx_hits": ("inductor", "fxgraph_cache_hit"),
    "fx_misses": ("inductor", "fxgraph_cache_miss"),
    "fx_bypasses": ("inductor", "fxgraph_cache_bypass"),
    "aot_hits": ("aot_autograd", "autograd_cache_hit"),
    "aot_misses": ("aot_autograd", "autograd_cache_miss"),
    "aot_bypasses": ("aot_autograd", "autograd_cache_bypass"),
}


def count_caches() -> dict[str, int]:
    """How often the compile caches on disk had a graph so far; empty where nothing was ever compiled."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    if utils is None or not utils.counters["stats"]["unique_graphs"]:
        return {}
    return {name: int(utils.counters[group][key]) for name, (group, key) in _CACHES.items()}
