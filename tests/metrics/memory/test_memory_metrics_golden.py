"""The kept H100 runs: to the byte what the allocator counted, every byte told apart."""

from __future__ import annotations

import polars as pl
import pytest
from kept_runs import TRACES, kept_run

from profiler.metrics.memory import CATEGORIES, allocations, growth, peak, study, timeline
from profiler.metrics.memory.timeline import BY
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_RECORDED = [
    each.parent.parent.name
    for kind in ("flux-dev", "cogvideox-5b")
    for each in sorted(TRACES.glob(f"{kind}-*/rank0/weights.json"))
]
_PARTS = ("memory", "load")


@pytest.fixture(scope="module")
def runs():
    """The kept runs, each read once."""
    return {name: kept_run(name) for name in _RECORDED}


def _counted(run, part):
    names = ("memory",) if part == "memory" else ("load", "quantize", "warmup")
    return max(run.manifest.phase(name).peak_requested_bytes for name in names)


@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("name", _RECORDED)
def test_the_peak_is_the_allocators_own_to_the_byte(name, part, runs):
    found = peak(runs[name], part=part)
    assert found.requested_bytes == found.counted_bytes == _counted(runs[name], part)
    assert found.lower_bound == ""
    assert study(runs[name], part=part).problems == {}
    for sums in (found.by_category, found.by_component, found.by_role):
        assert sum(sums.values()) == found.requested_bytes
    assert 0 <= found.rounding_bytes <= 0.001 * found.allocated_bytes


@pytest.mark.skipif(not (TRACES / "flux-dev-batch64-oom").is_dir(), reason="no kept run out of memory in traces/")
def test_a_run_that_died_shows_all_until_then():
    found = peak(kept_run("flux-dev-batch64-oom"))
    assert found.requested_bytes == found.counted_bytes == 64_887_205_950
    assert (found.window, found.unresolved_bytes) == ("warmup", 0)


@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("name", _RECORDED)
def test_nothing_at_the_peak_is_unresolved(name, part, runs):
    found = peak(runs[name], part=part)
    assert found.unresolved_bytes <= 0.01 * found.requested_bytes
    assert set(found.by_category) <= set(CATEGORIES)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("name", _RECORDED)
def test_labels_sum_to_the_live_bytes_at_every_event(name, part, by, runs):
    """Against the events themselves: what lived before, and each allocation and completed free, added up."""
    run = runs[name]
    snapshot = run.snapshot(0, f"memory{'' if part == 'memory' else '_load'}.pickle.gz")
    size, action = pl.col("size_bytes").cast(pl.Int64), pl.col("action").cast(pl.String)
    delta = pl.when(action == "alloc").then(size).when(action == "free_completed").then(-size).otherwise(0)
    events = snapshot.frame("events").select(pl.col("index").cast(pl.Int64), delta.cum_sum().alias("live_bytes"))
    active = pl.col("state").cast(pl.String) != "inactive"
    end = snapshot.frame("blocks").filter(active)["requested_bytes"].cast(pl.Int64).sum()
    expected = events.with_columns(pl.col("live_bytes") + end - events["live_bytes"][-1])
    changes = timeline(run, part=part, by=by).frame.sort("label", "index")
    steps = changes.with_columns(pl.col("live_bytes").diff().over("label").fill_null(pl.col("live_bytes")).alias("delta"))
    sums = steps.group_by("index").agg(pl.col("delta").sum()).sort("index").with_columns(pl.col("delta").cum_sum())
    found = expected.join_asof(sums, on="index")
    assert (found["live_bytes"] == found["delta"]).all()
    assert (changes["live_bytes"] >= 0).all()


@pytest.mark.parametrize("name", [each for each in _RECORDED if not each.endswith("offload")])
def test_weights_are_those_of_the_manifest(name, runs):
    """By component, role and dtype the bytes that the recorder added up; no storage is missing."""
    rows = allocations(runs[name])
    weights = rows.filter((pl.col("category") == "weights") & pl.col("end_index").is_null())
    # What is left in bf16 is a plain weight to the recorder.
    plain = pl.when(pl.col("role").str.starts_with("left in")).then(pl.lit("weight")).otherwise("role")
    key = pl.concat_str("component", pl.lit("/"), plain, pl.lit("/"), "dtype").alias("key")
    sums = dict(weights.group_by(key).agg(pl.col("size_bytes").sum()).iter_rows())
    assert sums == runs[name].manifest.applied["weight_bytes"]
    assert (weights["name"] != "").all()


def test_the_bf16_run_peaks_in_decoding_over_a_convolution(runs):
    found = peak(runs["flux-dev-bf16"])
    assert found.window == "decode"
    top = found.rows.row(0, named=True)
    assert (top["category"], top["role"], top["component"], top["size_bytes"]) == (
        "workspace",
        "convolution",
        "vae",
        1_074_921_619,
    )
    assert found.by_category["weights"] == 33_741_198_894
    # Shrinking what lives only in decoding helps until the steps are the peak.
    assert found.windows["label"][:2].to_list() == ["decode", "step/1"]


def test_the_quantized_run_peaks_in_quantizing(runs):
    found = peak(runs["flux-dev-fp8dqrow-regional"], part="load")
    assert found.window == "quantize"
    assert {"in conversion", "quantized data", "scale", "weight"} <= set(found.by_role)
    loaded = allocations(runs["flux-dev-fp8dqrow-regional"], part="load")
    tuned = loaded.filter(pl.col("category") == "compile buffers")
    assert set(tuned["role"]) == {"autotune", "compilation"}
    assert set(tuned["window"]) == {"warmup"}


def test_an_offloaded_run_holds_one_component_at_a_time(runs):
    """Weights that moved are told apart though their addresses are not those of `weights.json`."""
    rows = allocations(runs["cogvideox-5b-int8wo-offload"]).filter(pl.col("category") == "weights")
    assert rows["start_index"].min() >= 0 and rows["end_index"].null_count() == 0
    found = peak(runs["cogvideox-5b-int8wo-offload"])
    assert (found.window, found.by_component["transformer"]) == ("step/0", 8_407_598_528)
    assert set(found.by_component) == {"transformer", "shared", "pipeline", "scheduler"}


def test_two_steps_hold_the_same_at_their_ends(runs):
    found = growth(runs["flux-dev-bf16"])
    assert found.steps["label"].to_list() == ["step/0", "step/1"]
    assert found.leak_bytes is None


@pytest.mark.parametrize("snapshot", ["flux_dev_bf16_eager", "flux_dev_fp8dqrow_regional"])
def test_an_imported_snapshot_shows_its_classes_as_they_are(snapshot, shared, tmp_path):
    (tmp_path / "rank0").mkdir()
    (tmp_path / "rank0" / "memory.pickle.gz").symlink_to(shared / "h100" / f"{snapshot}.snapshot.pickle.gz")
    found = peak(Run(tmp_path, Manifest(kind="import", status="ok")))
    assert sum(found.by_category.values()) == found.requested_bytes
    assert (found.counted_bytes, found.allocated_bytes) == (None, None)
