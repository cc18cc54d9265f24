"""`reason-env pretrain`: trains the small base model from scratch on noisy demonstrations.

Next-token training of a Qwen3-architecture model on the responses; prompts are context, not
targets. The highest level rises from easy to all over the first part of the run. The optimizer is
AdamW with a cosine schedule. Matrix products run in bfloat16; weights, attention (slow in bfloat16
on a CPU) and loss are in float32. Training takes about an hour on two cores;
`agents/base_model/README.md` lists the pass rates of the shipped weights.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, Qwen3Config, Qwen3ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from reason_env.agents.engines import bf16_products
from reason_env.agents.policy import load_model
from reason_env.agents.pretraining.demonstrations import (
    Demonstration,
    DemonstrationConfig,
    demonstrate,
)
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, TrainingError
from reason_env.state import PromptTemplate

IGNORED = -100
BASE = "base"
FLOAT32_ATTENTION = "reason_env_float32_sdpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """How to train the base model; `agents/base_model/README.md` has the commands for it."""

    num_batches: int = 7500
    """Optimizer steps."""
    batch_size: int = 64
    """Demonstrations per batch."""
    learning_rate: float = 2e-3
    """AdamW's, after the warm-up."""
    warmup_batches: int = 100
    """Batches over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW's, decoupled."""
    curriculum_fraction: float = 0.3
    """Fraction of the batches over which the highest level rises from 2 to all."""
    hidden_size: int = 128
    """Width of the model."""
    num_layers: int = 4
    """Layers of the model."""
    num_heads: int = 4
    """Attention heads; hidden_size is a multiple."""
    bf16: bool = True
    """Multiply matrices in bfloat16: nearly twice as fast on a CPU that has such products."""
    init: str | None = None
    """Model to continue from, which sets the sizes: a directory, or "base" (the shipped model);
    None builds a new model."""
    seed: int = 0
    """Seed of the initialisation and of the demonstrations."""
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)

    def __post_init__(self) -> None:
        is_known = self.init in (None, BASE) or Path(str(self.init), "config.json").is_file()
        if not is_known:
            raise ConfigError(
                f"init must be a directory with a model (config.json), or {BASE!r}, got "
                f"{self.init!r}"
            )
        for name in ("num_batches", "batch_size", "hidden_size", "num_layers", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                f"hidden_size must be a multiple of num_heads, got {self.hidden_size!r} and "
                f"{self.num_heads!r}"
            )


def build_model(config: PretrainConfig, codec: ByteCodec) -> Qwen3ForCausalLM:
    """Build a randomly initialised model; only this function seeds torch's global generator."""
    torch.manual_seed(config.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=codec.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=3 * config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=max(1, config.num_heads // 2),
            head_dim=config.hidden_size // config.num_heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=codec.eos_id,
            pad_token_id=codec.pad_id,
        )
    )


def pretrain(
    config: PretrainConfig, *, on_batch: Callable[[int, float], None] | None = None
) -> Qwen3ForCausalLM:
    """Train the model.

    Args:
        config: All settings, including the seed.
        on_batch: Called with the number of finished batches and the last loss, in nats a token.

    Raises:
        TrainingError: The loss is not finite.
    """
    codec = ByteCodec()
    if config.init is None:
        model = build_model(config, codec)
    elif config.init == BASE:
        model, _ = load_model(BASE)
    else:
        model = Qwen3ForCausalLM.from_pretrained(
            config.init, dtype=torch.float32, use_safetensors=True
        )
    model.train()
    model.set_attn_implementation(FLOAT32_ATTENTION)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    for done, (token_ids, labels) in enumerate(_batches(config, codec)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(done, config)
        with bf16_products(model.device) if config.bf16 else nullcontext():
            logits = model(input_ids=token_ids, use_cache=False).logits
        is_target = labels[:, 1:] != IGNORED
        loss = cross_entropy(logits[:, :-1][is_target].float(), labels[:, 1:][is_target])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss must be finite, got {loss.item()!r} in batch {done + 1}; lower "
                "learning_rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_batch is not None:
            on_batch(done + 1, loss.item())
    model.set_attn_implementation("sdpa")
    model.eval()
    return model


def _float32_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *inputs: Any,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), *inputs, **options
        )


AttentionInterface.register(FLOAT32_ATTENTION, _float32_attention)


def _schedule(done: int, config: PretrainConfig) -> float:
    """Compute the learning-rate factor: linear warm-up, then a cosine down to 0.02."""
    if done < config.warmup_batches:
        return (done + 1) / config.warmup_batches
    span = max(1, config.num_batches - config.warmup_batches)
    cosine = 0.5 + 0.5 * math.cos(math.pi * (done - config.warmup_batches) / span)
    return 0.02 + 0.98 * cosine


def _batches(config: PretrainConfig, codec: ByteCodec) -> Iterator[tuple[Any, Any]]:
    """Yield (token ids [B, T], labels [B, T]); rows of a batch have similar lengths."""
    rng = random.Random(config.seed)
    prompt = PromptTemplate()
    chunk = 16
    for first in range(0, config.num_batches, chunk):
        rising = first / max(1.0, config.curriculum_fraction * config.num_batches)
        count = min(chunk, config.num_batches - first)
        rows = [
            demonstrate(
                config.demonstrations,
                codec=codec,
                prompt=prompt,
                rng=rng,
                progress=min(1.0, rising),
            )
            for _ in range(count * config.batch_size)
        ]
        rows.sort(key=lambda row: len(row.prompt_ids) + len(row.response_ids))
        batches = [
            rows[at : at + config.batch_size] for at in range(0, len(rows), config.batch_size)
        ]
        rng.shuffle(batches)
        for batch in batches:
            yield _tensors(batch, codec.pad_id)


def _tensors(rows: list[Demonstration], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row.prompt_ids) + len(row.response_ids) for row in rows)
    token_ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        start, end = len(row.prompt_ids), len(row.prompt_ids) + len(row.response_ids)
        token_ids[index, :end] = torch.tensor(row.prompt_ids + row.response_ids)
        labels[index, start:end] = torch.tensor(row.response_ids)
    return token_ids, labels
