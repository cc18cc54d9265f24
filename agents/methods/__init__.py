"""The methods, by name: one file each, one line here."""

from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.protocol import Method

MethodConfig = GRPOConfig
"""The union of all methods' configs; `kind` tells them apart."""

METHODS = {"grpo": (GRPOConfig, GRPO)}


def build_method(config: MethodConfig) -> Method:
    """Returns the method that a config describes."""
    return METHODS[config.kind][1](config)


__all__ = ["GRPO", "METHODS", "GRPOConfig", "Method", "MethodConfig", "build_method"]
