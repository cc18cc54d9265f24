"""Build the engine that a config names. Imports neither vLLM's package nor Ray's."""

from typing import Any

import torch

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.precision import check_precision
from reason_env.agents.engines.protocol import Engine
from reason_env.agents.engines.ray import (
    Graders,
    RayEngine,
    SamplerSettings,
    check_installed,
    grader_actors,
    sampler_actors,
)
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
    precision: str = "float32",
) -> Engine:
    """Build an engine; vLLM and Ray's actors start at its first call of `sample`.

    Args:
        config: Selects and configures the engine.
        model: The model to sample from; each call of `sample` uses its current weights.
        vocab_size: Only ids below this number are sampled.
        context_length: Tokens that the model can read.
        max_batch_size: Sequences sampled at once.
        precision: "float32" or "bf16-mixed"; vLLM computes all of the latter in bfloat16.

    Raises:
        ConfigError: The config asks for vLLM or Ray, which is missing, or for a vLLM of an
            unsupported version.
        ModelError: The model has an adapter that vLLM cannot serve.
    """
    check_precision(precision)
    if config.kind == "torch":
        return TorchEngine(
            model, vocab_size=vocab_size, max_batch_size=max_batch_size, precision=precision
        )
    if config.kind == "ray":
        check_installed()
        settings = SamplerSettings(
            vocab_size=vocab_size,
            max_batch_size=max_batch_size,
            precision=precision,
            threads=config.threads,
            device="cuda" if config.actor_gpus else "cpu",
        )
        return RayEngine(model, sampler_actors(model, config, settings), config)
    is_remote = config.server_url is not None
    if not is_remote:
        installed_version()
    facts = ModelFacts(
        dtype="bfloat16" if precision == "bf16-mixed" else "float32",
        vocab_size=vocab_size,
        context_length=context_length,
        max_batch_size=max_batch_size,
        # The hardware of a remote server is unknown; whoever starts it chooses its flags.
        is_cpu=not is_remote and (is_cpu_build() or not torch.cuda.is_available()),
    )
    backend = (ServerBackend if config.kind == "vllm_server" else LocalBackend)(config, facts)
    return VLLMEngine(model, backend, config, vocab_size=vocab_size, context_length=context_length)


def build_graders(config: EngineConfig) -> Graders | None:
    """Build the graders that a config asks for; None where this process grades."""
    return Graders(grader_actors(config), config) if config.graders else None
