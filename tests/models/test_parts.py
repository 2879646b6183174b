"""One rank's part of a transformer."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from profiler.core.errors import Refused, UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.models.parts import refuse_parallel, refuse_sizes, rows_of_a_part

MODEL = MODELS.get("flux-tiny")
SPEC = MODEL.resolve(RunSpec(model="flux-tiny", height=64, width=64))


@cache
def transformer() -> Any:
    assert MODEL.components is not None
    with torch.device("meta"):
        return MODEL.components()["transformer"]


def inputs(component: Any) -> Any:
    with torch.device("meta"):
        return MODEL.inputs(SPEC, "transformer", component, None)


def test_a_rank_has_its_part_of_the_tokens_and_all_of_the_conditioning():
    rows = {degree: rows_of_a_part(transformer(), inputs, degree) for degree in (1, 2, 4)}
    for degree, found in rows.items():
        assert (found["x_embedder"], found["context_embedder"]) == (16 // degree, 64 // degree)
        assert found["transformer_blocks.0.attn.to_q"] == 16 // degree
        assert found["single_transformer_blocks.0.attn.to_q"] == 80 // degree
        assert found["transformer_blocks.0.norm1.linear"] == 1
    assert rows[1].keys() == rows[2].keys()


@pytest.mark.parametrize(
    ("kind", "degree", "why"),
    [
        ("ulysses", 3, "deals 4 attention heads to 3 ranks"),
        ("ring", 3, r"splits hidden_states \(16 tokens\) over 3 ranks"),
        ("ulysses", 32, "deals 4 attention heads to 32 ranks"),
    ],
)
def test_what_does_not_come_out_even_is_refused(kind: str, degree: int, why: str):
    with pytest.raises(UsageError, match=why):
        refuse_sizes(transformer(), inputs(transformer()), {"kind": kind, "degree": degree})


def test_even_sizes_pass():
    refuse_sizes(transformer(), inputs(transformer()), {"kind": "ulysses", "degree": 4})
    refuse_sizes(transformer(), None, {"kind": "ring", "degree": 3})


def test_a_model_without_a_plan_is_refused_by_name():
    refuse_parallel(MODEL)
    with pytest.raises(Refused, match="no context-parallel plan for the transformer of cogvideox-2b") as caught:
        refuse_parallel(MODELS.get("cogvideox-2b"))
    assert "flux-dev" in caught.value.hint
    with pytest.raises(UsageError, match="no context-parallel plan for a Linear"):
        refuse_sizes(torch.nn.Linear(1, 1), None, {"kind": "ring", "degree": 2})
