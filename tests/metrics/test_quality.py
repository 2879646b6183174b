"""SQNR and PSNR: their values, when they are refused, and files that are not what they should be."""

from __future__ import annotations

import io
import math
import pickle
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from profiler.metrics.quality import LAST_LATENTS, TENSORS, Level, psnr, quality, sqnr
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"
_SPEC = {"model": "flux-dev", "scheme": "bf16", "seed": 0, "batch": 1, "height": 8, "width": 8, "prompt": "a", "steps": 4}


@pytest.fixture
def make_run(tmp_path):
    """A run directory with these arrays and picture; `spec` changes what was asked."""

    def make(name, arrays=None, picture=None, steps=2, timed=4, **spec):
        folder = tmp_path / name
        folder.mkdir()
        if arrays is not None:
            np.savez_compressed(folder / "output.npz", steps=steps, **arrays)
        if picture is not None:
            Image.fromarray(picture).save(folder / "output.png")
        return Run(folder, Manifest(spec=_SPEC | spec, timed={"steps": timed}))

    return make


def _all(values):
    return dict.fromkeys(TENSORS, np.asarray(values, dtype=np.float32))


def test_the_level_is_signal_over_noise_in_decibel(make_run):
    base = make_run("base", _all([[3.0, 4.0], [0.0, 0.0]]))
    run = make_run("run", _all([[3.0, 4.0], [0.5, 0.0]]))
    levels = sqnr(run, base)
    assert list(levels) == list(TENSORS)
    assert levels[LAST_LATENTS].db == pytest.approx(10 * math.log10(25 / 0.25)) == pytest.approx(20.0)
    assert sqnr(base, base)[LAST_LATENTS] == Level(math.inf)
    assert quality(run, base).steps == 2


def test_many_elements_are_summed_in_float64(make_run, monkeypatch):
    monkeypatch.setattr("profiler.metrics.quality._CHUNK", 1000)
    values = np.full(1_000_003, 1.0, np.float32)
    base, run = make_run("base", _all(values)), make_run("run", _all(values + np.float32(2**-10)))
    assert sqnr(run, base)["first_latents"].db == pytest.approx(20 * math.log10(2**10), abs=1e-9)


def test_psnr_of_the_picture(make_run):
    dark = np.zeros((8, 8, 3), np.uint8)
    light = dark.copy()
    light[0, 0, 0] = 255
    base, run = make_run("base", picture=dark), make_run("run", picture=light)
    assert psnr(run, base).db == pytest.approx(10 * math.log10(8 * 8 * 3))
    assert psnr(base, base).db == math.inf
    assert psnr(make_run("other", picture=np.zeros((8, 16, 3), np.uint8)), base) == Level(
        None, "the pictures are 8x8 px and 16x8 px"
    )
    assert psnr(make_run("long", picture=dark, timed=5), base) == Level(None, "the pictures are of calls of 4 and 5 steps")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"seed": 1}, "seed is 0 in the base and 1 here"),
        ({"model": "flux-schnell"}, "model is flux-dev in the base and flux-schnell here"),
        ({"height": 16}, "height is 8 in the base and 16 here"),
        ({"batch": 2}, "batch is 1 in the base and 2 here"),
        ({"prompt": "b" * 60}, f"prompt is a in the base and {'b' * 39}… here"),
        ({"weights": "repo"}, "weights is None in the base and repo here"),
        ({"scheme": "as built"}, "one of the runs was called by other code or imported: its seed is not known"),
    ],
)
def test_other_work_has_no_quality(make_run, changed, why):
    base, run = make_run("base", _all([1.0])), make_run("run", _all([1.0]), **changed)
    assert quality(run, base).sqnr == dict.fromkeys(TENSORS, Level(None, why))
    assert quality(run, base).psnr == Level(None, why)


def test_another_scheme_is_what_it_is_for_and_an_import_has_no_seed(make_run):
    base, run = make_run("base", _all([1.0])), make_run("run", _all([1.0]), scheme="int8wo", compile="regional")
    assert sqnr(run, base)[LAST_LATENTS].db == math.inf
    imported = Run(run.path, Manifest(kind="import"))
    assert "its seed is not known" in sqnr(imported, base)[LAST_LATENTS].why


