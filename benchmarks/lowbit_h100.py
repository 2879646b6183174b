"""Linears under the packed schemes on a GPU: time, launched kernels, error and bytes, against the same Linear in bf16.

python3 benchmarks/lowbit_h100.py [--schemes NAME,...] [--shapes MxKxN,...] [--repeats 20] [--limit-s 55] [--json PATH]

Needs torch, Triton and torchao on a CUDA device. A row of Markdown follows each scheme at each shape. Times are medians in
microseconds with the L2 flushed and the host ahead of the device. `unpack` is the pass that makes the bf16 weight, alone.
`differ` counts weights that this pass gets otherwise than plain torch does (of int4wo: than its own kernel does, times the unit
matrix); `error` is the largest difference from a float32 product of the reference's weight, over the largest result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.core.scheme_bytes import weight_bytes
from profiler.kernels.candidate import Shape, parse_shape

SCHEMES = "fp6_e3m2,fp5_e2m2,fp4_e2m1,int4dq,int4wo"
SHAPES = "4608x3072x12288,4096x3072x3072,1x3072x18432"
HEADER = (
    "| M x K x N | scheme | bf16 us | eager us | compiled us | kernels | unpack us | unpack GB/s | differ | error | weight SQNR "
    "| bytes a weight |\n|" + "---|" * 12
)
_FLUSH_BYTES, _SLEEP_CYCLES = 256 << 20, 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemes", default=SCHEMES)
    parser.add_argument("--shapes", default=SHAPES, help="MxKxN, comma-separated")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--limit-s", type=float, default=55.0, help="no row is begun after this many seconds")
    parser.add_argument("--json", type=Path, help="write every row here too, after each row")
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here")
    began, rows = time.monotonic(), []
    print(HEADER, flush=True)
    for shape in [parse_shape(each) for each in asked.shapes.split(",")]:
        base = median_us(linear(shape, "bf16")[0], inputs(shape), asked.repeats)
        for scheme in asked.schemes.split(","):
            if time.monotonic() - began > asked.limit_s:
                print(f"| {shape} | {scheme} | left out: the time limit |", flush=True)
                continue
            rows.append(measured(shape, scheme, asked.repeats) | {"bf16_us": base})
            print(line(rows[-1]), flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(rows, indent=1))
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    return 0 if rows and not any(each.get("why") for each in rows) else 1


def linear(shape: Shape, scheme: str) -> tuple[Any, Any]:
    """A Linear under a scheme as `record` would make it, and the weight that it was made of."""
    import torch

    from profiler.schemes.apply import quantize
    from profiler.schemes.base import SCHEMES as REGISTERED
    from profiler.schemes.base import LinearInfo
    from profiler.schemes.policy import plan_linears

    torch.manual_seed(shape.k + shape.n)
    model = torch.nn.Sequential(torch.nn.Linear(shape.k, shape.n, device="cuda", dtype=torch.bfloat16)).requires_grad_(False)
    torch.nn.init.normal_(model[0].weight, std=shape.k**-0.5)
    weight = model[0].weight.detach().clone()
    info = LinearInfo("m.0", shape.k, shape.n, shape.m, True)
    plans = plan_linears(REGISTERED.get(scheme), [info], compiling=True)
    quantize(model, plans, prefix="m.", torchao_defaults=False)
    return model, weight


def inputs(shape: Shape) -> Any:
    import torch

    return torch.randn(shape.m, shape.k, device="cuda", dtype=torch.bfloat16, generator=torch.Generator("cuda").manual_seed(1))


def measured(shape: Shape, scheme: str, repeats: int) -> dict[str, Any]:
    """A row; whatever is raised is in it."""
    import torch

    row: dict[str, Any] = {"shape": str(shape), "scheme": scheme}
    try:
        model, dense = linear(shape, scheme)
        x, weight = inputs(shape), model[0].weight
        unpack, reference = unpacking(weight), referred(weight)
        row["differ"] = int((unpack() != reference).sum())
        row["unpack_us"] = median_us(lambda _: unpack(), x, repeats)
        expected = torch.nn.functional.linear(rounded(weight, x).float(), reference.float(), model[0].bias.float())
        row["error"] = float((model(x).float() - expected).abs().max() / expected.abs().max())
        row["sqnr_db"] = float(20 * torch.log10(dense.float().norm() / (dense.float() - reference.float()).norm()))
        row |= sizes(weight, scheme, shape)
        row["eager_us"] = median_us(model, x, repeats)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True)
        row["compiled_error"] = float((compiled(x).float() - expected).abs().max() / expected.abs().max())
        row["compiled_us"] = median_us(compiled, x, repeats)
        row["launched"] = launched(compiled, x)
        row["kernels"] = sum(not each.startswith("Mem") for each in row["launched"])
    except Exception as error:  # noqa: BLE001 - one that fails is printed, the others go on
        row["why"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
    return row


def unpacking(weight: Any) -> Callable[[], Any]:
    """The pass that makes the bf16 weight."""
    from profiler.kernels.tile_packed import dequantize_tiles

    return weight.dequantize if hasattr(weight, "form") else lambda: dequantize_tiles(weight)


def referred(weight: Any) -> Any:
    """The bf16 weight by other means."""
    import torch

    from profiler.kernels.packed_format import FORMATS, dequantize

    if hasattr(weight, "form"):
        return dequantize(weight.qdata, weight.scale, FORMATS[weight.form], torch.bfloat16)
    unit = torch.eye(weight.shape[1], device="cuda", dtype=torch.bfloat16)
    return torch.nn.functional.linear(unit, weight).t()


def rounded(weight: Any, x: Any) -> Any:
    """Activations as the Linear multiplies them."""
    from torchao.quantization.quantize_.workflows.intx import intx_unpacked_to_int8_tensor as intx

    return intx._apply_int8_act_asym_per_token_quant_dequant(x) if getattr(weight, "rounds_activations", False) else x


def sizes(weight: Any, scheme: str, shape: Shape) -> dict[str, float]:
    """Bytes a weight as stored and by arithmetic, and those that the unpacking moves."""
    from profiler.recording.weights import flatten

    stored = sum(each.numel() * each.element_size() for _, each in flatten(weight))
    expected = weight_bytes(scheme, shape.n, shape.k)
    assert expected is not None
    count = shape.n * shape.k
    return {"bytes": stored / count, "expected_bytes": expected.total / count, "moved": stored + 2 * count}


def launched(run: Callable[[Any], Any], x: Any) -> list[str]:
    """Names of what one call has the GPU do; besides kernels, libraries clear their workspaces."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        run(x)
        torch.cuda.synchronize()
    return [each.name for each in found.events() if each.device_type == torch.autograd.DeviceType.CUDA]


