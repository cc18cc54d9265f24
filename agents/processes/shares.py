"""Tensors on disk, of which each process writes and reads its share.

torch.distributed.checkpoint writes them as safetensors, a file for each process:

    shares/shard-00001-model-00001-of-00001.safetensors

A file says where in the whole tensors its parts belong, so any number of processes reads what any
number wrote, each process only the parts that it needs. A tensor that all processes hold whole is
in one file.

Not covered: processes that do not see one folder; `check_shared` says so before anything is lost.
"""

# torch leaves its checkpoints untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from reason_env.agents.processes.processes import Processes
from reason_env.errors import CheckpointError

SHARES = "shares"
"""The folder of a model, or of a checkpoint, that holds shares."""


def check_shared(file: Path, processes: Processes) -> None:
    """Check that all processes see one folder; all call it.

    Args:
        file: In that folder; its content is that of no other folder.
        processes: Those that will write there.

    Raises:
        CheckpointError: A process sees another folder, or none.
    """
    processes.lead("check_shared", file)
    found = processes.gathered(file.read_bytes() if file.is_file() else None)
    others = [rank for rank, content in enumerate(found) if content != found[0]]
    if others:
        raise CheckpointError(
            f"every process must see the run's folder, got '{file.parent}', which "
            f"{len(others)} of {processes.number} (the first is {others[0]}) do not; put --out on "
            "a file system that all machines share"
        )


def save_shares(directory: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write each process's share of the tensors, and sync it to disk; all processes call it.

    Args:
        directory: Created if absent.
        tensors: The same names in all processes; shared (DTensor), or whole and equal in all.

    Raises:
        OSError: The system refused to write, in any process.
    """
    if not tensors:
        return
    writer = HuggingFaceStorageWriter(path=str(directory), save_distributed=True)
    with _plain_errors():
        save(dict(tensors), storage_writer=writer)


def load_shares(directory: Path, into: Mapping[str, Tensor]) -> None:
    """Read the tensors of these names, of each the part that this process holds, in place.

    Raises:
        ValueError: A tensor or a part of one is missing, or has another shape.
    """
    if not into:
        return
    _stored(directory)
    with _plain_errors():
        # Nothing is exchanged: each process reads what it needs.
        reader = HuggingFaceStorageReader(path=str(directory))
        load(dict(into), storage_reader=reader, no_dist=True)


def read_shares(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a folder, whole.

    Raises:
        ValueError: A part of one is missing.
    """
    whole = {
        name: torch.empty(tuple(own.size), dtype=own.properties.dtype)
        for name, own in _stored(directory).items()
    }
    load_shares(directory, whole)
    return whole


def weights_of(model: Any) -> dict[str, Tensor]:
    """Name the tensors that a model's files must hold, those that it shares once."""
    names = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    state: dict[str, Any] = get_model_state_dict(model)
    return {name: own for name, own in state.items() if name in names}


def optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], list[dict[str, Any]] | None]:
    """Split an optimizer's state into tensors by name, and its groups; before a step: {}, None."""
    if not optimizer.state:
        # torch would take a step with gradients of 0, and Adam count it.
        return {}, None
    found: Any = get_optimizer_state_dict(model, optimizer)
    tensors = {
        f"optimizer/{name}/{key}": value
        for name, own in found["state"].items()
        for key, value in own.items()
    }
    return tensors, found["param_groups"]


def load_optimizer_state(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    directory: Path,
    groups: list[dict[str, Any]] | None,
) -> None:
    """Continue an optimizer from what `optimizer_state` gave, of any number of processes.

    Args:
        model: With the optimizer's parameters.
        optimizer: Without a step.
        directory: With the tensors, among others.
        groups: The second part of `optimizer_state`.

    Raises:
        ValueError: The tensors do not fit the model.
    """
    if groups is None:
        return
    stored = _stored(directory)
    # With gradients torch would make no room for the state.
    optimizer.zero_grad(set_to_none=True)
    template: Any = get_optimizer_state_dict(model, optimizer)
    state = {
        name: kept
        for name, own in template["state"].items()
        if (kept := {key: one for key, one in own.items() if _name(name, key) in stored})
    }
    wanted = {_name(name, key): one for name, own in state.items() for key, one in own.items()}
    others = [name for name in stored if name.startswith("optimizer/") and name not in wanted]
    if others:
        raise ValueError(f"{min(others)} of no parameter")
    load_shares(directory, wanted)
    options = StateDictOptions(strict=False)
    loaded: Any = {"state": state, "param_groups": groups}
    set_optimizer_state_dict(model, optimizer, loaded, options=options)


def _name(parameter: str, key: str) -> str:
    return f"optimizer/{parameter}/{key}"


def _stored(directory: Path) -> dict[str, Any]:
    """Read the shapes and types of all tensors; torch would leave what is missing undefined."""
    stored: Any = HuggingFaceStorageReader(path=str(directory)).read_metadata()
    for name, own in stored.state_dict_metadata.items():
        if sum(part.sizes.numel() for part in own.chunks) != own.size.numel():
            raise ValueError(f"a part of {name} is missing in {directory}; restore all files there")
    return stored.state_dict_metadata


@contextmanager
def _plain_errors() -> Generator[None]:
    """Raise what went wrong in a process, in all of them, in place of torch's own exception."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            yield
    except CheckpointException as error:
        raised = [own for own, _ in error.failures.values()]
        refused = next((own for own in raised if isinstance(own, OSError)), None)
        if refused is not None:
            raise refused from error
        raise ValueError(str(raised[0]).partition("\n")[0]) from error
