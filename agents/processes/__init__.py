"""Several processes that train one policy, one for each device."""

from reason_env.agents.processes.launch import launch
from reason_env.agents.processes.processes import (
    ALONE,
    END,
    Processes,
    is_launched,
    joined_processes,
    take_device,
    watched,
)
from reason_env.agents.processes.sharded import (
    copy_whole_,
    shard,
    shared_state,
    whole,
    whole_state,
    within,
)

__all__ = [
    "ALONE",
    "END",
    "Processes",
    "copy_whole_",
    "is_launched",
    "joined_processes",
    "launch",
    "shard",
    "shared_state",
    "take_device",
    "watched",
    "whole",
    "whole_state",
    "within",
]
