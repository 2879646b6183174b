"""torchao's own file: plain torchao finds our entries in it, ours reads its entries, and nothing in it runs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from profiler.core.errors import Refused, UnreadableInput, UsageError
from profiler.core.safe_pickle import StandIn
from profiler.kernels.candidate import Shape
from profiler.tune import torchao_file
from profiler.tune.torchao_file import Saved, read, write

FAKE_TRITON = Path(__file__).parent / "fake_triton"
BIG, SMALL = Shape(4608, 3072, 12288), Shape(512, 3072, 3072)
CONFIG = {"block_m": 128, "block_n": 256, "block_k": 128, "stages": 3, "warps": 8}
OTHER = {"block_m": 64, "block_n": 64, "block_k": 256, "stages": 2, "warps": 4}
ENTRIES = {BIG: (CONFIG, 317.0), SMALL: (OTHER, 19.5)}

# A plain torchao in a process of its own: the autotuner's file is found by its own environment variables, its search is made to
# fail loudly, and the arguments are those that torchao's int8 Linear gives to its kernel.
# Where there is no Triton, its stand-in is found only after torch has looked for it: torch would ask more of it.
CHILD = """
import importlib.util, sys
import torch
torch.cuda.get_device_name = lambda *_: "NVIDIA H100 80GB HBM3"
from torchao.kernel import intmm
assert intmm.AUTOTUNER_ENABLE, "TORCHAO_AUTOTUNER_ENABLE is read at import"
sys.path += sys.argv[1:] if importlib.util.find_spec("triton") is None else []
from torchao.kernel import autotuner, intmm_triton
intmm.intmm_triton = intmm_triton
assert len(intmm_triton.int8_mm_kernel_configs) == 960
def search(*_): raise SystemExit("it searched")
autotuner.do_bench = search
for m, k, n in ((4608, 3072, 12288), (512, 3072, 3072)):
    a, weight = torch.empty(m, k, dtype=torch.int8, device="meta"), torch.empty(n, k, dtype=torch.int8, device="meta")
    seen = []
    intmm_triton.int_scaled_matmul_kernel = lambda a, b, s, c, config: seen.append(config) or c
    torch.ops.torchao.int_scaled_matmul = intmm_triton.int_scaled_matmul_cuda
    intmm._is_device = lambda *_: False
    out = intmm.int_scaled_matmul(a, weight.contiguous().t(), torch.empty(m, 1, dtype=torch.float32, device="meta"))
    (config,) = seen
    print(m, k, n, tuple(out.shape), type(config).__module__, config.kwargs, config.num_stages, config.num_warps)
try:
    intmm.int_scaled_matmul(a[:-1], weight.t(), torch.empty(m - 1, 1, device="meta"))
except SystemExit as error:
    print(error)
"""


def child(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"} | more
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )


WRITE = """
import importlib.util, sys
import torch._dynamo
from pathlib import Path
sys.path += sys.argv[3:] if importlib.util.find_spec("triton") is None else []
from profiler.kernels.candidate import Shape
from profiler.tune.torchao_file import write
write(Path(sys.argv[1]), {Shape(*shape): entry for shape, entry in eval(sys.argv[2]).items()})
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchao") / "data.pkl"
    done = child(WRITE, str(path), repr({tuple(shape): entry for shape, entry in ENTRIES.items()}), str(FAKE_TRITON))
    assert done.returncode == 0, done.stderr
    return path


def test_plain_torchao_uses_it_without_a_search(written: Path):
    done = child(CHILD, str(FAKE_TRITON), TORCHAO_AUTOTUNER_ENABLE="1", TORCHAO_AUTOTUNER_DATA_PATH=str(written))
    assert done.returncode == 0, done.stderr
    blocks = "{'BLOCK_M': 128, 'BLOCK_N': 256, 'BLOCK_K': 128, 'GROUP_M': 8}"
    others = "{'BLOCK_M': 64, 'BLOCK_N': 64, 'BLOCK_K': 256, 'GROUP_M': 8}"
    assert done.stdout.splitlines() == [
        f"4608 3072 12288 (4608, 12288) triton.runtime.autotuner {blocks} 3 8",
        f"512 3072 3072 (512, 3072) triton.runtime.autotuner {others} 2 4",
        "it searched",
    ]


