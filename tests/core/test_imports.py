"""Importing with the garbage collector off: it is as before afterwards, however the import ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from profiler.core.imports import uncollected


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    on = gc.isenabled()
    yield
    gc.enable() if on else gc.disable()


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_off_inside_and_as_it_was_afterwards(on: bool):
    gc.enable() if on else gc.disable()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() is on
    with pytest.raises(ModuleNotFoundError), uncollected():
        import no_such_module_of_mine  # noqa: F401
    assert gc.isenabled() is on


def test_what_is_kept_is_looked_through_no_more():
    before = gc.get_freeze_count()
    with uncollected():
        made = [[each] for each in range(1000)]
    assert gc.get_freeze_count() == before
    with uncollected(keep=True):
        pass
    assert gc.get_freeze_count() >= before + len(made)
