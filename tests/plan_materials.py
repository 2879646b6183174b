"""What a planning process could have gathered of a model of few Linears, with costs as a test wants them."""

from __future__ import annotations

from typing import Any

# Two Linears: fp8wo is the faster for the first, int8wo for the second. SQNR and microseconds by scheme.
COSTS: dict[str, dict[str, tuple[float, float | None]]] = {
    "transformer.a": {"left": (100.0, None), "int8wo": (60.0, 40.0), "fp8wo": (50.0, 30.0), "int4dq": (90.0, 12.0)},
    "transformer.b": {"left": (100.0, None), "int8wo": (50.0, 40.0), "fp8wo": (62.0, 30.0), "int4dq": (90.0, 12.0)},
}


def material(**costs: dict[str, tuple[float, float | None]]) -> dict[str, Any]:
    found = COSTS | {f"transformer.{name}": each for name, each in costs.items()}
    shape = {"rows": 128, "out_features": 256, "compiled": True}
    layers = [
        {"module": name, "kind": name, "in_features": 256 * (1 + at), "calls": 1, "choices": list(each)} | shape
        for at, (name, each) in enumerate(found.items())
    ]
    return {
        "model": "flux-tiny",
        "spec": {"model": "flux-tiny"},
        "device": {"device": "cpu", "name": "", "capability": None},
        "base_dtype": "bfloat16",
        "layers": layers,
        "outcomes": {name: [name] * len(layers) for name in ("int8wo", "fp8wo", "int4dq")},
        "other_bytes": 1000,
        "configs": {"int8wo": {"_type": "Int8WeightOnlyConfig"}, "fp8wo": {"_type": "Float8WeightOnlyConfig"}},
        "costs": [
            {"in_features": layer["in_features"], "scheme": scheme, "us": us, "sqnr_db": sqnr} | shape
            for layer in layers
            for scheme, (us, sqnr) in found[layer["module"]].items()
        ],
        "failed": [],
        "gains": dict.fromkeys(found, 0.5),
    }
