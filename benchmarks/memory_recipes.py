"""The memory recipes of docs/memory-recipes.md, measured: one `record` after another, each a process of its own.

python3 benchmarks/memory_recipes.py --out DIR [--pack DIR] [--only NAME,...] [--limit-s 560] [--model NAME] [--more "..."]

A row of Markdown follows each run as it ends. A run that is there already is not made again: its row is printed.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.core.units import GIB
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest, Phase
from profiler.rundir.reader import read_manifest

ROOT = Path(__file__).resolve().parents[1]
# The size after which a new tar file begins.
_PART_BYTES = 6 << 20
# Sequential offload leaves snapshots of hundreds of thousands of events: they stay where they were made.
_FILE_BYTES = 8 << 20
_KEPT = (layout.MANIFEST, layout.MEMORY, layout.MEMORY_LOAD, layout.MEMORY_TRACE, layout.WEIGHTS)
_QUANTIZED = "--scheme int8wo --quantize-text-encoder"
# One step, as the seed's own recipe: the peak of a step is that of every step.
_CALL = "--steps 1 --trace-steps 1 --warmup 0 --repeats 1"
_TIMED, _SNAPSHOT = f"{_CALL} --phases timed", f"{_CALL} --phases timed,memory"
# Minutes a call: the warm-up's is the only one.
_ONCE = "--steps 1 --trace-steps 1 --warmup 0 --repeats 0 --phases timed"
_SMALL = f"{_ONCE} --size 160x240 --frames 9"


@dataclass(frozen=True)
class Recipe:
    """One command: its options, what the seed measured (GiB), and how long it may take."""

    name: str
    options: str
    seed: str
    limit_s: int = 120


# Most valuable first: where time runs out, the last are left out.
RECIPES = (
    Recipe("bf16", _SNAPSHOT, "model 19.7, inference 31.7"),
    Recipe("int8wo", f"{_QUANTIZED} {_SNAPSHOT}", "model 10.3, inference 22.2"),
    Recipe("int8wo-model", f"{_QUANTIZED} --offload model {_TIMED}", "inference 12.4"),
    Recipe("int8wo-model-tiling", f"{_QUANTIZED} --offload model --vae-tiling {_SNAPSHOT}", "inference 7.9"),
    Recipe("int8wo-sequential-tiling", f"{_QUANTIZED} --offload sequential --vae-tiling {_ONCE}", "inference 3.1", 150),
    Recipe("bf16-sequential-tiling", f"--offload sequential --vae-tiling {_ONCE}", "inference 4.8", 180),
    Recipe("bf16-group-tiling", f"--offload group --vae-tiling {_SNAPSHOT}", "-"),
    Recipe("int8wo-group-tiling", f"{_QUANTIZED} --offload group --vae-tiling {_TIMED}", "-"),
    Recipe("bf16-tiling", f"--vae-tiling {_TIMED}", "-"),
    Recipe("bf16-model-tiling", f"--offload model --vae-tiling {_TIMED}", "-"),
    Recipe("quantize-on-device", f"{_QUANTIZED} {_SMALL}", "1.96 s, 14.50 (its model)"),
    Recipe("quantize-per-layer", f"{_QUANTIZED} --quantize-on per-layer {_SMALL}", "1.94 s, 8.29 (its model)"),
    Recipe("quantize-on-cpu", f"{_QUANTIZED} --quantize-on cpu {_SMALL}", "10.48 s, 6.99 (its model)"),
    Recipe("bf16-model", f"--offload model {_TIMED}", "-"),
    Recipe("int8wo-tiling", f"{_QUANTIZED} --vae-tiling {_TIMED}", "-"),
)
HEADER = (
    "| recipe | options | seed GiB | weights GiB | model | load peak | quantize peak | inference peak | peak since start | "
    "load s | quantize s | s a call | status |\n|" + "---|" * 13
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the run directories")
    parser.add_argument("--pack", type=Path, help="folder for tar files and the table, whole after each run")
    parser.add_argument("--only", default="", help="these recipes, comma-separated")
    parser.add_argument("--limit-s", type=float, default=560.0, help="no run goes on after this many seconds")
    parser.add_argument("--model", default="cogvideox-5b")
    parser.add_argument("--more", default="", help="options put after each recipe's own; the last one given wins")
    asked = parser.parse_args()
    names = [each for each in asked.only.split(",") if each] or [each.name for each in RECIPES]
    unknown = set(names) - {each.name for each in RECIPES}
    if unknown:
        parser.error(f"no recipe is called {', '.join(sorted(unknown))}: {', '.join(each.name for each in RECIPES)}")
    return make_all(asked, [each for each in RECIPES if each.name in names])


def make_all(asked: argparse.Namespace, recipes: list[Recipe]) -> int:
    """Every recipe in turn, a row as each ends; 0 where all are ok."""
    began, rows = time.monotonic(), [HEADER]
    asked.out.mkdir(parents=True, exist_ok=True)
    print(HEADER, flush=True)
    for recipe in recipes:
        left = asked.limit_s - (time.monotonic() - began)
        status = make(asked, recipe, min(left, recipe.limit_s))
        rows.append(row(recipe, asked.out / recipe.name, status))
        print(rows[-1], flush=True)
        if asked.pack:
            pack(asked.pack, asked.out, recipe.name, rows)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if all(each.endswith("| ok |") for each in rows[1:]) else 1


def make(asked: argparse.Namespace, recipe: Recipe, limit_s: float) -> str:
    """Record one recipe unless it is there; its status."""
    run = asked.out / recipe.name
    if (run / layout.MANIFEST).is_file():
        return read_manifest(run).status
    if limit_s < 20:
        return "left out: the time limit"
    shutil.rmtree(run, ignore_errors=True)
    options = shlex.split(recipe.options) + shlex.split(asked.more)
    command = [sys.executable, "-m", "profiler", "record", asked.model, *options, "-o", str(run), "--json"]
    print(f"== {shlex.join(command[3:])}", file=sys.stderr, flush=True)
    with (asked.out / f"{recipe.name}.log").open("wb") as log:
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            child.wait(limit_s)
        except subprocess.TimeoutExpired:
            end(child)
            return f"ended after {limit_s:.0f} s"
    return read_manifest(run).status if (run / layout.MANIFEST).is_file() else "refused: " + last_line(asked.out, recipe)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask the recording to seal its run; kill it where it does not."""
    child.terminate()
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def last_line(out: Path, recipe: Recipe) -> str:
    lines = (out / f"{recipe.name}.log").read_text(errors="replace").split("error: ", 1)[-1].splitlines()
    return lines[0] if lines else "no word"


