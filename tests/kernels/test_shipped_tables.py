"""The tables that come with the package: each of their kernels is still one, and fits the shape that it was measured at."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul import candidates
from profiler.kernels.tuned import KERNEL_VERSION, Entry, TableKey, read_table, shipped_tables

HARDWARE = {"NVIDIA H100 80GB HBM3": SimpleNamespace(device="cuda", capability=(9, 0), multiprocessors=132)}


def shipped() -> list[tuple[TableKey, Shape, Entry]]:
    tables = [read_table(path) for path in shipped_tables()]
    found = [(section.key, table.find(section.key)) for table in tables for section in table.sections]
    return [(key, shape, entry) for key, entries in found for shape, entry in entries.items()]


SHIPPED = shipped()


def test_flux_and_cogvideox_on_the_h100_are_there():
    key = TableKey(device="NVIDIA H100 80GB HBM3", torch="2.11.0+cu130", triton="3.6.0")
    entries = {shape: entry for each, shape, entry in SHIPPED if each == key}
    assert {Shape(4608, 15360, 3072), Shape(4608, 3072, 12288), Shape(4096, 3072, 3072), Shape(512, 3072, 3072)} <= set(entries)
    assert {Shape(4608, 3072, 9216), Shape(4096, 3072, 9216)} <= set(entries), "Q, K and V fused"
    assert {Shape(35552, 3072, 3072), Shape(35552, 3072, 12288), Shape(35552, 12288, 3072)} <= set(entries), "CogVideoX-5b"
    assert all(entry.pays for entry in entries.values())


@pytest.mark.parametrize(("key", "shape", "entry"), SHIPPED, ids=[f"{key.torch} {shape}" for key, shape, _ in SHIPPED])
def test_every_kernel_is_a_candidate_of_its_shape(key: TableKey, shape: Shape, entry: Entry):
    assert key.kernels == KERNEL_VERSION
    assert entry.kernel in {each.kernel for each in candidates(shape, HARDWARE[key.device])}
    assert entry.us > 0 and entry.measured_ns > 0


@pytest.mark.parametrize("path", shipped_tables(), ids=lambda path: path.name)
def test_nothing_of_the_machine_is_in_it(path: Path):
    raw = json.loads(path.read_text(encoding="utf-8"))
    texts = [value for section in raw["sections"] for value in section["key"].values() if isinstance(value, str)]
    texts += [entry["kernel"] for section in raw["sections"] for entry in section["entries"].values()]
    assert texts and not any("/" in each for each in texts)
    assert {name for section in raw["sections"] for name in section} == {"key", "entries"}
