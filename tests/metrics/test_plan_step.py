"""A step of parts, the clock that the power limit allows, and the range."""

from __future__ import annotations

import math
from typing import Any

import pytest

from profiler.metrics.plan_products import Part
from profiler.metrics.plan_step import PARTS, Rest, clock_of, step_of


def rest(share: float | None = None, **more: Any) -> Rest:
    parts = {"attention": Part(20.0, 18.0, 22.0), "elementwise": Part(30.0, 30.0, 30.0), "idle": Part(2.0, 1.0, 4.0)}
    return Rest(**{**parts, "share": share, **more})


def cost(us: float, moving: float = 0.0, **more: Any) -> dict[str, Any]:
    shape = {"rows": 32, "in_features": 64, "out_features": 128}
    exact = shape | {"product_us": [us, us, us], "moving_us": [moving, moving, moving]}
    return exact | {"host_us": [0.0, 0.0, 0.0], "on_cores": True, "kernels": 0} | more


def test_parts_add_up_and_the_range_is_that_of_independent_parts():
    found = step_of(rest(), [(10, cost(4.0, 0.5)), (2, cost(1.0, on_cores=False))])
    assert found.parts == {"products": 42.0, "attention": 20.0, "elementwise": 30.0, "quantizing": 5.0, "idle": 2.0}
    assert tuple(found.parts) == PARTS
    assert (found.us, found.clock) == (99.0, 1.0)
    assert found.shapes == {"32x64x128": (42.0, 12)}
    assert found.us - found.low_us == pytest.approx(math.hypot(2.0, 1.0))
    assert found.high_us - found.us == pytest.approx(math.hypot(2.0, 2.0))


def test_added_kernels_add_gaps():
    found = step_of(rest(gap_us=1.5), [(10, cost(4.0, kernels=2))])
    assert found.parts["idle"] == 2.0 + 10 * 2 * 1.5


def test_kernels_that_come_faster_than_the_host_launches_them_wait_for_it():
    slow = rest(kernels=80.0, launch_us=Part(2.0, 1.0, 4.0))
    assert step_of(slow, [(10, cost(4.0))]).parts["idle"] == 160.0 - 90.0
    more = step_of(slow, [(10, cost(4.0, kernels=2))])
    assert more.us == 2.0 * (80 + 20)
    assert more.high_us == pytest.approx(more.us + 200.0, rel=0.01)
    assert step_of(rest(kernels=80.0, launch_us=Part(1.0, 0.5, 2.0)), [(10, cost(4.0))]).parts["idle"] == 2.0


def test_at_the_power_limit_cores_slow_down_as_their_share_grows():
    # As in the run: 50 of 100 us on cores.
    same = step_of(rest(0.5, elementwise=Part(48.0, 48.0, 48.0)), [(10, cost(3.0))])
    assert same.clock == pytest.approx(1.0, abs=1e-6)
    # Elementwise kernels that went away leave cores most of the step.
    denser = step_of(rest(0.5), [(10, cost(6.0))])
    share = (denser.parts["products"] + denser.parts["attention"]) / denser.us
    assert share > 0.7
    assert denser.clock == pytest.approx(clock_of(0.5, share), rel=1e-6)
    assert denser.clock < 1
    assert denser.parts["products"] == pytest.approx(60.0 / denser.clock)
    # From no slowing down at all, to power that only cores need.
    assert denser.low_us < 112.0 <= denser.us < denser.high_us


def test_power_is_clock_cubed():
    # Twice the time on cores at the same power, where nothing else needs any.
    assert clock_of(0.4, 0.8, quiet=0.0) == pytest.approx(2 ** (-1 / 3))
    assert clock_of(0.4, 0.8, quiet=1.0) == 1.0


def test_a_product_that_the_host_is_slow_with_makes_the_device_wait():
    found = step_of(rest(), [(10, cost(4.0, host_us=[600.0, 400.0, 900.0]))])
    assert found.us == pytest.approx(6000.0)
    assert found.parts["idle"] == pytest.approx(6000.0 - 90.0)
    assert found.low_us < 4010.0
    assert found.high_us > 8990.0
    # What the device does takes longer: the host is ahead.
    assert step_of(rest(), [(10, cost(4.0, host_us=[8.0, 8.0, 8.0]))]).parts["idle"] == 2.0
