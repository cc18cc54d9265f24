"""Conservative policy iteration: an update is taken if its measured advantage holds up."""

from reason_env.agents.cpi.config import CPIConfig, DistillConfig
from reason_env.agents.cpi.estimators import response_advantages
from reason_env.agents.cpi.restarts import Restart, base_restarts
from reason_env.agents.cpi.step_advantages import step_advantages
from reason_env.agents.cpi.update import ConservativeUpdate, decide

__all__ = [
    "CPIConfig",
    "ConservativeUpdate",
    "DistillConfig",
    "Restart",
    "base_restarts",
    "decide",
    "response_advantages",
    "step_advantages",
]
