"""What two runs differ in, and what cannot be compared because of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.metrics.compare import compare_all
from profiler.metrics.compare_runs import CALL_TIME, MEMORY, TIME, Difference, differences, obstacles, unknown
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_ENVIRONMENT = {
    "device": "cuda",
    "gpu": {"name": "H100", "driver": "580"},
    "cpu": {"model": "Xeon"},
    "versions": {"torch": "2.11.0", "torchao": "0.18.0"},
}


def _run(environment=None, **spec):
    asked = RunSpec(**{"model": "flux-dev", "steps": 28, "height": 1024, "width": 1024, **spec}).to_dict()
    return Run(Path("none"), Manifest(spec=asked, environment=environment or _ENVIRONMENT))


BASE = _run()


def test_an_option_is_what_a_comparison_is_for():
    new = _run(scheme="int8wo", compile="regional")
    assert differences(new, BASE) == [
        Difference("scheme", "bf16", "int8wo", "option"),
        Difference("compile", "none", "regional", "option"),
    ]
    assert obstacles(new, BASE) == obstacles(new, BASE, MEMORY) == unknown(new, BASE) == []
    assert differences(BASE, BASE) == []


@pytest.mark.parametrize(
    ("changed", "what", "kind", "spoils"),
    [
        ({"batch": 4}, "batch", "work", {TIME, CALL_TIME, MEMORY}),
        ({"model": "flux-schnell"}, "model", "work", {TIME, CALL_TIME, MEMORY}),
        ({"width": 512}, "width", "work", {TIME, CALL_TIME, MEMORY}),
        ({"frames": 9}, "frames", "work", {TIME, CALL_TIME, MEMORY}),
        ({"steps": 50}, "steps", "work", {CALL_TIME}),
        ({"seed": 1}, "seed", "output", set()),
        ({"weights": "x"}, "weights", "output", set()),
        ({"trace_steps": 1}, "trace_steps", "measuring", set()),
        ({"guidance": 3.5}, "guidance", "output", {TIME, CALL_TIME, MEMORY}),
    ],
)
def test_other_work(changed, what, kind, spoils):
    (found,) = differences(_run(**changed), BASE)
    assert (found.what, found.kind, set(found.spoils)) == (what, kind, spoils)
    for each in (TIME, CALL_TIME, MEMORY):
        assert bool(obstacles(_run(**changed), BASE, each)) == (each in spoils)


def test_guidance_on_both_sides_is_no_other_work():
    (found,) = differences(_run(guidance=7.0), _run(guidance=3.5))
    assert found.spoils == ()


@pytest.mark.parametrize(
    ("environment", "what", "spoils"),
    [
        (_ENVIRONMENT | {"gpu": {"name": "A100", "driver": "580"}}, "GPU", True),
        (_ENVIRONMENT | {"gpu": {"name": "H100", "driver": "570"}}, "driver", False),
        (_ENVIRONMENT | {"versions": {"torch": "2.13.0", "torchao": "0.18.0"}}, "torch", True),
        (_ENVIRONMENT | {"versions": {"torch": "2.11.0", "torchao": "0.17.0"}}, "torchao", False),
        (_ENVIRONMENT | {"cpu": {"model": "Epyc"}}, None, False),
    ],
)
def test_another_machine(environment, what, spoils):
    new = _run(environment)
    assert [each.what for each in differences(new, BASE)] == ([what] if what else [])
    assert bool(obstacles(new, BASE)) == spoils


def test_what_spoils_comes_first():
    new = _run(_ENVIRONMENT | {"versions": {"torch": "2.13.0"}}, scheme="int8wo", batch=2)
    assert [each.what for each in differences(new, BASE)] == ["batch", "torch", "scheme"]


def test_a_cpu_is_compared_by_its_model():
    cpus = [_run({"device": "cpu", "cpu": {"model": name}, "versions": {"torch": "2"}}) for name in ("Xeon", "Epyc")]
    assert [each.what for each in obstacles(*cpus)] == ["CPU"]
    assert unknown(*cpus) == []
    assert {each.what for each in obstacles(cpus[0], BASE)} == {"device", "torch"}


def test_an_import_says_little_and_that_is_said():
    imported = Run(Path("none"), Manifest(kind="import"))
    assert differences(imported, BASE) == []
    assert unknown(imported, BASE) == ["model", "batch", "height", "width", "steps", "device", "GPU", "torch"]


def _own(name, *shapes, **spec):
    run = _run(model=f"mine:{name}", **spec)
    run.manifest.applied["linears"] = [{"module": "t.a", "in_features": k, "out_features": 8, "scheme": "left"} for k in shapes]
    return run


def test_two_functions_that_build_the_same_transformer_can_be_compared():
    before, after = _own("before", 8, 16), _own("after", 16, 8, scheme="int8wo")
    assert differences(after, before) == [
        Difference("model", "mine:before", "mine:after", "option"),
        Difference("scheme", "bf16", "int8wo", "option"),
    ]
    assert obstacles(_own("after", 8, 32), before)[0].what == "model", "another transformer"
    assert obstacles(_own("after"), _own("before"))[0].what == "model", "nothing is known of either"
    named = _own("after", 8, 16)
    named.manifest.spec["model"] = "flux-dev"
    assert obstacles(named, before)[0].what == "model", "a registered model is no variant of one's own"


@pytest.mark.parametrize(
    ("kind", "hint"), [("sweep", "name its cells"), ("tune", "diffuscope show"), ("explain", "diffuscope show")]
)
def test_what_holds_no_call_is_refused(kind, hint):
    run = Run(Path("other"), Manifest(kind=kind))
    for runs in ([BASE, run], [run, BASE]):
        with pytest.raises(UsageError, match=f"other is of kind {kind}: it holds no call of a pipeline") as caught:
            compare_all(runs)
        assert hint in caught.value.hint


def test_the_users_own_call_asked_for_nothing_but_steps():
    built = [_run(scheme="as built", steps=steps, seed=steps) for steps in (4, 8)]
    assert [each.what for each in differences(*built)] == ["steps"]
    assert unknown(*built) == ["batch", "height", "width"]


def test_an_older_run_was_at_the_defaults_of_later_fields():
    old = _run()
    del old.manifest.spec["quantize_vae"]
    assert differences(old, BASE) == []
    assert [each.what for each in differences(_run(quantize_vae=True), old)] == ["quantize_vae"]