def row(recipe: Recipe, run: Path, status: str) -> str:
    """A row of the table from `run.json` alone."""
    shown = recipe.options.split(" --steps ")[0] if not recipe.options.startswith("--steps") else ""
    if not (run / layout.MANIFEST).is_file():
        return f"| {recipe.name} | `{shown}` | {recipe.seed} |" + " - |" * 9 + f" {status} |"
    manifest = read_manifest(run)
    if manifest.failure:
        status = f"{status}: {manifest.failure.type}: {manifest.failure.message}".splitlines()[0]
    peaks = [each.peak_bytes for each in manifest.phases if each.peak_bytes is not None]
    model = manifest.phase(layout.QUANTIZE)
    memory = [sum((manifest.applied.get("weight_bytes") or {}).values()) or None, model.alloc_bytes if model else None]
    memory += [_peak(manifest, layout.LOAD), _peak(manifest, layout.QUANTIZE), inference_peak(manifest)]
    cells = [_gib(each) for each in [*memory, max(peaks, default=None)]]
    cells += [_seconds(manifest.phase(layout.LOAD)), _seconds(manifest.phase(layout.QUANTIZE)), call_seconds(manifest)]
    return " | ".join([f"| {recipe.name}", f"`{shown}`" if shown else "", recipe.seed, *cells, f"{status} |"])


def inference_peak(manifest: Manifest) -> int | None:
    """The peak of a call alone: of a later one where there is one, else of the warm-up's."""
    names = (layout.MEMORY_PHASE, layout.TIMED, layout.WARMUP)
    return next((peak for name in names if (peak := _peak(manifest, name)) is not None), None)


def call_seconds(manifest: Manifest) -> str:
    """Seconds of a timed call; of the first call, and said so, where none was timed."""
    timed = manifest.timed.get("iterations_ns")
    if timed:
        return f"{min(timed) / 1e9:.2f}"
    warmup = manifest.phase(layout.WARMUP)
    first = warmup.detail.get("first_call_ns") if warmup else None
    return f"{first / 1e9:.2f} (first call)" if first else "-"


def _peak(manifest: Manifest, name: str) -> int | None:
    phase = manifest.phase(name)
    return phase.peak_bytes if phase else None


def _seconds(phase: Phase | None) -> str:
    return f"{(phase.end_ns - phase.start_ns) / 1e9:.2f}" if phase and phase.end_ns else "-"


def _gib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / GIB:.2f}"


def pack(folder: Path, out: Path, name: str, rows: list[str]) -> None:
    """Append a run's small files to the last tar file: a machine that is taken away midway leaves what is done."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipes.md").write_text("\n".join(rows) + "\n")
    parts = sorted(folder.glob("recipes-*.tar"))
    full = not parts or parts[-1].stat().st_size > _PART_BYTES
    with tarfile.open(folder / f"recipes-{len(parts)}.tar" if full else parts[-1], "a") as tar:
        for path in sorted([out / f"{name}.log", *(out / name).rglob("*")]):
            kept = path.suffix == ".log" or path.name in _KEPT
            if kept and path.is_file() and path.stat().st_size < _FILE_BYTES:
                tar.add(path, str(path.relative_to(out)))


if __name__ == "__main__":
    sys.exit(main())
