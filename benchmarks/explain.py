"""How long `diffuscope explain` takes for full-size models, from the command line to its answer; no weights, no GPU."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any

MODELS = ("flux-dev", "flux-schnell", "cogvideox-2b", "cogvideox-5b")


def measure(model: str) -> tuple[float, float, list[dict[str, Any]]]:
    """Wall and CPU seconds of one command with its child, and the rows of its parts."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "profiler", "explain", model, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, json.loads(done.stdout)["parts"]


def main() -> None:
    """Print one table row a model; arguments pick the models."""
    print(
        f"torch {version('torch')}, diffusers {version('diffusers')}, Python {platform.python_version()}, {platform.machine()}\n"
    )
    print("| model | wall s | CPU s | wall s by part (graphs, ops, guards) |\n|---|---|---|---|")
    for model in sys.argv[1:] or MODELS:
        wall, cpu, parts = measure(model)
        shown = [f"{p['name']} {p['seconds']:.1f} ({p['graphs']}, {p['op_count']}, {p['guards']})" for p in parts]
        print(f"| {model} | {wall:.1f} | {cpu:.1f} | {', '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
