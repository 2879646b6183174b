"""How near a run's output is to its base's: SQNR of the captured tensors, PSNR of the picture, both in dB.

Files may come from anywhere: pickles are never loaded, sizes are bounded. numpy and pillow are imported when they are needed.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.metrics.same_noise import other_noise
from profiler.rundir import layout
from profiler.tables.run import Run

TENSORS = ("first_transformer_output", "first_latents", "last_transformer_output", "last_latents")
LAST_LATENTS = "last_latents"
"""The tensor that stands for a run where one number is wanted: all errors until the last captured step are in it."""

# What decides the output beside the scheme: runs that differ in it compute something else.
_SAME = ("model", "seed", "batch", "height", "width", "frames", "guidance", "prompt", "weights")
_MAY_BE_NONE = ("frames", "weights", "guidance")
_MAX_BYTES = 512 << 20
_MAX_PIXELS = 64 << 20
_PEAK = 255.0
# Elements summed at a time: float64 copies stay small.
_CHUNK = 1 << 22
# The header of a plain array in an .npy file, as numpy writes it; objects, which are pickles, do not match.
_HEADER = re.compile(rb"\{'descr': '([<>|](?:f[248]|[iu][1248]))', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*")
# What zip, its decompressors and pillow raise on damaged files.
_DAMAGED: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, EOFError, RuntimeError, SyntaxError, TypeError)
_DAMAGED += (OverflowError, struct.error, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Level:
    """A ratio in dB: `inf` where both are equal to the bit, `-inf` where only the run's own output is not finite.

    None where it was not computed; `why` then says why not, and for `-inf` what is not finite.
    """

    db: float | None
    why: str = ""


@dataclass(frozen=True)
class Quality:
    """`sqnr` by name of `TENSORS`, `psnr` of the picture; `steps` of the call that the tensors are from, None where unknown."""

    sqnr: dict[str, Level]
    psnr: Level
    steps: int | None


def quality(run: Run, base: Run) -> Quality:
    """Both measures of a run against its base; whatever cannot be computed says why."""
    levels, steps = _tensors(run, base)
    return Quality(levels, psnr(run, base), steps)


def sqnr(run: Run, base: Run) -> dict[str, Level]:
    """10 log10(sum(base^2) / sum((base - run)^2)) of each of `TENSORS`.

    Only where model, seed, size, prompt and number of captured steps are the same and the base's values are finite; else each
    level says why not. With random weights levels order schemes, and say little about pictures.
    """
    return _tensors(run, base)[0]


def _tensors(run: Run, base: Run) -> tuple[dict[str, Level], int | None]:
    why = mismatch(run, base)
    if why:
        return dict.fromkeys(TENSORS, Level(None, why)), None
    try:
        theirs, mine = arrays(base), arrays(run)
    except UnreadableInput as error:
        return dict.fromkeys(TENSORS, Level(None, error.message)), None
    steps = _steps(theirs)
    if steps != _steps(mine):
        why = f"the tensors are of calls of {steps} and {_steps(mine)} steps"
        return dict.fromkeys(TENSORS, Level(None, why)), None
    return {name: _level(name, mine, theirs) for name in TENSORS}, steps


def psnr(run: Run, base: Run) -> Level:
    """10 log10(255^2 / mean squared difference) of `output.png`, of the whole timed call, against the base's."""
    why = mismatch(run, base)
    steps = [each.manifest.timed.get("steps") for each in (base, run)]
    if not why and steps[0] != steps[1]:
        why = f"the pictures are of calls of {steps[0]} and {steps[1]} steps"
    if why:
        return Level(None, why)
    try:
        theirs, mine = picture(base), picture(run)
    except UnreadableInput as error:
        return Level(None, error.message)
    if mine.shape != theirs.shape:
        return Level(None, f"the pictures are {_size(theirs)} and {_size(mine)}")
    return Level(_decibel(_PEAK**2 * mine.size, _noise(mine.ravel(), theirs.ravel())))


