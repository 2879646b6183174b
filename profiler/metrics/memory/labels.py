"""The words in which memory is told apart: categories, roles and components."""

from __future__ import annotations

WEIGHTS = "weights"
ACTIVATIONS = "activations"
WORKSPACE = "workspace"
GRAPH_POOL = "cuda-graph pool"
COMPILE = "compile buffers"
INPUTS_OUTPUTS = "inputs and outputs"
BEFORE = "before recording"
UNKNOWN = "unknown"

CATEGORIES = (WEIGHTS, ACTIVATIONS, WORKSPACE, GRAPH_POOL, COMPILE, INPUTS_OUTPUTS, BEFORE, UNKNOWN)
"""Every byte is in exactly one of these."""

# Components that are no torch module of the pipeline.
SCHEDULER, PIPELINE = "scheduler", "pipeline"
# Serves every component: a cuBLAS workspace.
SHARED = "shared"
# The component or module is not known.
UNATTRIBUTED = "unattributed"

# Roles of weights; those of quantized tensors come from `weights.json`.
WEIGHT, BUFFER, QUANTIZED = "weight", "buffer", "quantized data"
# What loading, casting and quantizing hold only while they work.
CONVERSION = "in conversion"
# Roles of other bytes.
ACTIVATION, DEQUANTIZED, QUANTIZED_ACTIVATION = "activation", "dequantized weight", "quantized activation"
GEMM, CONVOLUTION, ATTENTION = "GEMM", "convolution", "attention"
AUTOTUNE, COMPILATION = "autotune", "compilation"
