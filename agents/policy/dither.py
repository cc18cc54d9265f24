"""Dither: let products in bfloat16 see every update, whatever its size.

Such a product sees a weight r, the float32 weight w rounded to 8 bits. Weights that were once
stored in few bits (bfloat16, float16, quantized) lie on a lattice: a weight in the middle of its
rounding interval takes hundreds of updates of 1e-6 until r changes at all, while all those on the
border of one change with the first update, by a whole step. Training in mixed precision then begins
with updates that do nothing, or with a jump. (SmolLM2's Q4 weights: 8 % lie on a border. The first
update of 1e-6 lowered a loss by 0.34 instead of 0.02, the next seven by 0.02 together.)

`dither` therefore puts each weight on a random place, drawn once, of its own rounding interval

    w = r + x u sign(r),    x ~ U(-1/2, 1/2),    u = the step of bfloat16 numbers at r,

with x ~ U(-1/4, 1/2) where r is a power of two, because steps towards zero are half as wide there.
r, and with it every product, stays as it was to the bit; float32 passes differ by at most a step,
2^-7 of the weight. An update d now changes r by u with probability d / u, so by d in expectation,
from the first update on. Non-subtractive dither of a quantizer, drawn before its input moves.
"""

# torch leaves modules partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

SEED = 0
"""Of the random places: every process that loads a model gives it the same."""
LATTICE_SHARE = 0.01
"""Share of weights in the middle or on the border of their interval above which there is a lattice;
2^-15 of arbitrary float32 weights are. Zeros do not count: pruned weights are no lattice."""


def dither(model: Any) -> bool:
    """Put the product weights on random places of their rounding intervals; say whether it did.

    Only weights on a lattice, so a model that was dithered or trained stays as it is: a resumed run
    continues with its own weights.

    Args:
        model: A causal language model with float32 weights; changed in place. The projection to
            the vocabulary and the embedding are not rounded, and stay.
    """
    weights = list(product_weights(model))
    total = sum(int(weight.count_nonzero()) for weight in weights)
    if not total or sum(map(_num_on_lattice, weights)) < LATTICE_SHARE * total:
        return False
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in weights:
            weight.copy_(dithered(weight, generator))
    return True


def dithered(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a place in each weight's rounding interval; zeros stay.

    >>> weight = torch.tensor([1.5, 0.1, 0.0])
    >>> moved = dithered(weight, torch.Generator().manual_seed(0))
    >>> bool((moved.bfloat16() == weight.bfloat16()).all()), (moved != weight).tolist()
    (True, [True, True, False])
    """
    rounded = weight.to(torch.bfloat16).float()
    mantissa, exponent = torch.frexp(rounded)
    step = torch.ldexp(torch.ones_like(rounded), exponent - 8)
    uniform = torch.rand(weight.shape, generator=generator).to(weight.device)
    is_power = mantissa.abs() == 0.5
    places = torch.where(is_power, 0.75 * uniform - 0.25, uniform - 0.5)
    moved = rounded + rounded.sign() * places * step
    # An end of the interval, which one number in 2^24 is, may round to its neighbour.
    return torch.where(moved.to(torch.bfloat16).float() == rounded, moved, rounded)


def product_weights(model: Any) -> Iterator[Tensor]:
    """Yield the weights that mixed precision rounds: those of linear layers, without the head."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            yield module.weight


def _num_on_lattice(weight: Tensor) -> int:
    """Count weights whose last 16 bits are those of the middle or the border of an interval."""
    rest = weight.detach().view(torch.int32) & 0xFFFF
    return int((((rest == 0) | (rest == 0x8000)) & (weight != 0)).sum())
