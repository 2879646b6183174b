"""A run whose every name is markup that would run a script: in the manifest, the trace, the memory snapshot and the sources."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics/memory"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))

from ledger_traces import kernel, launch, mark
from memory_tape import MIB, Tape
from memory_tape import write_run as write_memory
from small_runs import write_run

from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Lost, Phase
from profiler.tables.run import Run

IMAGE = "<img src=x onerror=\"window.hacked='image'\">"
SCRIPT = "<script>window.hacked='script'</script>"
# Ways out of an attribute, of a style, of a text, of a title, and of SVG.
BREAKOUTS = (
    IMAGE,
    SCRIPT,
    f"\"'>{IMAGE}",
    f"</style></title></textarea>{SCRIPT}",
    f"</svg></pre></code>{IMAGE}",
    "<svg onload=\"window.hacked='svg'\">",
    "javascript:window.hacked='link'",
    "\x00\x1b]0;x\x07\u202e\ud800&lt;b&gt;",
)
NAME = " ".join(BREAKOUTS)
# Phases go into a table of their own, which holds no halves of characters.
SOUND = NAME.replace("\ud800", "")


def hostile_run(folder: Path) -> Run:
    """Everything in it that a person may write is `NAME`."""
    run = write_run(
        folder / IMAGE.replace("/", ""),
        _trace(),
        kind="record",
        status=NAME,
        command=NAME,
        spec={"model": NAME, "scheme": NAME, "prompt": NAME, "steps": 2},
        applied={"linears": [{"module": NAME, "scheme": NAME, "reason": NAME}], "compiled": [NAME], "notes": [NAME]},
        environment={"gpu": {"name": NAME, "driver": NAME, "capability": [9, 0]}, "versions": {NAME: NAME}},
        failure=Failure(type=NAME, message=NAME, phase=NAME, traceback=f'  File "{NAME}", line 3, in {NAME}\n    {NAME}\n'),
        phases=[Phase(name=SOUND, start_ns=1, end_ns=2_000_000, alloc_bytes=MIB, peak_bytes=2 * MIB)],
        lost=[Lost(what=NAME, why=NAME)],
        timed={"iterations_ns": [5e6, 6e6], "steps": 2},
    )
    sources = {"mine.py": {"7": [6, [NAME, NAME, NAME]]}}
    run.artifact(layout.SOURCES).write_text(json.dumps(sources))
    _with_memory(run, folder)
    return Run.open(run.path)


def _trace() -> list[dict[str, Any]]:
    """One step: kernels, operators and waits of hostile names."""
    names = [f"{each} sm80_xmma_gemm_s8" for each in BREAKOUTS] + list(BREAKOUTS)
    step = mark("diffuscope/step/0", 0, 1 + 100 * len(names))
    launches = [launch(number, number + 0.5, number) for number in range(1, len(names) + 1)]
    kernels = [kernel(20 + 90 * number, 100 + 90 * number, number, name) for number, name in enumerate(names, 1)]
    return [step, *launches, *kernels]


def _with_memory(run: Run, folder: Path) -> None:
    tape = Tape()
    stack = [("forward<b>", f"{NAME}.py", 7), (NAME, NAME, 8)]
    tape.held(1 << 20, 8 * MIB, stack)
    for number in range(4):
        tape.alloc((2 + number) << 26, 4 * MIB, stack, module=NAME)
    tape.free(2 << 26, stack)
    other = write_memory(folder / "memory", tape)
    other.artifact(layout.MEMORY).rename(run.artifact(layout.MEMORY))
