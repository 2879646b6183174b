"""Colours: one for every class and category that the metrics know, and apart for readers who see fewer of them."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from profiler.core import palette
from profiler.metrics import classes
from profiler.metrics.memory import CATEGORIES

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as seen without one kind of cone.
_BLIND = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
# What one figure shows side by side.
CLASSES = ("GEMM bf16", "attention", "convolution", "fused pointwise", "quantize/dequantize")
IN_MEMORY = ("weights", "activations", "workspace", "cuda-graph pool", "compile buffers")
TOGETHER = {
    "kernels": [palette.of_class(name) for name in CLASSES],
    "memory": [palette.of_category(name) for name in IN_MEMORY],
    "components": [palette.of_component(name) for name in ("transformer", "text_encoder", "text_encoder_2", "vae")],
    "phases": list(palette.PHASES.values()),
    "changes": [palette.FASTER, palette.SLOWER],
    "runs": list(palette.SCHEMES[:4]),
}


def linear(colour: str) -> list[float]:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    xyz = [sum(a * b for a, b in zip(row, rgb, strict=True)) / each for row, each in zip(to_xyz, white, strict=True)]
    x, y, z = (max(each, 0) ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(colour: str, eye: str) -> tuple[float, float, float]:
    rgb = linear(colour)
    return lab([min(1.0, max(0.0, sum(a * b for a, b in zip(row, rgb, strict=True)))) for row in _BLIND[eye]])


def contrast(one: str, other: str) -> float:
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(other))]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("eye", _BLIND)
@pytest.mark.parametrize("group", TOGETHER)
def test_what_stands_side_by_side_is_told_apart(group: str, eye: str):
    distances = {
        (one, other): math.dist(seen(one, eye), seen(other, eye)) for one, other in itertools.combinations(TOGETHER[group], 2)
    }
    nearest = min(distances, key=lambda pair: distances[pair])
    assert distances[nearest] > 12, (nearest, distances[nearest])


def test_red_and_green_would_fail_this():
    assert math.dist(seen("#C00000", "deutan"), seen("#5A7A00", "deutan")) < 12


def test_every_class_that_metrics_know_has_a_colour():
    labels = {value for name, value in vars(classes).items() if name.isupper() and isinstance(value, str)} - {classes.SPARSE}
    labels |= {f"GEMM {dtype}{classes.SPARSE}" for dtype in ("fp8", "int8")}
    assert len(labels) > 10
    assert labels <= set(palette.CLASSES)
    dtypes = {f"GEMM {label}" for label, _ in classes._GEMM_DTYPES}
    assert dtypes <= set(palette.CLASSES)


def test_every_memory_category_has_a_colour_of_its_own():
    assert set(palette.CATEGORIES) == set(CATEGORIES)
    assert len(set(palette.CATEGORIES.values())) == len(CATEGORIES)


def test_idle_time_is_grey_and_busy_time_is_not():
    for label in ("host wait", "graph break", "launch-bound: eager", "unexplained"):
        red, green, blue = (int(palette.of_row("idle", label)[place : place + 2], 16) for place in (1, 3, 5))
        assert max(red, green, blue) - min(red, green, blue) < 32
    assert palette.of_row("busy", "attention") == palette.CLASSES["attention"]


def test_names_that_nobody_listed():
    assert palette.of_class("GEMM int2") == palette.CLASSES["GEMM"]
    assert palette.of_class("something") == palette.CLASSES["other"]
    assert palette.of_component("controlnet") == palette.of_component("controlnet") != palette.of_component("transformer")


@pytest.mark.parametrize("background", ["#FFFFFF", "#10151C"])
def test_every_colour_stands_out_from_light_and_dark(background: str):
    text = " ".join([*palette.CLASSES.values(), *palette.CATEGORIES.values(), *palette.PHASES.values(), *palette.SCHEMES])
    colours = re.findall(r"#[0-9A-F]{6}", text)
    assert len(colours) > 40
    assert min(contrast(colour, background) for colour in colours) > 1.5
