"""The language-model policy: sampling, scoring and differentiable log-probabilities."""

from reason_env.agents.policy.load import load_model
from reason_env.agents.policy.policy import LanguageModelPolicy, Policy

__all__ = [
    "LanguageModelPolicy",
    "Policy",
    "load_model",
]
