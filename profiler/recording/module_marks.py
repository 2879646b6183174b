"""Which module made an allocation: while a call runs, each module of the pipeline runs inside a mark with its path.

An eager module gets two forward hooks of its own. Global hooks are out: dynamo guards on them. A compiled region is marked
from outside, as one: a hook inside it would be traced, or never be called. Everything is taken off again at the end.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from profiler.recording.marks import Mark, replaced
from profiler.recording.weights import components, without_wrappers
from profiler.rundir import layout

# What `module(...)` calls where it is set, and nothing that is traced ever reads: dynamo does guard on a replaced `forward`.
_CALL = "_compiled_call_impl"
# What pipelines call of a component beside the module itself.
_METHODS = {"vae": ("decode", "encode")}


def module_mark(device: str) -> Mark | None:
    """What names the module: the metadata of CUDA allocations, a profiler range on a CPU; None where torch has no such."""
    import torch

    if device != "cuda":
        return lambda path: torch.profiler.record_function(layout.MARK_MODULE + path)
    known = hasattr(torch.cuda.memory, "_set_memory_metadata") and hasattr(torch.cuda.memory, "_get_memory_metadata")
    return _allocations_of if known else None


@contextmanager
def _allocations_of(path: str) -> Iterator[None]:
    """While inside, each allocation of this thread carries `path`."""
    from torch.cuda import memory

    before = memory._get_memory_metadata()
    memory._set_memory_metadata(path)
    try:
        yield
    finally:
        memory._set_memory_metadata(before)


@contextmanager
def marked_modules(pipe: Any, mark: Mark) -> Iterator[None]:
    """While inside, each module of `pipe` that is called runs inside `mark("component.path.of.module")`.

    Enter it before anything else replaces methods of the pipeline: compiled ones are known by their look. A module that lies
    inside a compiled region is left alone, whoever else calls it.
    """
    parts, marks = components(pipe), _Marks(mark)
    done = {id(inner) for part in parts.values() for each in part.modules() if _is_region(each) for inner in _below(each)}
    with ExitStack() as stack:
        stack.callback(marks.close)
        for name, part in parts.items():
            for path, module in part.named_modules(prefix=name):
                if id(module) not in done:
                    done.add(id(module))
                    _mark(stack, marks, without_wrappers(path), module)
        _mark_method(stack, marks, "scheduler", getattr(pipe, "scheduler", None), "step")
        yield


def _mark(stack: ExitStack, marks: _Marks, path: str, module: Any) -> None:
    compiled = _compiled_methods(module)
    if _is_region(module):
        stack.enter_context(replaced(module, _CALL, marks.around(getattr(module, _CALL) or module._call_impl, path)))
    else:
        before, after = module.register_forward_pre_hook, module.register_forward_hook
        stack.callback(before(lambda *_: marks.enter(path), prepend=True).remove)
        stack.callback(after(lambda *_: marks.leave(path), always_call=True).remove)
    for method in sorted({*compiled, *_METHODS.get(path, ())} - {_CALL, "forward"}):
        _mark_method(stack, marks, path, module, method)


def _mark_method(stack: ExitStack, marks: _Marks, path: str, owner: Any, method: str) -> None:
    call = getattr(owner, method, None)
    if callable(call):
        stack.enter_context(replaced(owner, method, marks.around(call, path)))


def _is_region(module: Any) -> bool:
    """Whether compiled code begins at this module, or what is inside it must not have hooks for another reason."""
    import torch

    # A TorchScript module runs no Python inside, and torch's encoder layer takes another path where it sees hooks.
    sealed = isinstance(module, (torch.jit.ScriptModule, torch.nn.TransformerEncoderLayer))
    return sealed or bool(_compiled_methods(module))


def _below(module: Any) -> Iterator[Any]:
    return (each for each in module.modules() if each is not module)


def _compiled_methods(module: Any) -> set[str]:
    """The names of a module under which compiled code is called."""
    return {name for name, each in vars(module).items() if _is_compiled(each)} | _compiled_in_class(type(module).__mro__)


@functools.cache
def _compiled_in_class(classes: tuple[type, ...]) -> frozenset[str]:
    return frozenset(name for each in classes for name, value in vars(each).items() if _is_compiled(value))


def _is_compiled(value: Any) -> bool:
    """Whether `torch.compile` returned it; what `torch._dynamo.disable` returns lacks the attribute."""
    return isinstance(value, (types.FunctionType, types.MethodType)) and hasattr(value, "get_compiler_config")


class _Marks:
    """The marks that are open now, innermost last."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._open: list[tuple[str, AbstractContextManager[Any]]] = []

    def enter(self, path: str) -> None:
        entered = self._mark(path)
        entered.__enter__()
        self._open.append((path, entered))

    def leave(self, path: str) -> None:
        """Close the innermost mark of `path`, and what an error left open inside it."""
        if any(each == path for each, _ in self._open):
            while self._close_last() != path:
                pass

    def close(self) -> None:
        """Close what is still open: an interruption runs no hooks."""
        while self._open:
            self._close_last()

    def around(self, call: Callable[..., Any], path: str) -> Callable[..., Any]:
        """`call` inside a mark, with its signature: pipelines ask what a scheduler's step takes."""

        def marked(*args: Any, **kwargs: Any) -> Any:
            self.enter(path)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave(path)

        return functools.update_wrapper(marked, call, updated=())

    def _close_last(self) -> str:
        path, entered = self._open.pop()
        entered.__exit__(None, None, None)
        return path
