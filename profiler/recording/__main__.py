"""The recording process: reads a request as JSON from standard input, records, exits with the documented code."""

from __future__ import annotations

import json
import os
import sys

from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RECORDED_FAILED, DiffuscopeError
from profiler.core.spec import RunSpec
from profiler.recording.quiet import set_quiet_environment


def main() -> int:
    """Record what the request says: {"spec": ..., "out": ..., "command": ...}."""
    request = json.load(sys.stdin)
    set_quiet_environment()
    try:
        from profiler.recording.runner import record_spec

        status = record_spec(RunSpec.from_dict(request["spec"]), request["out"], request["command"])
    except DiffuscopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # While importing, before there is a run to say so.
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    if status != "ok" and request["spec"].get("parallel"):
        # All is written down; ending the process group of a rank whose peers are gone may take for ever.
        sys.stderr.flush()
        os._exit(EXIT_RECORDED_FAILED)
    return EXIT_OK if status == "ok" else EXIT_RECORDED_FAILED


if __name__ == "__main__":
    sys.exit(main())
