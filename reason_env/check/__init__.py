"""The quality suite for reasoning environments."""

from reason_env.check.report import CheckReport
from reason_env.check.suite import check_env_id, check_reasoning_env
from reason_env.check.tasks import ReasoningTask

__all__ = [
    "CheckReport",
    "ReasoningTask",
    "check_env_id",
    "check_reasoning_env",
]
