"""Ablations of the theory by name: each runs over seeds and writes a table and a figure."""

from reason_env.agents.tabular.ablations.figures import INSTALL_FIGURES, has_matplotlib
from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.ablations.runner import run_setting, write_run
from reason_env.agents.tabular.ablations.settings import SETTINGS, setting

__all__ = [
    "INSTALL_FIGURES",
    "SETTINGS",
    "Row",
    "has_matplotlib",
    "run_setting",
    "setting",
    "write_run",
]
