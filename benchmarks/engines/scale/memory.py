"""Bytes on one device: weights, gradients, optimizer, the copy that samples, keys and values.

Weights that are trained are float32 with Adam's two moments and a float32 gradient: 16 bytes each,
divided by the devices. A process that samples with the torch engine holds all weights once more in
float32; with a server of vLLM's they are in bfloat16 on the server's devices instead. Activations
are not here: they are those of `--micro-batch-tokens`, which is chosen to fit what is left.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.engines.scale.sizes import Architecture

Sampler = Literal["torch", "server"]
GATHERED_LAYERS = 2
"""Layers whose weights are whole at once during a pass: the present one and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device that learns."""

    share: float
    """Weights, gradients and moments."""
    copy: float
    """Whole weights for sampling."""
    gathered: float
    """Whole weights of the layers that a pass is at, and of the embedding, in bfloat16."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.share + self.copy + self.gathered


def learning_memory(model: Architecture, devices: int, sampler: Sampler) -> Memory:
    """Bytes on each of some devices that share the weights."""
    layers = GATHERED_LAYERS * model.layer_weights + model.vocab * model.hidden
    return Memory(
        share=16 * model.parameters / devices,
        copy=4.0 * model.parameters if sampler == "torch" else 0.0,
        gathered=0.0 if devices == 1 else 2.0 * layers,
    )


def kv_bytes(model: Architecture) -> int:
    """Bytes of the keys and values of one token, in bfloat16."""
    return 2 * model.kv_values


def rows_that_fit(
    model: Architecture, free_bytes: float, tokens: int, *, tensor_parallel: int = 1
) -> int:
    """Sequences whose keys and values fit on an engine of some devices.

    Args:
        model: Sampled from.
        free_bytes: On each device, beside the weights.
        tokens: Longest sequence, prompt included.
        tensor_parallel: Devices of the engine; keys and values are divided by them.
    """
    return max(0, int(free_bytes * tensor_parallel // (tokens * kv_bytes(model))))
