"""The planning process: reads a request as JSON from standard input, writes its answer to the file that the request names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, DiffuscopeError
from profiler.core.spec import RunSpec
from profiler.recording.quiet import set_quiet_environment
from profiler.rundir.writer import write_atomic
from profiler.schemes.base import Hardware


def main() -> int:
    """Gather what the request asks for: the spec as a mapping, names of schemes, hardware as a mapping or null, a path."""
    try:
        raw = json.load(sys.stdin)
        set_quiet_environment()
        from profiler.plan.session import Request, gather

        spec = RunSpec.from_dict(raw["spec"])
        found = gather(Request(spec=spec, schemes=raw["schemes"], hardware=_hardware(raw["hardware"])))
    except DiffuscopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # What that leaves is the parent's to say.
        return EXIT_INTERRUPTED
    write_atomic(Path(raw["answer"]), json.dumps(found))
    return EXIT_OK


def _hardware(raw: dict[str, Any] | None) -> Hardware | None:
    if raw is None:
        return None
    capability = raw.get("capability")
    return Hardware(raw["device"], tuple(capability[:2]) if capability else None, raw.get("name") or "")


if __name__ == "__main__":
    sys.exit(main())
