"""Kernels for shapes that no table holds: those of the nearest one, if they take the shape."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul import candidates
from profiler.kernels.nearest import find_nearest
from profiler.kernels.tuned import Entry, TableKey, read_table, shipped_tables

H100 = SimpleNamespace(device="cuda", capability=(9, 0), multiprocessors=132)


def entries(*shapes: Shape, **slow: float) -> dict[Shape, Entry]:
    return {each: Entry(kernel=f"cpu:{each}", us=2.0, untuned_us=slow.get(f"m{each.m}", 3.0)) for each in shapes}


def origin(shape: Shape, held: dict[Shape, Entry], but: tuple[Shape, ...] = ()) -> Shape | None:
    """The shape whose kernel is taken, where all take it except those of some."""
    fitting = {entry.kernel for each, entry in held.items() if each not in but}
    found = find_nearest([shape], held, lambda _: fitting)
    assert set(found) <= {shape}
    assert all(entry is held[near] for near, entry in found.values())
    return found[shape][0] if found else None


def test_of_the_same_weight_the_nearest_rows_by_their_ratio():
    held = entries(Shape(512, 64, 64), Shape(4096, 64, 64), Shape(2000, 64, 128))
    assert origin(Shape(1400, 64, 64), held) == Shape(512, 64, 64)
    assert origin(Shape(1500, 64, 64), held) == Shape(4096, 64, 64)
    assert origin(Shape(99999, 64, 64), held) == Shape(4096, 64, 64)


def test_of_two_as_near_the_smaller_whatever_the_order():
    small, large = Shape(100, 64, 64), Shape(400, 64, 64)
    assert origin(Shape(200, 64, 64), entries(small, large)) == origin(Shape(200, 64, 64), entries(large, small)) == small


def test_another_weight_only_where_none_of_the_same_takes_it():
    same, other, far = Shape(4096, 64, 64), Shape(512, 64, 128), Shape(512, 64, 4096)
    held = entries(same, far, other)
    assert origin(Shape(512, 64, 64), held) == same
    assert origin(Shape(512, 64, 64), held, but=(same,)) == other
    assert origin(Shape(512, 64, 64), held, but=(same, other)) == far
    assert origin(Shape(512, 64, 64), held, but=(same, other, far)) is None


def test_a_kernel_that_did_not_pay_is_not_handed_on():
    near, far = Shape(512, 64, 64), Shape(4096, 64, 64)
    assert origin(Shape(500, 64, 64), entries(near, far, m512=1.0)) == far


def test_a_shape_of_its_own_entry_needs_no_other_even_if_that_did_not_pay():
    held = entries(Shape(512, 64, 64), Shape(4096, 64, 64), m512=1.0)
    assert origin(Shape(512, 64, 64), held) is None
    assert find_nearest([Shape(512, 64, 64)], {}, lambda _: {"any"}) == {}


@pytest.mark.parametrize(
    ("shape", "near"),
    {
        Shape(18432, 3072, 12288): Shape(4608, 3072, 12288),  # four images
        Shape(1024, 3072, 12288): Shape(512, 3072, 12288),  # the picture at 512 pixels
        Shape(35552, 3072, 3072): Shape(4608, 3072, 3072),  # CogVideoX
        Shape(4608, 3072, 9216): Shape(4608, 3072, 12288),  # Q, K and V in one
    }.items(),
    ids=str,
)
def test_shipped_kernels_are_handed_on_to_other_sizes(shape: Shape, near: Shape):
    key = TableKey(device="NVIDIA H100 80GB HBM3", torch="2.11.0+cu130", triton="3.6.0")
    held = {shape: entry for path in shipped_tables() for shape, entry in read_table(path).find(key).items()}
    # As if the tables held Flux's shapes at one image alone, Q, K and V apart.
    held = {each: entry for each, entry in held.items() if each.m in (512, 4096, 4608) and each.n != 9216}
    found = find_nearest([shape], held, lambda each: {one.kernel for one in candidates(each, H100)})
    assert found[shape][0] == near
    assert found[shape][1].kernel in {each.kernel for each in candidates(shape, H100)}
