"""Outputs of two runs beside each other: the pictures with their difference, and where there are none maps of the last latents.

numpy and pillow are imported when they are needed.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.metrics.quality import LAST_LATENTS, arrays, picture
from profiler.tables.run import Run

# The widest side that is sent to the browser.
_SIDE = 1024
# A difference is brightened until its largest is full, but noise of one level is not made to look like one of many.
_MOST_GAIN = 16.0


@dataclass(frozen=True)
class Difference:
    """Two pictures and how they differ.

    Args:
        base, new, difference: PNG files; the difference is brightened.
        gain: by what.
        largest, mean: of the difference, in levels of 255.
        changed: share of the pixels that differ at all.
    """

    base: bytes
    new: bytes
    difference: bytes
    gain: float
    largest: int
    mean: float
    changed: float


def difference(run: Run, base: Run) -> Difference:
    """The pictures of a run and of its base.

    Raises:
        UnreadableInput: one of them has none, it cannot be read, or they are of different sizes.
    """
    import numpy as np

    theirs, mine = picture(base), picture(run)
    if theirs.shape != mine.shape:
        raise UnreadableInput(f"the pictures are {_size(theirs)} and {_size(mine)}", "record both at one size")
    apart = np.abs(theirs.astype(np.int16) - mine.astype(np.int16))
    largest = int(apart.max())
    gain = min(_MOST_GAIN, 255 / largest) if largest else 1.0
    shown = np.clip(apart * gain, 0, 255).astype(np.uint8)
    changed = float((apart.max(axis=-1) > 0).mean())
    return Difference(_png(theirs), _png(mine), _png(shown), gain, largest, float(apart.mean()), changed)


def _size(values: Any) -> str:
    return f"{values.shape[1]}x{values.shape[0]} px"


def _png(values: Any) -> bytes:
    from PIL import Image

    made = Image.fromarray(values)
    made.thumbnail((_SIDE, _SIDE))
    target = io.BytesIO()
    made.save(target, "PNG")
    return target.getvalue()


Map = list[list[float]]


@dataclass(frozen=True)
class LatentMaps:
    """The last latents of two runs over the picture: the root mean square over the channels, and that of their difference."""

    base: Map
    new: Map
    difference: Map


def latent_maps(run: Run, base: Run) -> LatentMaps:
    """Maps of the last latents.

    Raises:
        UnreadableInput: one of the runs kept none, or they are of different or of unknown shapes.
    """
    theirs, mine = (_latents(each) for each in (base, run))
    if theirs.shape != mine.shape:
        raise UnreadableInput(f"the last latents are of shapes {theirs.shape} and {mine.shape}", "record both at one size")
    spec = run.manifest.spec
    made = [_map(values, spec.get("height"), spec.get("width")) for values in (theirs, mine, mine - theirs)]
    return LatentMaps(*made)


def _latents(run: Run) -> Any:
    found = arrays(run).get(LAST_LATENTS)
    if found is None:
        raise UnreadableInput(f"{run.path} kept no {LAST_LATENTS}")
    return found.astype("float64")


def _map(values: Any, height: Any, width: Any) -> Map:
    """The first picture of a batch, the first frame of a video: rows of the picture, from the top."""
    import numpy as np

    first = values[0]
    if first.ndim == 4:  # frames, channels, rows, columns
        first = first[0]
    if first.ndim == 3:  # channels, rows, columns
        first = np.moveaxis(first, 0, -1)
    elif first.ndim == 2:  # tokens in the order of rows, channels
        rows = _rows(first.shape[0], height, width)
        first = first.reshape(rows, first.shape[0] // rows, first.shape[1])
    else:
        raise UnreadableInput(f"latents of shape {values.shape} are no picture")
    found: Map = np.sqrt((first**2).mean(axis=-1)).tolist()
    return found


def _rows(tokens: int, height: Any, width: Any) -> int:
    """Rows of tokens in a picture of this size."""
    aspect = height / width if isinstance(height, int) and isinstance(width, int) and width > 0 else 1.0
    rows = max(1, round(math.sqrt(tokens * aspect)))
    if tokens % rows:
        raise UnreadableInput(f"{tokens} tokens are no picture of {height}x{width} px")
    return rows
