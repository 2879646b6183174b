"""The Triton kernels' arithmetic, tile by tile on the CPU: ragged sizes, bias, stores in halves, the last wave."""

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

from profiler.kernels.candidate import Shape
from profiler.kernels.int_scaled_matmul_torchao import right

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
    pytest.mark.skipif(
        tuple(int(each) for each in np.__version__.split(".")[:2]) >= (2, 4),
        reason="Triton 3.6's interpreter needs a numpy before 2.4",
    ),
]


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {each["case"]: each for each in map(json.loads, done.stdout.splitlines())}


def test_every_output_is_right(results: dict[str, Any]):
    assert {case: each["wrong"] for case, each in results.items() if each["wrong"] and "torchao" not in case} == {}
    assert len(results) == 5 * 2 * 2 + 6 * 2 * 3 + 3


def test_the_cases_tell_outputs_apart(results: dict[str, Any]):
    assert all(each["different"] >= 8 for each in results.values())


def test_any_size_is_read_by_pointers(results: dict[str, Any]):
    assert "pointers (37, 41, 43) bias True" in results
    assert not any(case.startswith("descriptors (37,") for case in results)


def test_torchaos_kernel_is_wrong_where_it_is_fenced_off(results: dict[str, Any]):
    config = {"block_k": 32}
    for k in (64, 43, 48):
        assert (results[f"torchao K {k}"]["wrong"] == 0) == right(Shape(40, k, 24), config)
    assert results["torchao K 48"]["wrong"] > 900
