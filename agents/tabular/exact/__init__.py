"""Finite MDPs: exact values and occupancies, policy improvement, and its bounds."""

from reason_env.agents.tabular.exact.bounds import mixture_horizon_gain, random_reset_step_size
from reason_env.agents.tabular.exact.chooser import (
    ActionFeatureChooser,
    Chooser,
    ValueFeatureChooser,
)
from reason_env.agents.tabular.exact.critic import Critic, ExactCritic
from reason_env.agents.tabular.exact.detection import (
    Detection,
    bernstein_samples,
    detection,
)
from reason_env.agents.tabular.exact.improve import (
    Iterate,
    conservative_policy_iteration,
    nonstationary_policy_iteration,
    policy_iteration,
    policy_search,
)
from reason_env.agents.tabular.exact.mdp import (
    Array,
    Evaluation,
    TabularMDP,
    check_policy,
    evaluate,
    greedy,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    performance,
    policy_advantage,
    uniform_policy,
)
from reason_env.agents.tabular.exact.nonstationary import NonstationaryPolicy
from reason_env.agents.tabular.exact.resets import (
    budgeted_gain,
    oracle_reset_step,
    random_reset_step,
)
from reason_env.agents.tabular.exact.restarts import Restart, Uniform
from reason_env.agents.tabular.exact.steps import (
    cautious_step,
    doubling_step,
    fixed_step,
    kakade_langford_step,
    line_search_step,
    safe_step,
)

__all__ = [
    "ActionFeatureChooser",
    "Array",
    "Chooser",
    "Critic",
    "Detection",
    "Evaluation",
    "ExactCritic",
    "Iterate",
    "NonstationaryPolicy",
    "Restart",
    "TabularMDP",
    "Uniform",
    "ValueFeatureChooser",
    "bernstein_samples",
    "budgeted_gain",
    "cautious_step",
    "check_policy",
    "conservative_policy_iteration",
    "detection",
    "doubling_step",
    "evaluate",
    "fixed_step",
    "greedy",
    "kakade_langford_step",
    "line_search_step",
    "mismatch",
    "mix",
    "mixture_horizon_gain",
    "nonstationary_policy_iteration",
    "occupancy",
    "optimal_policy",
    "oracle_reset_step",
    "performance",
    "policy_advantage",
    "policy_iteration",
    "policy_search",
    "random_reset_step",
    "random_reset_step_size",
    "safe_step",
    "uniform_policy",
]
