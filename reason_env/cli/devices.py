"""A command in several processes, one for each device: `--devices N`, or torchrun."""

import logging
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from reason_env.agents.processes import (
    Processes,
    is_launched,
    joined_processes,
    launch,
    watched,
)
from reason_env.agents.train import follow
from reason_env.cli.flags import Arguments, value_of
from reason_env.cli.running import ended_by_sigterm
from reason_env.errors import ConfigError, ProcessError


def launches(command: str, words: Arguments) -> bool:
    """Run a command in the processes that --devices asks for; return whether it did.

    The exit status of the processes ends this one, if it is not 0.
    """
    text = value_of("--devices", words, "1")
    # The command itself refuses anything else.
    if not text.isdecimal() or int(text) < 2 or is_launched():
        return False
    with ended_by_sigterm():
        status = launch(int(text), ["-m", "reason_env.cli", command, *words])
    if status:
        sys.exit(status)
    return True


@contextmanager
def first_process(words: Arguments) -> Generator[Processes | None]:
    """Give the processes to the first one, or to one that is alone; in the others help it.

    Gives None in a process that has helped: nothing is left to do there.

    Raises:
        ProcessError: Another process ended before the run.
    """
    with watched(), joined_processes() as processes:
        if processes.is_first:
            _check_number(words, processes)
            yield processes
            return
        logging.disable(logging.WARNING)
        # The first one ends the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with watched():
                follow(processes)
        except ProcessError:
            # The first one says so.
            sys.exit(1)
        yield None


def devices_flag(processes: Processes) -> str:
    """Give --devices as a command that goes on needs it, after a space; empty for one process.

    >>> devices_flag(Processes(0, 2)), devices_flag(Processes())
    (' --devices 2', '')
    """
    return "" if processes.is_alone else f" --devices {processes.number}"


def _check_number(words: Arguments, processes: Processes) -> None:
    text = value_of("--devices", words, str(processes.number))
    if not text.isdecimal() or int(text) != processes.number:
        raise ConfigError(
            f"--devices must be a number of at least 1, and that of the processes if torchrun "
            f"starts them, got {text!r} and {processes.number}; leave it out"
        )
