"""A cell that only looks around: what a process that the starter forked is, and what torch's imports would be told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from profiler.core.child import die_with_parent
from profiler.sweep.processes import MARK


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    request = json.load(sys.stdin)
    found = {
        "parent": int(sys.argv[1]),
        "arguments": sys.argv[2:],
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "marks": [each for each in Path("/proc/self/environ").read_text().split("\0") if each.startswith(MARK)],
        "variables": {name: os.environ.get(name) for name in ("LOOK", MARK, "DIFFUSCOPE_WARM")},
        "imported": "torch" in sys.modules,
        "stderr": str(Path("/proc/self/fd/2").readlink()),
        "sockets": [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_socket()],
        "group": _own_group(),
    }
    if "torch" in sys.modules:
        found["torch"] = _torch()
    Path(request["out"]).write_text(json.dumps(found))
    return int(request["code"])


def _own_group() -> bool:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os._exit(0 if os.getpgid(0) == os.getpid() else 1)
    return os.waitpid(child, 0)[1] == 0


def _torch() -> dict[str, Any]:
    import torch

    from profiler.sweep.preload import answering

    found: dict[str, Any] = {"begun": torch.cuda.is_initialized(), "bad_fork": torch.cuda._is_in_bad_fork()}
    before = torch.cuda.is_available
    with patch("torch.cuda._is_compiled", lambda: True):
        with answering([(9, 0), (9, 0)]):
            found["told"] = [torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_capability(0)]
            found["told"] += [torch.cuda.get_device_properties(0).major, torch.cuda.current_device()]
        with answering([]):
            found["told_none"] = [torch.cuda.is_available(), torch.cuda.device_count()]
    return found | {"as_before": torch.cuda.is_available is before}


if __name__ == "__main__":
    sys.exit(main())
