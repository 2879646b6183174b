"""What a machine says to specs before anything loads, asked in a process of its own: the sweep itself never imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from profiler.core.errors import DiffuscopeError, Refused
from profiler.core.imports import uncollected
from profiler.core.spec import RunSpec
from profiler.recording.quiet import set_quiet_environment

# Importing torch from a cold disk takes a minute on a slow one.
_LIMIT_S = 300.0


def probe_machine(specs: list[dict[str, Any]]) -> tuple[int, list[str | None]]:
    """(GPUs that torch sees, why each spec is refused here or None).

    Raises:
        Refused: the probe did not end well: torch cannot be imported, or the device is broken.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "profiler.sweep.probe"],
            input=json.dumps(specs),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            # Ctrl-C is the sweep's to handle.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise Refused(
            f"asking this machine what it can run took longer than {_LIMIT_S:.0f} s", "see whether its GPU answers"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise Refused(f"this machine cannot say what it can run: {last}", "try `diffuscope record flux-tiny` on it")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["gpus"], found["reasons"]


def main() -> int:
    """Answer the specs on standard input."""
    specs = json.load(sys.stdin)
    set_quiet_environment()
    from profiler.recording.runner import quiet_libraries

    quiet_libraries()
    with uncollected():
        import torch

    answer = {"gpus": torch.cuda.device_count(), "reasons": [_obstacle(RunSpec.from_dict(each)) for each in specs]}
    print(json.dumps(answer))  # noqa: T201 - the answer of this process
    return 0


def _obstacle(spec: RunSpec) -> str | None:
    from profiler.models.base import find_model
    from profiler.recording import prepare
    from profiler.recording.device import find_hardware

    try:
        model = find_model(spec.model)
        prepare.refuse_early(prepare.look_up(model.resolve(spec), model, find_hardware(spec.device)))
    except DiffuscopeError as error:
        return error.message
    return None


if __name__ == "__main__":
    sys.exit(main())
