"""A tuning in this process: shapes that no kernel fits, wrong kernels counted, torchao's files in and out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_torchao_file import FAKE_TRITON, WRITE, child

from profiler.core.errors import Refused, UsageError
from profiler.kernels import int_scaled_matmul
from profiler.kernels.candidate import Candidate, Shape
from profiler.schemes.base import Hardware
from profiler.tune import offers, session
from profiler.tune.session import Request, refuse_machine, tune
from profiler.tune.shapes import Wanted
from profiler.tune.torchao_file import Saved

SHAPE, OTHER = Shape(96, 64, 32), Shape(48, 64, 32)


def request(folder: Path, *shapes: Shape, **more: Any) -> Request:
    return Request(shapes=[Wanted(each) for each in shapes], device="cpu", out=folder / "run", table=folder / "t.json", **more)


def answer(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "tune.json").read_text())
    return found


def offer(monkeypatch: pytest.MonkeyPatch, by_shape: dict[Shape, list[Candidate]]) -> None:
    real = int_scaled_matmul.candidates
    monkeypatch.setattr(
        int_scaled_matmul, "candidates", lambda shape, hardware: by_shape[shape] if shape in by_shape else real(shape, hardware)
    )


def test_a_planted_wrong_kernel_is_rejected_counted_and_kept_out_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from profiler.kernels import int_scaled_matmul_cpu as cpu

    monkeypatch.setitem(cpu._SUMS, "wrong", lambda a, b: torch.zeros(a.shape[0], b.shape[1], dtype=torch.int32))
    assert tune(request(tmp_path, SHAPE)) == "ok"
    (row,) = answer(tmp_path)["shapes"]
    assert list(row["wrong"]) == ["cpu:wrong"]
    assert "outputs are wrong" in row["wrong"]["cpu:wrong"]
    assert row["best"]["kernel"] != "cpu:wrong"
    assert row["candidates"] == 4
    assert "cpu:wrong" not in (tmp_path / "t.json").read_text()


def test_a_shape_that_nothing_fits_is_told_and_the_others_are_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    offer(monkeypatch, {OTHER: []})
    assert tune(request(tmp_path, SHAPE, OTHER)) == "ok"
    found = answer(tmp_path)
    assert [each["m"] for each in found["shapes"]] == [96]
    assert found["refused"] == [{"m": 48, "k": 64, "n": 32, "count": 1, "why": "no kernel fits 48x64x32"}]


def test_where_nothing_fits_no_run_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    offer(monkeypatch, {OTHER: []})
    with pytest.raises(Refused, match="no kernel fits 48x64x32 on no CUDA device"):
        tune(request(tmp_path, OTHER))
    assert not (tmp_path / "run").exists()


def test_no_triton_on_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "triton_version", lambda: "")
    with pytest.raises(Refused, match="needs Triton, and there is none"):
        refuse_machine(Hardware("cuda", (9, 0), "NVIDIA H100"))
    refuse_machine(Hardware("cpu"))


def test_shapes_of_a_torchao_file_are_tuned_and_its_unfit_configurations_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = {"block_m": 64, "block_n": 64, "block_k": 64, "stages": 3, "warps": 4}
    path = tmp_path / "data.pkl"
    entries = {tuple(SHAPE): (config, 10.0), tuple(OTHER): (config | {"block_k": 256}, 20.0)}
    assert child(WRITE, str(path), repr(entries), str(FAKE_TRITON)).returncode == 0
    offer(
        monkeypatch, {SHAPE: [*int_scaled_matmul.candidates(SHAPE, Hardware("cpu")), Candidate("torchao:x", "torchao", config)]}
    )
    assert tune(request(tmp_path, import_torchao=path)) == "ok"
    assert [(each["m"], each["k"], each["n"]) for each in answer(tmp_path)["shapes"]] == [SHAPE, OTHER]
    (note,) = json.loads((tmp_path / "run" / "run.json").read_text())["applied"]["notes"]
    assert note == f"{path}: 2 configurations, 1 of them no candidate here (wrong for their shape, or not for this device)"
    (row, _) = answer(tmp_path)["shapes"]
    assert list(row["failed"]) == ["torchao:x"], "there is no Triton here to run it"


def test_the_best_of_torchaos_own_kernel_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = {"block_m": 64, "block_n": 64, "block_k": 64, "stages": 3, "warps": 4}
    real = int_scaled_matmul.int_scaled_matmul

    def product(*given: Any) -> Any:
        return real(*given[:-1], "cpu:s8s8" if given[-1].startswith("torchao:") else given[-1])

    offer(
        monkeypatch, {SHAPE: [*int_scaled_matmul.candidates(SHAPE, Hardware("cpu")), Candidate("torchao:x", "torchao", config)]}
    )
    monkeypatch.setattr(int_scaled_matmul, "int_scaled_matmul", product)
    exported: dict[Shape, Any] = {}
    monkeypatch.setattr(session.torchao_file, "write", lambda path, entries: exported.update(entries))
    assert tune(request(tmp_path, SHAPE, export_torchao=tmp_path / "data.pkl")) == "ok"
    assert list(exported) == [SHAPE]
    kept, us = exported[SHAPE]
    assert kept == config
    assert us > 0
    entry = json.loads((tmp_path / "t.json").read_text())["sections"][0]["entries"]["96x64x32"]
    assert entry["torchao"] == {"config": config, "us": us}
    (note,) = json.loads((tmp_path / "run" / "run.json").read_text())["applied"]["notes"]
    assert note.endswith("data.pkl: the best of torchao's own kernel at 1 of 1 shapes")


def test_what_cannot_be_exported_is_refused_before_the_search(tmp_path: Path):
    with pytest.raises(Refused, match="--export-torchao holds configurations of torchao's Triton kernel"):
        tune(request(tmp_path, SHAPE, export_torchao=tmp_path / "data.pkl"))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_holds_no_table_is_refused_before_the_search(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot write /proc/nothing/t"):
        tune(replace(request(tmp_path, SHAPE), table=Path("/proc/nothing/t.json")))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_exists_is_refused(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        tune(request(tmp_path, SHAPE))


def test_right_configurations_of_a_torchao_file_are_candidates_on_a_gpu():
    config = {"block_m": 32, "block_n": 32, "block_k": 64, "stages": 8, "warps": 8}
    imported = [Saved(SHAPE, config, 0.1), Saved(SHAPE, config | {"block_k": 256}, 0.1), Saved(SHAPE, config | {"group": 4}, 0.1)]
    h100 = Hardware("cuda", (9, 0), "NVIDIA H100")
    (offered,) = offers.offered_for([Wanted(SHAPE)], imported, h100).values()
    (known,) = offers.offered_for([Wanted(SHAPE)], [], h100).values()
    added = [each for each in offered if each not in known]
    assert [each.config for each in added] == [config], "K is 64: a block of 256 reads past it"
    assert added[0].kernel == "torchao:block_m=32,block_n=32,block_k=64,stages=8,warps=8"
    again = offers.offered_for([Wanted(SHAPE)], [*imported, *imported], h100)
    assert len(again[Wanted(SHAPE)]) == len(offered)
    assert offers.note_imported(Path("f"), imported, {Wanted(SHAPE): offered}).startswith("f: 3 configurations, 2 of them")
