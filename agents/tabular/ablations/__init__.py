"""Exact ablations of the theory, by name."""

from reason_env.agents.tabular.ablations.runner import run_setting, write_run
from reason_env.agents.tabular.ablations.settings import SETTINGS, setting

__all__ = [
    "SETTINGS",
    "run_setting",
    "setting",
    "write_run",
]
