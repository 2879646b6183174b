"""The Triton kernels over packed weights: their arithmetic on the CPU, and what the compiler makes of them for an H100."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.kernels.packed_format import FORMATS

TRITON = importlib.util.find_spec("triton") is not None
pytestmark = pytest.mark.skipif(not TRITON, reason="Triton is not installed here")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    if tuple(int(each) for each in np.__version__.split(".")[:2]) >= (2, 4):
        pytest.skip("Triton 3.6's interpreter needs a numpy before 2.4")
    script = Path(__file__).with_name("interpreted_packed.py")
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=one_thread, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {each["case"]: each for each in map(json.loads, done.stdout.splitlines())}


def test_every_weight_is_exact(results: dict[str, Any]):
    unpacked = {case: each["worst"] for case, each in results.items() if not case.startswith("small")}
    assert len(unpacked) == len(FORMATS) * 3 + 3
    assert set(unpacked.values()) == {0.0}


def test_products_of_few_rows_lose_only_the_sums_rounding(results: dict[str, Any]):
    products = {case: each["worst"] for case, each in results.items() if case.startswith("small")}
    assert len(products) == len(FORMATS) * 3 * 2
    assert max(products.values()) < 1e-6


def test_the_cases_tell_outputs_apart(results: dict[str, Any]):
    assert min(each["different"] for each in results.values()) >= 8


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda each: each.name)
def test_unpacking_writes_whole_vectors_and_keeps_subnormals(form: Any):
    from compiled_packed import compile_dequantize

    made = compile_dequantize(form)
    # Sixteen bytes a store, and from the registers where they were made.
    assert set(made.instructions(r"st\.global\.\S+")) == {"st.global.v4.b32"}
    assert "convert_layout" not in made.ttgir
    # Numbers that a multiplication is yet to put right are subnormal.
    assert "ftz" not in made.ptx
    assert (made.spilled, made.shared_bytes) == (0, 0)


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda each: each.name)
def test_few_rows_read_whole_vectors_of_packed_weights(form: Any):
    from compiled_packed import compile_small_m

    made = compile_small_m(form)
    assert "ld.global.v4.b32" in made.instructions(r"ld\.global\.\S+")
    assert "ftz" not in made.ptx
    # Both planes reach the threads that need them without shared memory: what little there is sums up a row.
    assert "local_load" not in made.ttgir
    assert made.ptx.count("bar.sync") <= 2
    assert made.spilled == 0
    assert made.registers <= 64