def median_us(run: Callable[[Any], Any], x: Any, repeats: int) -> float:
    import torch

    flush, times = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda"), []
    for _ in range(3):
        run(x)
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        flush.zero_()
        torch.cuda._sleep(_SLEEP_CYCLES)
        start.record()
        run(x)
        end.record()
        torch.cuda.synchronize()
        times.append(1000 * start.elapsed_time(end))
    return float(statistics.median(times))


def line(row: dict[str, Any]) -> str:
    """A row of Markdown."""
    if row.get("why"):
        return f"| {row['shape']} | {row['scheme']} | {row['bf16_us']:.1f} | {row['why']} |"
    times = f"{row['bf16_us']:.1f} | {row['eager_us']:.1f} | {row['compiled_us']:.1f} | {row['kernels']} | {row['unpack_us']:.1f}"
    errors = f"{row['differ']} | {row['error']:.1e}, compiled {row['compiled_error']:.1e} | {row['sqnr_db']:.1f}"
    stored = f"{row['bytes']:.4f} ({row['expected_bytes']:.4f})"
    return f"| {row['shape']} | {row['scheme']} | {times} | {row['moved'] / row['unpack_us'] / 1000:.0f} | {errors} | {stored} |"


if __name__ == "__main__":
    sys.exit(main())
