"""Marks in a trace: text encoding, each denoising step, decoding, the whole call.

Installed on one pipeline object for one call and taken off again, so that no other phase runs through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from profiler.rundir import layout

Mark = Callable[[str], AbstractContextManager[Any]]


@contextmanager
def marked(pipe: Any) -> Iterator[None]:
    """While inside, a call of `pipe` leaves `record_function` ranges named as in `rundir.layout`."""
    from torch.profiler import record_function

    with observed(pipe, record_function), record_function(layout.MARK_CALL):
        yield


@contextmanager
def observed(pipe: Any, mark: Mark) -> Iterator[None]:
    """While inside, text encoding, each step and decoding of `pipe` run inside `mark(name)`.

    A step is what lies between two advances of the pipeline's progress bar, which every diffusers pipeline has.
    """
    with ExitStack() as stack:
        if callable(getattr(pipe, "encode_prompt", None)):
            stack.enter_context(_wrapped(pipe, "encode_prompt", mark, layout.MARK_TEXT))
        vae = getattr(pipe, "vae", None)
        if callable(getattr(vae, "decode", None)):
            stack.enter_context(_wrapped(vae, "decode", mark, layout.MARK_DECODE))
        if callable(getattr(pipe, "progress_bar", None)):
            stack.enter_context(replaced(pipe, "progress_bar", _stepping(pipe.progress_bar, mark)))
        yield


def _wrapped(owner: Any, name: str, mark: Mark, label: str) -> AbstractContextManager[None]:
    inner = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        with mark(label):
            return inner(*args, **kwargs)

    return replaced(owner, name, call)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute on the object itself; what the object had of its own comes back, else nothing stays."""
    own = vars(owner)
    had, before = name in own, own.get(name)
    own[name] = value
    try:
        yield
    finally:
        if had:
            own[name] = before
        else:
            del own[name]


def _stepping(progress_bar: Callable[..., Any], mark: Mark) -> Callable[..., Any]:
    def make(iterable: Any = None, total: int | None = None) -> Any:
        bar = progress_bar(iterable=iterable, total=total)
        return bar if total is None else _SteppingBar(bar, total, mark)

    return make


class _SteppingBar:
    """A progress bar that opens a mark for each step and closes it when the bar advances."""

    def __init__(self, bar: Any, total: int, mark: Mark) -> None:
        self._bar, self._total, self._mark = bar, total, mark
        self._step = 0
        self._open: AbstractContextManager[Any] | None = None

    def __enter__(self) -> _SteppingBar:
        self._bar.__enter__()
        self._begin()
        return self

    def __exit__(self, *error: Any) -> Any:
        self._end()
        return self._bar.__exit__(*error)

    def update(self, count: int = 1) -> Any:
        self._end()
        self._step += count
        self._begin()
        return self._bar.update(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)

    def _begin(self) -> None:
        if self._step < self._total:
            self._open = self._mark(f"{layout.MARK_STEP}{self._step}")
            self._open.__enter__()

    def _end(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
