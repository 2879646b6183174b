"""VAE tiling and slicing: switched on, described, and where they change nothing, said so."""

from __future__ import annotations

from typing import Any

from profiler.core.errors import UsageError

_SIZES = ("tile_sample_min_size", "tile_sample_min_height", "tile_sample_min_width")


def apply_vae(pipe: Any, *, tiling: bool, slicing: bool) -> None:
    """Switch tiling and slicing on.

    Raises:
        UsageError: the pipeline has no VAE, or its VAE has no such method.
    """
    for option, wanted in (("tiling", tiling), ("slicing", slicing)):
        if wanted:
            enable = getattr(getattr(pipe, "vae", None), f"enable_{option}", None)
            if enable is None:
                raise UsageError(f"--vae-{option} was asked, and {type(pipe).__name__} has no VAE that can", "leave it out")
            _switch_on(enable, option)


def _switch_on(enable: Any, option: str) -> None:
    try:
        enable()
    except NotImplementedError as error:
        raise UsageError(f"--vae-{option}: {error}", "leave it out") from None


def describe_vae(pipe: Any) -> dict[str, Any]:
    """What is on, read off the VAE: `tiling` is None or the tile's settings (pixels, latent pixels, overlap factors)."""
    vae = getattr(pipe, "vae", None)
    tiles = {name: value for name, value in vars(vae).items() if _is_setting(name, value)} if vae is not None else {}
    return {"tiling": tiles if getattr(vae, "use_tiling", False) else None, "slicing": bool(getattr(vae, "use_slicing", False))}


def _is_setting(name: str, value: Any) -> bool:
    return name.startswith("tile_") and isinstance(value, (int, float))


def vae_notes(pipe: Any, *, height: int | None, width: int | None, batch: int) -> list[str]:
    """Sentences for the manifest where what was asked changes nothing.

    Args:
        height, width: pixels of the output, None where they are the pipeline's own.
        batch: images or videos a call.
    """
    found, notes = describe_vae(pipe), []
    if found["slicing"] and batch == 1:
        notes.append("--vae-slicing decodes one picture or video of a batch at a time: with --batch 1 it changes nothing")
    tiling = found["tiling"]
    if tiling and height and width:
        sizes = [int(tiling[name]) for name in _SIZES if name in tiling]
        if sizes and height <= sizes[0] and width <= sizes[-1]:
            notes.append(f"--vae-tiling cuts what is larger than {sizes[0]}x{sizes[-1]}: at {height}x{width} it changes nothing")
    return notes
