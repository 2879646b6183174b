"""What the compiler makes of the kernels for an H100: its own tensor cores and copy engine, memory as predicted, no spills."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.kernels import int_scaled_matmul_hopper, int_scaled_matmul_pointers, int_scaled_matmul_warpgroup
from profiler.kernels.candidate import Candidate, Shape

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here")

H100 = SimpleNamespace(device="cuda", capability=(9, 0))
# The three that a Flux step spends most on, and one of few rows.
SHAPES = [Shape(4608, 3072, 12288), Shape(4096, 3072, 3072), Shape(4608, 15360, 3072), Shape(512, 3072, 3072)]
WGMMA, TMA = r"wgmma\.mma_async\.sync\.aligned\.(m64n\d+k32)\.s32\.s8\.s8", r"cp\.async\.bulk\.tensor\.2d\.(shared|global)"


def some(space: Any) -> list[Candidate]:
    """One candidate of each block and each way to store it: those differ most in registers and shared memory."""
    kept: dict[tuple[Any, ...], Candidate] = {}
    for shape in SHAPES:
        for each in space.candidates(shape, H100):
            config = each.config
            key = (
                *(config.get(name) for name in ("block_m", "block_n", "parts", "flatten", "wide")),
                config.get("slices", 1) > 1,
            )
            kept.setdefault(key, each)
    return list(kept.values())


HOPPER, WARPGROUP = some(int_scaled_matmul_hopper), some(int_scaled_matmul_warpgroup)


def columns(candidate: Candidate) -> int:
    """Of an instruction."""
    return 256 if candidate.config["wide"] else min(128, candidate.config["block_n"])


def test_blocks_of_every_size_are_compiled_here():
    assert len(HOPPER) >= 10
    assert len(WARPGROUP) >= 8
    assert {each.config["slices"] > 1 for each in WARPGROUP} == {each.config["wide"] for each in HOPPER + WARPGROUP} == {0, 1}


@pytest.mark.parametrize("candidate", HOPPER, ids=lambda each: each.kernel)
def test_the_persistent_kernel_uses_what_hopper_has(candidate: Candidate):
    from compiled import compile_hopper

    made = compile_hopper(candidate.config)
    assert set(made.instructions(WGMMA)) == {f"m64n{columns(candidate)}k32"}
    assert set(made.instructions(TMA)) == {"shared", "global"}
    assert "mma.sync" not in made.ptx
    predicted = int_scaled_matmul_hopper.shared_bytes(dict(candidate.config))
    assert 0.97 * predicted <= made.shared_bytes <= predicted
    assert made.spilled == 0


@pytest.mark.parametrize("candidate", WARPGROUP, ids=lambda each: each.kernel)
def test_the_kernel_of_warpgroups_keeps_the_tensor_cores_fed(candidate: Candidate):
    from compiled import compile_warpgroup

    made = compile_warpgroup(candidate.config)
    assert set(made.instructions(WGMMA)) == {f"m64n{columns(candidate)}k32"}
    assert set(made.instructions(TMA)) == {"shared", "global"}
    # A step is issued while the one before runs: both warpgroups wait until at most 1 is left.
    assert made.instructions(r"wgmma\.wait_group\.sync\.aligned (\d)").count("1") == 2
    assert made.instructions(r"setmaxnreg\.(?:inc|dec)\.sync\.aligned\.u32\s+232") != []
    assert made.registers * 384 <= 65536
    predicted = int_scaled_matmul_warpgroup.shared_bytes(dict(candidate.config))
    assert 0.97 * predicted <= made.shared_bytes <= predicted
    # Of the epilogue, once a tile; the loop over K has none.
    assert made.spilled <= 256
    assert ("atom.global.gpu.acq_rel" in made.ptx) == (candidate.config["slices"] > 1)


def test_plain_pointers_reach_the_tensor_cores_too():
    from compiled import compile_pointers

    (candidate, *_) = int_scaled_matmul_pointers.candidates(SHAPES[0], H100)
    made = compile_pointers(candidate.config)
    assert made.instructions(WGMMA) != []
    assert made.instructions(TMA) == []
    assert made.spilled == 0
