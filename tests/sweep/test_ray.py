"""The Ray executor on a local cluster of two nodes: the same sweep, workers and nodes that die midway."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from drive import HERE, Notes, Silent, drive, rows, specs
from processes import ROOT

from profiler.core.errors import RecordedProgramFailed, Refused
from profiler.core.spec import RunSpec
from profiler.rundir.reader import read_manifest
from profiler.sweep.cells import make_cells
from profiler.sweep.executors.base import Site
from profiler.sweep.executors.cluster import RayExecutor, _run, own_cache, pack, remove_left, unpack
from profiler.sweep.presets import with_defaults
from profiler.sweep.session import Request, sweep
from profiler.sweep.work import Task

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra cluster is not installed")


class Unprobed(RayExecutor):
    """Asks no torch what there is."""

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        return [None] * len(specs)


def head(tries: int = 3) -> Any:
    """A cluster of a head alone; Ray gives it 30 s to start, and a machine that is busy elsewhere may need more."""
    from ray.cluster_utils import Cluster

    try:
        return Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    except Exception as error:
        if tries == 1 or "timed out during startup" not in str(error):
            raise
    return head(tries - 1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing and two nodes of one CPU; this process is connected to it."""
    ours = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, HERE / "quick_ray"))), "OMP_NUM_THREADS": "1"}
    # Short: Ray's sockets lie below it, and their names may have 107 bytes.
    ours["TMPDIR"] = tempfile.mkdtemp(prefix="ray-")
    before = {name: os.environ.get(name) for name in ours}
    os.environ |= ours
    # Not before there is a test that needs it: other processes of pytest collect this file too.
    import ray

    nodes = head()
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    assert print.__module__ == "builtins"
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    shutil.rmtree(ours["TMPDIR"], ignore_errors=True)


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def when(true: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something in another thread once something is true."""

    def wait() -> None:
        wait_until(true)
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
    assert not any(alive(int(each[1])) for each in notes.lines())


def test_a_cell_that_is_lost_again_and_again_is_a_failure(cluster: Any, folder: Path, notes: Notes):
    notes.behave(bf16_none="hang")
    done: set[str] = set()

    def kill_all() -> None:
        for _ in range(3):
            wait_until(lambda: any(each[1] not in done for each in notes.lines()))
            (new,) = [each for each in notes.lines() if each[1] not in done]
            done.add(new[1])
            os.kill(int(new[2]), signal.SIGKILL)

    killer = when(lambda: True, kill_all)
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), Unprobed) == "ok"
    killer.join()
    found = rows(folder)["bf16-none"]
    assert (found["status"], found["attempts"], found["run"]) == ("failed", 3, None)
    assert found["reason"].startswith("lost 3 times, the last time by ")
    assert notes.starts() == ["bf16-none"] * 3


def test_a_node_that_dies(cluster: Any, folder: Path, notes: Notes):
    """Its cell is started again on another node; a node that is gone is no slot."""
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    victim = cluster.list_all_nodes()[-1]
    names = ("bf16", "int8wo", "int8dq")
    notes.behave(**{f"{each}_none": "hang" for each in names})

    def remove() -> None:
        cluster.remove_node(victim, allow_graceful=False)
        # The two that are left hang until then, so that the lost one is started a second time behind them.
        wait_until(lambda: len({each[2] for each in notes.lines() if alive(int(each[1]))}) == 2)
        notes.behave()
        for each in notes.lines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(each[1]), signal.SIGKILL)

    remover = when(lambda: len(notes.starts()) == 3, remove)
    assert drive(folder, make_cells(specs(notes.folder, " ".join(names))), Unprobed) == "ok"
    remover.join()
    found = rows(folder)
    assert sorted(each["attempts"] for each in found.values()) == [1, 1, 2]
    (again,) = [name for name, each in found.items() if each["attempts"] == 2]
    assert found[again]["status"] == "ok"
    assert sorted(notes.starts()) == sorted([*found, again])


def test_six_real_cells(cluster: Any, folder: Path):
    """The preset of CI, the worker's answer before anything loads included."""
    given = with_defaults("quick", {"model": "flux-tiny", "device": "cpu", "repeats": 2, "phases": "timed"})
    request = Request(base=RunSpec(**given), out=folder, preset="quick", executor="ray")
    assert sweep(request, Silent()) == "ok"
    found = rows(folder)
    assert len(found) == 6
    assert {each["status"] for each in found.values()} == {"ok"}
    assert {each["attempts"] for each in found.values()} == {1}
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


def test_what_a_killed_worker_left_on_its_node_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, dead = f"diffuscope-cell-abc-{os.getpid()}-x", f"diffuscope-cell-abc-{1 << 30}-x"
    for name in (mine, dead, f"diffuscope-cell-def-{1 << 30}-x"):
        (tmp_path / name).mkdir()
    remove_left("abc")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([mine, f"diffuscope-cell-def-{1 << 30}-x"])


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of a node without a cluster."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    here = SimpleNamespace(get_node_id=lambda: "0123456789")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_gpu_ids=list, get_runtime_context=lambda: here))
    return tmp_path


def test_the_compile_caches_of_a_node_are_for_its_user_alone(node: Path):
    cache = own_cache("abc")
    assert (cache.parent, cache.stat().st_mode & 0o777) == (node, 0o700)
    # As it was made before.
    cache.chmod(0o755)
    assert own_cache("abc").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("whose", ["another's", "everyone's", "a link"])
def test_a_cell_loads_no_code_that_another_user_left(node: Path, notes: Notes, whose: str, monkeypatch: pytest.MonkeyPatch):
    cache = node / "diffuscope-cache-abc"
    cache.symlink_to(notes.folder) if whose == "a link" else cache.mkdir()
    cache.chmod(0o777) if whose == "everyone's" else None
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + (whose == "another's"))
    (spec,) = specs(notes.folder, "bf16")
    task = Task(id="bf16-none", spec=spec.to_dict(), command="", limit_s=30.0, mark="abc/1", child="fake_cell")
    outcome, packed = _run(task, gpu=False)
    assert (outcome.status, packed, notes.starts()) == ("refused", b"", [])
    said = {"another's": "belongs to another user", "everyone's": "can be written by other users", "a link": "leads elsewhere"}
    assert f"{cache} on " in (outcome.reason or "")
    assert said[whose] in (outcome.reason or "")
    assert (outcome.reason or "").endswith("; remove it, or give Ray's workers a TMPDIR of their own")


