"""Ceilings of a device: the fastest int8 kernel counts, and nothing that fails breaks a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from profiler.core.errors import Refused
from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry, TableKey, save_merged, table_of
from profiler.recording import ceiling_kernel, ceilings
from profiler.recording.ceiling_kernel import Fastest, fastest_entry, product_of
from profiler.recording.ceilings import Ceilings, measure_ceilings
from profiler.rundir.manifest import Manifest
from profiler.schemes.base import Hardware

H100 = Hardware("cuda", (9, 0), "NVIDIA H100 80GB HBM3")
SHIPPED = TableKey(device=H100.name, torch="2.11.0+cu130", triton="3.6.0")
OWN = Fastest("cpu:s8s8", Shape(64, 128, 32))
LIBRARY = "aten::_int_mm at 8192x8192x8192"
Seconds = Callable[[float], None]


@pytest.fixture
def own_seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    """A device whose products and copies take 1 s each, but for the tuned kernel, which takes what is set."""
    took = {}

    def make(name: str) -> Callable[[], Any]:
        return lambda: name

    monkeypatch.setattr(ceilings, "_PRODUCTS", {name: lambda name=name: make(name) for name in ("bf16_tflops", "int8_tops")})
    monkeypatch.setattr(ceilings, "_copy", lambda: make("copy"))
    monkeypatch.setattr(ceilings, "find_hardware", lambda _asked: H100)
    monkeypatch.setattr(ceilings, "fastest_entry", lambda _hardware: OWN)
    monkeypatch.setattr(ceilings, "product_of", lambda _fastest: make("own"))
    monkeypatch.setattr(ceilings, "_median_seconds", lambda run: took[run()] if run() == "own" else 1.0)
    return lambda seconds: took.update(own=seconds)


def test_the_faster_of_cublaslt_and_our_own_counts(own_seconds: Seconds):
    own_seconds(1e-9)
    found = measure_ceilings("cuda")
    assert found.rates["int8_tops"] == pytest.approx(2 * 64 * 128 * 32 / 1e-9 / 1e12)
    assert found.kernels == {"int8_tops": "cpu:s8s8 at 64x128x32"}
    assert found.rates["bf16_tflops"] == pytest.approx(2 * 8192**3 / 1e12)
    assert found.rates["copy_gbs"] == pytest.approx(2 * 2**30 / 1e9)
    own_seconds(1.0)
    found = measure_ceilings("cuda")
    assert (found.rates["int8_tops"], found.kernels) == (pytest.approx(2 * 8192**3 / 1e12), {"int8_tops": LIBRARY})


@pytest.mark.parametrize("tuned", [False, True])
def test_a_kernel_that_fails_is_noted(own_seconds: Seconds, monkeypatch: pytest.MonkeyPatch, tuned: bool):
    def fails(_fastest: Fastest) -> None:
        raise OSError("no ptxas\nand more")

    monkeypatch.setattr(ceilings, "product_of", fails)
    found = measure_ceilings("cuda", tuned=tuned)
    assert found.kernels == {"int8_tops": LIBRARY}
    assert found.notes == (["int8_tops: cpu:s8s8 at 64x128x32 was not measured: no ptxas"] if tuned else [])
    assert "copy_gbs" in found.rates


def test_what_was_measured_is_in_the_manifest():
    manifest = Manifest()
    Ceilings().note(manifest)
    assert manifest.environment == {"ceilings": {}}
    found = Ceilings({"int8_tops": 900.0}, {}, ["a note"])
    found.offer("int8_tops", "slower", 800.0)
    found.offer("int8_tops", "faster", 1500.0)
    found.note(manifest)
    assert manifest.environment == {
        "ceilings": {"int8_tops": 1500.0},
        "ceiling_kernels": {"int8_tops": "faster"},
        "ceiling_notes": ["a note"],
    }
    assert Manifest.from_dict(manifest.to_dict()).environment == manifest.environment


def test_a_cpu_has_none():
    assert measure_ceilings("cpu") == Ceilings()


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An H100 with the versions of the shipped table, and a table of the user's own."""
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    monkeypatch.setattr(ceiling_kernel, "triton_version", lambda: "3.6.0")
    monkeypatch.setattr(ceiling_kernel, "current_key", lambda _hardware: SHIPPED)
    return tmp_path / "own.json"


def test_the_highest_rate_of_the_tables(tables: Path):
    found = fastest_entry(H100)
    assert (found.kernel.partition(":")[0], found.shape) == ("warpgroup", Shape(4096, 12288, 3072))
    entries = {Shape(64, 64, 64): Entry(kernel="cublaslt:scaled", us=1e-9), Shape(32, 32, 32): Entry(kernel="hopper:x", us=1e-6)}
    save_merged(tables, table_of(SHIPPED, entries))
    assert fastest_entry(H100) == Fastest("hopper:x", Shape(32, 32, 32)), "cuBLASLt's own product is measured anyway"


def test_why_there_is_none(tables: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ceiling_kernel, "current_key", lambda _hardware: TableKey(device="another GPU", torch="2.11.0+cu130"))
    with pytest.raises(Refused, match="no table of tuned kernels holds"):
        fastest_entry(H100)
    monkeypatch.setattr(ceiling_kernel, "triton_version", lambda: "")
    with pytest.raises(Refused, match="no Triton"):
        fastest_entry(H100)


def test_a_product_is_right_before_it_is_timed(monkeypatch: pytest.MonkeyPatch):
    assert product_of(OWN, "cpu")().shape == (64, 32)
    # Since its result is compared with the library's, which is right, one of both is wrong here.
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: torch.zeros(a.shape[0], b.shape[1], dtype=torch.int32))
    with pytest.raises(ValueError, match="wrong"):
        product_of(Fastest("cpu:dequantize", OWN.shape), "cpu")


def test_calls_are_queued_before_one_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    log: list[str] = []

    class Event:
        """Of a pair the second ends 4 ms after the first, of the last pair 9 ms."""

        made = 0

        def __init__(self, *, enable_timing: bool) -> None:
            Event.made += enable_timing
            self.number = Event.made

        def record(self) -> None:
            log.append("event")

        def elapsed_time(self, end: Any) -> float:
            assert log[-1] == "synchronize" and end.number == self.number + 1
            return 9.0 if end.number == 20 else 4.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("synchronize"))
    assert ceilings._median_seconds(lambda: log.append("call")) == pytest.approx(0.004)
    assert log == ["call"] * 3 + ["event", "call", "event"] * 10 + ["synchronize"]