def mismatch(run: Run, base: Run) -> str:
    """Why the outputs of two runs say nothing about a scheme: what differs, or what is not known; empty where they do."""
    specs = base.manifest.spec, run.manifest.spec
    if any(not spec or spec.get("scheme") == "as built" for spec in specs):
        return "one of the runs was called by other code or imported: its seed is not known"
    for name in _SAME:
        theirs, mine = (spec.get(name) for spec in specs)
        if theirs != mine:
            return f"{name} is {_short(theirs)} in the base and {_short(mine)} here"
        if mine is None and name not in _MAY_BE_NONE:
            return f"the runs do not say their {name}"
    return other_noise(run, base)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _level(name: str, mine: dict[str, Any], theirs: dict[str, Any]) -> Level:
    import numpy as np

    if name not in mine or name not in theirs:
        return Level(None, f"{layout.OUTPUT_TENSORS} of {'the base' if name in mine else 'the run'} holds no {name}")
    signal, other = theirs[name], mine[name]
    if signal.shape != other.shape:
        return Level(None, f"{name} has shape {signal.shape} in the base and {other.shape} here")
    if not np.isfinite(signal).all():
        return Level(None, f"{name} of the base is not finite")
    if not np.isfinite(other).all():
        return Level(-math.inf, f"{np.count_nonzero(~np.isfinite(other)):,} values of {name} are not finite")
    flat = signal.ravel()
    return Level(_decibel(_noise(flat, np.zeros((1,))), _noise(other.ravel(), flat)))


def _noise(values: Any, minus: Any) -> float:
    """Sum of the squared differences, in float64."""
    import numpy as np

    total = 0.0
    for start in range(0, values.size, _CHUNK):
        rest = minus if minus.size == 1 else minus[start : start + _CHUNK]
        difference = values[start : start + _CHUNK].astype(np.float64) - rest
        total += float(np.vdot(difference, difference))
    return total


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _steps(arrays: dict[str, Any]) -> int | None:
    found = arrays.get("steps")
    return int(found.ravel()[0]) if found is not None and found.size == 1 and found.dtype.kind in "iu" else None


def arrays(run: Run) -> dict[str, Any]:
    """The captured arrays.

    Raises:
        UnreadableInput: there are none, or something else stands in their place.
    """
    path = run.path / layout.OUTPUT_TENSORS
    if not path.is_file():
        raise UnreadableInput(f"{run.path} holds no {layout.OUTPUT_TENSORS}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            return {name: _array(archive, name) for name in (*TENSORS, "steps") if f"{name}.npy" in names}
    except _DAMAGED as error:
        raise UnreadableInput(f"{path} cannot be read: {str(error) or type(error).__name__}") from None


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    """One array from its own bytes: what its header claims is never allocated."""
    import numpy as np

    with archive.open(f"{name}.npy") as member:
        raw = member.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
    start = 10 if raw[6:7] == b"\x01" else 12
    end = start + int.from_bytes(raw[8:start], "little")
    header = _HEADER.fullmatch(raw[start:end])
    if not raw.startswith(b"\x93NUMPY") or header is None:
        raise ValueError(f"{name} is no plain array of numbers")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(each) for each in header[3].split(b",") if each.strip())
    if dtype.itemsize * math.prod(shape) != len(raw) - end:
        raise ValueError(f"{name} has another size than its header says")
    return np.frombuffer(raw, dtype, offset=end).reshape(shape, order="F" if header[2] == b"True" else "C")


def picture(run: Run) -> Any:
    """`output.png` as an array of rows, columns, RGB.

    Raises:
        UnreadableInput: there is none, or it is no picture of a sane size.
    """
    import numpy as np
    from PIL import Image

    path = run.path / layout.OUTPUT_IMAGE
    if not path.is_file():
        video = (run.path / layout.OUTPUT_VIDEO).is_file()
        raise UnreadableInput(f"{run.path} holds {'a video, encoded with loss' if video else f'no {layout.OUTPUT_IMAGE}'}")
    damaged: tuple[type[Exception], ...] = (*_DAMAGED, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
                return np.asarray(opened.convert("RGB"))
    except damaged as error:
        raise UnreadableInput(f"{path} cannot be read: {str(error) or type(error).__name__}") from None


def _size(picture: Any) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]} px"
