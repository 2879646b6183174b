"""Compiling under an offload: the hooks lie around what is compiled, so that they break no graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import called, made

from profiler.compilers.base import COMPILERS
from profiler.placement.base import OFFLOADS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Dynamo's counters, from zero; graphs run as they were captured, for Inductor would take a minute each."""
    from torch._dynamo.utils import counters

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="aot_eager", **options))
    torch._dynamo.reset()
    counters.clear()
    yield counters
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("name", "mode", "graphs"), [("model", "regional", 3), ("model", "default", 1), ("group", "regional", 3)]
)
@pytest.mark.parametrize("scheme", ["bf16", "int8wo"])
def test_no_graph_breaks_and_no_block_compiles_anew(counters: Any, name: str, mode: str, graphs: int, scheme: str):
    expected = called(*made("flux-tiny", scheme=scheme))
    plan, pipe = made("flux-tiny", scheme=scheme)
    COMPILERS.get(mode).apply(pipe.transformer, inside_hooks=True)
    OFFLOADS.get(name).apply(pipe, "cpu")
    first = called(plan, pipe)
    assert torch.allclose(first.float(), expected.float(), atol=2e-2)
    assert torch.equal(called(plan, pipe), first)
    assert not counters["graph_break"]
    # As many as without an offload: blocks of one kind share their graph.
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_hook_inside_what_is_compiled_breaks_every_graph(counters: Any):
    # Why regions are compiled inside the hooks: in place, the hooks would be traced with the block.
    plan, pipe = made("flux-tiny")
    for name in COMPILERS.get("regional").regions(pipe.transformer):
        block = pipe.transformer.get_submodule(name)
        block._compiled_call_impl = torch.compile(block._call_impl)
    OFFLOADS.get("group").apply(pipe, "cpu")
    called(plan, pipe)
    assert sum(counters["graph_break"].values()) > 0


def test_a_region_is_still_known_as_one_under_its_hooks():
    from profiler.recording.module_marks import _is_region

    _, pipe = made("flux-tiny")
    regions = COMPILERS.get("regional").apply(pipe.transformer, inside_hooks=True)
    OFFLOADS.get("group").apply(pipe, "cpu")
    assert all(_is_region(pipe.transformer.get_submodule(name)) for name in regions)
    assert not _is_region(pipe.transformer)
