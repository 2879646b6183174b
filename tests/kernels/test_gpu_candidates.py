"""What the spaces of a GPU offer for a shape: pruned by alignment, shared memory and registers before anything compiles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.kernels import (
    blocks,
    int_scaled_matmul_cublaslt,
    int_scaled_matmul_hopper,
    int_scaled_matmul_pointers,
    int_scaled_matmul_torchao,
    int_scaled_matmul_warpgroup,
)
from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul import SPACES, candidates

SPACE_MODULES: dict[str, Any] = {
    each.SPACE: each
    for each in (
        int_scaled_matmul_warpgroup,
        int_scaled_matmul_hopper,
        int_scaled_matmul_pointers,
        int_scaled_matmul_torchao,
        int_scaled_matmul_cublaslt,
    )
}
FLUX = [
    Shape(4608, 3072, 12288),
    Shape(4096, 3072, 3072),
    Shape(4608, 15360, 3072),
    Shape(512, 3072, 3072),
    Shape(512, 12288, 3072),
]


def gpu(capability: tuple[int, int] | None = (9, 0), device: str = "cuda", **more: Any) -> Any:
    return SimpleNamespace(device=device, capability=capability, **more)


def names(space: str, shape: Shape, hardware: Any = None) -> list[str]:
    return [each.kernel for each in SPACE_MODULES[space].candidates(shape, hardware or gpu())]


def test_every_space_of_a_gpu_is_listed():
    assert set(SPACES["cuda"]) == set(SPACE_MODULES)
    assert {each.space for each in candidates(FLUX[0], gpu())} == set(SPACE_MODULES)


@pytest.mark.parametrize("shape", FLUX, ids=str)
def test_a_search_of_flux_stays_small(shape: Shape):
    found = candidates(shape, gpu())
    assert 100 < len(found) < 300
    assert len({each.kernel for each in found}) == len(found)


@pytest.mark.parametrize("space", ["warpgroup", "hopper", "pointers", "torchao"])
def test_a_name_holds_its_configuration(space: str):
    for each in SPACE_MODULES[space].candidates(FLUX[0], gpu()):
        assert blocks.config_of(each.kernel) == each.config
        assert each.kernel.startswith(f"{space}:")


@pytest.mark.parametrize(
    "name", ["hopper:", "hopper:stages", "hopper:stages=", "hopper:stages=x", "hopper:=4", "hopper:stages=-4"]
)
def test_a_name_without_one_is_refused(name: str):
    with pytest.raises(ValueError, match="names no configuration"):
        blocks.config_of(name)


@given(
    m=st.integers(1, 9000),
    k=st.integers(1, 1200),
    n=st.integers(1, 1200),
    capability=st.sampled_from([(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (7, 5)]),
)
def test_all_fit_the_gpu(m: int, k: int, n: int, capability: tuple[int, int]):
    limit = blocks.shared_limit(capability)
    for each in candidates(Shape(m, k, n), gpu(capability)):
        if each.space == "cublaslt":
            assert m > 16
            assert k % 8 == n % 8 == 0
            continue
        warps = 8 if each.space == "warpgroup" else each.config["warps"]
        assert capability >= (8, 0)
        assert blocks.ring_bytes(each.config) <= limit
        assert blocks.sums_a_thread(each.config, warps) <= 128
        if each.space in ("warpgroup", "hopper"):
            assert capability == (9, 0)
            assert k % 16 == 0
            assert n % 8 == 0
            assert SPACE_MODULES[each.space].shared_bytes(each.config) <= 227 * 1024


def test_rows_that_the_copy_engine_cannot_read_leave_pointers():
    assert names("hopper", Shape(4096, 3080, 3072)) == names("warpgroup", Shape(4096, 3080, 3072)) == []
    assert names("hopper", Shape(4096, 3072, 3076)) == names("warpgroup", Shape(4096, 3072, 3076)) == []
    # Where the engine can read them, plain loads are tried in a few forms only.
    assert len(names("pointers", Shape(4096, 3080, 3072))) > 3 * len(names("pointers", Shape(4096, 3072, 3072))) > 0


def test_torchao_lists_960_and_its_fault_is_fenced_off():
    every = int_scaled_matmul_torchao.every_config()
    assert len(every) == len({tuple(each.values()) for each in every}) == 960
    # 3072 + 64 is no multiple of 128: a block of 128 or 256 would read past the rows.
    left = int_scaled_matmul_torchao.candidates(Shape(4096, 3136, 3072), gpu())
    assert {each.config["block_k"] for each in left} == {64}
    assert {each.config["block_k"] for each in int_scaled_matmul_torchao.candidates(FLUX[1], gpu())} == {64, 128, 256}
    assert int_scaled_matmul_torchao.candidates(Shape(4096, 3080, 3072), gpu()) == []
    # Where K is odd the kernel does mask.
    assert int_scaled_matmul_torchao.right(Shape(64, 67, 64), {"block_k": 32})


def test_torchao_counts_what_fits_as_it_was_counted():
    fit = [each for each in int_scaled_matmul_torchao.every_config() if blocks.ring_bytes(each) <= blocks.shared_limit((9, 0))]
    assert len(fit) == 858


def test_a_tail_is_cut_along_k_only_where_it_leaves_the_gpu_idle():
    cut = int_scaled_matmul_warpgroup.cut
    # 4608 x 15360 x 3072 in 128 x 256: 432 tiles are 3 waves of 132 and 36 more, so up to 3 programs for each of those.
    assert [cut(432, 120, 132, slices) for slices in (1, 2, 3, 4)] == [432, 396, 396, 432]
    assert cut(384, 24, 132, 2) == 384, "120 of 132 are busy: nothing to share"
    assert cut(264, 24, 132, 4) == 264, "no tail"
    assert cut(12, 8, 132, 2) == 0
    assert cut(12, 7, 132, 2) == 12, "a piece has at least 4 steps"


@given(tiles=st.integers(1, 5000), steps=st.integers(1, 200), programs=st.integers(1, 264), slices=st.integers(1, 16))
def test_the_cut_covers_all_tiles(tiles: int, steps: int, programs: int, slices: int):
    whole = int_scaled_matmul_warpgroup.cut(tiles, steps, programs, slices)
    if whole != tiles:
        assert whole == tiles // programs * programs
        assert (tiles - whole) * slices <= programs, "nobody has two pieces"
        assert 1 < slices <= steps / 4


def test_only_slices_that_cut_something_are_candidates():
    def sliced(shape: Shape, hardware: Any) -> set[int]:
        found = int_scaled_matmul_warpgroup.candidates(shape, hardware)
        return {each.config["slices"] for each in found if each.config["block_n"] == 256}

    assert sliced(Shape(4096, 3072, 3072), gpu()) == {1}
    assert sliced(Shape(4608, 15360, 3072), gpu()) == {1, 2, 3}
    assert sliced(Shape(4608, 3072, 12288), gpu()) == {1, 2, 3, 4}
    assert sliced(Shape(4608, 15360, 3072), gpu(multiprocessors=144)) == {1}


def test_small_blocks_only_where_large_ones_leave_the_gpu_idle():
    large = [each.config for each in candidates(FLUX[0], gpu()) if each.config]
    small = [each.config for each in candidates(Shape(512, 3072, 3072), gpu()) if each.config]
    assert min(each["block_m"] * each["block_n"] for each in large) == 128 * 128
    assert min(each["block_m"] * each["block_n"] for each in small) < 128 * 128
    few_rows = [each.config for each in candidates(Shape(20, 3072, 3072), gpu()) if each.config]
    assert max(each["block_m"] for each in few_rows) < 64


def test_a_cpu_and_an_old_gpu_have_no_gpu_candidates():
    assert [names(space, FLUX[0], gpu(None)) for space in SPACE_MODULES] == [[]] * len(SPACE_MODULES)
    assert {each.space for each in candidates(FLUX[0], gpu((7, 5)))} == {"cublaslt"}
