"""The restricted unpickler: builtin containers pass, names that a caller lists become inert, everything else is refused."""

from __future__ import annotations

import copyreg
import io
import pickle
import subprocess
import sys

import pytest
from hostile_pickles import BROKEN, CANARY, EXTENSION, RUNS_CODE

from profiler.core import safe_pickle
from profiler.core.errors import UnreadableInput
from profiler.core.safe_pickle import StandIn, load

_PLAIN = {
    "dict": {"a": [1, -1, 2**70, 1.5, None, True], "b": (b"x", "\u00e9", {1, 2}, frozenset({3}))},
    "empty": [[], {}, (), set(), "", b""],
}


class Config:
    """A class of the kind whose pickles are to be read: constructor arguments, and state."""

    def __init__(self, kwargs):
        self.kwargs = kwargs


class Args(tuple):
    """A class that pickles as its constructor's arguments."""

    __slots__ = ()

    def __reduce__(self):
        return (Args, (tuple(self),))


class Items(list):
    """A class that pickles as items appended."""


class Pairs(dict):
    """A class that pickles as pairs set."""


_OWN = tuple(f"{__name__}.{each.__name__}" for each in (Config, Args, Items, Pairs))


def _load(data, *names):
    return load(io.BytesIO(data), names)


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    """The file that hostile pickles make, in a folder of this test alone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / CANARY


@pytest.fixture
def extension():
    """os.system as a registered extension, resolved once already, so that it lies in the process's cache."""
    registered = (pickle.whichmodule(__import__("os").system, "system"), "system")
    copyreg.add_extension(*registered, EXTENSION)
    assert callable(pickle.loads(b"\x80\x04\x82" + bytes([EXTENSION]) + b"."))
    yield
    copyreg.remove_extension(*registered, EXTENSION)
    copyreg.clear_extension_cache()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_builtin_values_pass_in_the_protocols_that_need_no_names(protocol):
    value = _PLAIN if protocol >= 4 else {"a": [1, 2**70, 1.5, None, True], "b": ("x", {"c": ()})}
    assert _load(pickle.dumps(value, protocol)) == value


def test_objects_that_are_shared_stay_shared():
    frame = {"name": "f"}
    frames = [frame, frame]
    loaded = _load(pickle.dumps([frames, frames, [frame]], 4))
    assert loaded[0] is loaded[1]
    assert loaded[0][0] is loaded[0][1] is loaded[2][0]


def test_a_cycle_is_a_cycle():
    cycle: list = []
    cycle.append(cycle)
    loaded = _load(pickle.dumps(cycle, 4))
    assert loaded[0] is loaded


@pytest.mark.parametrize("name", RUNS_CODE)
def test_nothing_runs(name, canary, extension):
    with pytest.raises(UnreadableInput) as caught:
        _load(RUNS_CODE[name])
    assert "asks for" in caught.value.message or "outside itself" in caught.value.message
    assert caught.value.hint == "do not load this file"
    assert not canary.exists()


def test_the_canary_would_show_it(canary):
    """The same bytes do run where nothing restricts them."""
    code = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
    for name in ("global reduce", "stack global reduce", "inst", "obj", "eval", "pickle in a pickle", "exec in a dict"):
        subprocess.run([sys.executable, "-c", code, RUNS_CODE[name].hex()], check=True)
        assert canary.exists(), name
        canary.unlink()


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_pickle_is_one_error(name):
    with pytest.raises(UnreadableInput, match="no whole pickle: ") as caught:
        _load(BROKEN[name])
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_pickle_cut_anywhere_is_one_error(cut):
    with pytest.raises(UnreadableInput, match="no whole pickle: "):
        _load(pickle.dumps(_PLAIN, 4)[:-cut])


def test_a_pickle_that_asks_for_too_much_says_so(monkeypatch):
    def load_all(self):
        raise MemoryError

    monkeypatch.setattr(safe_pickle._Restricted, "load", load_all)
    with pytest.raises(UnreadableInput, match="asks for more memory than may be used"):
        _load(b"")


def test_listed_classes_become_inert_records():
    data = pickle.dumps([Config({"BLOCK_M": 64}), Args((1, 2)), Items([3, 4]), Pairs(a=5)], 4)
    config, args, items, pairs = _load(data, *_OWN)
    assert [type(each).__mro__[1] for each in (config, args, items, pairs)] == [StandIn] * 4
    assert [each.name for each in (config, args, items, pairs)] == list(_OWN)
    assert (config.args, config.state) == ((), {"kwargs": {"BLOCK_M": 64}})
    assert args.args == ((1, 2),)
    assert items.items == [3, 4]
    assert pairs.pairs == [("a", 5)]


def test_classes_and_dtypes_that_are_only_named_are_types_of_that_name():
    loaded = _load(b"\x80\x04(ctorch\nint8\n\x8c\x05torch\x8c\x04int8\x93ctorch\nbfloat16\nt.", "torch.int8", "torch.bfloat16")
    assert [each.name for each in loaded] == ["torch.int8", "torch.int8", "torch.bfloat16"]
    assert loaded[0] is loaded[1] is not loaded[2]
    assert issubclass(loaded[0], StandIn)


def test_keyword_arguments_are_kept():
    data = b"\x80\x04cm\nC\n(K\x01t}\x8c\x01aK\x02s\x92."
    loaded = _load(data, "m.C")
    assert (loaded.args, loaded.kwargs) == ((1,), {"a": 2})


def test_shared_stand_ins_stay_shared_and_can_be_keys():
    config = Config({})
    first, second, table = _load(pickle.dumps([config, config, {config: 1}], 4), *_OWN)
    assert first is second
    assert table[first] == 1


def test_what_is_not_listed_is_refused_beside_what_is():
    with pytest.raises(UnreadableInput, match=r"asks for 'posix\.system'"):
        _load(pickle.dumps([Config({}), __import__("os").system], 4), *_OWN)


@pytest.mark.parametrize(
    "data",
    [
        # Setting attributes of the class that stands in, through the state of slots.
        b"\x80\x04cm\nC\nN}\x8c\x04nameK\x01s\x86b.",
        b"\x80\x04cm\nC\n}\x8c\x04nameK\x01sb.",
        # Calling what a call gave, appending to the class, a method of the class by a dotted name.
        b"\x80\x04cm\nC\n)R)R.",
        b"\x80\x04cm\nC\nNa.",
        b"\x80\x04\x8c\x01m\x8c\x0aC.__init__\x93.",
        b"\x80\x04\x8c\x01m\x8c\x09C.__new__\x93.",
    ],
)
def test_a_stand_in_cannot_be_driven_further(data):
    with pytest.raises(UnreadableInput):
        _load(data, "m.C")
    assert StandIn.name == ""


def test_two_loads_share_no_stand_in():
    data = b"\x80\x04cm\nC\n."
    assert _load(data, "m.C") is not _load(data, "m.C")
