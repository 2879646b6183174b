"""The ranks in the HTML report: a bar and a row each, whose figures the other sections show, what could not be read."""

from __future__ import annotations

import re
import shutil
from html import unescape

import pytest
from rank_runs import change_rank, pair

from profiler.cli.app import run as run_command
from profiler.report.html import page
from profiler.report.html_data import gather
from profiler.tables.run import Run


def said(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def section(html: str, name: str) -> str:
    (found,) = re.findall(rf'<section id="{name}">.*?</section>', html, re.DOTALL)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tuple(map(Run.open, pair(tmp_path_factory.mktemp("pair"))))


def test_a_section_of_ranks(runs):
    found = gather(runs[1], runs[0])
    assert found.sections[:3] == ["comparison", "diagnosis", "ranks"]
    html = page(found)
    ranks = section(html, "ranks")
    for row in (
        # rank, host, call, step, busy, exposed, hidden, waiting, idle, waits for, model, peak
        "0 node 60.0 6.450 86.8% 0.400 0.600 0.800 0.050 rank 1 30.00 31.00",
        "1 node 64.0 6.450 99.2% 0.400 0.600 0.000 0.050 30.00 32.00",
        "rank 1 is the slowest",
        "Rank 1, the slowest, beside rank 0",
        "GEMM bf16 busy 6.000 5.200 +0.800",
    ):
        assert row in said(ranks)
    widths = [float(each) for each in re.findall(r"rank 0, [^:]+: [\d.]+ ms</title><rect [^>]*?width=\"([\d.]+)\"", ranks)]
    whole = 1050 / 6.45
    assert widths == pytest.approx([each * whole for each in (5.2, 0.4, 0.8, 0.05)], abs=0.1)
    assert "rank 0 of 2, the median" in said(section(html, "ledger"))
    comparison = said(section(html, "comparison"))
    assert "78% of linear scaling" in comparison and "waiting for a slower rank 0.000 0.000 0.800 +0.800" in comparison


def test_a_rank_that_is_asked_for_and_one_process(runs):
    assert "rank 1 of 2" in said(section(page(gather(runs[1], rank=1)), "ledger"))
    alone = page(gather(runs[0]))
    assert 'id="ranks"' not in alone and 'href="#ranks"' not in alone


@pytest.mark.parametrize("harm", ["missing", "another run"])
def test_the_others_are_shown(tmp_path, harm):
    _, two = pair(tmp_path)
    if harm == "missing":
        shutil.rmtree(two / "rank0")
    else:
        change_rank(two, 0, run_id="<other>")
    html = page(gather(Run.open(two)))
    why = "rank 0 left no folder" if harm == "missing" else "rank 0 is of another run (<other>, this one is 0123456789ab)"
    assert f"rank 0 has no times: {why}" in said(section(html, "ranks"))
    assert "rank 1 of 2" in said(section(html, "ledger")) and "<other>" not in html


def test_commands_take_a_rank_and_refuse_one_that_is_not_there(tmp_path, capsys):
    one, two = pair(tmp_path)
    assert run_command(["report", str(two), "--rank", "1", "-o", str(tmp_path / "r.html")]) == 0
    assert "holds: diagnosis, ranks, kernels" in capsys.readouterr().out
    assert run_command(["memory", str(two)]) == 0
    shown = capsys.readouterr().out
    assert "rank 1 of 2 (--rank N for another)" in shown and re.search(r"together +60\.000 +60\.000 +63\.000", shown)
    assert run_command(["show", str(two), "--rank", "0"]) == 0
    shown = capsys.readouterr().out
    assert "memory of rank 0, kernels of rank 0, calls of the slowest (--rank N)" in shown
    assert "timed    64.0 ms median of 3" in shown
    assert run_command(["runs", str(tmp_path)]) == 0
    assert re.search(r"two .* 2 ulysses +64\.0 +30\.00 +32\.00 +ok", capsys.readouterr().out)
    for command in (("show", two), ("memory", two), ("report", two), ("diagnose", two), ("compare", one, two)):
        assert run_command([*map(str, command), "--rank", "7"]) == 2
        assert f"{two} holds no rank 7" in capsys.readouterr().err
    shutil.rmtree(two / "rank1")
    assert run_command(["runs", str(tmp_path)]) == 0
    assert "1 of 2 ulysses" in capsys.readouterr().out
