"""What one process compiled, the next one finds on disk: kernels in Triton's cache, widened or not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.kernels import wide_ptx
from profiler.kernels.wide_ptx import stamp

HERE = Path(__file__).parent
WIDE = "warpgroup:block_m=128,block_n=256,block_k=128,stages=4,group=8,parts=2,slices=1,lead=3,wide=1"
NARROW = "warpgroup:block_m=128,block_n=128,block_k=128,stages=6,group=8,parts=1,slices=1,lead=0,wide=0"
HOPPER = "hopper:block_m=128,block_n=256,block_k=128,stages=4,warps=8,group=8,parts=2,flatten=1,wide=1"
KERNELS = ["warpgroup_kernel", "warpgroup_kernel", "descriptor_kernel"]


def launched(cache: Path, *arguments: str) -> list[Any]:
    environment = os.environ | {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(HERE / "second_process.py"), *arguments, WIDE, NARROW, HOPPER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here")
def test_a_second_process_compiles_nothing_unless_the_rewriting_changed(tmp_path: Path):
    assert launched(tmp_path) == [[name, False] for name in KERNELS]
    assert launched(tmp_path) == [[name, True] for name in KERNELS]
    again = launched(tmp_path, "--rewriting", "f" * 64)
    assert again == [["warpgroup_kernel", False], ["warpgroup_kernel", True], ["descriptor_kernel", False]]


def test_the_stamp_is_the_rewriting_itself(monkeypatch: pytest.MonkeyPatch):
    assert stamp(0) == 0
    now = stamp(1)
    assert 0 < now < 2**31
    monkeypatch.setattr(wide_ptx, "_digest", lambda: "f" * 64)
    assert stamp(1) not in (0, now)
    assert stamp(0) == 0
