"""Agents that are not language models: Stable-Baselines3 on the same environments."""

from reason_env.agents.sb3.installed import check_installed

check_installed("stable_baselines3", "sb3_contrib")

from reason_env.agents.sb3.agent import Agent, Rollout, build_agent  # noqa: E402 - after the check
from reason_env.agents.sb3.group_starts import (  # noqa: E402
    Cloneable,
    CopiedState,
    StateOption,
    reset_groups,
)
from reason_env.agents.sb3.grpo import GRPO  # noqa: E402
from reason_env.agents.sb3.language_model import (  # noqa: E402
    LanguageModelExtractor,
    MaskableTokenPolicy,
    TokenPolicy,
    language_model_of,
)
from reason_env.agents.sb3.recorded import OpenEpisode, start_of  # noqa: E402
from reason_env.agents.sb3.vec_env import TokenVecEnv  # noqa: E402

__all__ = [
    "GRPO",
    "Agent",
    "Cloneable",
    "CopiedState",
    "LanguageModelExtractor",
    "MaskableTokenPolicy",
    "OpenEpisode",
    "Rollout",
    "StateOption",
    "TokenPolicy",
    "TokenVecEnv",
    "build_agent",
    "language_model_of",
    "reset_groups",
    "start_of",
]
