"""The language-model policy: sampling, scoring and differentiable log-probabilities."""

from reason_env.agents.policy.card import UNKNOWN, Figure, ModelCard, hub_name, licence_of
from reason_env.agents.policy.judge import Judge, JudgeConfig, Reply
from reason_env.agents.policy.last_hidden import last_hidden_states
from reason_env.agents.policy.load import load_model
from reason_env.agents.policy.log_probs import MAX_CHUNK_LOGITS
from reason_env.agents.policy.lora import LoraConfig, lora_line
from reason_env.agents.policy.policy import LanguageModelPolicy, Policy
from reason_env.agents.policy.predictions import Predictions
from reason_env.agents.policy.prefix_tree import Ints, num_distinct, split_by_distinct
from reason_env.agents.policy.sharded import ShardedPolicy
from reason_env.agents.policy.token_scores import TokenScores
from reason_env.agents.policy.weights_hash import weights_bytes

__all__ = [
    "MAX_CHUNK_LOGITS",
    "UNKNOWN",
    "Figure",
    "Ints",
    "Judge",
    "JudgeConfig",
    "LanguageModelPolicy",
    "LoraConfig",
    "ModelCard",
    "Policy",
    "Predictions",
    "Reply",
    "ShardedPolicy",
    "TokenScores",
    "hub_name",
    "last_hidden_states",
    "licence_of",
    "load_model",
    "lora_line",
    "num_distinct",
    "split_by_distinct",
    "weights_bytes",
]
