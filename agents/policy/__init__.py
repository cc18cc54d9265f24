"""The language-model policy: sampling, scoring and differentiable log-probabilities."""

from reason_env.agents.policy.load import load_model
from reason_env.agents.policy.policy import LanguageModelPolicy, Policy
from reason_env.agents.policy.prefix_tree import Ints, num_distinct, split_by_distinct

__all__ = [
    "Ints",
    "LanguageModelPolicy",
    "Policy",
    "load_model",
    "num_distinct",
    "split_by_distinct",
]
