"""Which cuSPARSELt algorithm a shape takes and the plan kept for it: searched, planned and checked in a shape's first call."""

from __future__ import annotations

import threading
import warnings
from typing import Any, NamedTuple

import torch

from profiler.kernels.cusparselt import ALIGNMENT, Library, Product, Unusable

SEARCHED = -1
"""In place of an algorithm: the fastest of those that there are."""
_DEFAULT = 0
# By how much two roundings of one sum to bf16 may differ.
_ROUNDING = 2.0**-7


class Shape(NamedTuple):
    """What a plan is made for: rows (M, K), a weight (N, K), a device, and the algorithm that was asked for."""

    m: int
    k: int
    n: int
    device: int
    asked: int


class Kept(NamedTuple):
    """What a shape takes: an algorithm, and a plan; None where torch's own call is taken, and then why."""

    algorithm: int
    product: Product | None
    why: str = ""


class _OfThread(threading.local):
    """As torch does it: a plan is launched by the thread alone that made it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, ...], Kept] = {}
        self.libraries: dict[int, Library] = {}


_HERE = _OfThread()
# Of all threads, for `describe`.
_SEEN: dict[Shape, Kept] = {}


def matmul(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, algorithm: int) -> torch.Tensor:
    """`(rows @ weight.T) * scale` in bf16 on CUDA.

    Args:
        rows: (M, K) int8, contiguous, M a multiple of 16.
        packed: the weight (N, K) as `torch._cslt_compress` gave it, N rows of bytes.
        scale: N float32 values.
        algorithm: cuSPARSELt's id of an algorithm, or SEARCHED.
    """
    device = rows.get_device()
    if device != torch.cuda.current_device():
        with torch.cuda.device(device):
            return matmul(rows, packed, scale, algorithm)
    (m, k), n = rows.shape, packed.shape[0]
    kept = _HERE.kept.get((m, k, n, device, algorithm)) or _first(Shape(m, k, n, device, algorithm), rows, packed, scale)
    if kept.product is not None and _lie_as_planned(rows, packed, scale):
        out = rows.new_empty((m, n), dtype=torch.bfloat16)
        try:
            _launch(kept.product, rows, packed, scale, out)
        except Unusable as error:
            _remember(Shape(m, k, n, device, algorithm), Kept(kept.algorithm, None, str(error)))
        else:
            return out
    return _torchs_own(rows, packed, scale, kept.algorithm)


def describe() -> list[dict[str, Any]]:
    """Of each shape met in this process: `m`, `k`, `n`, `device`, the `algorithm`, whether its plan is `kept`, else `why` not."""
    return [
        {"m": shape.m, "k": shape.k, "n": shape.n, "device": shape.device}
        | {"algorithm": found.algorithm, "kept": found.product is not None}
        | ({"why": found.why} if found.why else {})
        for shape, found in _SEEN.items()
    ]


def _lie_as_planned(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor) -> bool:
    if (rows.data_ptr() | packed.data_ptr() | scale.data_ptr()) % ALIGNMENT:
        return False
    return all(each.is_contiguous() for each in (rows, packed, scale)) and scale.dtype is torch.float32


def _launch(product: Product, rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, out: torch.Tensor) -> None:
    # Freed once launched: whoever gets this memory next uses it after the product, on the same stream.
    workspace = rows.new_empty(product.workspace) if product.workspace else None
    stream = torch._C._cuda_getCurrentRawStream(rows.get_device())
    beside = 0 if workspace is None else workspace.data_ptr()
    product(packed.data_ptr(), rows.data_ptr(), scale.data_ptr(), out.data_ptr(), beside, stream)


def _torchs_own(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, algorithm: int) -> torch.Tensor:
    # The weight is the left factor, and its scales a vector of the library's alpha: one a row of the transposed result.
    out: torch.Tensor = torch._cslt_sparse_mm(
        packed, rows.t(), alpha=scale, out_dtype=torch.bfloat16, transpose_result=True, alg_id=algorithm
    )
    return out


def _first(shape: Shape, rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor) -> Kept:
    if torch.cuda.is_current_stream_capturing():
        # A search and a check wait for the GPU, which a captured stream cannot; the next call outside of one makes up for it.
        return Kept(max(shape.asked, _DEFAULT), None)
    return _remember(shape, _plan(shape, rows, packed, scale))


def _remember(shape: Shape, found: Kept) -> Kept:
    _HERE.kept[tuple(shape)] = _SEEN[shape] = found
    if found.why:
        size = f"{shape.m}x{shape.k}x{shape.n}"
        warnings.warn(f"2:4 sparse products of {size} run torch's own call, which costs the host more: {found.why}", stacklevel=2)
    return found


def _plan(shape: Shape, rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor) -> Kept:
    """An algorithm and a plan whose first result is torch's own, bit for bit."""
    algorithm = _search(rows, packed, scale) if shape.asked == SEARCHED else shape.asked
    if not _lie_as_planned(rows, packed, scale):
        return Kept(algorithm, None, "its operands are not aligned, not contiguous or have other scales than float32")
    # A launch that does nothing must not find an earlier result in its memory.
    out = torch.full((shape.m, shape.n), torch.nan, dtype=torch.bfloat16, device=rows.device)
    try:
        product = Product(_library(shape.device), shape.m, shape.k, shape.n, algorithm)
        _launch(product, rows, packed, scale, out)
    except Unusable as error:
        return Kept(algorithm, None, str(error))
    if not torch.equal(out, _torchs_own(rows, packed, scale, algorithm)):
        return Kept(algorithm, None, "a plan's result is not that of torch's own call")
    return Kept(algorithm, product)


def _library(device: int) -> Library:
    """Of the current device, which is `device`."""
    if device not in _HERE.libraries:
        _HERE.libraries[device] = Library()
    return _HERE.libraries[device]


def _search(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor) -> int:
    """The id of the fastest algorithm whose result is the default's but for its rounding."""
    options: dict[str, Any] = {"alpha": scale, "out_dtype": torch.bfloat16, "transpose_result": True}
    with warnings.catch_warnings():
        # torch says that the search is to move.
        warnings.simplefilter("ignore")
        try:
            found = int(torch._cslt_sparse_mm_search(packed, rows.t(), **options))
        except (AttributeError, RuntimeError):
            return _DEFAULT
    if found == _DEFAULT:
        return found
    theirs, default = (_torchs_own(rows, packed, scale, each) for each in (found, _DEFAULT))
    return found if torch.equal(theirs, default) or _near(theirs.float(), default.float()) else _DEFAULT


def _near(theirs: torch.Tensor, default: torch.Tensor) -> bool:
    return bool(((theirs - default).abs() <= default.abs() * _ROUNDING).all())
