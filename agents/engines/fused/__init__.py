"""A forward pass of our own for Llama, Qwen2 and Qwen3, which samples near the machine's limit."""

from reason_env.agents.engines.fused.claim import why_not_fused
from reason_env.agents.engines.fused.sampler import FusedSampler

__all__ = ["FusedSampler", "why_not_fused"]
