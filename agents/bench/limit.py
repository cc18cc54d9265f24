"""The limit: how fast this machine multiplies matrices of the model's own shapes.

A token that is sampled costs at least one product with the weight of every linear layer, 2 FLOP a
weight. A token that is trained on costs three (forward, and two backward), 6 FLOP a weight; a
frozen weight, as under an adapter, needs no gradient of its own: 4. Attention, norms, draws and the
optimizer come on top, so no engine and no learner reaches it.
"""

# torch leaves modules and products partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

REPEATS = 3
"""The best of as many is the limit: nothing may go faster."""
AMPLE_S = 0.5
"""A product that took as long is not repeated: what disturbs it is small beside it."""


def linear_shapes(model: nn.Module) -> Counter[tuple[int, int]]:
    """Count the linear layers of each shape (outputs, inputs).

    >>> linear_shapes(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(2, 3)))
    Counter({(3, 2): 2, (2, 3): 1})
    """
    return Counter(
        (module.out_features, module.in_features)
        for module in model.modules()
        if isinstance(module, nn.Linear)
    )


def token_flop(shapes: Counter[tuple[int, int]]) -> int:
    """Count the FLOP of one token's forward products.

    >>> token_flop(Counter({(3, 2): 2, (2, 3): 1}))
    36
    """
    return 2 * sum(count * rows * columns for (rows, columns), count in shapes.items())


def training_flop(model: nn.Module) -> int:
    """Count the FLOP of one token's products in training, forward and backward.

    >>> layer = nn.Linear(2, 3)
    >>> training_flop(layer), training_flop(layer.requires_grad_(False))
    (36, 24)
    """
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    return sum(2 * weight.numel() * (2 + weight.requires_grad) for weight in weights)


@torch.no_grad()
def product_rate(
    shapes: Counter[tuple[int, int]],
    num_rows: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    is_backward: bool = False,
) -> float:
    """Measure FLOP a second of the products of all layers with this many rows.

    Args:
        shapes: From `linear_shapes`.
        num_rows: Tokens at once.
        dtype: What the model computes in.
        device: Where.
        is_backward: Whether to measure the three products of training.
    """
    seconds = flop = 0.0
    for (num_outputs, num_inputs), count in shapes.items():
        weight = torch.randn(num_outputs, num_inputs, dtype=dtype, device=device)
        rows = torch.randn(num_rows, num_inputs, dtype=dtype, device=device)
        grads = torch.randn(num_rows, num_outputs, dtype=dtype, device=device)

        def products(rows: Tensor = rows, weight: Tensor = weight, grads: Tensor = grads) -> None:
            torch.mm(rows, weight.t())
            if is_backward:
                torch.mm(grads, weight)
                torch.mm(grads.t(), rows)

        products()
        seconds += count * _best_of(products, device)
        flop += count * 2.0 * weight.numel() * num_rows * (3 if is_backward else 1)
    return flop / seconds


def _best_of(run: Callable[[], object], device: torch.device) -> float:
    """Time a call up to `REPEATS` times; return the least."""
    found = [seconds_of(run, device)]
    while len(found) < REPEATS and sum(found) < AMPLE_S:
        found.append(seconds_of(run, device))
    return min(found)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Time a call, with what it leaves running on a GPU."""
    _wait(device)
    began = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
