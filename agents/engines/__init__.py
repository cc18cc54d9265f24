"""Sampling engines: the protocol, the torch engine, the vLLM engines and the Ray engine."""

from reason_env.agents.engines.adapter import (
    ADAPTER,
    ADAPTER_CONFIG_FILE,
    ADAPTER_PREFIX,
    ADAPTER_WEIGHTS_FILE,
    adapter_tensors,
    lora_layers,
    write_adapter,
)
from reason_env.agents.engines.build import build_engine, build_graders
from reason_env.agents.engines.config import EngineConfig, MismatchConfig
from reason_env.agents.engines.decoder_layer import (
    LayerParts,
    decoder_layer,
    rotary_of,
    sums_dtype,
)
from reason_env.agents.engines.precision import (
    PRECISIONS,
    Precision,
    check_precision,
    mixed_precision,
)
from reason_env.agents.engines.products import (
    autocast_products,
    bf16_products,
    matrix_product,
    product_dtype,
)
from reason_env.agents.engines.protocol import Completion, Engine
from reason_env.agents.engines.sampling import (
    Context,
    EndRule,
    SamplingConfig,
    processed_log_probs,
)
from reason_env.agents.engines.shared import SharedEngine
from reason_env.agents.engines.torch_engine import TorchEngine, evaluating
from reason_env.agents.engines.transformers_logging import quiet_transformers

__all__ = [
    "ADAPTER",
    "ADAPTER_CONFIG_FILE",
    "ADAPTER_PREFIX",
    "ADAPTER_WEIGHTS_FILE",
    "PRECISIONS",
    "Completion",
    "Context",
    "EndRule",
    "Engine",
    "EngineConfig",
    "LayerParts",
    "MismatchConfig",
    "Precision",
    "SamplingConfig",
    "SharedEngine",
    "TorchEngine",
    "adapter_tensors",
    "autocast_products",
    "bf16_products",
    "build_engine",
    "build_graders",
    "check_precision",
    "decoder_layer",
    "evaluating",
    "lora_layers",
    "matrix_product",
    "mixed_precision",
    "processed_log_probs",
    "product_dtype",
    "quiet_transformers",
    "rotary_of",
    "sums_dtype",
    "write_adapter",
]