def test_without_its_switch_torchao_never_asks(written: Path):
    done = child(CHILD, str(FAKE_TRITON), TORCHAO_AUTOTUNER_ENABLE="0", TORCHAO_AUTOTUNER_DATA_PATH=str(written))
    assert "AUTOTUNER_ENABLE" in done.stderr


def test_what_was_written_is_read_back_without_triton(written: Path):
    assert read(written) == [Saved(BIG, CONFIG, 0.317), Saved(SMALL, OTHER, 0.0195)]
    assert b"triton.runtime.autotuner" in written.read_bytes()
    assert [each.name for each in written.parent.iterdir()] == ["data.pkl"]


def _key(shape: Shape) -> tuple[Any, ...]:
    return torchao_file._key(shape)


class Planted:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("planted",))


HOSTILE = {
    "code": {"a": Planted()},
    "code as a configuration": {_key(BIG): (Planted(), 1.0)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(HOSTILE[name]))
    with pytest.raises(UnreadableInput, match=r"asks for 'posix\.mkdir'") as caught:
        read(path)
    assert caught.value.message.startswith(f"{path} is no file of torchao's autotuner: ")
    assert not (tmp_path / "planted").exists()


OTHERWISE = {
    "a list": [],
    "keys that are no tuples": {3: 4},
    "no configuration": {_key(BIG): (1, 2.0)},
    "sizes that do not meet": {(*_key(BIG)[:4], torch.Size((5, 6)), *_key(BIG)[5:]): (1, 2.0)},
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_another_pickle_is_one_error(tmp_path: Path, name: str):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(OTHERWISE[name]))
    with pytest.raises(UnreadableInput, match="is no file of torchao's autotuner"):
        read(path)


def _deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


# Warps and milliseconds: what a pickle may hold in their places.
STRANGE = [(_deep(2000), 1.0), (10**5000, 1.0), (4, 10**400), (4, float("nan")), (4, -1.0), (4, 0), (4, "1.5"), (4, None)]


def _one(monkeypatch: pytest.MonkeyPatch, path: Path, warps: Any, ms: Any) -> list[Saved]:
    config = type("Config", (StandIn,), {"__slots__": (), "name": torchao_file._CONFIG})()
    blocks = {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 256, "GROUP_M": 8}
    config.state = {"kwargs": blocks, "num_stages": 2, "num_warps": warps}
    monkeypatch.setattr(torchao_file, "load", lambda *_: {_key(SMALL): (config, ms)})
    path.write_bytes(b"")
    return read(path)


@pytest.mark.parametrize(("warps", "ms"), STRANGE, ids=range(len(STRANGE)))
def test_numbers_that_are_none_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warps: Any, ms: Any):
    with pytest.raises(UnreadableInput, match="is no file of torchao's autotuner"):
        _one(monkeypatch, tmp_path / "data.pkl", warps, ms)


def test_a_configuration_that_did_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert _one(monkeypatch, tmp_path / "data.pkl", 4, 0.0195) == [Saved(SMALL, OTHER, 0.0195)]
    assert _one(monkeypatch, tmp_path / "data.pkl", 4, float("inf")) == []


def test_bare_products_are_passed_over(tmp_path: Path):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({_key(BIG)[:9]: ("a configuration of the product without scales", 1.0)}))
    assert read(path) == []


def test_no_file_and_no_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="nothing is no file"):
        read(Path("nothing"))
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(Refused, match="there is none here"):
        write(tmp_path / "data.pkl", ENTRIES)


def test_the_key_is_what_torchao_makes_of_its_arguments():
    m, k, n = SMALL
    a, b = torch.empty(m, k, dtype=torch.int8), torch.empty(n, k, dtype=torch.int8).t()
    scales, out = torch.empty(m, 1).expand(m, n), torch.empty(m, n)
    assert _key(SMALL) == sum(((each.dtype, each.size(), each.stride()) for each in (a, b, scales, out)), ())
