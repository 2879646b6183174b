"""The Ray executor on a local cluster of two nodes: the same sweep, workers and nodes that die midway."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drive import HERE, Notes, drive, rows, specs
from processes import ROOT

from profiler.core.spec import RunSpec
from profiler.rundir.reader import read_manifest
from profiler.sweep.cells import make_cells
from profiler.sweep.executors.cluster import RayExecutor, pack, unpack
from profiler.sweep.session import Request, sweep

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")


class Unprobed(RayExecutor):
    """Asks no torch what there is."""

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        return [None] * len(specs)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing and two nodes of one CPU; this process is connected to it."""
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS", "RAY_ENABLE_UV_RUN_RUNTIME_ENV")}
    os.environ |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1"}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def when(true: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something in another thread once something is true."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not true() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_killed_midway(cluster: Any, folder: Path, notes: Notes):
    """Nothing finished is lost, nothing else runs twice, and the recording that the worker had started dies with it."""
    notes.behave(int8dq_none="hang")

    def kill() -> None:
        (found,) = [each for each in notes.lines() if each[0] == "int8dq-none"]
        notes.behave()
        os.kill(int(found[2]), signal.SIGKILL)

    killer = when(lambda: "int8dq-none" in notes.starts(), kill)
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo int8dq fp16 fp8wo")), Unprobed) == "ok"
    killer.join()
    starts = notes.starts()
    assert sorted(starts) == ["bf16-none", "fp16-none", "fp8wo-none", "int8dq-none", "int8dq-none", "int8wo-none"]
    found = rows(folder)
    assert {each["status"] for each in found.values()} == {"ok"}
    assert {name: each["attempts"] for name, each in found.items() if each["attempts"] > 1} == {"int8dq-none": 2}
    assert all(read_manifest(folder / name).status == "ok" for name in found)
    assert len({each["worker"] for each in found.values()}) == 2, "both nodes had work"
    for line in notes.lines():
        with contextlib.suppress(OSError):
            assert Path(f"/proc/{line[1]}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_cell_that_is_lost_again_and_again_is_a_failure(cluster: Any, folder: Path, notes: Notes):
    notes.behave(bf16_none="hang")
    done: set[str] = set()

    def kill_all() -> None:
        for _ in range(3):
            deadline = time.monotonic() + 60
            while not (new := [each[2] for each in notes.lines() if each[1] not in done]) and time.monotonic() < deadline:
                time.sleep(0.05)
            done.update(each[1] for each in notes.lines())
            os.kill(int(new[0]), signal.SIGKILL)

    killer = when(lambda: True, kill_all)
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), Unprobed) == "ok"
    killer.join()
    found = rows(folder)["bf16-none"]
    assert (found["status"], found["attempts"], found["run"]) == ("failed", 3, None)
    assert found["reason"].startswith("lost 3 times, the last time by ")
    assert notes.starts() == ["bf16-none"] * 3


def test_six_real_cells_and_a_node_that_dies(cluster: Any, folder: Path):
    """The preset of CI, the worker's answer before anything loads included; one node goes while it works."""
    request = Request(
        base=RunSpec(model="flux-tiny", device="cpu", repeats=2, phases="timed"), out=folder, preset="quick", executor="ray"
    )
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    victim = cluster.list_all_nodes()[-1]

    def works() -> bool:
        return (folder / "sweep.json").exists() and any(each["status"] == "ok" for each in rows(folder).values())

    remover = when(works, lambda: cluster.remove_node(victim, allow_graceful=False))

    class Watching:
        def show(self, cells: Any, slots: int) -> None:
            pass

        def tell(self, cell: Any) -> None:
            pass

    assert sweep(request, Watching()) == "ok"
    remover.join()
    found = rows(folder)
    assert len(found) == 6
    assert {each["status"] for each in found.values()} == {"ok"}
    assert sum(each["attempts"] for each in found.values()) in (6, 7)
    for name in found:
        manifest = read_manifest(folder / name)
        assert (manifest.status, len(manifest.timed["iterations_ns"]), manifest.timed["steps"]) == ("ok", 2, 2)
        assert manifest.spec_hash == found[name]["hash"]


def test_a_run_directory_survives_its_tar(tmp_path: Path):
    run = tmp_path / "run"
    (run / "rank0").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "rank0" / "trace.json.gz").write_bytes(b"\0\1")
    packed = pack(run)
    unpack(packed, tmp_path / "other")
    assert (tmp_path / "other" / "rank0" / "trace.json.gz").read_bytes() == b"\0\1"
    unpack(b"", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert pack(tmp_path / "nothing") == b""


def test_a_tar_cannot_write_elsewhere(tmp_path: Path):
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(buffer.getvalue(), tmp_path / "run")
    assert not (tmp_path / "escaped").exists()
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
