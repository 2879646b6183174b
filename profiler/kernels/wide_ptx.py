"""Two int8 instructions of Hopper's tensor cores in one: 256 columns instead of 128. Standard library only.

Triton 3.6 stops at 128 columns (224 where a block could have them) for int8, though the hardware takes 256 as for fp8. Each
instruction reads its rows of `a` from shared memory anew: two of 128 columns and the loads together ask for 144 bytes a cycle of
the 128 that shared memory gives, one of 256 for 128. So the compiler's PTX is rewritten: a pair that differs only in its columns
becomes one instruction. What is not exactly such a pair is refused, never guessed.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_INSTRUCTION = re.compile(
    r"^\twgmma\.mma_async\.sync\.aligned\.m64n128k32\.s32\.s8\.s8 \{([^}]*)\}, (%\w+), (%\w+), (%\w+);$", re.MULTILINE
)
_NARROW = "m64n128k32.s32.s8.s8"
_COMMIT = "wgmma.commit_group.sync.aligned;"
# A descriptor of shared memory: a base register and a constant, by `or` or `add`.
_DESCRIPTOR = r"^\t(?:or\.b64|add\.s64) \t{}, (%\w+), (\d+);$"
# 128 rows of 128 bytes further on, in the descriptor's units of 16 bytes.
_COLUMNS_APART = 128 * 128 >> 4
# The hook is the whole process's.
_ONE = threading.RLock()


def widen(ptx: str) -> str:
    """The PTX with every pair of 128 columns made one instruction of 256.

    Raises:
        ValueError: there are no pairs, or instructions that are none.
    """
    parts = ptx.split(_COMMIT)
    changed = [_widen_group(part, ptx) for part in parts]
    if changed == parts:
        raise ValueError("no int8 instructions of 128 columns to pair")
    wide = _COMMIT.join(changed)
    if _NARROW in wide:
        raise ValueError(f"{wide.count(_NARROW)} int8 instructions of 128 columns were left")
    return wide


def _widen_group(text: str, ptx: str) -> str:
    """One group: its first half are the left columns of all steps, its second half the right ones."""
    found = list(_INSTRUCTION.finditer(text))
    if len(found) % 2:
        raise ValueError(f"{len(found)} instructions in a group cannot be paired")
    half = len(found) // 2
    pairs = list(zip(found[:half], found[half:], strict=True))
    for left, right in pairs:
        _check(left, right, ptx)
    # From the end, so that places before stay where they are.
    for _, right in reversed(pairs):
        text = text[: right.start()] + text[right.end() + 1 :]
    for left, right in reversed(pairs):
        text = text[: left.start()] + _wide(left, right) + text[left.end() :]
    return text


def _wide(left: re.Match[str], right: re.Match[str]) -> str:
    sums, a, b, accumulate = left.groups()
    return f"\twgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {{{sums},{right[1]}}}, {a}, {b}, {accumulate};"


def _check(left: re.Match[str], right: re.Match[str], ptx: str) -> None:
    """The same rows of `a`, the same steps, the columns right beside, sums that share nothing."""
    sums = [each.group(1).split(",") for each in (left, right)]
    if (left[2], left[4]) != (right[2], right[4]) or len(set(sums[0] + sums[1])) != 128:
        raise ValueError("two instructions differ in more than their columns")
    (base, at), (other, beside) = (_descriptor(each[3], ptx) for each in (left, right))
    if base != other or beside - at != _COLUMNS_APART:
        raise ValueError("two instructions are not of neighbouring columns")


def _descriptor(register: str, ptx: str) -> tuple[str, int]:
    found = re.findall(_DESCRIPTOR.format(re.escape(register)), ptx, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"{register} is no descriptor that is set once")
    base, constant = found[0]
    return base, int(constant)


@cache
def _digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def stamp(wide: int) -> int:
    """The constant of a kernel that is widened or not: 0 where it is not, else a number of this file's text.

    The key of Triton's cache on disk knows a kernel's constants but not what rewrites its PTX: without this a kernel that an
    older rewriting made would be found there and launched.
    """
    return int(_digest()[:7], 16) | 1 if wide else 0


@contextmanager
def widened(kernel: str) -> Iterator[None]:
    """What Triton compiles in here under this name is widened; nothing else is touched.

    Triton's own hook for changing the stages of a compilation; it is no part of the key of its cache, so a kernel that is
    launched in here must have `stamp` as a constant.
    """
    from triton import knobs

    with _ONE:
        before = knobs.runtime.add_stages_inspection_hook
        knobs.runtime.add_stages_inspection_hook = _hook(kernel)
        try:
            yield
        finally:
            knobs.runtime.add_stages_inspection_hook = before


def _hook(kernel: str) -> Callable[..., Any]:
    def change(*given: Any) -> Any:
        if not given:  # a later Triton asks what to add to the key of its cache
            return (_digest(), _digest())
        stages = given[1]
        make = stages["ptx"]

        def make_wide(source: Any, metadata: Any) -> Any:
            ptx = make(source, metadata)
            return widen(ptx) if re.search(rf"\.entry {kernel}\(", ptx) else ptx

        stages["ptx"] = make_wide
        return None

    return change
