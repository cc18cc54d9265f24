"""Snapshot and restore of a whole stack: environment, wrappers and random generators."""

from reason_env.snapshot.generator import LazyGenerator, checked_rng, rng_to_json
from reason_env.snapshot.packed import pack_state, unpack_state
from reason_env.snapshot.stack import Commit, Settings, get_state, restore, set_state, snapshot

__all__ = [
    "Commit",
    "LazyGenerator",
    "Settings",
    "checked_rng",
    "get_state",
    "pack_state",
    "restore",
    "rng_to_json",
    "set_state",
    "snapshot",
    "unpack_state",
]
