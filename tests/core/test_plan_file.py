"""Plans on disk: what is read, which entry decides, and what is no plan."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import content_hash, names_plan, read_plan
from profiler.core.spec import RunSpec

PLAN: dict[str, Any] = {"schema": 1, "kind": "plan", "model": "m", "layers": {"a": "int8wo"}}


def written(folder: Path, content: Any) -> str:
    path = folder / "plan.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_name_wins_over_expressions_and_of_these_the_first(tmp_path: Path):
    layers = {"re:a\\..*": "first", "re:.*": "second", "a.x": "name"}
    plan = read_plan(written(tmp_path, PLAN | {"layers": layers}))
    assert [plan.key_of(each) for each in ("a.x", "a.y", "b")] == ["a.x", "re:a\\..*", "re:.*"]
    only = read_plan(written(tmp_path, PLAN | {"layers": {"re:a": "x", "b": None}}))
    # An expression matches whole names.
    assert (only.key_of("ab"), only.key_of("b")) == (None, "b")
    assert only.strangers({"c"}) == ["b"]
    assert only.model == "m"


def test_torchaos_own_form_names_layers_within_the_transformer(tmp_path: Path):
    config = {"_type": "Int8WeightOnlyConfig", "_data": {}}
    raw = {"_type": "FqnToConfig", "_data": {"fqn_to_config": {"x": config, "re:b\\.(0|1)": config, "y": None}}}
    plan = read_plan(written(tmp_path, raw))
    assert plan.key_of("transformer.x") == "transformer.x"
    assert plan.key_of("transformer.b.1") is not None
    assert plan.key_of("b.1") is None
    assert plan.layers["transformer.y"] is None
    assert plan.model is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("[1]", "is no plan"),
        ({"kind": "plan", "schema": 9, "layers": {"a": "b"}}, "has schema 9; this diffuscope reads up to 1"),
        (PLAN | {"layers": {}}, "a plan without layers"),
        (PLAN | {"layers": {"a": 3}}, "gives a no scheme and no torchao config"),
        (PLAN | {"layers": {"re:(": "int8wo"}}, "has the expression 're:\\('"),
        (PLAN | {"layers": {"re:a{99999999999}": "int8wo"}}, "which cannot be read: the repetition number is too large"),
        (PLAN | {"layers": {f"re:{'(' * 3000}{')' * 3000}": "int8wo"}}, "which cannot be read: maximum recursion depth"),
        (PLAN | {"model": 3}, "whose model or spec cannot be read"),
        ({"_type": "FqnToConfig", "_data": 3}, "a plan without layers"),
    ],
)
def test_what_is_no_plan_is_one_error(tmp_path: Path, content: Any, why: str):
    with pytest.raises(UnreadableInput, match=why):
        read_plan(written(tmp_path, content))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(UnreadableInput) as caught:
        read_plan(str(tmp_path / "none.json"))
    assert "No such file" in caught.value.message
    assert "diffuscope plan" in caught.value.hint


def test_a_plan_is_told_by_its_ending():
    assert names_plan("plans/mine.json")
    assert not names_plan("int8dq")


def test_a_spec_with_another_plan_is_another_spec(tmp_path: Path):
    path = written(tmp_path, PLAN)
    spec = RunSpec(model="m", scheme=path)
    before = spec.hash
    assert RunSpec(model="m", scheme=path).hash == before
    written(tmp_path, PLAN | {"layers": {"a": "int8dq"}})
    assert spec.hash != before
    assert RunSpec(model="m", scheme=str(tmp_path / "none.json")).hash != before


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_would_never_end_is_no_plan(tmp_path: Path, kind: str):
    path = tmp_path / "plan.json"
    {"pipe": os.mkfifo, "device": lambda each: each.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    with pytest.raises(UnreadableInput, match="is no file of at most 64 MiB, and no plan"):
        read_plan(str(path))
    assert content_hash(str(path)) is None
