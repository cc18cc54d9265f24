"""vLLM engines: `LLM` in a separate process, or vLLM's HTTP server."""

from reason_env.agents.engines.vllm.engine import VLLMEngine
from reason_env.agents.engines.vllm.local import LocalBackend
from reason_env.agents.engines.vllm.server import ServerBackend
from reason_env.agents.engines.vllm.settings import ModelFacts
from reason_env.agents.engines.vllm.version import installed_version, is_cpu_build

__all__ = [
    "LocalBackend",
    "ModelFacts",
    "ServerBackend",
    "VLLMEngine",
    "installed_version",
    "is_cpu_build",
]
