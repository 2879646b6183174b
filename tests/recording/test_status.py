"""Which status an error means."""

from __future__ import annotations

import pytest
import torch

from profiler.recording.stage import describe, status_of


def caught(action: str) -> BaseException:
    """A real error, raised by what really raises it."""
    try:
        if action == "too big a tensor":
            torch.empty(1 << 55, dtype=torch.uint8)
        elif action == "too big a list":
            bytearray(1 << 62)
        elif action == "CUDA":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        elif action == "Ctrl-C":
            raise KeyboardInterrupt
        elif action == "exit":
            raise SystemExit(1)
        elif action == "wrong shapes":
            torch.ones(2, 3) @ torch.ones(2, 3)
        elif action == "a value that says so":
            raise ValueError("out of memory, says a value")
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError(action)


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("too big a tensor", "oom"),
        ("too big a list", "oom"),
        ("CUDA", "oom"),
        ("Ctrl-C", "interrupted"),
        ("exit", "interrupted"),
        ("wrong shapes", "failed"),
        ("a value that says so", "failed"),
    ],
)
def test_status_of_an_error(action: str, status: str):
    assert status_of(caught(action)) == status


def test_an_error_without_words_is_named():
    failure = describe(caught("Ctrl-C"), "timed")
    assert (failure.type, failure.message, failure.phase) == ("KeyboardInterrupt", "KeyboardInterrupt", "timed")
    assert "raise KeyboardInterrupt" in failure.traceback
