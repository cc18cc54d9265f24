"""Agents that are not language models: Stable-Baselines3 on the same environments."""

from reason_env.agents.sb3.installed import check_installed

check_installed("stable_baselines3", "sb3_contrib")

from reason_env.agents.sb3.language_model import (  # noqa: E402 - after the check
    LanguageModelExtractor,
    MaskableTokenPolicy,
    TokenPolicy,
)
from reason_env.agents.sb3.vec_env import TokenVecEnv  # noqa: E402

__all__ = [
    "LanguageModelExtractor",
    "MaskableTokenPolicy",
    "TokenPolicy",
    "TokenVecEnv",
]
