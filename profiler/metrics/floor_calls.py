"""A host operator as a trace wrote it: its tensors with shapes, dtypes and strides, its other arguments as text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

# Bytes an element, by the dtype as Kineto writes it.
SIZES = {
    "float": 4,
    "double": 8,
    "c10::BFloat16": 2,
    "c10::Half": 2,
    "c10::Float8_e4m3fn": 1,
    "c10::Float8_e5m2": 1,
    "signed char": 1,
    "unsigned char": 1,
    "bool": 1,
    "short": 2,
    "short int": 2,
    "int": 4,
    "long": 8,
    "long int": 8,
    "long long": 8,
    "c10::complex<float>": 8,
    "c10::complex<double>": 16,
}


@dataclass(frozen=True)
class Tensor:
    """One tensor argument. `strides` is empty where the trace has none."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] = ()

    @property
    def distinct(self) -> int:
        """Elements in memory: a dimension of stride 0 repeats the same ones."""
        if len(self.strides) != len(self.shape):
            return math.prod(self.shape)
        return math.prod(size for size, stride in zip(self.shape, self.strides, strict=True) if stride or not size)

    @property
    def size_bytes(self) -> int:
        """Bytes of its distinct elements."""
        return self.distinct * SIZES[self.dtype]


@dataclass(frozen=True)
class Call:
    """One call of an operator and the kernel that it ran.

    Args:
        op: the operator, or the kernel's own name for a Triton launch.
        kernel: the name of the kernel.
        label: the class of the kernel.
        arguments: as many as the operator has; None for what is no tensor.
        lists: shapes of each argument that is a list of tensors, by position; a trace writes no dtype for them.
        values: what else was passed, as text, by position; empty for tensors.
    """

    op: str
    kernel: str
    label: str
    arguments: tuple[Tensor | None, ...] = ()
    lists: dict[int, tuple[tuple[int, ...], ...]] | None = None
    values: tuple[str, ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments that hold anything."""
        return [each for each in self.arguments if each and each.distinct]

    def value(self, position: int) -> str:
        """An argument that is no tensor, as text; empty where there is none."""
        return self.values[position] if position < len(self.values) else ""


Texts = tuple[str | None, str | None, str | None, str | None]
"""input_dims, input_types, input_strides and concrete_inputs of one operator: JSON, or None where nothing was recorded."""


def call_of(op: str, kernel: str, label: str, texts: Texts) -> Call | None:
    """A call from what the trace holds; None where it has no shapes or dtypes, or no tensor in them can be read."""
    dims, types, strides, values = (_list(text) for text in texts)
    if not dims or len(dims) != len(types):
        return None
    spread = strides if len(strides) == len(dims) else [[]] * len(dims)
    arguments = tuple(_tensor(*each) for each in zip(dims, types, spread, strict=True))
    lists = {n: shapes for n, (dim, kind) in enumerate(zip(dims, types, strict=True)) if (shapes := _shapes(dim, kind))}
    return Call(op, kernel, label, arguments, lists, tuple(map(str, values))) if any(arguments) or lists else None


def _list(text: str | None) -> list[Any]:
    try:
        found = json.loads(text or "[]")
    except ValueError:  # a trace that was cut short
        return []
    return found if isinstance(found, list) else []


def _tensor(dims: Any, kind: Any, strides: Any) -> Tensor | None:
    if kind not in SIZES or not _is_shape(dims):
        return None
    return Tensor(tuple(dims), kind, tuple(strides) if _is_shape(strides) else ())


def _shapes(dims: Any, kind: Any) -> tuple[tuple[int, ...], ...]:
    if kind != "TensorList" or not isinstance(dims, list) or not all(_is_shape(each) for each in dims):
        return ()
    return tuple(tuple(each) for each in dims)


def _is_shape(dims: Any) -> bool:
    return isinstance(dims, list) and all(isinstance(each, int) and each >= 0 for each in dims)
