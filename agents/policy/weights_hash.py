"""The content of weights as bytes, to hash them: equal in every process and on every machine."""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn


def weights_bytes(tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes]:
    r"""Yield name, type, shape and content of every tensor, in the order of their names.

    >>> b"".join(weights_bytes({"w": torch.tensor([1.0])}))
    b'w torch.float32 (1,)\n\x00\x00\x80?'
    """
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def weights_hash(model: nn.Module) -> str:
    """Compute the SHA-256 of a model's parameters, each counted once, in hex."""
    digest = hashlib.sha256()
    for part in weights_bytes(dict(model.named_parameters())):
        digest.update(part)
    return digest.hexdigest()
