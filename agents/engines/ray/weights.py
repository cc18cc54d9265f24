"""WeightVersions: numbers the contents of a model's weights, and stores those that are asked for.

Each look compares a checksum over all weights with the last one, so no part of training has to
announce an update. The weights are stored in two halves, those that training changes and the
others, so that with a LoRA adapter each update sends the adapter alone.

What samples elsewhere is a copy of the model without weights (`skeleton`), so that a model of any
class and with any adapter is copied, and nothing is loaded by a name that another machine may not
know. The weights follow as arrays.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reason_env.agents.engines.checksum import INTEGERS, checksum

Arrays = Mapping[str, np.ndarray]
"""The bits of named tensors, as integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """Where the weights of one version are stored."""

    version: int
    """1, 2, ...: increases with each change that a look finds."""
    parts: tuple[tuple[int, Any], tuple[int, Any]]
    """Of the weights that training leaves alone, and of those that it changes: the version in which
    they changed last, and what `put` returned for their `Arrays`."""


class WeightVersions:
    """Numbers and stores the weights of a model."""

    def __init__(self, model: Any, put: Callable[[Arrays], Any]) -> None:
        """Look at nothing yet.

        Args:
            model: Its weights may change between looks; its architecture may not.
            put: Stores a copy of the arrays, whose memory the weights share, and returns how to
                find it.
        """
        self.model = model
        self.version = 0
        """Number of the contents that the last look found; 0 before the first."""
        self._put = put
        self._sums = ["", ""]
        self._changed_in = [0, 0]
        self._stored: list[tuple[int, Any] | None] = [None, None]

    def look(self) -> int:
        """Return the version of the weights, a new one if they changed since the last look."""
        sums = [checksum(half.items()) for half in halves(self.model)]
        if sums != self._sums:
            self.version += 1
        for place, own in enumerate(sums):
            if own != self._sums[place]:
                self._sums[place], self._changed_in[place] = own, self.version
        return self.version

    def store(self) -> StoredWeights:
        """Store what has changed of the weights that the last look found; return where all is."""
        frozen, trained = (self._part(place, half) for place, half in enumerate(halves(self.model)))
        return StoredWeights(version=self.version, parts=(frozen, trained))

    def _part(self, place: int, tensors: Mapping[str, Tensor]) -> tuple[int, Any]:
        part, changed_in = self._stored[place], self._changed_in[place]
        if part is None or part[0] != changed_in:
            part = (changed_in, self._put(arrays_of(tensors)))
            self._stored[place] = part
        return part


def halves(model: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a model's tensors: those that training leaves alone, and those that it changes."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    trained = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    return {name: own for name, own in tensors.items() if name not in trained}, trained


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the bits of tensors; numpy has no bfloat16, so integers hold them."""
    return {
        name: tensor.detach().cpu().contiguous().view(INTEGERS[tensor.element_size()]).numpy()
        for name, tensor in tensors.items()
    }


@torch.no_grad()
def load_arrays(model: nn.Module, arrays: Arrays) -> None:
    """Copy the bits of `arrays_of` into a model's tensors of these names."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, array in arrays.items():
        with warnings.catch_warnings():
            # Arrays of a store are not writable, and are only read.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            bits = torch.from_numpy(array)
        own[name].copy_(bits.view(own[name].dtype))


def skeleton(model: nn.Module) -> nn.Module:
    """Copy a model without its weights; parameters that it shares stay shared.

    >>> full = nn.Linear(2, 3)
    >>> skeleton(full).weight.device.type, full.weight.device.type
    ('meta', 'cpu')
    """
    return _copied(model, device="meta")


def filled(empty: nn.Module, device: str) -> nn.Module:
    """Copy a skeleton with memory for weights, which `load_arrays` writes."""
    return _copied(empty, device=device)


def _copied(model: nn.Module, *, device: str) -> nn.Module:
    """Copy a model with empty tensors in place of its own."""
    empty = {id(tensor): _empty_like(tensor, device) for tensor in _tensors(model)}
    return copy.deepcopy(model, empty)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _empty_like(tensor: Tensor, device: str) -> Tensor:
    empty = torch.empty_like(tensor, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty
