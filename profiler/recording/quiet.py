"""What keeps torch and the libraries from talking: set before they are imported, which is when they read it."""

from __future__ import annotations

import os

_QUIET = {"KINETO_LOG_LEVEL": "99", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
# torch's C++ warnings: profiling memory says on a CPU that it began late, in every run.
_QUIET |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}


def set_quiet_environment() -> None:
    """Set the libraries' own switches; what the user has set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
