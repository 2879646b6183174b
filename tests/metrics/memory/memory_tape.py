"""An allocator that writes down what it does: small CUDA snapshots, made on the spot."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.run import Run

Frame = tuple[str, str, int]
"""Function, file, line."""

MIB = 1 << 20

# Stacks, innermost frame first, as torch records them.
_CALL = ("_call_impl", "site-packages/torch/nn/modules/module.py", 1790)
_PIPE = ("__call__", "site-packages/diffusers/pipelines/flux/pipeline_flux.py", 901)
_LOAD = ("load", "profiler/recording/prepare.py", 68)
BLOCK = [("forward", "site-packages/diffusers/models/transformers/transformer_flux.py", 404), _CALL, _PIPE]
LINEAR = [("forward", "site-packages/torch/nn/modules/linear.py", 134), _CALL, *BLOCK]
CONV = [
    ("_conv_forward", "site-packages/torch/nn/modules/conv.py", 548),
    _CALL,
    ("forward", "site-packages/diffusers/models/autoencoders/vae.py", 304),
    _PIPE,
]
SDPA = [("_native_attention", "site-packages/diffusers/models/attention_dispatch.py", 3760), *BLOCK]
T5 = [("forward", "site-packages/transformers/models/t5/modeling_t5.py", 354), _CALL, _PIPE]
CLIP = [("forward", "site-packages/transformers/models/clip/modeling_clip.py", 309), _CALL, _PIPE]
SCHEDULER = [("step", "site-packages/diffusers/schedulers/scheduling_flow_match_euler_discrete.py", 520), _PIPE]
LATENTS = [("prepare_latents", "site-packages/diffusers/pipelines/flux/pipeline_flux.py", 640), _PIPE]
LOADED = [
    ("__init__", "site-packages/torch/nn/modules/linear.py", 109),
    ("__init__", "site-packages/diffusers/models/transformers/transformer_flux.py", 656),
    _LOAD,
]
QUANTIZED = [
    ("_quantize_affine_float8", "site-packages/torchao/quantization/quant_primitives.py", 2349),
    ("quantize_", "site-packages/torchao/quantization/quant_api.py", 337),
    ("quantize_pipeline", "profiler/recording/prepare.py", 98),
]
DEQUANTIZED = [("dequantize", "site-packages/torchao/quantization/float8_tensor.py", 165), *LINEAR]
GENERATED = [("call", "/tmp/torchinductor_root/c4/cc4uwek7ngdac63h4sbwhcu66oi4x6bpbglhulhs5pe6gsohvzf5.py", 1129), *BLOCK]
TUNED = [("benchmark_gpu", "site-packages/torch/_inductor/runtime/benchmarking.py", 419), *GENERATED]
COMPILED = [("_compile", "site-packages/torch/_dynamo/convert_frame.py", 1827), *BLOCK]
MODEL_HOOK = [
    ("convert", "site-packages/torch/nn/modules/module.py", 1358),
    ("to", "site-packages/torch/nn/modules/module.py", 1381),
    ("pre_forward", "site-packages/accelerate/hooks.py", 760),
    ("new_forward", "site-packages/accelerate/hooks.py", 190),
    _CALL,
    _PIPE,
]
INSIDE_HOOK = [BLOCK[0], ("new_forward", "site-packages/accelerate/hooks.py", 190), _CALL, _PIPE]
USER_MODULE = [("forward", "/home/me/my_model.py", 12), _CALL, ("main", "/home/me/run.py", 3)]


class Tape:
    """Events and end state of one device. Times count events, in microseconds from `start_us`.

    Args:
        start_us: time of the first event.
    """

    def __init__(self, start_us: int = 1_000_000, device: int = 0) -> None:
        self.device = device
        self.events: list[dict[str, Any]] = []
        self.blocks: dict[int, dict[str, Any]] = {}
        self.segments: list[dict[str, Any]] = []
        self.marks: list[dict[str, Any]] = []
        self._time_us = start_us
        self._frames: dict[int, list[dict[str, Any]]] = {}

    def held(self, address: int, size: int, stack: list[Frame] | None = None) -> None:
        """A block that lives from before the recording to its end."""
        self.blocks[address] = self._block(address, size, stack)

    def alloc(self, address: int, size: int, stack: list[Frame] | None = None, module: str = "", **more: Any) -> None:
        """`more`: other keys of torch's event, `compile_context` or `pool_id`."""
        self._event("alloc", address, size, stack, user_metadata=module, **more)
        self.blocks[address] = self._block(address, size, stack)

    def free(self, address: int, stack: list[Frame] | None = None, size: int | None = None) -> None:
        """Requested and completed at once; `size` for what no event allocated."""
        self.ask_free(address, stack, size)
        self.complete_free(address, stack, size)

    def ask_free(self, address: int, stack: list[Frame] | None = None, size: int | None = None) -> None:
        self._event("free_requested", address, self._size(address, size), stack)
        if address in self.blocks:
            self.blocks[address]["state"] = "active_pending_free"

    def complete_free(self, address: int, stack: list[Frame] | None = None, size: int | None = None) -> None:
        self._event("free_completed", address, self._size(address, size), stack)
        self.blocks.pop(address, None)

    def segment(self, address: int, size: int, *, recorded: bool = False, pool: tuple[int, int] = (0, 0)) -> None:
        if recorded:
            self._event("segment_alloc", address, size, None)
        self.segments.append({"address": address, "total_size": size, "segment_pool_id": pool})

    def free_segment(self, address: int) -> None:
        size = next(each["total_size"] for each in self.segments if each["address"] == address)
        self._event("segment_free", address, size, None)
        self.segments = [each for each in self.segments if each["address"] != address]

    def oom(self, size: int, device_free: int, stack: list[Frame] | None = None) -> None:
        self._event("oom", 0, size, stack, device_free=device_free)

    def mark(self, name: str, stage: str) -> None:
        self._time_us += 1
        self.marks.append({"name": f"diffuscope/{name}", "stage": stage, "device": self.device, "time_us": self._time_us})

    def snapshot(self) -> dict[str, Any]:
        segments = self.segments or [self._around_all()]
        return {
            "segments": [self._segment(each) for each in segments],
            "device_traces": [[] for _ in range(self.device)] + [self.events],
            "allocator_settings": {},
            "external_annotations": self.marks,
        }

    def _size(self, address: int, size: int | None) -> int:
        return self.blocks[address]["requested_size"] if size is None else size

    def _event(self, action: str, address: int, size: int, stack: list[Frame] | None, **more: Any) -> None:
        self._time_us += 1
        event = {"action": action, "addr": address, "size": size, "stream": 0, "time_us": self._time_us}
        self.events.append(event | {"frames": self._stack(stack)} | more)

    def _stack(self, stack: list[Frame] | None) -> list[dict[str, Any]]:
        if not stack:
            return []
        frames = [{"name": name, "filename": file, "line": line} for name, file, line in stack]
        return self._frames.setdefault(id(stack), frames)

    def _block(self, address: int, size: int, stack: list[Frame] | None) -> dict[str, Any]:
        rounded = -(-size // 512) * 512
        frames = self._stack(stack)
        return {"address": address, "size": rounded, "requested_size": size, "state": "active_allocated", "frames": frames}

    def _around_all(self) -> dict[str, Any]:
        ends = [each["address"] + each["size"] for each in self.blocks.values()]
        start = min(self.blocks, default=0)
        return {"address": start, "total_size": max(ends, default=512) - start, "segment_pool_id": (0, 0)}

    def _segment(self, segment: dict[str, Any]) -> dict[str, Any]:
        start, end = segment["address"], segment["address"] + segment["total_size"]
        blocks, at = [], start
        for address in sorted(each for each in self.blocks if start <= each < end):
            if address > at:
                blocks.append({"address": at, "size": address - at, "requested_size": 0, "state": "inactive", "frames": []})
            blocks.append(self.blocks[address])
            at = address + self.blocks[address]["size"]
        if at < end:
            blocks.append({"address": at, "size": end - at, "requested_size": 0, "state": "inactive", "frames": []})
        used = sum(each["size"] for each in blocks if each["state"] != "inactive")
        return {
            "device": self.device,
            "allocated_size": used,
            "active_size": used,
            "requested_size": sum(each["requested_size"] for each in blocks),
            "stream": 0,
            "segment_type": "large",
            "is_expandable": False,
            "frames": [],
            "blocks": blocks,
        } | segment


def weight(address: int, size: int, name: str, component: str = "transformer", **more: Any) -> dict[str, Any]:
    """A row of `weights.json`."""
    row = {"component": component, "name": name, "kind": "parameter", "role": "weight", "dtype": "bfloat16", "shape": []}
    return row | {"bytes": size, "device": "cuda:0", "address": address, "storage_bytes": size} | more


def write_run(
    folder: Path,
    tape: Tape | None = None,
    *,
    load: Tape | None = None,
    weights: list[dict[str, Any]] | None = None,
    **manifest: Any,
) -> Run:
    """A run directory with the snapshots of some tapes."""
    rank = folder / "rank0"
    rank.mkdir(parents=True)
    for name, each in (("memory", tape), ("memory_load", load)):
        if each is not None:
            with gzip.open(rank / f"{name}.pickle.gz", "wb") as file:
                pickle.dump(each.snapshot(), file, protocol=4)
    if weights is not None:
        (rank / "weights.json").write_text(json.dumps(weights))
    return Run(folder, Manifest(**({"status": "ok"} | manifest)))


def phase(name: str, start_us: int, end_us: int | None, **more: Any) -> Phase:
    """A phase of the manifest; times in microseconds."""
    return Phase(name=name, start_ns=start_us * 1000, end_ns=None if end_us is None else end_us * 1000, **more)
