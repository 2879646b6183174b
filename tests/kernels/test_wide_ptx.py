"""Pairs of 128 columns become instructions of 256; what is not exactly such a pair is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.kernels.wide_ptx import widen, widened

A, B = 4611686293305294848, 4611686293305294848


def instruction(first: int, a: str, b: str, accumulate: str = "%p1") -> str:
    sums = ",".join(f"%r{first + i}" for i in range(64))
    return f"\twgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {{{sums}}}, {a}, {b}, {accumulate};\n"


def group(
    *, right_a: str = "%rd11", right_sums: int = 200, apart: int = 1024, base: str = "%rd1", accumulate: str = "%p1"
) -> str:
    """Two steps of K in PTX, as Triton 3.6 writes them: left columns of both steps, then right ones."""
    lines = ["\twgmma.fence.sync.aligned;\n"]
    for step, (a, b) in enumerate((("%rd10", "%rd20"), ("%rd11", "%rd21"))):
        lines += [f"\tor.b64 \t{a}, %rd0, {A + 2 * step};\n", f"\tadd.s64 \t{b}, %rd1, {B + 2 * step};\n"]
        lines += ["\t// begin inline asm\n", instruction(100, a, b, "%p1" if step == 0 else "%p2"), "\t// end inline asm\n"]
    for step, (a, b) in enumerate((("%rd10", "%rd30"), (right_a, "%rd31"))):
        lines += [f"\tadd.s64 \t{b}, {base}, {B + 2 * step + apart};\n"]
        lines += [instruction(right_sums, a, b, accumulate if step == 0 else "%p2")]
    return "".join([*lines, "\twgmma.commit_group.sync.aligned;\n\twgmma.wait_group.sync.aligned 1;\n"])


def test_a_pair_is_one():
    wide = widen(group() + group().replace("%rd", "%rd9"))
    assert wide.count("m64n256k32") == 4
    assert "m64n128k32" not in wide
    sums = ",".join(f"%r{i}" for i in (*range(100, 164), *range(200, 264)))
    assert f"\twgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {{{sums}}}, %rd10, %rd20, %p1;\n" in wide
    assert f"\twgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {{{sums}}}, %rd11, %rd21, %p2;\n" in wide


def test_nothing_else_is_touched():
    kept = [line for line in group().splitlines() if "mma_async" not in line]
    assert [line for line in widen(group()).splitlines() if "mma_async" not in line] == kept


@pytest.mark.parametrize(
    ("ptx", "why"),
    [
        ("\tret;\n", "no int8 instructions"),
        (group(right_a="%rd10"), "differ in more than their columns"),
        (group(accumulate="%p3"), "differ in more than their columns"),
        (group(right_sums=163), "differ in more than their columns"),
        (group(apart=2048), "not of neighbouring columns"),
        (group(apart=-1024), "not of neighbouring columns"),
        (group(base="%rd2"), "not of neighbouring columns"),
        (group() + f"\tadd.s64 \t%rd20, %rd1, {B};\n", "no descriptor that is set once"),
        (group().replace("\twgmma.commit", instruction(300, "%rd10", "%rd20") + "\twgmma.commit"), "5 instructions"),
        (group().replace("k32.s32.s8.s8 {%r100", "k32.s32.s8.s8  {%r100", 1), "3 instructions"),
        (group() + "\t@%p9 wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {%r1}, %rd1, %rd2, %p1;\n", "were left"),
        (group().replace("k32.s32.s8.s8", "k32.f32.e4m3.e4m3"), "no int8 instructions"),
    ],
)
def test_what_is_no_pair_is_refused(ptx: str, why: str):
    with pytest.raises(ValueError, match=why):
        widen(ptx)


def test_only_the_kernel_of_that_name_and_only_in_here(monkeypatch: pytest.MonkeyPatch):
    runtime: Any = SimpleNamespace(add_stages_inspection_hook=None)
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(knobs=SimpleNamespace(runtime=runtime)))

    def compiled(entry: str) -> str:
        stages = {"ptx": lambda source, _metadata: f".visible .entry {entry}(\n" + source}
        runtime.add_stages_inspection_hook("backend", stages, "options", "language", 90)
        return str(stages["ptx"](group(), {}))

    with pytest.raises(KeyError), widened("ours"):
        assert "m64n256k32" in compiled("ours")
        assert "m64n256k32" not in compiled("ours_too")
        raise KeyError
    assert runtime.add_stages_inspection_hook is None
