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
from reason_env.agents.processes.shares import (
    SHARES,
    check_shared,
    load_optimizer_state,
    load_shares,
    optimizer_state,
    read_shares,
    save_shares,
    weights_of,
)

__all__ = [
    "ALONE",
    "END",
    "SHARES",
    "Processes",
    "check_shared",
    "copy_whole_",
    "is_launched",
    "joined_processes",
    "launch",
    "load_optimizer_state",
    "load_shares",
    "optimizer_state",
    "read_shares",
    "save_shares",
    "shard",
    "shared_state",
    "take_device",
    "watched",
    "weights_of",
    "whole",
    "whole_state",
    "within",
]
