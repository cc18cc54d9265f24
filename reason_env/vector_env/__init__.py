"""Many episodes at once, at token granularity."""

from reason_env.vector_env.vector_env import ReasonVectorEnv

__all__ = [
    "ReasonVectorEnv",
]
