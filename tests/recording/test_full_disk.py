"""A disk that fills up while recording: what was lost is listed, what was written is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import QUICK, diffuscope, show

from profiler.rundir.reader import read_manifest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes; the test is skipped where this process may not mount one."""
    mounted = []

    def mount(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        tool = shutil.which("mount")
        done = tool and subprocess.run(
            [tool, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if not done or done.returncode:
            pytest.skip("mounting a small tmpfs needs root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", [64 << 10, 0])
def test_what_did_not_fit_is_listed(small_disk: Callable[[int], Path], room: int):
    disk = small_disk(4 << 20)
    run = disk / "run"
    more = {"FILL_FOLDER": str(disk), "FILL_LEAVE": str(room)}
    done = diffuscope("record", "pipelines:filling", *QUICK, "-o", run, "--json", **more)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert read_manifest(run).status == "failed"
    (disk / "ballast").unlink()
    shown = show(run)
    assert shown["status"] == "failed"
    assert "No space left on device" in shown["failure"]["message"]
    lost = {each["what"]: each["why"] for each in shown["lost"]["items"]}
    # With no room left the reserve is freed for the manifest, and smaller artifacts still fit into it.
    assert ("rank0/places.json.gz" if room else "rank0/sources.json") in lost
    assert all("No space left on device" in why for why in lost.values())
    artifacts = json.loads((run / "run.json").read_text())["artifacts"]
    assert "output.npz" in artifacts
    assert artifacts.keys().isdisjoint(lost)
    for name, each in artifacts.items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == each["sha256"]
    assert [path.name for path in run.rglob("*") if "partial" in path.name or path.name == ".reserve"] == []


def test_no_room_for_a_run_at_all(small_disk: Callable[[int], Path]):
    run = small_disk(256 << 10) / "run"
    done = diffuscope("record", "flux-tiny", *QUICK, "-o", run)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: cannot write to {run}: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not run.exists()
