"""One colour a kernel class, memory category, idle cause and severity, for the text report, the pages and the figures.

Hues are those of Okabe and Ito and of Paul Tol's muted scheme: the leading ones stay apart for readers who cannot tell red from
green or blue from yellow, and all of them stand on white and on near-black. Shades of one hue belong together (a GEMM's dtypes).
No figure relies on colour alone: every bar also carries its label.
"""

from __future__ import annotations

CLASSES = {
    "GEMM": "#0072B2",
    "GEMM bf16": "#0072B2",
    "GEMM fp16": "#3F8FC6",
    "GEMM fp8": "#56B4E9",
    "GEMM fp8 2:4": "#3E9FD0",
    "GEMM fp4": "#9AD0F0",
    "GEMM int8": "#2F5D9B",
    "GEMM int8 2:4": "#4A74B4",
    "GEMM int4": "#6F8FC9",
    "GEMM weight-only": "#88B4DC",
    "GEMM tf32": "#4477AA",
    "GEMM fp32": "#5C6FB1",
    "GEMM fp64": "#7A86B8",
    "attention": "#E69F00",
    "convolution": "#009E73",
    "norm": "#5FBFA0",
    "fused pointwise": "#CC79A7",
    "fused reduction": "#9B5BA5",
    "pointwise": "#DDA0C4",
    "reduction": "#B08CC0",
    "quantize/dequantize": "#D55E00",
    "copy": "#C9B037",
    "memset": "#DDCC77",
    "communication": "#44AA99",
    "compiled region": "#6A5ACD",
    "other": "#8C8C8C",
}
"""Kernel classes, as `profiler.metrics.classes` names them."""

CATEGORIES = {
    "weights": "#0072B2",
    "activations": "#E69F00",
    "workspace": "#D55E00",
    "cuda-graph pool": "#009E73",
    "compile buffers": "#CC79A7",
    "inputs and outputs": "#56B4E9",
    "before recording": "#A6A6A6",
    "unknown": "#757575",
}
"""Memory categories, as `profiler.metrics.memory` names them."""

COMPONENTS = {
    "transformer": "#0072B2",
    "text_encoder": "#E69F00",
    "text_encoder_2": "#D55E00",
    "vae": "#009E73",
    "scheduler": "#CC79A7",
    "pipeline": "#9B5BA5",
    "shared": "#C9B037",
    "unattributed": "#8C8C8C",
}
"""Components of a diffusion pipeline."""

SEVERITIES = {"critical": "#C4314B", "high": "#D55E00", "medium": "#C99700", "low": "#7A8794"}
"""Severities of a finding, worst first."""

PHASES = {
    "tracing": "#0072B2",
    "autograd": "#56B4E9",
    "inductor": "#E69F00",
    "code generation": "#CC79A7",
    "kernel compilation": "#D55E00",
}
"""Phases of a compilation, outermost first."""

SCHEMES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A5ACD", "#8C8C8C")
"""Series that have no name of their own here, in their order: schemes, runs."""

FASTER, SLOWER, TOTAL = "#009E73", "#D55E00", "#56708A"
"""Steps of a waterfall: down, up, and what they start from and end at."""

ACCENT = "#0072B2"
# Idle time is grey wherever it stands; what holds the device up only at its darkest.
_IDLE = ("#5B6770", "#7A8794", "#97A3AD", "#B3BCC4")
# For names that no table knows: module names, components of somebody's own pipeline.
_SPARE = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499")


def of_class(label: str) -> str:
    """The colour of a kernel class; a GEMM of an unlisted dtype is a GEMM."""
    return CLASSES.get(label) or (CLASSES["GEMM"] if label.startswith("GEMM") else CLASSES["other"])


def of_idle(label: str) -> str:
    """The grey of a cause of idle time."""
    return _IDLE[_number(label) % len(_IDLE)]


def of_row(kind: str, label: str) -> str:
    """The colour of a ledger row: by class where busy, grey where idle."""
    return of_class(label) if kind == "busy" else of_idle(label)


def of_category(label: str) -> str:
    """The colour of a memory category."""
    return CATEGORIES.get(label, CATEGORIES["unknown"])


def of_component(label: str) -> str:
    """The colour of a pipeline component; the same for a name wherever it stands."""
    return COMPONENTS.get(label) or spare(label)


def spare(label: str) -> str:
    """A colour for any name, always the same one."""
    return _SPARE[_number(label) % len(_SPARE)]


def of_severity(name: str) -> str:
    """The colour of a severity."""
    return SEVERITIES.get(name, SEVERITIES["low"])


def _number(label: str) -> int:
    """A number of the text that does not change from process to process."""
    return sum(position * ord(letter) for position, letter in enumerate(label, 1))