def test_other_steps_and_shapes_are_named(make_run):
    base = make_run("base", _all([1.0, 2.0]))
    assert (
        sqnr(make_run("steps", _all([1.0, 2.0]), steps=3), base)[LAST_LATENTS].why == "the tensors are of calls of 2 and 3 steps"
    )
    assert sqnr(make_run("shape", _all([[1.0, 2.0]])), base)[LAST_LATENTS] == Level(
        None, "last_latents has shape (2,) in the base and (1, 2) here"
    )
    some = make_run("some", {"first_latents": np.ones(2, np.float32)})
    assert sqnr(some, base)[LAST_LATENTS] == Level(None, "output.npz of the run holds no last_latents")
    assert sqnr(some, base)["first_latents"].db is not None
    assert sqnr(base, some)[LAST_LATENTS].why == "output.npz of the base holds no last_latents"
    none = make_run("none")
    assert sqnr(none, base)[LAST_LATENTS].why == f"{none.path} holds no output.npz"
    assert sqnr(base, none)[LAST_LATENTS].why == f"{none.path} holds no output.npz"
    assert psnr(none, base).why == f"{base.path} holds no output.png"


def test_what_is_not_finite(make_run):
    good, bad = make_run("good", _all([1.0, 2.0, 3.0])), make_run("bad", _all([1.0, math.nan, math.inf]))
    assert sqnr(bad, good)[LAST_LATENTS] == Level(-math.inf, "2 values of last_latents are not finite")
    assert sqnr(good, bad)[LAST_LATENTS] == Level(None, "last_latents of the base is not finite")


def test_a_silent_base_has_no_signal(make_run):
    base, run = make_run("base", _all([0.0])), make_run("run", _all([1.0]))
    assert sqnr(run, base)[LAST_LATENTS].db == -math.inf
    assert sqnr(base, base)[LAST_LATENTS].db == math.inf


class _Bomb:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/diffuscope-was-here"),)


def _npy(header: bytes, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    return magic + struct.pack("<H", len(header)) + header + data


def _plain(descr="<f4", shape="(1,)", order="False"):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()


HOSTILE = {
    "pickled objects": (_npy(_plain("|O"), pickle.dumps(_Bomb())), "is no plain array of numbers"),
    "a claim of terabytes": (_npy(_plain(shape="(1000000000000,)"), b"\0" * 4), "has another size than its header says"),
    "a negative size": (_npy(_plain(shape="(-1, -1)"), b"\0" * 4), "is no plain array of numbers"),
    "too short": (_npy(_plain(shape="(3,)"), b"\0" * 4), "has another size than its header says"),
    "a structure": (_npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 4), "is no plain array"),
    "deep nesting": (_npy(b"(" * 5000), "is no plain array of numbers"),
    "a header of code": (_npy(b"__import__('os').system('true')"), "is no plain array of numbers"),
    "no array": (b"hello", "is no plain array of numbers"),
    "nothing": (b"", "is no plain array of numbers"),
    "another magic": (_npy(_plain(), b"\0" * 4, b"\x93NUMPX\x01\x00"), "is no plain array of numbers"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_array_is_named_and_nothing_runs(make_run, case):
    content, why = HOSTILE[case]
    base, run = make_run("base", _all([1.0])), make_run("run")
    with zipfile.ZipFile(run.path / "output.npz", "w") as archive:
        archive.writestr("first_latents.npy", content)
    level = sqnr(run, base)[LAST_LATENTS]
    assert level.db is None and why in level.why and str(run.path / "output.npz") in level.why
    assert not Path("/tmp/diffuscope-was-here").exists()


def test_a_bomb_is_bounded(make_run, monkeypatch):
    monkeypatch.setattr("profiler.metrics.quality._MAX_BYTES", 1 << 20)
    base, run = make_run("base", _all([1.0])), make_run("run", {"first_latents": np.zeros(1 << 20, np.float32)})
    assert (run.path / "output.npz").stat().st_size < 100_000
    assert "is larger than 1 MiB" in sqnr(run, base)[LAST_LATENTS].why


def test_arrays_of_any_plain_kind_and_order(make_run):
    values = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))
    base, run = (
        make_run("base", dict.fromkeys(TENSORS, values)),
        make_run("run", dict.fromkeys(TENSORS, values.astype("<i4").copy())),
    )
    assert sqnr(run, base)[LAST_LATENTS].db == math.inf


