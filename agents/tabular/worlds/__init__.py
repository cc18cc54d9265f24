"""Families of finite MDPs, and the tabular twin of a problem with a language-model policy."""

from reason_env.agents.tabular.worlds.families import garnet

__all__ = [
    "garnet",
]
