"""The arguments of vLLM's `LLM`, the flags of its server, and its environment variables.

Some settings do not depend on the config, because sampling must equal that of the torch engine:
token ids only, log-probabilities of the distribution sampled from, no sampling defaults from the
model's generation_config.json, and the precision of the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.vllm.weights import Weights

GIB = 2**30
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Maximum ranks that vLLM accepts; an adapter of rank 5 needs a maximum of 8."""
MODEL_NAME = "policy"
"""The model's name at a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts about the policy's model that vLLM's settings depend on."""

    dtype: str
    """float32 or bfloat16, in which vLLM holds the weights and computes."""
    vocab_size: int
    """Number of ids in the codec."""
    context_length: int
    """Tokens that the model can read."""
    max_batch_size: int
    """Sequences sampled at once."""
    is_cpu: bool
    """Whether vLLM runs on the CPU."""


def llm_arguments(config: EngineConfig, facts: ModelFacts, weights: Weights) -> dict[str, Any]:
    """Build the arguments of vLLM's `LLM`, as JSON values."""
    context = config.max_context_tokens or facts.context_length
    arguments: dict[str, Any] = {
        "model": str(weights.directory),
        "dtype": facts.dtype,
        "max_model_len": min(context, facts.context_length),
        "max_num_seqs": facts.max_batch_size,
        "enable_prefix_caching": config.prefix_caching,
        "block_size": config.block_size,
        "skip_tokenizer_init": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        # Compiled graphs speed up a GPU; on a CPU they only make each start slower.
        "enforce_eager": facts.is_cpu,
        # Needed for vLLM's counter of prefilled tokens.
        "disable_log_stats": False,
    }
    if config.kv_cache_gb is not None or facts.is_cpu:
        arguments["kv_cache_memory_bytes"] = int((config.kv_cache_gb or 1.0) * GIB)
    if not facts.is_cpu:
        arguments["gpu_memory_utilization"] = config.gpu_memory_fraction
    if weights.lora_rank:
        largest = next(
            (rank for rank in LORA_RANKS if rank >= weights.lora_rank), weights.lora_rank
        )
        arguments |= {"enable_lora": True, "max_lora_rank": largest, "max_loras": 1}
    return arguments


def server_flags(arguments: Mapping[str, Any], *, host: str, port: int) -> list[str]:
    """Convert the arguments of `LLM` to flags of vLLM's server.

    >>> server_flags({"model": "m", "enforce_eager": True, "block_size": 32,
    ...               "enable_prefix_caching": False}, host="127.0.0.1", port=8000)[4:]
    ['--model', 'm', '--enforce-eager', '--block-size', '32', '--no-enable-prefix-caching']
    """
    flags = ["--host", host, "--port", str(port)]
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if name == "disable_log_stats" and not value:
            continue
        if value is True:
            flags.append(f"--{flag}")
        elif value is False:
            flags.append(f"--no-{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


SERVER_ONLY_FLAGS = ("--tokens-only", "--served-model-name", MODEL_NAME)
"""Flags that a server needs in addition to those of `server_flags`."""


def environment(config: EngineConfig, *, is_cpu: bool, is_server: bool) -> dict[str, str]:
    """Build the environment variables that the engine's process needs."""
    found = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if is_server:
        # Dev mode enables the endpoints that load weights and clear the prefix cache.
        found |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    else:
        # Run the engine core inside the host's process, so that no second process can die unseen.
        found["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if is_cpu:
        found |= {
            "OMP_NUM_THREADS": str(config.threads),
            # With binding, two engines on one machine would use the same first cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # vLLM compiles one small function of its sampler even with enforce_eager: 15 s.
            "TORCH_COMPILE_DISABLE": "1",
        }
    if config.devices is not None:
        found["CUDA_VISIBLE_DEVICES"] = config.devices
    return found
