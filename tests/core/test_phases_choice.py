"""The choice of phases and placement in a spec: its order, its refusals, and specs written before there was one."""

from __future__ import annotations

import pytest

from profiler.core.combinations import refuse_combination
from profiler.core.errors import UsageError
from profiler.core.spec import PHASES, RunSpec


def test_all_is_every_phase_and_a_choice_runs_in_their_order():
    assert RunSpec(model="m").wanted_phases == PHASES
    assert RunSpec(model="m", phases="memory,timed").wanted_phases == ("timed", "memory")


@pytest.mark.parametrize("phases", ["", "timed,", "load", "all,timed", "timed memory"])
def test_an_unknown_phase_is_named_with_those_there_are(phases: str):
    with pytest.raises(UsageError, match="names no phase") as caught:
        refuse_combination(RunSpec(model="m", phases=phases), quantizes=False)
    assert caught.value.hint == "choose from: timed, traced, places, memory, or all"


def test_a_placement_goes_through_json_and_counts_in_the_hash():
    spec = RunSpec(model="m", offload="group", vae_tiling=True, vae_slicing=True, phases="timed")
    assert RunSpec.from_dict(spec.to_dict()) == spec
    fields = {"offload": "model", "vae_tiling": True, "vae_slicing": True, "phases": "timed"}
    assert len({RunSpec(model="m", **{name: value}).hash for name, value in fields.items()} | {RunSpec(model="m").hash}) == 5


def test_a_spec_from_before_placement_kept_everything_on_the_device():
    old = {key: value for key, value in RunSpec(model="m").to_dict().items() if key not in ("offload", "vae_tiling", "phases")}
    spec = RunSpec.from_dict(old)
    assert (spec.offload, spec.vae_tiling, spec.wanted_phases) == ("none", False, PHASES)
