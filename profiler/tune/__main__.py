"""The tuning process: reads a request as JSON from standard input, tunes, exits with the documented code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RECORDED_FAILED, DiffuscopeError
from profiler.core.spec import RunSpec
from profiler.recording.quiet import set_quiet_environment


def main() -> int:
    """Tune what the request says: the fields of a `Request`, paths and shapes as text, the spec as a mapping or null."""
    raw = json.load(sys.stdin)
    set_quiet_environment()
    try:
        from profiler.tune.session import tune

        status = tune(_request(raw))
    except DiffuscopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # While importing, before there is a run to say so.
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    return EXIT_OK if status == "ok" else EXIT_RECORDED_FAILED


def _request(raw: dict[str, Any]) -> Any:
    from profiler.kernels.candidate import parse_shape
    from profiler.tune.session import Request
    from profiler.tune.shapes import Wanted

    return Request(
        spec=RunSpec.from_dict(raw["spec"]) if raw["spec"] else None,
        shapes=[Wanted(parse_shape(each)) for each in raw["shapes"]],
        device=raw["device"],
        out=Path(raw["out"]),
        table=_path(raw["table"]),
        export_torchao=_path(raw["export_torchao"]),
        import_torchao=_path(raw["import_torchao"]),
        command=raw["command"],
    )


def _path(raw: str | None) -> Path | None:
    return None if raw is None else Path(raw)


if __name__ == "__main__":
    sys.exit(main())
