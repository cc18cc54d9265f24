"""Weights that several processes train together, each a share of every tensor (FSDP2).

The blocks of a decoder are gathered one by one as a pass reaches them; what is left (embedding,
last norm, head) is gathered as a pass begins. Gradients are summed over the processes.

FSDP gathers when a module's forward pass begins. Our passes call the parts of a block, not the
block, so `within` tells it which module's weights a function reads.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

T = TypeVar("T")
METHOD = "run_within"
"""The method by which `within` runs a function in a module."""


def shard(model: Any) -> None:
    """Keep this process's share of the weights of a causal language model, in place."""
    mesh = init_device_mesh(model.device.type, (dist.get_world_size(),))
    blocks = next(
        item for item in model.get_decoder().children() if isinstance(item, nn.ModuleList)
    )
    for module in (*blocks, model):
        sharded = fully_shard(module, mesh=mesh)
        # The parts of a loss are divided by the totals of all rows, so they add up.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
        setattr(module, METHOD, MethodType(_run_within, module))
        register_fsdp_forward_method(module, METHOD)


def within(module: Any, function: Callable[..., T], *args: Any) -> T:
    """Run a function that reads the module's weights, which are whole meanwhile.

    Args:
        module: Of any model; only in one that is sharded anything is done.
        function: Called with `args`.
        args: Tensors that the gradient passes through must be among them.
    """
    if isinstance(module, FSDPModule):
        return getattr(module, METHOD)(function, *args)
    return function(*args)


def _run_within(module: nn.Module, function: Callable[..., T], *args: Any) -> T:
    del module
    return function(*args)


def whole(value: Tensor) -> Tensor:
    """Gather a tensor from its shares; any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


@torch.no_grad()
def copy_whole_(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Copy each source, gathered if it is shared, into its target."""
    for target, source in zip(targets, sources, strict=True):
        target.copy_(whole(source.detach()))


def whole_state(state: Any) -> Any:
    """Gather the tensors of nested dicts and lists, each moved to the CPU."""
    if isinstance(state, Mapping):
        return {key: whole_state(value) for key, value in cast("Mapping[Any, Any]", state).items()}
    if isinstance(state, list):
        return [whole_state(value) for value in cast("list[Any]", state)]
    return whole(state).cpu() if isinstance(state, DTensor) else state


def shared_state(state: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """Take this process's share of an optimizer's whole state.

    Args:
        state: Of an optimizer of these parameters, of any number of processes.
        parameters: In the optimizer's order.
    """
    own = {
        number: {
            name: _shared_as(parameter, value) for name, value in state["state"][number].items()
        }
        for number, parameter in enumerate(parameters)
        if number in state["state"]
    }
    return {**state, "state": own}


def _shared_as(parameter: nn.Parameter, value: Any) -> Any:
    """Share a tensor of a parameter's shape as the parameter is; anything else stays."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value
    # Every process has read the whole tensor, so that nothing needs to be sent.
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )
