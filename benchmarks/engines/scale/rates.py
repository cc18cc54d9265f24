"""Seconds of a decoding step, of an update and of sending weights, on some device.

A decoding step reads all weights and the keys of every row once, and multiplies; it takes the
longer of the two, and a fixed time besides. `Efficiency` is what is reached of the data sheet:
the defaults are assumptions, not measurements; `measure.py` replaces them by a machine's own.
"""

from dataclasses import dataclass

from benchmarks.engines.scale.memory import kv_bytes
from benchmarks.engines.scale.sizes import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Numbers of a data sheet."""

    name: str
    memory_bytes: float
    flops: float
    """Dense bfloat16 FLOP a second."""
    bandwidth: float
    """Bytes a second from its memory."""
    link: float
    """Bytes a second to the other devices of its machine."""
    network: float
    """Bytes a second to other machines, for each device."""
    per_machine: int = 8


DEVICES = {
    own.name: own
    for own in (
        Device(name="A100 80 GB", memory_bytes=80e9, flops=312e12, bandwidth=2.0e12,
               link=300e9, network=25e9),
        Device(name="H100 80 GB", memory_bytes=80e9, flops=989e12, bandwidth=3.35e12,
               link=450e9, network=50e9),
    )
}  # fmt: skip


PASS_BYTES = 12
"""Float32 weights, forward and again backward, and float32 gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of the data sheet that are reached; assumed."""

    learning: float = 0.4
    decoding: float = 0.6
    """Of bandwidth and of FLOP, in a decoding step."""
    transfer: float = 0.7
    step_s: float = 1e-3
    """Seconds of a decoding step that are neither reading nor multiplying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the iteration and the simulator need to know of a model on a device."""

    step_fixed_s: float
    """Seconds of a decoding step, however few rows."""
    step_row_s: float
    """Further seconds a row, where products decide."""
    step_key_s: float
    """Further seconds for each key that is read."""
    token_s: float
    """Seconds of learning a distinct token, on one device."""
    change_s: float = 0.0
    """Seconds that the engine takes when rows end, and others begin."""
    is_read_bound: bool = False
    """Whether reading and multiplying overlap: a step takes the longer one."""

    def step_s(self, rows: float, context: float) -> float:
        """Seconds of one decoding step of some rows with contexts of some tokens each."""
        reading = self.step_fixed_s + rows * context * self.step_key_s
        products = rows * self.step_row_s
        return max(reading, products) if self.is_read_bound else reading + products


def rates(
    model: Architecture,
    device: Device,
    *,
    tensor_parallel: int = 1,
    context: float = 0.0,
    reached: Efficiency | None = None,
) -> Rates:
    """The rates of a model from a data sheet.

    Args:
        model: Weights in bfloat16 where it samples.
        device: One of them.
        tensor_parallel: Devices that an engine divides each layer by.
        context: Mean tokens before a token that is learned, for attention.
        reached: Shares of the data sheet.
    """
    own = reached or Efficiency()
    read = tensor_parallel * own.decoding * device.bandwidth
    multiplied = tensor_parallel * own.decoding * device.flops
    learned = 6 * model.product_weights + 3 * model.attention_flop(context)
    return Rates(
        step_fixed_s=own.step_s + 2 * model.product_weights / read,
        step_row_s=2 * model.product_weights / multiplied,
        step_key_s=kv_bytes(model) / read,
        token_s=learned / (own.learning * device.flops),
        is_read_bound=True,
    )


def gather_s(
    model: Architecture,
    devices: int,
    device: Device,
    bytes_a_weight: float,
    reached: Efficiency | None = None,
) -> float:
    """Seconds in which each device receives all weights but its own share.

    Between machines the slower network decides. In a micro-batch `PASS_BYTES` a weight are
    received; once an iteration the weights to sample with.
    """
    if devices == 1:
        return 0.0
    own = reached or Efficiency()
    link = device.link if devices <= device.per_machine else device.network
    received = bytes_a_weight * model.parameters * (devices - 1) / devices
    return received / (own.transfer * link)
