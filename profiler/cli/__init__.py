"""The command line: `main` parses, calls, and is the one place that catches errors."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the script `diffuscope`; exits with the documented codes, never with a traceback of ours."""
    from profiler.cli.app import run

    sys.exit(run(sys.argv[1:]))
