"""The one error family: every message says what, which file, and what to do next."""

from __future__ import annotations

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_RECORDED_FAILED = 3
# What shells give for Ctrl-C.
EXIT_INTERRUPTED = 130


class DiffuscopeError(Exception):
    """Base of every error that a user may see.

    Args:
        message: what is wrong, and in which file or option.
        hint: what to do next, one sentence; may be empty.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(DiffuscopeError):
    """An option or a combination of options that cannot be meant."""


class UnreadableInput(DiffuscopeError):
    """A file or directory that cannot be read as what it should be."""


class Refused(DiffuscopeError):
    """A request that this hardware or software cannot carry out, found before anything loads."""


class MissingExtra(DiffuscopeError):
    """A command whose optional dependencies are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed here",
            f"install them with: pip install 'diffuscope[{extra}]'",
        )


class CheckFailed(DiffuscopeError):
    """A check that ran and did not hold."""

    exit_code = EXIT_CHECK_FAILED


class RecordedProgramFailed(DiffuscopeError):
    """The recorded program failed; its run directory is whole and says how."""

    exit_code = EXIT_RECORDED_FAILED
