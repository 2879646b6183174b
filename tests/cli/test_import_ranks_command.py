"""`import DIR`, `show` and `diagnose --rank` on a folder of rank traces."""

from __future__ import annotations

import json
import re

from rank_traces import Planted, write

from profiler.cli.app import run


def test_a_folder_of_ranks_is_imported_shown_and_diagnosed(tmp_path, capsys):
    paths = write(tmp_path / "in", Planted(world=4, slow_us={2: 300}))
    paths[1].unlink()
    assert run(["import", str(tmp_path / "in"), "-o", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["status"] == "ok"
    assert said["lost"] == [{"what": "rank 1", "why": "the folder holds no trace of it", "count": 1}]
    assert run(["show", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"(?m)^ +2 .* 6\.400 +0\.400 +0\.600 +0\.000 +0\.050", shown)
    assert "rank 1 has no times: rank 1 left no folder" in shown
    assert "the folder holds no trace of it" in shown
    assert run(["diagnose", str(tmp_path / "run"), "--rank", "3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["rank"], data["findings"][0]["rule"]) == (3, "straggler")
    assert run(["diagnose", str(tmp_path / "run"), "--rank", "1"]) == 2
    assert "holds no rank 1" in capsys.readouterr().err


def test_a_folder_takes_no_snapshot_and_an_empty_one_is_an_error(tmp_path, capsys):
    write(tmp_path / "in", Planted(world=2, steps=1, layers=1))
    assert run(["import", str(tmp_path / "in"), "--memory", str(tmp_path / "x"), "-o", str(tmp_path / "run")]) == 2
    assert "is a folder of rank traces" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["import", str(tmp_path / "empty"), "-o", str(tmp_path / "run")]) == 2
    assert "holds no trace of a rank" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
