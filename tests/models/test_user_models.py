"""`module:function`: the user's own pipeline, and what is said where it cannot be found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS, find_model
from profiler.models.user import accepted_kwargs, refuse_absent, refuse_no_pipeline

SOURCE = """
seen = []
def all_three(device, dtype, seed): return (device, dtype, seed)
def only_seed(seed): return seed
def none(): return "pipe"
thing = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mine_for_test.py").write_text(SOURCE)
    (tmp_path / "broken_for_test.py").write_text("import no_such_package_of_mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_for_test", raising=False)
    return "mine_for_test"


@pytest.mark.parametrize(("function", "made"), [("all_three", ("cpu", torch.float16, 4)), ("only_seed", 4), ("none", "pipe")])
def test_a_function_gets_what_it_asks_for(mine: str, function: str, made: object):
    assert find_model(f"{mine}:{function}").build("cpu", torch.float16, 4) == made


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:f", "no module is called 'no_such_module_here'"),
        ("mine_for_test:absent", "mine_for_test has no function 'absent'"),
        ("mine_for_test:thing", "mine_for_test has no function 'thing'"),
    ],
)
def test_what_cannot_be_found_is_named(mine: str, name: str, message: str):
    with pytest.raises(UsageError, match=message):
        find_model(name).build("cpu", torch.bfloat16, 0)


def test_a_module_whose_own_import_fails_says_so(mine: str):
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_mine"):
        find_model("broken_for_test:f").build("cpu", torch.bfloat16, 0)


def test_what_is_no_pipeline_is_refused_by_its_type():
    for made, kind in ((None, "NoneType"), ((1, 2), "tuple"), (len, "builtin_function_or_method")):
        with pytest.raises(UsageError, match=f"mine:f returned a {kind}, which is no pipeline"):
            refuse_no_pipeline("mine:f", made)


def test_a_module_that_is_nowhere_is_refused_without_importing(mine: str):
    refuse_absent(f"{mine}:none")
    refuse_absent("xml.dom.not_looked_at_yet:f")
    assert mine not in sys.modules
    for name in ("no_such_module_here:f", "no_such_package.part:f", ":f"):
        with pytest.raises(UsageError, match="no module is called"):
            refuse_absent(name)


def test_naming_a_function_imports_nothing_of_the_user(mine: str):
    model = find_model(f"{mine}:none")
    assert mine not in sys.modules
    assert model.resolve(RunSpec(model=model.name)).steps == 28


def test_an_unregistered_name_lists_the_registered_ones():
    with pytest.raises(UsageError, match="no model is called 'flux'") as caught:
        find_model("flux")
    assert "flux-dev" in caught.value.hint


def test_only_arguments_that_the_call_knows():
    class Narrow:
        def __call__(self, prompt: str, generator: object = None) -> None: ...

    class Wide:
        def __call__(self, **kwargs: object) -> None: ...

    given = {"prompt": "a", "height": 64, "generator": None}
    assert accepted_kwargs(Narrow(), given) == {"prompt": "a", "generator": None}
    assert accepted_kwargs(Wide(), given) == given


def test_rows_of_a_users_flux_come_from_its_family():
    pipe = MODELS.get("flux-tiny").build("cpu", torch.bfloat16, 0)
    model = find_model("any:thing")
    rows = model.rows(model.resolve(RunSpec(model=model.name, height=64, width=64)), pipe)
    assert rows["transformer"]["single_transformer_blocks.0.attn.to_q"] == 16 + 512


def test_rows_of_a_strange_pipeline_are_unknown():
    model = find_model("any:thing")
    assert model.rows(RunSpec(model=model.name), SimpleNamespace(transformer=torch.nn.Linear(2, 2))) == {}


def test_listing_models_imports_no_torch():
    code = "import sys; from profiler.models.base import MODELS; print(len(MODELS.values()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "False"]
