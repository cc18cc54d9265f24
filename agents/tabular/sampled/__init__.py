"""Sampled estimates of values, occupancies and policy advantages, and CPI from samples."""

from reason_env.agents.tabular.sampled.critic import SampledCritic, sampled_cpi
from reason_env.agents.tabular.sampled.estimates import Simulator, draw_states, returns_with_action

__all__ = [
    "SampledCritic",
    "Simulator",
    "draw_states",
    "returns_with_action",
    "sampled_cpi",
]