def test_mutated_files_raise_nothing(make_run):
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    base, run = make_run("base", _all(values), picture), make_run("run", _all(values), picture)
    chance = random.Random(0)
    for name in ("output.npz", "output.png"):
        whole = (run.path / name).read_bytes()
        for _ in range(400):
            raw = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            (run.path / name).write_bytes(raw[: chance.randint(0, len(raw))] if chance.random() < 0.3 else raw)
            found = quality(run, base)
            assert all(isinstance(each, Level) for each in (*found.sqnr.values(), found.psnr))
        (run.path / name).write_bytes(whole)


def test_a_picture_of_absurd_size_is_refused(make_run):
    base = make_run("base", picture=np.zeros((8, 8, 3), np.uint8))
    run = make_run("run")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    file = io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)))
    (run.path / "output.png").write_bytes(file.getvalue() + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    assert "cannot be read" in psnr(run, base).why and "output.png" in psnr(run, base).why


def test_a_video_is_encoded_with_loss(make_run):
    base, run = make_run("base"), make_run("run")
    (base.path / "output.mp4").write_bytes(b"")
    assert psnr(run, base).why == f"{base.path} holds a video, encoded with loss"


@pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")
@pytest.mark.parametrize(("name", "first", "last"), [("fp8dqrow-regional", 19.149, 21.911), ("int8dq-regional", 27.624, 30.192)])
def test_the_kept_runs(name, first, last):
    found = quality(Run.open(_TRACES / f"flux-dev-{name}"), Run.open(_TRACES / "flux-dev-bf16"))
    assert found.sqnr["first_transformer_output"].db == pytest.approx(first, abs=1e-3)
    assert found.sqnr[LAST_LATENTS].db == pytest.approx(last, abs=1e-3)
    assert found.steps == 2
    assert found.psnr == Level(None, f"{_TRACES / 'flux-dev-bf16'} holds no output.png")


def _of(run, torch, **applied):
    run.manifest.environment["versions"] = {"torch": torch}
    run.manifest.applied |= {"base_dtype": "bfloat16"} | applied
    return run


@pytest.mark.parametrize(
    ("theirs", "mine", "same"),
    [
        (("2.11.0", {}), ("2.11.0", {}), True),
        (("2.11.0", {}), ("2.11.0", {"base_dtype": "float16"}), False),
        (("2.11.0", {}), ("2.13.0+cpu", {}), False),
        (("2.11.0", {}), ("2.11.0", {"noise_dtype": "float32"}), False),
        (("2.12.1", {}), ("2.13.0", {"base_dtype": "float16"}), True),
        (("2.9.1", {"noise_dtype": "float32"}), ("2.13.0", {"base_dtype": "float16"}), True),
        (("2.11.0", {"base_dtype": "float32"}), ("2.13.0", {}), True),
        (("", {}), ("2.11.0", {}), True),
        (("nightly", {}), ("2.11.0", {}), True),
    ],
)
def test_runs_that_start_from_other_noise_say_nothing_of_a_scheme(make_run, theirs, mine, same):
    base, run = make_run("base", _all([1.0, 2.0])), make_run("run", _all([1.0, 2.5]))
    _of(base, theirs[0], **theirs[1])
    found = sqnr(_of(run, mine[0], **mine[1]), base)[LAST_LATENTS]
    assert (found.db is not None) == same
    assert found.why.startswith("" if same else "the calls start from other noise, drawn in bfloat16 by torch 2.11.0 in the base")
    assert psnr(run, base).why.startswith("the calls start from other noise") != same
