"""The Pareto front against brute force, and what is held against what."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.metrics.sweep_front import front, groups

# Few values, so that equal points and ties on one axis are common.
_POINT = st.tuples(*[st.integers(0, 4).map(float)] * 3)


def beaten(point: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """By the definition: nowhere worse, somewhere better."""
    return all(b <= a for a, b in zip(point, other, strict=True)) and any(b < a for a, b in zip(point, other, strict=True))


@settings(max_examples=300, deadline=None)
@given(st.lists(_POINT, max_size=14))
def test_the_front_is_what_brute_force_finds(points):
    assert front(points) == [index for index, each in enumerate(points) if not any(beaten(each, other) for other in points)]


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)), min_size=1, max_size=10))
def test_with_any_numbers_the_front_is_never_empty_and_beats_the_rest(points):
    found = front(points)
    assert points.index(min(points)) in found
    for index, point in enumerate(points):
        assert index in found or any(beaten(point, points[each]) for each in found)


def row(name: str, time_s: float | None = 1.0, peak: float | None = 10.0, sqnr: float | None = 20.0, **more):
    base = {"status": "ok", "model": "m", "gpu": "g", "batch_size": 1, "steps": 4, "height": 8, "width": 8, "frames": None}
    sizes = {"inference_peak_gib": peak, "model_memory_gib": None if peak is None else peak - 1}
    return base | sizes | {"id": name, "time_s": time_s, "sqnr_db": sqnr, "base": "bf16"} | more


def test_three_axes_and_the_base_is_as_good_as_can_be():
    rows = [
        row("bf16", 5.0, 30.0, math.inf, base="bf16"),
        row("fast", 1.0, 20.0, 10.0),
        row("small", 3.0, 10.0, 9.0),
        row("true", 4.0, 25.0, 40.0),
        row("worse", 4.0, 26.0, 39.0),
        row("twin", 1.0, 20.0, 10.0),
    ]
    (group,) = groups(rows)
    assert group.front == ["fast", "twin", "small", "true", "bf16"]
    assert (group.memory, group.quality, group.left_out) == ("inference_peak_gib", True, {})


def test_other_work_is_held_apart_and_what_has_no_time_is_not_there():
    rows = [row("a"), row("b4", 9.0, batch_size=4), row("long", 9.0, steps=8), row("oom", status="oom"), row("untimed", None)]
    # CogVideoX at a guidance of 1 runs half the batch.
    rows.append(row("unguided", 0.5, guidance=1.0))
    found = groups(rows)
    assert [(group.ids, group.front) for group in found] == [([each], [each]) for each in ("a", "b4", "long", "unguided")]
    assert found[1].work == {
        "model": "m",
        "gpu": "g",
        "batch_size": 4,
        "steps": 4,
        "height": 8,
        "width": 8,
        "frames": None,
        "guidance": None,
    }


def test_a_cell_without_an_axis_is_left_out_and_named():
    rows = [
        row("bf16", sqnr=math.inf),
        row("a"),
        row("dumb", 0.5, sqnr=None),
        row("other", 0.5, sqnr=None, quality_note="seed is 1 here"),
        row("nan", 0.1, sqnr=-math.inf),
    ]
    (group,) = groups(rows)
    assert group.left_out == {"dumb": "no SQNR", "other": "no SQNR (seed is 1 here)", "nan": "its output is not finite"}
    assert group.front == ["bf16"]


def test_an_axis_that_nothing_has_is_none():
    (group,) = groups([row("bf16", 2.0, None, math.inf, base="bf16"), row("b", 1.0, None, None)])
    assert (group.memory, group.quality, group.front) == ("", False, ["b"])


def test_model_memory_stands_in_where_a_peak_is_missing():
    rows = [row("a", inference_peak_gib=None, model_memory_gib=3.0, sqnr=None), row("b", 2.0, 10.0, None)]
    (group,) = groups(rows)
    assert (group.memory, group.front) == ("model_memory_gib", ["a"])
