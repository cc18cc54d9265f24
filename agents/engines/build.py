"""The engine that a config names, for a model. vLLM's own package is not imported here."""

from typing import Any

import torch

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.protocol import Engine
from reason_env.agents.engines.torch_engine import TorchEngine
from reason_env.agents.engines.vllm import (
    LocalBackend,
    ModelFacts,
    ServerBackend,
    VLLMEngine,
    installed_version,
    is_cpu_build,
)


def build_engine(
    config: EngineConfig,
    model: Any,
    *,
    vocab_size: int,
    context_length: int,
    max_batch_size: int,
) -> Engine:
    """Returns the engine, which starts with its first wave.

    Args:
        config: Which engine.
        model: Whose weights it samples from, as they are at each wave.
        vocab_size: Ids below it are sampled.
        context_length: Tokens that the model can read.
        max_batch_size: Sequences sampled at once.

    Raises:
        ConfigError: vLLM is asked for and not installed, or in a version that is not known here.
        ModelError: The model has an adapter that vLLM does not serve.
    """
    if not config.is_vllm:
        return TorchEngine(model, vocab_size=vocab_size, max_batch_size=max_batch_size)
    is_remote = config.server_url is not None
    if not is_remote:
        installed_version()
    facts = ModelFacts(
        dtype=str(model.dtype).removeprefix("torch."),
        vocab_size=vocab_size,
        context_length=context_length,
        max_batch_size=max_batch_size,
        # Of a server elsewhere nothing is known; its flags are its own.
        is_cpu=not is_remote and (is_cpu_build() or not torch.cuda.is_available()),
    )
    backend = (ServerBackend if config.kind == "vllm_server" else LocalBackend)(config, facts)
    return VLLMEngine(model, backend, config, vocab_size=vocab_size, context_length=context_length)
