"""Gymnasium wrappers that change an episode's start, prompt or reward, or record it."""

from reason_env.env import checked_spec
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.minari import to_minari
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes, read_episodes, replay
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.stack import stack_from_file, stack_from_json, stack_to_json
from reason_env.wrappers.start import StartWrapper
from reason_env.wrappers.tabular_starts import TabularPrefixRollin, TabularResetToState

__all__ = [
    "Curriculum",
    "Hint",
    "PrefixRollin",
    "RecordEpisodes",
    "ResetToState",
    "RewardShaping",
    "StartWrapper",
    "TabularPrefixRollin",
    "TabularResetToState",
    "checked_spec",
    "read_episodes",
    "replay",
    "stack_from_file",
    "stack_from_json",
    "stack_to_json",
    "to_minari",
]
