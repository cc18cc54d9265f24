"""The environment: a thin Gymnasium shell around `ReasonState` and `transition`."""

from reason_env.env.commitment import COMMITMENT_SIGNS, commits, may_commit
from reason_env.env.config import EnvConfig
from reason_env.env.info import verdict_fields
from reason_env.env.prompt_lengths import long_prompts, other_ids
from reason_env.env.reason_env import ReasonEnv, reason_env_of
from reason_env.env.reward import RewardConfig
from reason_env.env.spaces import UnicodeText
from reason_env.env.spec import WRAPPERS, checked_spec
from reason_env.env.start import STARTS_OPTION, draw_problem

__all__ = [
    "COMMITMENT_SIGNS",
    "STARTS_OPTION",
    "WRAPPERS",
    "EnvConfig",
    "ReasonEnv",
    "RewardConfig",
    "UnicodeText",
    "checked_spec",
    "commits",
    "draw_problem",
    "long_prompts",
    "may_commit",
    "other_ids",
    "reason_env_of",
    "verdict_fields",
]
