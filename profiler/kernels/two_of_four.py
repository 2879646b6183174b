"""2:4 sparsity: of each four neighbours of a row the two of larger magnitude stay; and a packed form of what stays.

The packed form is the one that a CPU reads and tests trust; GPU libraries order the same two parts their own way.
"""

from __future__ import annotations

import torch


def keep_two_of_four(weight: torch.Tensor) -> torch.Tensor:
    """The weight with the two smaller of each four neighbours along the last dimension set to 0; of equal ones, exactly two stay.

    Args:
        weight: (N, K), K a multiple of 4.
    """
    fours = weight.reshape(*weight.shape[:-1], -1, 4)
    kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, fours.abs().topk(2, dim=-1).indices, True)
    # Not a product with the mask: infinity times 0 is no number.
    return torch.where(kept, fours, torch.zeros_like(fours)).reshape(weight.shape)


def where_packed(weight: torch.Tensor) -> torch.Tensor:
    """The weight on the device whose libraries are to order its parts: what a CPU packed, no kernel of a GPU can read."""
    return weight.to("cuda") if torch.cuda.is_available() else weight


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A pruned int8 weight in 5/8 of its bytes: what stays, N x K / 2, then two bits that say where each of them stood.

    Args:
        weight: (N, K) int8 with at most two elements of each four not 0, K a multiple of 8.

    Returns:
        (N, 5 K / 8) int8: a row is only a shape here, the parts lie one behind the other.

    Raises:
        ValueError: more than two elements of a four are not 0.
    """
    fours = weight.reshape(-1, 4)
    if int((fours != 0).sum(-1).max()) > 2:
        raise ValueError("the weight is not 2:4 sparse")
    # A stable sort on "is 0": the non-zeros come first, in their order; zeros fill up where fewer than two are left.
    places = (fours == 0).to(torch.int8).argsort(dim=-1, stable=True)[:, :2].sort(dim=-1).values
    data = fours.gather(-1, places)
    nibbles = (places[:, 0] | places[:, 1] << 2).reshape(-1, 2)
    meta = (nibbles[:, 0] | nibbles[:, 1] << 4).to(torch.uint8).view(torch.int8)
    return torch.cat([data.reshape(-1), meta]).reshape(weight.shape[0], -1)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack`: (N, K) int8 with its zeros back."""
    out_features, in_features = packed.shape[0], packed.shape[1] * 8 // 5
    data, meta = parts(packed, in_features)
    nibbles = torch.stack([meta.view(torch.uint8) & 15, meta.view(torch.uint8) >> 4], -1).reshape(-1)
    places = torch.stack([nibbles & 3, nibbles >> 2], -1).to(torch.int64)
    fours = torch.zeros(places.shape[0], 4, dtype=packed.dtype, device=packed.device)
    return fours.scatter_(-1, places, data.reshape(-1, 2)).reshape(out_features, in_features)


def parts(packed: torch.Tensor, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What stays, and where it stood, as views of a packed weight: cuSPARSELt keeps them in this order too."""
    flat = packed.reshape(-1)
    half = packed.shape[0] * in_features // 2
    return flat[:half], flat[half:]
