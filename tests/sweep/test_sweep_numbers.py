"""Steps extrapolated, time foretold, caches counted, the table while it grows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from drive import Notes, drive, rows, specs

from profiler.core.spec import RunSpec
from profiler.recording.compile_counts import count_caches
from profiler.rundir.manifest import Manifest
from profiler.sweep.caches import cache_counts, cache_environment, count_kernels
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.child import WARNING
from profiler.sweep.extrapolate import call_ms, extrapolate, why_not
from profiler.sweep.forecast import expected_s, left_s, needed_s
from profiler.sweep.live import LiveView, progress
from profiler.sweep.processes import MARK, end, marked
from profiler.sweep.work import _warning


def measured(few: list[float], more: list[float], steps: tuple[int, int] = (4, 8)) -> Manifest:
    """Times in ms of calls of few and of more steps."""
    manifest = Manifest()
    manifest.untraced = {"calls_ns": [each * 1e6 for each in few], "steps": steps[0], "dur_ns": 0}
    manifest.timed = {"iterations_ns": [each * 1e6 for each in more], "steps": steps[1]}
    return manifest


def test_a_call_is_a_fixed_part_and_a_part_for_each_step():
    found = extrapolate(measured([140.0, 138.0, 144.0], [240.0, 238.0, 246.0]), 28)
    assert found is not None
    assert found["from_steps"] == [4, 8]
    assert (found["fixed_ms"], found["step_ms"]) == (40.0, 25.0)
    assert call_ms(found, 28) == 40.0 + 28 * 25.0
    # Half spreads 3 and 4 ms: a call of 28 is 6 x the longer minus 5 x the shorter one.
    assert found["error_ms"] == pytest.approx((24.0**2 + 15.0**2) ** 0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("manifest", "steps"),
    [
        (measured([1.0, 1.0], [2.0]), 28),
        (measured([1.0], [2.0, 2.0]), 28),
        (measured([1.0, 1.0], [2.0, 2.0], (8, 8)), 28),
        (measured([1.0, 1.0], [2.0, 2.0]), 8),
        (Manifest(), 28),
    ],
    ids=["one long call", "one short call", "one length", "nothing to extrapolate", "nothing measured"],
)
def test_what_cannot_be_extrapolated_is_not(manifest: Manifest, steps: int):
    assert extrapolate(manifest, steps) is None
    assert why_not(manifest, steps) is None


@pytest.mark.parametrize("more", [[60.0, 60.0], [80.0, 80.0], [80.0001, 80.0001]], ids=["less", "the same", "nothing to write"])
def test_a_step_that_takes_no_time_is_noise(more: list[float]):
    """-5 ms a step would make 50 of them end before they begin."""
    assert extrapolate(measured([80.0, 80.0], more), 50) is None
    why = "not extrapolated to 50 steps: calls of 8 took no longer than those of 4, and the time is of 8"
    assert why_not(measured([80.0, 80.0], more), 50) == why
    assert why_not(measured([80.0, 80.0], [81.0, 81.0]), 50) is None


def test_extrapolated_cells_say_so_and_follow_the_steps_asked_for(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    # 45 ms of 4 steps, 81 ms of 8; half spreads 1 ms each.
    expected = {"from_steps": [4, 8], "fixed_ms": 9.0, "step_ms": 9.0, "error_ms": round((6**2 + 5**2) ** 0.5, 4)}
    assert rows(folder)["bf16-none"]["extrapolated"] == expected
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), steps=48) == "ok"
    assert rows(folder)["bf16-none"]["extrapolated"]["error_ms"] == pytest.approx((11**2 + 10**2) ** 0.5, abs=1e-3)
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), steps=8) == "ok"
    assert rows(folder)["bf16-none"]["extrapolated"] is None
    assert notes.starts() == ["bf16-none"]


def test_a_cell_that_is_not_extrapolated_says_why(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    content = json.loads((folder / "bf16-none" / "run.json").read_text())
    content["timed"]["iterations_ns"] = content["untraced"]["calls_ns"]
    (folder / "bf16-none" / "run.json").write_text(json.dumps(content))
    why = "not extrapolated to {} steps: calls of 8 took no longer than those of 4, and the time is of 8"
    for steps, said in ((28, why.format(28)), (48, why.format(48)), (8, None)):
        assert drive(folder, make_cells(specs(notes.folder, "bf16")), steps=steps) == "ok"
        row = rows(folder)["bf16-none"]
        assert (row["status"], row["extrapolated"], row["reason"]) == ("ok", None, said)
    assert notes.starts() == ["bf16-none"]


def cell(name: str, status: str = "queued", seconds: float | None = None, **spec: Any) -> Cell:
    return Cell(id=name, spec=RunSpec(model="m", **spec), status=status, seconds=seconds)


def test_a_cell_takes_as_long_as_those_like_it():
    done = [
        cell("a", "ok", 10.0),
        cell("b", "ok", 100.0, compile="regional"),
        cell("c", "ok", 60.0, compile="regional", scheme="int8wo"),
        cell("d", "failed", 999.0, compile="regional"),
    ]
    assert expected_s(cell("x", compile="regional", scheme="int8wo", batch=4), done) == 240.0
    assert expected_s(cell("x", compile="regional", scheme="fp8wo"), done) == 100.0
    assert expected_s(cell("x", compile="default"), done) == 60.0
    assert expected_s(cell("x"), []) is None
    assert needed_s(cell("x", compile="regional"), done, 900.0) == 130.0
    assert needed_s(cell("x", compile="regional"), done, 90.0) == 90.0, "no cell runs longer than its limit"
    assert needed_s(cell("x"), [], 900.0) == 60.0
    assert needed_s(cell("x"), done[:1], 900.0) == 13.0
    assert needed_s(cell("x", compile="regional"), done[:1], 900.0) == 60.0, "eager cells say nothing of compiling"


def test_waiting_for_imports_is_foretold_for_the_first_cells_alone():
    """Seconds of an H100: a first cell of 61.5 s waited 14.2 s for the imports, and the one after it took 44.4 s."""
    known = [cell("a", "ok", 61.5, compile="regional")]
    known[0].waited_s = 14.2
    assert expected_s(cell("x", compile="regional"), known) == pytest.approx(47.3)
    assert needed_s(cell("x", compile="regional"), known, 900.0) == pytest.approx(61.49)
    assert needed_s(cell("x", compile="regional"), known, 900.0, first=True) == pytest.approx(75.69)


def test_the_time_left():
    cells = [cell("a", "ok", 10.0), cell("b", "running"), cell("c"), cell("d", "refused")]
    assert left_s(cells, {"b": 4.0}, 1) == 16.0
    assert left_s(cells, {"b": 40.0}, 2) == 5.0
    assert left_s([cell("b", "running"), cell("c")], {"b": 1.0}, 1) is None
    assert left_s([cell("a", "ok", 10.0)], {}, 1) == 0.0
    assert progress([cell("a", "ok", 10.0), cell("c")], 1) == "1 of 2 done, about 10 s left"
    assert progress([cell("a", "ok", 600.0), cell("c")], 1) == "1 of 2 done, about 10 min left"
    assert progress([cell("c")], 1) == "0 of 1 done, time left unknown"
    assert progress([cell("a", "ok", 600.0), cell("c")], 0) == "1 of 2 done, no worker is there: waiting for one to join"
    assert progress([cell("a", "ok", 600.0)], 0) == "1 of 1 done, about 0 s left"


def test_compile_caches_have_one_place(tmp_path: Path):
    assert cache_environment(tmp_path) == {
        "TORCHINDUCTOR_CACHE_DIR": f"{tmp_path}/inductor",
        "TRITON_CACHE_DIR": f"{tmp_path}/triton",
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
    }
    for name in ("k1", "k2", "k3"):
        (tmp_path / "triton" / name).mkdir(parents=True)
    (tmp_path / "triton" / "lock").touch()
    assert count_kernels(tmp_path) == 3
    assert count_kernels(tmp_path / "nothing") == 0
    run = tmp_path / "run"
    run.mkdir()
    assert cache_counts(run, 0, tmp_path) is None
    (run / "run.json").write_text(json.dumps({"applied": {"graphs": 2, "caches": {"fx_hits": 1}}}))
    assert cache_counts(run, 1, tmp_path) == {"fx_hits": 1, "triton_added": 2}
    (run / "run.json").write_text(json.dumps({"applied": {"graphs": 0, "caches": {}}}))
    assert cache_counts(run, 1, tmp_path) is None


def test_what_torch_counts_of_its_caches(monkeypatch: pytest.MonkeyPatch):
    from collections import Counter
    from types import SimpleNamespace

    counters = {
        "stats": Counter(unique_graphs=2),
        "inductor": Counter(fxgraph_cache_hit=3, fxgraph_cache_miss=1),
        "aot_autograd": Counter(autograd_cache_bypass=4),
    }
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters=counters))
    found = {"fx_hits": 3, "fx_misses": 1, "fx_bypasses": 0, "aot_hits": 0, "aot_misses": 0, "aot_bypasses": 4}
    assert count_caches() == found
    counters["stats"] = Counter()
    assert count_caches() == {}


def test_a_process_that_will_not_end_is_killed_with_its_helpers():
    mark = f"test/{os.getpid()}/{time.time_ns()}"
    code = "import signal, subprocess as s, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code += "s.Popen(['sleep', '300'], start_new_session=True); print('up', flush=True); time.sleep(300)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {MARK: mark}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    deadline = time.monotonic() + 10
    while len(marked(mark)) < 2:
        assert time.monotonic() < deadline
    end(child, mark, grace_s=0.3)
    assert child.returncode == -9
    assert marked(mark) == []


def test_an_unclean_gpu_is_a_reason_of_a_good_cell():
    assert _warning(f"load ...\n{WARNING}5.1 GiB of the GPU were in use before this cell (pid 7)\n") is not None
    assert _warning("0.5 GiB of the GPU were in use before this cell (pid 7)\n") is None


def test_the_live_table_and_the_lines(tmp_path: Path):
    from rich.console import Console

    cells = [cell(f"c{index}", "ok", 10.0) for index in range(30)] + [cell("now", "running"), cell("later")]
    cells[0].extrapolated = {"from_steps": [4, 8], "fixed_ms": 10.0, "step_ms": 5.0, "error_ms": 2.0}
    cells[0].run = "c0"
    cells[-2].began_ns, cells[-2].worker = time.time_ns() - 3_000_000_000, "here/gpu0"
    wide = Console(file=io.StringIO(), force_terminal=True, width=100, height=20, color_system=None)
    with LiveView(tmp_path, 28, wide) as view:
        view.show(cells, 1)
        shown = wide.file.getvalue()  # type: ignore[attr-defined]
        assert "now" in shown
        assert "here/gpu0" in shown
        assert "30 of 32 done, about 17 s left" in shown
        assert "c1 " not in shown, "what ended long ago gives way"
        wide.print(view.table(cells[:1], 1))
    assert "~150.0 ms ± 2.0 ms" in wide.file.getvalue()  # type: ignore[attr-defined]
    plain = Console(file=io.StringIO(), width=100)
    with LiveView(tmp_path, 28, plain) as view:
        view.tell(cells[-2])
        cells[-1].status, cells[-1].reason, cells[-1].seconds = "oom", "too much", 2.0
        view.tell(cells[-1])
        view.show(cells, 1)
        view.show(cells, 0)
    assert plain.file.getvalue() == "now: running on here/gpu0\nlater: oom, 2.0 s: too much\n"  # type: ignore[attr-defined]


def test_the_live_table_goes_on_beside_a_run_that_cannot_be_read(tmp_path: Path):
    from rich.console import Console

    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    done = cell("c", "ok", 10.0)
    done.run = "c"
    wide = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with LiveView(tmp_path, 28, wide) as view:
        view.show([done], 1)
    assert "1 of 1 done" in wide.file.getvalue()  # type: ignore[attr-defined]
    assert done.reason is None


def test_a_sweep_without_a_terminal_says_once_that_it_waits(tmp_path: Path):
    from rich.console import Console

    plain = Console(file=io.StringIO(), width=100)
    with LiveView(tmp_path, 28, plain) as view:
        for slots in (1, 0, 0, 1, 0):
            view.show([cell("later")], slots)
    assert plain.file.getvalue() == "no worker is there: waiting for one to join\n" * 2  # type: ignore[attr-defined]
