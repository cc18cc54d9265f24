"""A checksum of tensors: engines that hold copies of weights find by it that they have changed."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

CHUNK = 2**22
"""Numbers in one checksum operation."""
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number -> integers of that size."""


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Compute a checksum of names, shapes, types and all bits, on the tensors' device.

    >>> zero = torch.zeros(3)
    >>> checksum([("a", zero)]) == checksum([("a", zero.clone())])
    True
    >>> checksum([("a", zero)]) == checksum([("a", torch.tensor([0.0, 1e-30, 0.0]))])
    False
    """
    digest = hashlib.sha256()
    sums: list[Tensor] = []
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        flat = tensor.detach().contiguous().flatten()
        bits = flat.view(INTEGERS[flat.element_size()])
        sums += [_checksum_of(part) for part in bits.split(CHUNK)]
    if sums:
        # One transfer for all sums, so that the GPU is synchronised once.
        digest.update(torch.stack(sums).cpu().numpy().tobytes())
    return digest.hexdigest()


def _checksum_of(bits: Tensor) -> Tensor:
    """Compute two sums [2] over integers, the second weighted by position, modulo 2^64."""
    numbers = bits.long()
    # Odd multipliers keep every bit of a number; the position weights detect swapped numbers.
    places = torch.arange(len(numbers), device=bits.device) * 2 + 1
    mixed = numbers * 6364136223846793005 + (numbers >> 29)
    return torch.stack([mixed.sum(), (mixed * places).sum()])
