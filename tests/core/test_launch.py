"""What a launcher says, and what --parallel makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from profiler.core.combinations import refuse_combination
from profiler.core.errors import UsageError
from profiler.core.launch import Launch, find_launch, parallel_of
from profiler.core.spec import RunSpec

TWO = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
SPREAD = RunSpec(model="flux-tiny", parallel={"kind": "ulysses", "degree": 2})


def test_torchruns_variables_are_a_place():
    assert find_launch(TWO | {"LOCAL_RANK": "0"}) == Launch(rank=1, world_size=2, local_rank=0)
    assert find_launch(TWO) == Launch(rank=1, world_size=2, local_rank=1)
    assert find_launch({"WORLD_SIZE": "2"}) is None
    with pytest.raises(UsageError, match="whole numbers"):
        find_launch(TWO | {"RANK": "first"})


@pytest.mark.parametrize(
    "said", [{"RANK": "2"}, {"RANK": "-1"}, {"LOCAL_RANK": "2"}, {"LOCAL_RANK": "-1"}, {"WORLD_SIZE": "0"}, {"WORLD_SIZE": "-3"}]
)
def test_a_place_that_there_is_not_is_refused_before_anybody_waits(said: dict[str, str]):
    with pytest.raises(UsageError, match="of WORLD_SIZE"):
        find_launch(TWO | said)


def test_the_degree_is_the_number_of_processes():
    assert parallel_of("ring", Launch(0, 4, 0)) == {"kind": "ring", "degree": 4}
    assert parallel_of(None, None) is None
    assert parallel_of(None, Launch(0, 1, 0)) is None


@pytest.mark.parametrize(
    ("kind", "launch", "why"),
    [
        ("ulysses", None, "several processes, and this is one"),
        ("ulysses", Launch(0, 1, 0), "several processes"),
        ("tensor", Launch(0, 2, 0), "is not known"),
        (None, Launch(0, 2, 0), "2 processes were started, and --parallel does not say"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: str | None, launch: Launch | None, why: str):
    with pytest.raises(UsageError, match=why):
        parallel_of(kind, launch)


@pytest.mark.parametrize("more", [{"offload": "model"}, {"compile": "reduce-overhead"}, {"compile": "max-autotune"}])
def test_what_ranks_cannot_be_combined_with(more: dict[str, str]):
    with pytest.raises(UsageError, match="--parallel ulysses cannot be combined with"):
        refuse_combination(replace(SPREAD, **more), quantizes=False)  # type: ignore[arg-type]


def test_a_run_of_one_process_keeps_its_hash():
    assert SPREAD.hash != replace(SPREAD, parallel=None).hash
    assert RunSpec.from_dict(SPREAD.to_dict()) == SPREAD
    assert RunSpec(model="flux-tiny").hash == "3bc345dbc881"
