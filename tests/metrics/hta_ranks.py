"""Print what HTA says of the trace files named on the command line (rank 0, 1, ...) as JSON: by rank, overlap in percent and the
temporal breakdown in ns.

A process of its own: HTA forks workers, which is not safe in one that has run polars.
"""

from __future__ import annotations

import json
import sys

from hta.trace_analysis import TraceAnalysis


def main() -> None:
    files = dict(enumerate(sys.argv[1:]))
    loaded = TraceAnalysis(trace_files=files, include_last_profiler_step=True)
    times = loaded.get_temporal_breakdown(visualize=False).set_index("rank")
    overlap = loaded.get_comm_comp_overlap(visualize=False).set_index("rank")
    found = {
        rank: {
            "idle": round(times.loc[rank, "idle_time(us)"] * 1000),
            "compute": round(times.loc[rank, "compute_time(us)"] * 1000),
            "other": round(times.loc[rank, "non_compute_time(us)"] * 1000),
            "span": round(times.loc[rank, "kernel_time(us)"] * 1000),
            "overlap": float(overlap.loc[rank, "comp_comm_overlap_pctg"]) if rank in overlap.index else None,
        }
        for rank in files
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
