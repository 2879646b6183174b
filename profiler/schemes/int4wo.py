"""int4wo: int4 weights with a scale and a zero point a 128 inputs, in the layout of torch's tinygemm kernel."""

from typing import Any

from profiler.schemes.base import SCHEMES, LinearInfo, Scheme

GROUP = 128


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Int4WeightOnlyConfig

    # torchao's default packing wants a package of kernels that is not to be had for this torch.
    return Int4WeightOnlyConfig(
        group_size=GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=set_inductor_config
    )


def _convert(linear: Any, set_inductor_config: bool) -> None:
    from torchao.quantization import quantize_

    # Only CUDA can pack it: under `--quantize-on cpu` one weight after the other goes there and back.
    home = linear.weight.device
    quantize_(linear.to("cuda"), _config(set_inductor_config))
    linear.to(home)


def _accepts(linear: LinearInfo) -> str | None:
    # torchao skips such a weight without a word.
    if linear.in_features % GROUP:
        return f"{GROUP} inputs share a scale in int4wo, and this one has {linear.in_features}"
    return None


SCHEMES.add(
    "int4wo",
    Scheme(
        name="int4wo",
        summary="int4 weights, bf16 GEMM",
        config=_config,
        convert=_convert,
        accepts=_accepts,
        min_capability=(8, 0),
        needs_cuda=True,
    ),
)
