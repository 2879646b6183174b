"""A packed weight as a tensor of torchao's kind: it moves, is saved, compiles and multiplies like torchao's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torchao.core.config import ALLOWED_AO_MODULES, AOBaseConfig
from torchao.quantization import IntxUnpackedToInt8Tensor
from torchao.quantization.quant_primitives import _choose_qparams_affine_floatx, _quantize_affine_floatx
from torchao.quantization.quantize_.workflows.intx import intx_unpacked_to_int8_tensor as intx
from torchao.quantization.transform_module import register_quantize_module_handler
from torchao.quantization.utils import recommended_inductor_config_setter
from torchao.utils import TorchAOBaseTensor

from profiler.kernels import packed_linear
from profiler.kernels.packed_format import FORMATS, PackedFormat, pack


class PackedWeight(TorchAOBaseTensor):  # type: ignore[misc]
    """A weight (N, K) in a format of `packed_format`.

    Attributes:
        qdata: (N, K x bits / 32) int32.
        scale: (N, 1) or (N, K / group), in the dtype of the weight that was quantized.
        form: name of the format.
        rounds_activations: whether its Linear rounds its activations to int8 in every call, one scale a row.
    """

    tensor_data_names: ClassVar[list[str]] = ["qdata", "scale"]
    tensor_attribute_names: ClassVar[list[str]] = ["form", "rounds_activations"]

    def __new__(cls, qdata: Any, scale: Any, form: str, _rounds_activations: bool) -> Any:
        shape = (qdata.shape[0], FORMATS[form].columns(qdata.shape[1]))
        made = torch.Tensor._make_wrapper_subclass
        return made(cls, shape, device=qdata.device, dtype=scale.dtype, requires_grad=False)

    def __init__(self, qdata: Any, scale: Any, form: str, rounds_activations: bool) -> None:
        super().__init__()
        self.qdata, self.scale, self.form, self.rounds_activations = qdata, scale, form, rounds_activations

    def dequantize(self) -> torch.Tensor:
        """The weight that its Linear multiplies with, in its own dtype."""
        return packed_linear.dequantize(self.qdata, self.scale, self.form, self.dtype)

    def _quantization_type(self) -> str:
        return f"shape={tuple(self.shape)}, form={self.form}, rounds_activations={self.rounds_activations}"


@dataclass
class PackedWeightConfig(AOBaseConfig):  # type: ignore[misc]
    """For `quantize_`: Linear weights in a packed format.

    Args:
        form: name of the format.
        rounds_activations: as `PackedWeight` has it.
        set_inductor_config: let torchao set Inductor switches for the whole process, as its own configs do.
    """

    form: str
    rounds_activations: bool = False
    set_inductor_config: bool = True


@register_quantize_module_handler(PackedWeightConfig)  # type: ignore[untyped-decorator]
def _transform(module: Any, config: PackedWeightConfig, *, parameter_name: str = "weight") -> Any:
    if config.set_inductor_config:
        recommended_inductor_config_setter()
    qdata, scale = quantize(getattr(module, parameter_name).detach(), FORMATS[config.form])
    weight = PackedWeight(qdata, scale, config.form, config.rounds_activations)
    setattr(module, parameter_name, torch.nn.Parameter(weight, requires_grad=False))
    return module


def quantize(weight: torch.Tensor, form: PackedFormat) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight (N, K) packed, and its scales, by torchao's arithmetic: the largest of a scale's weights is the largest number."""
    if form.whole:
        found = IntxUnpackedToInt8Tensor.from_hp(weight, (1, form.group), torch.int4)
        return pack((found.qdata + 8).to(torch.uint8), form), found.scale
    scale = _choose_qparams_affine_floatx(weight, form.exponent_bits, form.mantissa_bits)
    codes = _quantize_affine_floatx(weight, scale, form.exponent_bits, form.mantissa_bits)
    return pack(codes, form), scale.unsqueeze(1)


def _linear(_func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
    x, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    if weight.rounds_activations:
        x = intx._apply_int8_act_asym_per_token_quant_dequant(x)
    return packed_linear.packed_linear(x, weight.qdata, weight.scale, bias, weight.form)


def _is_pinned(_func: Any, _types: Any, args: Any, _kwargs: Any) -> bool:
    return bool(args[0].qdata.is_pinned() and args[0].scale.is_pinned())


def _pin_memory(_func: Any, _types: Any, args: Any, _kwargs: Any) -> Any:
    return args[0]._apply_fn_to_data(lambda each: each.pin_memory())


PackedWeight.implements([torch.ops.aten.linear.default])(_linear)
PackedWeight.implements_torch_function([torch.nn.functional.linear])(_linear)
PackedWeight.implements([torch.ops.aten.is_pinned.default])(_is_pinned)
PackedWeight.implements([torch.ops.aten._pin_memory.default])(_pin_memory)
# `torch.load(weights_only=True)` and torchao's `config_from_dict` make only what they were told of.
torch.serialization.add_safe_globals([PackedWeight])
ALLOWED_AO_MODULES.add(__name__)
