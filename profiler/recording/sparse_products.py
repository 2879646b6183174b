"""What the 2:4 sparse products of this process ran: cuSPARSELt's algorithm by shape, and whether its plan was kept."""

from __future__ import annotations

import sys

from profiler.rundir.manifest import Manifest


def note_sparse_products(manifest: Manifest) -> None:
    """Write them down under `applied`, and a note for each shape that runs torch's own call; nothing where none was sparse."""
    plans = sys.modules.get("profiler.kernels.sparse_plans")
    found = plans.describe() if plans else []
    if not found:
        return
    manifest.applied["sparse_products"] = found
    for each in found:
        if not each["kept"]:
            shape = f"{each['m']}x{each['k']}x{each['n']}"
            note = f"2:4 sparse products of {shape} run torch's own call, which costs the host more: {each['why']}"
            manifest.applied.setdefault("notes", []).append(note)
