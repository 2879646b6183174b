"""A recording of the tiny Flux with packed weights: what the run directory says of them."""

from __future__ import annotations

import pytest
from processes import QUICK, Recorded, recorded, show


@pytest.fixture(scope="module")
def run() -> Recorded:
    return recorded("flux-tiny", *QUICK, "--scheme", "fp6_e3m2")


def test_it_ended_well_and_lists_every_linear(run: Recorded):
    assert run.done.returncode == 0, run.done.stderr
    assert (run.manifest["status"], run.manifest["lost"]) == ("ok", [])
    linears = run.manifest["applied"]["linears"]
    assert [(each["scheme"], each["reason"]) for each in linears] == [("fp6_e3m2", "")] * 50
    assert show(run.path)["status"] == "ok"


def test_six_bits_a_weight_are_stored(run: Recorded):
    linears = run.manifest["applied"]["linears"]
    weights = sum(each["in_features"] * each["out_features"] for each in linears)
    stored = run.manifest["applied"]["weight_bytes"]
    assert stored["transformer/quantized data/int32"] == weights * 6 / 8
    assert stored["transformer/scale/bfloat16"] == 2 * sum(each["out_features"] for each in linears)
