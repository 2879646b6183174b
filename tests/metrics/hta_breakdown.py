"""Print HTA's kernel breakdown of the traces named on the command line as JSON: {path: {kernel: [count, total in ns]}}.

A process of its own: HTA forks workers, which is not safe in one that has run polars.
"""

from __future__ import annotations

import json
import sys

from hta.trace_analysis import TraceAnalysis


def main() -> None:
    print(json.dumps({path: _breakdown(path) for path in sys.argv[1:]}))


def _breakdown(path: str) -> dict[str, list[int]]:
    loaded = TraceAnalysis(trace_files={0: path}, include_last_profiler_step=True)
    _, kernels = loaded.get_gpu_kernel_breakdown(visualize=False, duration_ratio=1.0, num_kernels=1_000_000)
    found = {}
    for row in kernels.to_dict("records"):
        total = row["sum (us)"]
        found[row["name"]] = [round(total / row["mean (us)"]) if total else 1, round(total * 1000)]
    return found


if __name__ == "__main__":
    main()
