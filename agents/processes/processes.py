"""Processes: the processes that train one policy together, one for each device.

The first process is the run: it has the environment, the method, the verifier and the directory,
and goes through the same code as a run of one process. The others follow it: they wait for the
first one's next call, and make the same call on their own objects. In a call that all make, each
runs its share of equal work, and all get the results of all, in the order of the work.

`torchrun`, or `launch`, starts the processes. Everything between them goes through
torch.distributed. Messages are pickled, so all processes must be those of one user's run.

Not covered: processes that join or leave during a run.
"""

# torch leaves its collectives untyped.
# pyright: reportUnknownMemberType=false

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from reason_env.errors import ConfigError, ProcessError, ReasonEnvError

T = TypeVar("T")
PATIENCE = timedelta(hours=12)
"""How long a process waits for another one: as long as a preparation or an evaluation may take. One
that ends is noticed at once."""
MEETING = "REASON_ENV_MEETING"
"""Environment variable: the file through which processes that `launch` started find each other."""
END = "end"
"""The call that ends a follower."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as one of them sees them; alone by default."""

    rank: int = 0
    """Number of this process."""
    number: int = 1
    """Of processes."""

    @property
    def is_alone(self) -> bool:
        """Whether there is one process only, so that nothing is shared."""
        return self.number == 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the run."""
        return self.rank == 0

    def lead(self, name: str, *args: Any) -> None:
        """Let all other processes make the call that this one makes now; nothing on the others."""
        if self.is_first and not self.is_alone:
            dist.broadcast_object_list([(name, args)], src=0)

    def next_call(self) -> tuple[str, tuple[Any, ...]]:
        """Wait for the next call of the first process."""
        message: list[Any] = [None]
        dist.broadcast_object_list(message, src=0)
        return message[0]

    def share(self, work: Sequence[T]) -> list[T]:
        """Give this process's share of the work: every `number`-th part.

        >>> Processes(rank=1, number=3).share("abcdefg")
        ['b', 'e']
        """
        return list(work[self.rank :: self.number])

    def lacks_one(self, num_parts: int) -> bool:
        """Return whether this process has a part less than the first one.

        >>> [Processes(rank, 3).lacks_one(7) for rank in range(3)]
        [False, True, True]
        """
        return num_parts % self.number != 0 and self.rank >= num_parts % self.number

    def gathered(self, value: T) -> list[T]:
        """Give the value of each process, in their order."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.number
        dist.all_gather_object(found, value)
        return found

    def joined(self, results: Sequence[T], num_parts: int) -> list[T]:
        """Give the results of all parts, in the order of the work, from each process's share."""
        shares = self.gathered(list(results))
        return [shares[at % self.number][at // self.number] for at in range(num_parts)]

    def sum_(self, values: torch.Tensor) -> None:
        """Replace the values by their sum over the processes."""
        if not self.is_alone:
            summed = values.cpu()
            dist.all_reduce(summed)
            values.copy_(summed)


ALONE = Processes()


def is_launched() -> bool:
    """Return whether torchrun or `launch` started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined_processes() -> Generator[Processes]:
    """Join the processes that torchrun or `launch` started beside this one; alone without them.

    A block that ends well lets the followers end. After an error they notice that the first process
    is gone.
    """
    if not is_launched():
        yield ALONE
        return
    processes = Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    meeting = os.environ.get(MEETING)
    # Messages are on the CPU; a mesh of GPUs makes a group of its own.
    dist.init_process_group(
        "gloo",
        init_method=None if meeting is None else f"file://{meeting}",
        rank=processes.rank,
        world_size=processes.number,
        timeout=PATIENCE,
    )
    try:
        yield processes
        processes.lead(END)
    finally:
        dist.destroy_process_group()


def take_device(device: str) -> None:
    """Let this process compute on the GPU of its number on this machine, if the device is cuda.

    Raises:
        ConfigError: The device is a certain GPU, or this machine has too few.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError(
            f"device must be cpu or cuda with several devices, got {device!r}; each process takes "
            "the GPU of its number"
        )
    own = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and own >= torch.cuda.device_count():
        raise ConfigError(
            f"devices must be at most the number of GPUs here, got {torch.cuda.device_count()} "
            f"GPUs and process {own}; start fewer"
        )
    if device == "cuda":
        torch.cuda.set_device(own)


@contextmanager
def watched() -> Generator[None]:
    """Say in one line that another process ended, where torch says it in many ways.

    Raises:
        ProcessError: Another process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ReasonEnvError) or not _is_lost(error):
            raise
        raise ProcessError(
            "all processes of a run must live as long as the run, got one that ended; look at its "
            "own messages, as for a lack of memory"
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    if isinstance(error, dist.DistError):
        return True
    # Gloo raises plain RuntimeErrors.
    return "gloo" in str(error).lower() or "Connection closed by peer" in str(error)
