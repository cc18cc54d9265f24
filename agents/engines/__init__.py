"""Sampling engines: the protocol, the torch engine and the vLLM engines."""

from reason_env.agents.engines.build import build_engine
from reason_env.agents.engines.config import EngineConfig, MismatchConfig
from reason_env.agents.engines.precision import (
    PRECISIONS,
    Precision,
    check_precision,
    mixed_precision,
)
from reason_env.agents.engines.protocol import Completion, Engine
from reason_env.agents.engines.sampling import (
    Context,
    EndRule,
    SamplingConfig,
    processed_log_probs,
)
from reason_env.agents.engines.torch_engine import TorchEngine, evaluating
from reason_env.agents.engines.transformers_logging import quiet_transformers

__all__ = [
    "PRECISIONS",
    "Completion",
    "Context",
    "EndRule",
    "Engine",
    "EngineConfig",
    "MismatchConfig",
    "Precision",
    "SamplingConfig",
    "TorchEngine",
    "build_engine",
    "check_precision",
    "evaluating",
    "mixed_precision",
    "processed_log_probs",
    "quiet_transformers",
]
