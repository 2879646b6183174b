"""Errors, registries, specs and units."""

from __future__ import annotations

import sys

import pytest

from profiler.core import errors, units
from profiler.core.errors import DiffuscopeError, UnreadableInput, UsageError
from profiler.core.registry import Registry
from profiler.core.spec import RunSpec


def test_every_error_has_a_documented_exit_code_and_says_what_to_do():
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DiffuscopeError)]
    assert {each.__name__: each.exit_code for each in kinds} == {
        "DiffuscopeError": 2,
        "UsageError": 2,
        "UnreadableInput": 2,
        "Refused": 2,
        "MissingExtra": 2,
        "CheckFailed": 1,
        "RecordedProgramFailed": 3,
    }
    assert str(UsageError("what", "do this")) == "what\n  do this"
    assert str(UsageError("what")) == "what"
    assert "pip install 'diffuscope[record]'" in errors.MissingExtra("`record`", "record").hint


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry over a package of two modules."""
    package = tmp_path / "choices_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from profiler.core.registry import Registry\nALL = Registry('choice', 'choices_for_test')\n"
    )
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(f"from choices_for_test import ALL\nALL.add('{name}', '{name.upper()}')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("choices_for_test").ALL
    for name in [each for each in sys.modules if each.startswith("choices_for_test")]:
        del sys.modules[name]


def test_one_new_file_is_one_new_choice(registry):
    assert (list(registry), registry.values(), registry.get("two")) == (["one", "two"], ["ONE", "TWO"], "TWO")
    assert "one" in registry and "three" not in registry


def test_an_unknown_choice_lists_the_known_ones_and_a_name_is_taken_once(registry):
    with pytest.raises(UsageError, match="no choice is called 'three'") as caught:
        registry.get("three")
    assert caught.value.hint == "choose from: one, two"
    with pytest.raises(ValueError, match="registered twice"):
        registry.add("one", "again")


def test_an_empty_registry_is_empty():
    assert list(Registry[int]("nothing", "profiler.report")) == []


def test_a_spec_survives_the_round_trip_and_its_hash_follows_every_field():
    spec = RunSpec(model="flux-tiny", scheme="int8wo", height=64)
    assert RunSpec.from_dict(spec.to_dict() | {"later": 1}) == spec
    assert len(spec.hash) == 12
    assert spec.hash == RunSpec(model="flux-tiny", scheme="int8wo", height=64).hash
    changed = [
        RunSpec(model="flux-tiny", scheme="int8wo", height=64, **{name: 7}) for name in ("seed", "batch", "width", "warmup")
    ]
    assert len({each.hash for each in [spec, *changed]}) == 5
    with pytest.raises(UnreadableInput, match="names no model"):
        RunSpec.from_dict({})


def test_units():
    assert (units.gib(3 << 29), units.gib(None), units.ms(1_500_000), units.ms(None)) == (1.5, None, 1.5, None)
    assert [units.format_ms(value) for value in (None, 0.0123, 1.0, 1234.56)] == ["-", "0.012 ms", "1.0 ms", "1,234.6 ms"]
    sizes = [units.format_size(value) for value in (None, 1 << 20, 1 << 30, 5 << 30)]
    assert sizes == ["-", "1.00 MiB", "1.000 GiB", "5.000 GiB"]