class FakeRay(SimpleNamespace):
    """A cluster that is named, not started: its nodes, and what was asked for each task."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        super().__init__(is_initialized=lambda: True, nodes=lambda: self.here, remote=self.ask)
        self.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "node0")
        self.here = [{"NodeID": f"node{at}", "Alive": True, "Resources": each} for at, each in enumerate(nodes)]
        self.asked: list[tuple[dict[str, float], bool]] = []

    def ask(self, max_retries: int, **resources: float) -> Callable[[Any], Any]:
        def start(_task: Task, gpu: bool) -> int:
            self.asked.append((resources, gpu))
            return len(self.asked)

        return lambda _function: SimpleNamespace(remote=start)


HEAD, GPUS = {"CPU": 16.0}, {"CPU": 32.0, "GPU": 8.0}


def executor_of(cluster: FakeRay, device: str, monkeypatch: pytest.MonkeyPatch) -> RayExecutor:
    monkeypatch.setitem(sys.modules, "ray", cluster)
    return RayExecutor(Site(work=Path("work"), cache=Path("cache"), device=device))


def test_a_cell_whose_gpu_is_lost_waits_for_another_one(monkeypatch: pytest.MonkeyPatch):
    """What a CPU makes of it would be kept as its result."""
    cluster = FakeRay(HEAD, GPUS)
    executor = executor_of(cluster, "auto", monkeypatch)
    assert executor.slots() == 8
    cluster.here[1] |= {"Alive": False}
    assert executor.slots() == 0
    assert executor.start(Task(id="a", spec={}, command="", limit_s=1.0, mark="m")) == "ray/gpu"
    assert cluster.asked == [({"num_gpus": 1, "num_cpus": 0}, True)]
    cluster.here[1] |= {"Alive": True}
    assert executor.slots() == 8


def test_a_sweep_whose_own_node_died_waits_for_no_other(monkeypatch: pytest.MonkeyPatch):
    cluster = FakeRay(HEAD, GPUS)
    executor = executor_of(cluster, "auto", monkeypatch)
    cluster.here[0] |= {"Alive": False}
    with pytest.raises(RecordedProgramFailed, match="the Ray node of this machine died"):
        executor.slots()


@pytest.mark.parametrize(
    ("device", "before", "after", "asked"),
    [
        ("cuda", 0, 8, ({"num_gpus": 1, "num_cpus": 0}, True)),
        ("auto", 1, 3, ({"num_cpus": 16.0}, False)),
        ("cpu", 1, 3, ({"num_cpus": 16.0}, False)),
    ],
)
def test_a_sweep_begun_without_a_gpu_waits_for_one_where_it_names_it(
    monkeypatch: pytest.MonkeyPatch, device: str, before: int, after: int, asked: Any
):
    """Otherwise all of its cells run on CPUs, also those behind the moment in which a GPU joins: they are compared."""
    cluster = FakeRay(HEAD)
    executor = executor_of(cluster, device, monkeypatch)
    assert executor.slots() == before
    cluster.here.append({"NodeID": "joined", "Alive": True, "Resources": GPUS})
    assert executor.slots() == after
    executor.start(Task(id="a", spec={}, command="", limit_s=1.0, mark="m"))
    assert cluster.asked == [asked]


@pytest.mark.parametrize(("limit_s", "waited_s"), [(None, 600.0), (5.0, 5.0)])
def test_asking_a_cluster_takes_no_longer_than_the_sweep_may(
    monkeypatch: pytest.MonkeyPatch, limit_s: float | None, waited_s: float
):
    class Late(Exception): ...

    def get(_asked: int, timeout: float) -> None:
        waited.append(timeout)
        raise Late

    waited: list[float] = []
    cluster = FakeRay(HEAD, GPUS)
    cluster.get, cluster.exceptions, cluster.cancel = get, SimpleNamespace(GetTimeoutError=Late), lambda _asked: None
    cluster.remote = lambda **_: lambda _: SimpleNamespace(remote=lambda _specs: 1)
    monkeypatch.setitem(sys.modules, "ray", cluster)
    executor = RayExecutor(Site(work=Path("work"), cache=Path("cache"), device="auto", limit_s=limit_s))
    if limit_s:
        assert executor.probe([{}, {}]) == [None, None]
    else:
        with pytest.raises(Refused, match="no GPU of the Ray cluster was free within 600 s"):
            executor.probe([{}, {}])
    assert waited == [waited_s]


def test_a_cell_of_a_sweep_of_cpus_sees_no_gpu(node: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (spec,) = specs(notes.folder, "bf16")
    outcome, packed = _run(
        Task(id="bf16-none", spec=spec.to_dict(), command="", limit_s=30.0, mark="abc/1", child="fake_cell"), gpu=False
    )
    assert (outcome.status, outcome.worker.rpartition("/")[2], bool(packed)) == ("ok", "cpu", True)
    assert [len(each) for each in notes.lines()] == [3], "an empty CUDA_VISIBLE_DEVICES"
