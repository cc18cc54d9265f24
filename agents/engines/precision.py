"""Precision: what the model computes in. Its weights, and the optimizer's, are always float32.

"float32" computes in float32. "bf16-mixed" multiplies matrices in bfloat16: each product rounds its
inputs and its output to 8 bits, and gradients are summed in float32. Everything else stays float32:
the residual stream, norms, softmax, and the projection to the vocabulary, because bfloat16 logits
of size 16 are 0.06 apart. Half-precision weights are no setting: an update of 1e-6 rounds to none.
A CPU without products in bfloat16 computes the same by float32 products (`products.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from reason_env.agents.engines.products import bf16_products
from reason_env.errors import ConfigError, did_you_mean, shown

Precision = Literal["float32", "bf16-mixed"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
HALF_PRECISIONS = ("bfloat16", "float16", "bf16", "fp16")


def check_precision(precision: str) -> None:
    """Raise for an unknown precision.

    Raises:
        ConfigError: It is none of `PRECISIONS`.
    """
    if precision in HALF_PRECISIONS:
        raise ConfigError(
            f"precision must be {' or '.join(PRECISIONS)}, got {precision!r}, in which weights "
            "lose most of each update; use bf16-mixed, which computes in bfloat16 with float32 "
            "weights (a run that trained half-precision weights cannot be resumed: begin another "
            "from its last checkpoint, with --model RUN/checkpoints/ITERATION/model)"
        )
    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision must be {' or '.join(PRECISIONS)}, got {shown(precision)}"
            + did_you_mean(precision, PRECISIONS)
        )


@contextmanager
def mixed_precision(model: Any, precision: str) -> Iterator[None]:
    """Compute the model's forward passes inside the block in this precision.

    A backward pass belongs outside the block.
    """
    if precision == "float32":
        yield
        return
    kind = model.device.type
    head = model.get_output_embeddings()
    own_forward, replaced = head.forward, vars(head).get("forward")

    # Whatever an architecture does with its logits stays its own.
    def forward(hidden: Tensor) -> Tensor:
        with torch.autocast(kind, enabled=False):
            return own_forward(hidden.to(next(head.parameters()).dtype))

    head.forward = forward
    try:
        with bf16_products(model.device):
            yield
    finally:
        del head.forward
        if replaced is not None:
            head.forward = replaced
