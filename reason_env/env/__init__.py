"""The environment: a thin Gymnasium shell around `ReasonState` and `transition`."""

from reason_env.env.commitment import COMMITMENT_SIGNS, commits, may_commit
from reason_env.env.config import EnvConfig
from reason_env.env.info import verdict_fields
from reason_env.env.layout import Format, Granularity
from reason_env.env.prompt_lengths import long_prompts, other_ids
from reason_env.env.reason_env import ReasonEnv, reason_env_of
from reason_env.env.recording import Recorder, recorders
from reason_env.env.reward import RewardConfig
from reason_env.env.spaces import UnicodeText
from reason_env.env.spec import WRAPPERS, checked_spec, make_stack, trust_module, trusted_modules
from reason_env.env.start import (
    START_MEMORIES_OPTION,
    STARTS_OPTION,
    ProblemChooser,
    StartMemories,
    chooses_problems,
    draw_problem,
    layers_of,
    start_memories,
)

__all__ = [
    "COMMITMENT_SIGNS",
    "STARTS_OPTION",
    "START_MEMORIES_OPTION",
    "WRAPPERS",
    "EnvConfig",
    "Format",
    "Granularity",
    "ProblemChooser",
    "ReasonEnv",
    "Recorder",
    "RewardConfig",
    "StartMemories",
    "UnicodeText",
    "checked_spec",
    "chooses_problems",
    "commits",
    "draw_problem",
    "layers_of",
    "long_prompts",
    "make_stack",
    "may_commit",
    "other_ids",
    "reason_env_of",
    "recorders",
    "start_memories",
    "trust_module",
    "trusted_modules",
    "verdict_fields",
]
