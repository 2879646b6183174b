"""From a spec to a pipeline: what a pipeline of the user's own must have for what was asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.recording import prepare
from profiler.schemes.base import Hardware


class _UNetPipeline:
    unet = object()

    def to(self, _device: str) -> _UNetPipeline:
        return self

    def __call__(self) -> None: ...


def _load(**asked: Any) -> Any:
    model: Any = SimpleNamespace(build=lambda *_: _UNetPipeline(), load=None)
    return prepare.load(prepare.look_up(RunSpec(model="mine:make", **asked), model, Hardware("cpu")))


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"scheme": "int8wo"}, "--scheme int8wo"),
        ({"compile": "regional"}, "--compile regional"),
        ({"fuse_qkv": True}, "--fuse-qkv"),
        ({"channels_last": True}, "--channels-last"),
    ],
)
def test_what_works_on_a_transformer_is_refused_where_there_is_none(asked: dict[str, Any], option: str):
    with pytest.raises(UsageError, match=f"{option} works on a pipeline's transformer, and mine:make has none") as caught:
        _load(**asked)
    assert f"leave {option} out" in caught.value.hint


def test_as_it_is_built_any_pipeline_is_recorded():
    assert isinstance(_load(), _UNetPipeline)
