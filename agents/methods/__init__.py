"""The methods, one file each, and the registry that finds them by name."""

from reason_env.agents.methods.compose import Composed
from reason_env.agents.methods.exp_dpo import ExPDPO, ExPDPOConfig
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.protocol import Method, MethodBase, check_names, group_key
from reason_env.agents.methods.registry import (
    METHODS,
    ComposedConfig,
    MethodConfig,
    SingleConfig,
    build_method,
    method_config,
    method_name,
)
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.sft import SFT, SFTConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig

__all__ = [
    "GRPO",
    "LTE",
    "METHODS",
    "POPE",
    "RRPO",
    "SFT",
    "SRPO",
    "Composed",
    "ComposedConfig",
    "ExPDPO",
    "ExPDPOConfig",
    "ExPO",
    "ExPOConfig",
    "GRPOConfig",
    "LTEConfig",
    "Method",
    "MethodBase",
    "MethodConfig",
    "POPEConfig",
    "RRPOConfig",
    "SFTConfig",
    "SRPOConfig",
    "SingleConfig",
    "build_method",
    "check_names",
    "group_key",
    "method_config",
    "method_name",
]
