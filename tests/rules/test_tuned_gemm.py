"""Int8 products on old kernels: what tuned ones would save, from a table or from the GPU's own limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import ROOT
from small_runs import busy, only

from profiler.core.product import Shape
from profiler.metrics.tuned_estimate import tuned_estimate
from profiler.rundir import tuned_table
from profiler.rundir.manifest import Manifest
from profiler.rundir.reader import read_manifest

INT8 = "void cutlass::Kernel2<cutlass_80_tensorop_i16832gemm_s8_128x64_128x3_tn_align16>(cutlass_80::Params)"
KEY = {"device": "NVIDIA H100", "torch": "2.11.0+cu130", "triton": "3.6.0", "kernels": tuned_table.KERNEL_VERSION}
ENVIRONMENT = {"gpu": {"name": "NVIDIA H100", "capability": [9, 0]}, "versions": {"torch": "2.11.0", "triton": "3.6.0"}}
# 10^9 bytes a second are a byte a ns; 2 * 1024 * 1000 * 1000 operations at 2048 TOPS are 1000 ns.
CEILINGS = {"int8_tops": 1000.0, "fp8_tflops": 2048.0, "copy_gbs": 1000.0}
SHAPE, OTHER = Shape(1024, 1000, 1000), Shape(2048, 1000, 1000)
SPEC = {"model": "flux-dev", "scheme": "int8dq", "batch": 2, "height": 512, "width": 512}


def linears(*shapes: Shape, kernel: str | None = None, scheme: str = "int8dq") -> dict[str, object]:
    rows = [{"rows": m, "in_features": k, "out_features": n} for m, k, n in shapes]
    return {"linears": [each | {"module": "m", "scheme": scheme, "kernel": kernel} for each in rows]}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's table, not there yet; nothing is shipped."""
    monkeypatch.setattr(tuned_table, "_SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    return tmp_path / "own.json"


def tuned(path: Path, key: dict[str, object] = KEY, **us: float) -> None:
    entries = {name: {"kernel": "warpgroup:a=1", "us": value, "untuned_us": 500.0} for name, value in us.items()}
    path.write_text(json.dumps({"version": 1, "sections": [{"key": key, "entries": entries}]}))


def finding(run_with, environment=ENVIRONMENT, **manifest):
    run = run_with(busy([(INT8, 600), ("nvjet_sm90_x", 399)]), environment=environment, spec=SPEC, **manifest)
    return only(run, "old-architecture-gemm")


def test_from_a_table_of_this_gpu(run_with, own: Path):
    tuned(own, **{str(SHAPE): 100.0})
    each = finding(run_with, applied=linears(SHAPE, SHAPE))
    # Two products of 100 us: 190 to 220 us of the 600.
    assert (each.saving_low_ns, each.saving_high_ns) == (pytest.approx(380_000), pytest.approx(410_000))
    assert each.finding.evidence[0] == "tuned, these products take 0.2 to 0.2 ms a step: as measured in own.json"
    assert each.finding.change == "record it with --tuned auto: own.json has kernels of these shapes for this GPU"


def test_from_the_limit_of_this_gpu(run_with):
    each = finding(run_with, ENVIRONMENT | {"ceilings": CEILINGS}, applied=linears(SHAPE, SHAPE))
    # Two products of 1 us at the fp8 rate, or 0.7 of it; 2 * 1024 * 1000 outputs spare up to 6 bytes each.
    assert each.saving_low_ns == pytest.approx(600_000 - 2000 / 0.7)
    assert each.saving_high_ns == pytest.approx(600_000 - 2000 + 2 * 1024 * 1000 * 6 / 1000)
    assert "`diffuscope tune flux-dev --batch 2 --size 512` finds int8 kernels" in each.finding.change
    assert "fp8dqrow" in each.finding.change


def test_a_shape_that_the_table_lacks_is_held_against_the_limit(run_with, own: Path):
    tuned(own, **{str(SHAPE): 100.0})
    each = finding(run_with, ENVIRONMENT | {"ceilings": CEILINGS | {"copy_gbs": 0.0}}, applied=linears(SHAPE, OTHER))
    assert each.saving_high_ns == pytest.approx(600_000 - 95_000 - 2000)
    assert "own.json for 1 of 2 shapes, the others at the rate" in each.finding.evidence[0]
    assert each.finding.change.startswith("`diffuscope tune flux-dev")


FOREIGN = {
    "another GPU": {"device": "NVIDIA H200"},
    "another torch": {"torch": "2.13.0+cu130"},
    "another Triton": {"triton": "3.7.0"},
    "other kernels": {"kernels": tuned_table.KERNEL_VERSION + 1},
}


@pytest.mark.parametrize("change", FOREIGN)
def test_a_table_of_something_else_says_nothing(own: Path, change: str):
    tuned(own, KEY | FOREIGN[change], **{str(SHAPE): 100.0})
    manifest = Manifest(environment=ENVIRONMENT | {"ceilings": CEILINGS}, applied=linears(SHAPE))
    found = tuned_estimate(manifest)
    assert found is not None and (found.table, found.known, found.shapes) == (None, 0, 1)


def test_without_a_table_and_a_limit_there_is_no_estimate(own: Path):
    assert tuned_estimate(Manifest(environment=ENVIRONMENT, applied=linears(SHAPE))) is None
    own.write_text("{")
    assert tuned_estimate(Manifest(environment=ENVIRONMENT, applied=linears(SHAPE))) is None


@pytest.mark.parametrize("applied", [{}, linears(SHAPE, kernel="warpgroup:a=1"), linears(SHAPE, scheme="int8wo")], ids=str)
def test_only_untuned_int8_products_are_estimated(own: Path, applied: dict[str, object]):
    tuned(own, **{str(SHAPE): 100.0})
    assert tuned_estimate(Manifest(environment=ENVIRONMENT, applied=applied)) is None


def test_flux_takes_as_long_as_the_shipped_table_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuned_table, "_SHIPPED", ROOT / "profiler" / "kernels" / "shipped")
    found = tuned_estimate(read_manifest(ROOT / "traces" / "flux-dev-int8dq-regional"))
    assert found is not None and found.table is not None
    assert (found.table.name, found.known, found.shapes) == ("h100.json", 9, 9)
    # Recorded later with these kernels: 42.5 ms of int8 products a step, and the step 98.1 ms instead of 149.9, of which the
    # products were 81.4.
    assert found.products[0] < 42.5e6 < found.products[1]
    saved = (81.4e6 - found.products[1] + found.scaling[0], 81.4e6 - found.products[0] + found.scaling[1])
    assert saved[0] < 149.9e6 - 98.1e6 < saved[1]


def test_products_faster_than_tuned_ones_save_nothing(run_with, own: Path):
    tuned(own, **{str(SHAPE): 400.0})
    each = finding(run_with, applied=linears(SHAPE, SHAPE))
    assert (each.saving_low_ns, each.saving_high_ns) == (0.0, 0.0)
