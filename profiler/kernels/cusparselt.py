"""cuSPARSELt's product of a 2:4 sparse int8 weight and int8 rows, planned once and then only launched; through its C interface.

torch's `_cslt_sparse_mm` describes its matrices, selects an algorithm and plans anew in each call: half a millisecond of the
host's time. Everything but addresses and stream is the same from call to call, and kept here. No torch: addresses are numbers.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

# The library that torch loaded, and no second one.
SONAME = "libcusparseLt.so.0"
# Versions (major x 1000 + minor x 100 + patch) with the functions and numbers below.
OLDEST, NEWEST = 600, 899
ALIGNMENT = 16
"""Operands begin at a multiple of so many bytes."""

# Its structures are opaque, and of 512 to 13072 bytes by version.
_STRUCTURE, _STRUCTURE_ALIGNMENT = 16384, 64
# Numbers of its header and of CUDA's: types, orders, operations.
_INT8, _BF16 = 3, 14
_BY_COLUMNS, _BY_ROWS = 1, 2
_PLAIN, _TRANSPOSED = 0, 1
_HALF_IS_ZERO, _SUMS_IN_INT32, _DEFAULT = 0, 0, 0
_ALPHA_IS_A_VECTOR, _ALGORITHM = 5, 0

_POINTER, _INT, _LONG, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t
_MATRIX = [_POINTER, _POINTER, _LONG, _LONG, _LONG, ctypes.c_uint32, _INT, _INT]
_SET = [_POINTER, _POINTER, _INT, _POINTER, _SIZE]
_FUNCTIONS: dict[str, Sequence[Any]] = {
    "Init": [_POINTER],
    "GetVersion": [_POINTER] * 2,
    "StructuredDescriptorInit": [*_MATRIX, _INT],
    "DenseDescriptorInit": _MATRIX,
    "MatmulDescriptorInit": [_POINTER, _POINTER, _INT, _INT, *[_POINTER] * 4, _INT],
    "MatmulDescSetAttribute": _SET,
    "MatmulAlgSelectionInit": [_POINTER, _POINTER, _POINTER, _INT],
    "MatmulAlgSetAttribute": _SET,
    "MatmulPlanInit": [_POINTER] * 4,
    "MatmulGetWorkspace": [_POINTER] * 3,
    "Matmul": [*[_POINTER] * 10, ctypes.c_int32],
}


class Unusable(Exception):
    """cuSPARSELt is not there, is not as known here, or refused a call."""


class Library:
    """cuSPARSELt on the device that was current when this was made.

    Args:
        path: of the library; None for the one in this process.

    Raises:
        Unusable: there is none, a function is missing, or its version is not one of OLDEST to NEWEST.
    """

    def __init__(self, path: str | None = None) -> None:
        try:
            loaded = ctypes.CDLL(path) if path else ctypes.CDLL(SONAME, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            self._functions = {name: loaded[f"cusparseLt{name}"] for name in _FUNCTIONS}
        except (OSError, AttributeError) as error:
            raise Unusable(str(error)) from None
        for name, function in self._functions.items():
            function.argtypes, function.restype = _FUNCTIONS[name], _INT
        self.handle = _Structure()
        self.call("Init", self.handle.at)
        version = _INT()
        self.call("GetVersion", self.handle.at, ctypes.addressof(version))
        self.version = version.value
        if not OLDEST <= self.version <= NEWEST:
            raise Unusable(f"cuSPARSELt {self.version} is none of {OLDEST} to {NEWEST}")

    def call(self, name: str, *args: Any) -> None:
        """Call cusparseLt`name`.

        Raises:
            Unusable: it returned another status than success.
        """
        status = self._functions[name](*args)
        if status:
            raise Unusable(f"cusparseLt{name} returned status {status}")


class _Structure:
    """Zeroed memory that stays where it is."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(_STRUCTURE + _STRUCTURE_ALIGNMENT)
        start = ctypes.addressof(self._bytes)
        self.at = start + -start % _STRUCTURE_ALIGNMENT


class Product:
    """`weight @ rows.T`, each row of it times its scale, laid out as (M, N) bf16; for one shape and one algorithm.

    Nothing is destroyed: a plan lives as long as the process. One thread at a time may call it.

    Attributes:
        workspace: bytes of device memory that a call needs.

    Args:
        m, k, n: of `rows` (M, K) and the weight (N, K); M a multiple of 16, K and N of 32.
        algorithm: cuSPARSELt's id.

    Raises:
        Unusable: cuSPARSELt refused the shape or the algorithm.
    """

    def __init__(self, library: Library, m: int, k: int, n: int, algorithm: int) -> None:
        handle, call = library.handle.at, library.call
        weight, rows, out, matmul, selection, plan = (_Structure() for _ in range(6))
        # All of them are kept: a plan may refer to what it was made of.
        self._kept = library, weight, rows, out, matmul, selection, plan
        call("StructuredDescriptorInit", handle, weight.at, n, k, k, ALIGNMENT, _INT8, _BY_ROWS, _HALF_IS_ZERO)
        call("DenseDescriptorInit", handle, rows.at, m, k, k, ALIGNMENT, _INT8, _BY_ROWS)
        # The result (N, M) by columns is the (M, N) by rows that is wanted.
        call("DenseDescriptorInit", handle, out.at, n, m, n, ALIGNMENT, _BF16, _BY_COLUMNS)
        factors = weight.at, rows.at, out.at, out.at
        call("MatmulDescriptorInit", handle, matmul.at, _PLAIN, _TRANSPOSED, *factors, _SUMS_IN_INT32)
        call("MatmulAlgSelectionInit", handle, selection.at, matmul.at, _DEFAULT)
        _set(library, "MatmulAlgSetAttribute", selection, _ALGORITHM, algorithm)
        _set(library, "MatmulDescSetAttribute", matmul, _ALPHA_IS_A_VECTOR, 1)
        call("MatmulPlanInit", handle, plan.at, matmul.at, selection.at)
        size = _SIZE()
        call("MatmulGetWorkspace", handle, plan.at, ctypes.addressof(size))
        self.workspace = size.value
        self._zero, self._stream = ctypes.c_float(0.0), _POINTER()
        self._launch = library._functions["Matmul"]
        self._head = _POINTER(handle), _POINTER(plan.at)
        self._beta, self._streams = _POINTER(ctypes.addressof(self._zero)), _POINTER(ctypes.addressof(self._stream))

    def __call__(self, weight: int, rows: int, scale: int, out: int, workspace: int, stream: int) -> None:
        """Launch it: addresses of device memory, and of a CUDA stream of the library's device.

        Raises:
            Unusable: it was not launched.
        """
        self._stream.value = stream
        # `out` stands for C too, which beta 0 leaves unread.
        status = self._launch(*self._head, scale, weight, rows, self._beta, out, out, workspace, self._streams, 1)
        if status:
            raise Unusable(f"cusparseLtMatmul returned status {status}")


def _set(library: Library, function: str, of: _Structure, attribute: int, value: int) -> None:
    number = _INT(value)
    library.call(function, library.handle.at, of.at, attribute, ctypes.addressof(number), ctypes.sizeof(number))
