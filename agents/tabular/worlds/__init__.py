"""Finite MDPs to compute in, and the tabular twin of a problem family."""

from reason_env.agents.tabular.worlds.families import garnet

__all__ = [
    "garnet",
]
