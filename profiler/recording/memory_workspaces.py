"""What the cuBLAS libraries hold of the device memory: blocks that no tensor owns, so only freeing them shows their size."""

from __future__ import annotations

from typing import Any


def free_workspaces() -> dict[str, Any]:
    """Free the workspaces of cuBLAS and cuBLASLt; they come back with the next product.

    Returns:
        `cublas_workspace_bytes` as the allocator rounds, `cublas_workspace_requested_bytes` as asked for, and
        `cublas_workspaces`, one `{"address", "bytes", "requested_bytes"}` each; empty where torch cannot free them.
    """
    import torch

    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is None:
        return {}
    torch.cuda.synchronize()
    held, blocks = _held(), _live_blocks()
    clear()
    freed, living = _held(), _live_blocks()
    return {
        "cublas_workspace_bytes": held["allocated"] - freed["allocated"],
        "cublas_workspace_requested_bytes": held["requested"] - freed["requested"],
        "cublas_workspaces": [block for address, block in blocks.items() if address not in living],
    }


def _held() -> dict[str, int]:
    import torch

    stats = torch.cuda.memory_stats()
    return {kind: int(stats.get(f"{kind}_bytes.all.current", 0)) for kind in ("allocated", "requested")}


def _live_blocks() -> dict[int, dict[str, int]]:
    """The blocks in use, by their address."""
    import torch

    return {
        block["address"]: {"address": block["address"], "bytes": block["size"], "requested_bytes": block["requested_size"]}
        for segment in torch.cuda.memory_snapshot()
        for block in segment["blocks"]
        if block["state"] == "active_allocated"
    }
