"""Matrix products in bfloat16, also on a CPU that has none.

Such a product rounds its operands to 8 bits, adds in float32, and rounds the sum to 8 bits. A CPU
without AVX-512 or AMX has no instructions for it; torch then takes 4 to 40 times as long as in
float32. There the same is computed by a float32 product of the rounded operands. Only the order of
the sum is another one; it decides one rounding of 10,000.

Sampler and trainer must round the same bits (`decoder_layer.py`), but multiply different numbers of
rows, by matrices that are joined or not. So both use oneDNN's kernel, whose sums for one output
depend neither on other rows and outputs, nor on packing or threads, from two rows and two outputs
on. MKL's kernels add in another order for fewer than 12 rows.
"""

# torch's operators and autograd functions are untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

Linear = Callable[[Tensor], Tensor]
"""From [N, inputs] to [N, outputs]."""
PRODUCTS = frozenset(
    (
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm),
        *(Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.addmm, Tensor.baddbmm),
        *(Tensor.__matmul__, Tensor.__rmatmul__, scaled_dot_product_attention),
    )
)
"""What autocast computes in bfloat16 in models of transformers, besides `linear`."""


def has_bf16_products(device: torch.device) -> bool:
    """Return whether the device has instructions for products in bfloat16."""
    return device.type != "cpu" or (_has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def bf16_products(device: torch.device) -> Iterator[None]:
    """Compute matrix products inside the block in bfloat16; gradients too, outside or inside."""
    with torch.autocast(device.type, torch.bfloat16), autocast_products(device):
        yield


def autocast_products(device: torch.device) -> AbstractContextManager[Any]:
    """Return a block in which autocast's products in bfloat16 take the form for this device.

    A checkpoint enters autocast again when it recomputes, but not this: its function must.
    """
    return nullcontext() if has_bf16_products(device) else _RoundedProducts()


def rounded_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a linear layer in bfloat16 by a product in float32.

    Args:
        inputs: [..., inputs], of any type.
        weight: [outputs, inputs], of any type.
        bias: [outputs].

    >>> third, one = torch.tensor([[1 / 3]]), torch.tensor([[1.0]])
    >>> rounded_linear(third, one).item()  # 171 / 512
    0.333984375
    """
    return _linear_of(_rounded(weight), None if bias is None else _rounded(bias))(inputs)


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type in which the device multiplies matrices in this precision."""
    is_narrow = precision == "bf16-mixed" and has_bf16_products(device)
    return torch.bfloat16 if is_narrow else torch.float32


def linear_product(inputs: Tensor, weight: Tensor) -> Tensor:
    """Compute a linear layer in the weight's type, which is that of the inputs."""
    if weight.dtype == torch.bfloat16 and not has_bf16_products(weight.device):
        return rounded_linear(inputs, weight)
    return linear(inputs, weight)


def packed_linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """Return a linear layer in its weight's type, packed for a CPU's products in bfloat16.

    Args:
        weight: [outputs, inputs], bfloat16 or float32; the inputs are of the same type.
        bias: [outputs], of the same type.
    """
    if weight.device.type != "cpu":
        return lambda inputs: linear(inputs, weight, bias)
    if not has_bf16_products(weight.device):
        if weight.dtype == torch.float32:
            return lambda inputs: linear(inputs, weight, bias)
        exact = None if bias is None else bias.float()
        return _linear_of(weight.float(), exact, is_packed=True)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    apply = torch.ops.mkldnn._linear_pointwise.default
    return lambda inputs: apply(inputs, packed, bias, "none", [], "")


def matrix_product(left: Tensor, right: Tensor) -> Tensor:
    """Compute `left @ right` in the type of both."""
    if left.dtype == torch.bfloat16 and not has_bf16_products(left.device):
        return (left.float() @ right.float()).bfloat16()
    return left @ right


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available()


def _rounded(exact: Tensor) -> Tensor:
    return exact.bfloat16().float()


def _linear_of(weight: Tensor, bias: Tensor | None, *, is_packed: bool = False) -> Linear:
    """Return a linear layer of rounded float32 weights, which rounds its inputs and outputs."""
    num_outputs = len(weight)
    if num_outputs == 1:
        # A product with one output adds in another order, as does one of one row.
        weight, bias = weight.expand(2, -1), None if bias is None else bias.expand(2)
    weight = weight.contiguous()
    if _has_onednn():
        operator = torch.ops.mkldnn._linear_pointwise.default
        if is_packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        options = "none", [], ""
    else:
        operator, options = linear, ()

    def layer(inputs: Tensor) -> Tensor:
        rows = _rounded(inputs).reshape(-1, inputs.shape[-1])
        several = rows.expand(2, -1).contiguous() if len(rows) == 1 else rows
        found = operator(several, weight, bias, *options)[: len(rows), :num_outputs].bfloat16()
        return found.view(*inputs.shape[:-1], num_outputs)

    return layer


class _RoundedProducts(TorchFunctionMode):
    """Computes what autocast sends to bfloat16 in float32, rounded as there."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options: dict[str, Any] = kwargs or {}
        if func is not linear and func not in PRODUCTS:
            return func(*args, **options)
        if not _is_in_bf16((*args, *options.values())):
            return func(*args, **options)
        if func is linear:
            return _RoundedLinear.apply(*_linear_operands(*args, **options))
        with torch.autocast("cpu", enabled=False):
            found = func(
                *(_widened(item) for item in args),
                **{name: _widened(item) for name, item in options.items()},
            )
        return found.bfloat16()


def _is_in_bf16(operands: Iterable[Any]) -> bool:
    """Return whether torch would compute the product of these in bfloat16."""
    dtypes = {
        item.dtype
        for item in operands
        if isinstance(item, Tensor) and item.is_floating_point() and item.device.type == "cpu"
    }
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
        return bool(dtypes) and torch.float64 not in dtypes
    return dtypes == {torch.bfloat16}


def _widened(operand: Any) -> Any:
    """Round an operand; autograd rounds its gradient, as that of a bfloat16 product."""
    if isinstance(operand, Tensor) and operand.is_floating_point():
        return _rounded(operand)
    return operand


def _linear_operands(
    input: Tensor,  # noqa: A002 - torch's name
    weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias


class _RoundedLinear(torch.autograd.Function):
    """`rounded_linear`, and the two products of its gradients, rounded likewise."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        narrow = inputs.bfloat16()
        ctx.save_for_backward(narrow, weight)
        ctx.dtypes = inputs.dtype, weight.dtype, None if bias is None else bias.dtype
        return rounded_linear(narrow, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        rows = grads[0].float().reshape(-1, len(weight))
        found: list[Tensor | None] = [None, None, None]
        if of_inputs:
            found[0] = (rows @ _rounded(weight)).view(inputs.shape)
        if of_weight:
            found[1] = rows.t() @ inputs.float().reshape(-1, inputs.shape[-1])
        if of_bias:
            found[2] = rows.sum(0)
        return tuple(
            None if grad is None else grad.bfloat16().to(dtype)
            for grad, dtype in zip(found, ctx.dtypes, strict=True)
        )
