"""Compile candidates for an H100 where there is none: PTX, resources, and what ptxas says of registers."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

from profiler.kernels import int_scaled_matmul_gluon, int_scaled_matmul_triton
from profiler.kernels.int_scaled_matmul_triton import SAME_BITS
from profiler.kernels.wide_ptx import stamp, widened

H100 = GPUTarget("cuda", 90, 32)
_POINTERS = {"bias": "*bf16", "partial": "*i32", "arrived": "*i32", "a": "*i8", "weight": "*i8", "out": "*bf16"}
# Numbers that are no multiple of 16 when Flux's shapes are launched; all others are.
_ODD = {"programs", "whole"}


@dataclass(frozen=True)
class Compiled:
    """What a configuration became: `spilled` bytes and `registers` a thread are ptxas's."""

    ptx: str
    ttgir: str
    shared_bytes: int
    spilled: int
    registers: int

    def instructions(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.ptx)


def compile_hopper(config: Mapping[str, int]) -> Compiled:
    descriptors = {
        "a": f"i8[{config['block_m']},{config['block_k']}]",
        "weight": f"i8[{config['block_n']},{config['block_k']}]",
        "out": f"bf16[{config['block_m']},{config['block_n'] // config['parts']}]",
    }
    constants: dict[str, Any] = {key: config[key] for key in ("block_m", "block_n", "block_k", "group", "parts")}
    constants |= {"has_bias": True, "flatten": bool(config["flatten"]), "specialize": False, "wide": stamp(config["wide"])}
    source = ASTSource(*_source(int_scaled_matmul_triton.descriptor_kernel, constants, descriptors))
    with widened("descriptor_kernel") if config["wide"] else nullcontext():
        return _compile(source, num_warps=config["warps"], num_stages=config["stages"])


def compile_pointers(config: Mapping[str, int]) -> Compiled:
    constants: dict[str, Any] = {key: config[key] for key in ("block_m", "block_n", "block_k", "group")}
    source = ASTSource(*_source(int_scaled_matmul_triton.pointer_kernel, constants | {"has_bias": True, "even_k": True}, {}))
    return _compile(source, num_warps=config["warps"], num_stages=config["stages"])


def compile_warpgroup(config: Mapping[str, int]) -> Compiled:
    half = config["block_m"] // 2
    descriptors = {
        "a": _with_layout([half, config["block_k"]], "i8", gl.int8),
        "weight": _with_layout([config["block_n"], config["block_k"]], "i8", gl.int8),
        "out": _with_layout([half, config["block_n"] // config["parts"]], "bf16", gl.bfloat16),
    }
    constants = {"has_bias": True} | {key: config[key] for key in ("stages", "group", "slices", "lead")}
    constants |= {"wide": stamp(config["wide"])}
    source = GluonASTSource(*_source(int_scaled_matmul_gluon.warpgroup_kernel, constants, descriptors))
    with widened("warpgroup_kernel") if config["wide"] else nullcontext():
        return _compile(source, num_warps=4, maxnreg=int_scaled_matmul_gluon.MAX_REGISTERS)


def _with_layout(block: list[int], name: str, dtype: Any) -> str:
    return f"{name}{block},{gl.NVMMASharedLayout.get_default_for(block, dtype)!r}".replace(", ", ",", len(block) - 1)


def _source(kernel: Any, constants: Mapping[str, Any], descriptors: Mapping[str, str]) -> tuple[Any, Any, Any, Any]:
    """What a launch would have made of its arguments."""
    signature = {}
    for name in kernel.arg_names:
        pointer = _POINTERS.get(name) or ("*fp32" if name.endswith("_scale") else "i32")
        signature[name] = f"tensordesc<{descriptors[name]}>" if name in descriptors else pointer
        signature[name] = "constexpr" if name in constants else signature[name]
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    aligned = [i for i, name in enumerate(kernel.arg_names) if name not in {*constants, *descriptors, *_ODD}]
    return kernel, signature, values, {(i,): [["tt.divisibility", 16]] for i in aligned}


def _compile(source: Any, **options: int) -> Compiled:
    made = triton.compile(source, target=H100, options=options | SAME_BITS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(made.asm["ptx"])
        command = [triton.knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", str(path), "-o", str(path.with_suffix(".cubin"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled, registers = (int(re.findall(pattern, said)[0]) for pattern in (r"(\d+) bytes spill stores", r"Used (\d+) registers"))
    return Compiled(made.asm["ptx"], made.asm["ttgir"], made.metadata.shared, spilled, registers)
