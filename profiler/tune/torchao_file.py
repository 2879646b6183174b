"""torchao's own autotuner file: written so that plain torchao uses it, read without trusting it.

The file is a pickle of {key: (triton.Config, milliseconds)}. A key holds dtype, size and stride of each argument of torchao's
kernel: a, b, the row scales expanded to the output's size, and the output.
"""

from __future__ import annotations

import math
import pickle
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.core.errors import Refused, UnreadableInput, UsageError
from profiler.core.safe_pickle import StandIn, load
from profiler.kernels.candidate import Shape

_CONFIG = "triton.runtime.autotuner.Config"
_DTYPES = ("int8", "int32", "float32", "bfloat16", "float16")
_STAND_INS = (_CONFIG, "torch.Size", *(f"torch.{each}" for each in _DTYPES))
_BLOCKS = {"BLOCK_M": "block_m", "BLOCK_N": "block_n", "BLOCK_K": "block_k"}
_REST = {"num_stages": "stages", "num_warps": "warps"}
# Rows of blocks in a group: all of torchao's own configurations have the same.
_GROUP = 8


@dataclass(frozen=True)
class Saved:
    """One entry: a shape, its configuration as the space `torchao` writes it, and the time that was measured."""

    shape: Shape
    config: dict[str, int]
    ms: float


def write(path: Path, entries: Mapping[Shape, tuple[Mapping[str, int], float]]) -> None:
    """Write configurations and their microseconds by shape as torchao's autotuner reads them, in one step.

    Raises:
        Refused: there is no Triton, whose class the file names.
        UsageError: the file cannot be written.
    """
    try:
        import triton
    except ImportError:
        raise Refused(
            "torchao's autotuner file names a class of Triton, and there is none here", "write it on the GPU machine"
        ) from None
    configs = {_key(shape): (_config(triton, config), us / 1e3) for shape, (config, us) in entries.items()}
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            pickle.dump(configs, file)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "name another file with --export-torchao") from None


def read(path: Path) -> list[Saved]:
    """The entries of such a file that scale the product (torchao tunes the bare product under other keys).

    Raises:
        UsageError: there is no such file.
        UnreadableInput: it holds anything else.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file", "name the file of TORCHAO_AUTOTUNER_DATA_PATH")
    try:
        with path.open("rb") as file:
            raw = load(file, _STAND_INS)
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except UnreadableInput as error:
        raise UnreadableInput(f"{path} is no file of torchao's autotuner: {error.message}", "name another") from None
    try:
        found = [_saved(key, value) for key, value in raw.items()]
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise UnreadableInput(f"{path} is no file of torchao's autotuner: {error}", "name another") from None
    return [each for each in found if each is not None]


def _key(shape: Shape) -> tuple[Any, ...]:
    import torch

    size = torch.Size
    m, k, n = shape
    a = (torch.int8, size((m, k)), (k, 1))
    b = (torch.int8, size((k, n)), (1, k))
    scales = (torch.float32, size((m, n)), (1, 0))
    return (*a, *b, *scales, torch.float32, size((m, n)), (n, 1))


def _config(triton: Any, config: Mapping[str, int]) -> Any:
    blocks = {theirs: int(config[ours]) for theirs, ours in _BLOCKS.items()}
    return triton.Config(blocks | {"GROUP_M": _GROUP}, **{theirs: int(config[ours]) for theirs, ours in _REST.items()})


def _saved(key: Any, value: Any) -> Saved | None:
    if len(key) != 12:
        return None
    (m, k), (k_again, n) = _size(key[1]), _size(key[4])
    config, ms = value
    if k != k_again or not isinstance(config, StandIn) or config.name != _CONFIG:
        raise ValueError("a key or a configuration of another kind")
    state = config.state if isinstance(config.state, dict) else {}
    ours = {name: _whole(state["kwargs"][theirs]) for theirs, name in _BLOCKS.items()}
    ours |= {name: _whole(state[theirs]) for theirs, name in _REST.items()}
    group = _whole(state["kwargs"]["GROUP_M"])
    # Another grouping is another kernel than any of ours.
    if not isinstance(ms, int | float) or not ms > 0:
        raise ValueError(f"{reprlib.repr(ms)} is no time")
    if math.isinf(ms):
        # What Triton notes of a configuration that does not run.
        return None
    return Saved(Shape(_whole(m), _whole(k), _whole(n)), ours | ({} if group == _GROUP else {"group": group}), float(ms))


def _size(raw: Any) -> Any:
    # torch.Size pickles as a call of its class with a tuple.
    return raw.args[0] if isinstance(raw, StandIn) else raw


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise ValueError(f"{reprlib.repr(value)} is no size")
    return value
