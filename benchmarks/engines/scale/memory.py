"""Bytes on one device: weights, gradients, optimizer, the copy that samples, keys and values.

Weights that are trained are float32 with Adam's two moments and a float32 gradient: 16 bytes each,
divided by the devices. `--devices N` keeps all weights once more in each process, to sample and to
score, and bf16-mixed their bfloat16 copies: 6 bytes a weight, or 2 where one process trains what it
samples from. Trainers whose samplers are divided too, as verl's, keep 2 divided by the engine's
devices. Activations are not here: they are those of `--micro-batch-tokens`, which is chosen to fit
what is left.
"""

from dataclasses import dataclass

from benchmarks.engines.scale.sizes import Architecture

GATHERED_LAYERS = 2
"""Layers whose weights are whole at once during a pass: the present one and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device that samples and learns."""

    share: float
    """Weights, gradients and moments."""
    copy: float
    """Weights to sample with."""
    gathered: float
    """Whole weights of the layers that a pass is at, and of the embedding, in float32."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.share + self.copy + self.gathered


def device_memory(model: Architecture, devices: int, sampler_devices: int | None = None) -> Memory:
    """Bytes on each of some devices that share the weights that are trained.

    Args:
        model: Trained in bf16-mixed.
        devices: That share.
        sampler_devices: Devices that an engine is divided by; None: each process has all weights.
    """
    layers = GATHERED_LAYERS * model.layer_weights + model.vocab * model.hidden
    whole = 2.0 if devices == 1 else 6.0
    each = whole if sampler_devices is None else 2.0 / sampler_devices
    return Memory(
        share=16 * model.parameters / devices,
        copy=each * model.parameters,
        gathered=0.0 if devices == 1 else 4.0 * layers,
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
