"""Pretraining of the base model: noisy demonstrations, training, and the model card."""

from reason_env.agents.pretraining.card import write_card
from reason_env.agents.pretraining.pretrain import PretrainConfig, pretrain
from reason_env.agents.pretraining.recipes import recipe

__all__ = [
    "PretrainConfig",
    "pretrain",
    "recipe",
    "write_card",
]
