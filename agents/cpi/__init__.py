"""Conservative policy iteration: test each update on fresh episodes, then step or reject it."""

from reason_env.agents.cpi.config import CPIConfig, DistillConfig
from reason_env.agents.cpi.estimators import PolicyPair, response_advantages
from reason_env.agents.cpi.restarts import Restart, initial_restarts
from reason_env.agents.cpi.row import CPI_COLUMNS, CPI_ROW
from reason_env.agents.cpi.step_advantages import step_advantages
from reason_env.agents.cpi.update import ConservativeUpdate, decide

__all__ = [
    "CPI_COLUMNS",
    "CPI_ROW",
    "CPIConfig",
    "ConservativeUpdate",
    "DistillConfig",
    "PolicyPair",
    "Restart",
    "decide",
    "initial_restarts",
    "response_advantages",
    "step_advantages",
]
