"""LoRA: train a low-rank change of each linear layer; the model's own weights stay frozen.

    y = W x + scale * B A x        scale = alpha / rank, with use_rslora alpha / sqrt(rank)

A [rank, inputs] is random and B [outputs, rank] is 0 at first, so that training begins at the base
model exactly. The layers are peft's and replace the linear layers inside the model, instead of a
wrapper around it: whatever reads a decoder finds the modules it knows.

Not covered: adapters on embeddings and the head, several adapters, quantized base weights.

Source: Hu et al. 2021, arXiv 2106.09685; scale by the square root: Kalajdzievski 2023, arXiv
2312.03732.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from reason_env.agents.engines import ADAPTER, lora_layers
from reason_env.agents.policy.predictions import Predictions
from reason_env.errors import ConfigError, ModelError, did_you_mean

EXPORTS = ("merged", "adapter")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Train a low-rank adapter instead of the model's weights.

    Raises:
        ConfigError: A number is out of its range, or the rank is 0 and another setting is not the
            default.

    >>> LoraConfig(rank=16).scale, LoraConfig(rank=16, use_rslora=True).scale
    (2.0, 8.0)
    """

    rank: int = 0
    """Rank of each layer's change; 0: no adapter, all weights are trained."""
    alpha: int = 32
    """The change is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability that an input of A is dropped in the passes that give gradients; sampling and
    scoring drop none."""
    target_modules: tuple[str, ...] = ()
    """Names of the linear layers that get an adapter, such as q_proj; none: all in the blocks."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank), so that large ranks learn as fast as small ones."""
    export: Literal["merged", "adapter"] = "merged"
    """model/ of the finished run: a model that any loader reads, with the adapter added to the
    weights; or the adapter alone, as peft writes it."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ConfigError(f"lora.rank must be at least 0, got {self.rank!r}; 0 is off")
        if self.alpha < 1:
            raise ConfigError(f"lora.alpha must be at least 1, got {self.alpha!r}; use 32")
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"lora.dropout must lie in 0 <= dropout < 1, got {self.dropout!r}; 0 is off"
            )
        if self.export not in EXPORTS:
            raise ConfigError(
                f"lora.export must be {' or '.join(EXPORTS)}, got {self.export!r}"
                + did_you_mean(self.export, EXPORTS)
            )
        changed = [own.name for own in fields(self) if getattr(self, own.name) != own.default]
        if not self.rank and changed:
            raise ConfigError(
                f"lora.rank must be above 0 with lora.{changed[0]}, got 0; give --lora.rank 16"
            )

    @property
    def is_on(self) -> bool:
        """Whether an adapter is trained."""
        return self.rank > 0

    @property
    def scale(self) -> float:
        """The factor of B A x."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)


def add_lora(model: Any, config: LoraConfig, *, seed: int) -> None:
    """Freeze the model's weights and put a new adapter into its linear layers.

    Args:
        model: A `transformers` causal language model.
        config: Its rank is above 0.
        seed: Of the first values of A.

    Raises:
        ModelError: The model has no linear layer of such a name in its blocks, or has an adapter.
    """
    if lora_layers(model):
        raise ModelError(
            "a model must have no adapter before LoRA adds one, got one with an adapter; merge it "
            "into the weights first"
        )
    import peft

    names = _targets(model, config.target_modules)
    conv1d = {
        name.rpartition(".")[2] for name, item in model.named_modules() if isinstance(item, Conv1D)
    }
    own = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.use_rslora,
        target_modules=names,
        fan_in_fan_out=not conv1d.isdisjoint(names),
        bias="none",
        task_type="CAUSAL_LM",
    )
    # peft initialises with torch's global generator, which belongs to the caller.
    with torch.random.fork_rng(devices=[]):
        peft.inject_adapter_in_model(own, model, adapter_name=ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in lora_layers(model).values():
            first = layer.lora_A[ADAPTER].weight
            value = torch.empty(first.shape)
            nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=generator)
            first.copy_(value)


def lora_line(model: Any, config: LoraConfig) -> str:
    """Say in one line what of a model an adapter trains."""
    layers = lora_layers(model)
    kinds = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    number = sum(weight.numel() for weight in trained)
    total = sum(weight.numel() for weight in model.parameters())
    return (
        f"LoRA of rank {config.rank}, scale {config.scale:g}, on {len(layers)} layers "
        f"({', '.join(kinds)}): {number / 1e6:,.2f} M of {total / 1e6:,.1f} M parameters"
    )


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """Compute as the base model inside the block."""
    layers = lora_layers(model).values()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def lora_dropout(model: Any, *, seed: list[int]) -> Iterator[None]:
    """Switch the adapter's dropout on inside the block, with masks that follow from the seed."""
    drops = [layer.lora_dropout[ADAPTER] for layer in lora_layers(model).values()]
    devices = [model.device] if model.device.type == "cuda" else []
    number = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number)
        for drop in drops:
            drop.train()
        try:
            yield
        finally:
            for drop in drops:
                drop.eval()


@torch.no_grad()
def merged_state(model: Any) -> dict[str, Tensor]:
    """Compute the state dict of the model without adapter that computes the same: W + scale B A."""
    layers = lora_layers(model)
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        owner = name.removesuffix(".base_layer.weight")
        is_adapted = owner != name and owner in layers
        change = layers[owner].get_delta_weight(ADAPTER) if is_adapted else None
        plain = name.replace(".base_layer.", ".")
        found[plain] = tensor if change is None else tensor + change
    return found


class WithoutAdapter:
    """A policy whose adapter is switched off: the base model, without a second copy of it."""

    def __init__(self, policy: Any) -> None:
        """Score with the policy's own model.

        Args:
            policy: A `LanguageModelPolicy` with an adapter.
        """
        self.policy = policy
        self.model, self.codec = policy.model, policy.codec

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.policy.device

    @property
    def is_prefix_shared(self) -> bool:
        """Whether a pass runs a prefix that rows share through the model once."""
        return self.policy.is_prefix_shared

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Run the base model's forward passes inside the block in the policy's precision."""
        with adapter_off(self.model), self.policy.computing():
            yield

    def mark_updated(self) -> None:
        """Raise: a reference is never updated."""
        raise AssertionError("a policy without its adapter is a reference and is never updated")

    @torch.no_grad()
    def predict(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        action_mask_BT: Tensor | None = None,
        checkpointing: bool = False,
    ) -> Predictions:
        """Run the base model once; see `LanguageModelPolicy.predict`."""
        with adapter_off(self.model):
            return self.policy.predict(
                token_ids_BT,
                attention_mask_BT,
                action_mask_BT=action_mask_BT,
                checkpointing=checkpointing,
            )

    @torch.no_grad()
    def token_log_probs(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        action_mask_BT: Tensor | None = None,
        temperature: float = 1.0,
        with_entropy: bool = False,
        checkpointing: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute what `LanguageModelPolicy.token_log_probs` computes, with the base model."""
        with adapter_off(self.model):
            return self.policy.token_log_probs(
                token_ids_BT,
                attention_mask_BT,
                action_mask_BT=action_mask_BT,
                temperature=temperature,
                with_entropy=with_entropy,
                checkpointing=checkpointing,
            )


def _targets(model: Any, wanted: tuple[str, ...]) -> list[str]:
    """Return the last names of the layers that get an adapter.

    Raises:
        ModelError: One is no linear layer of the blocks, or also names a layer outside of them.
    """
    inside, outside = _linear_names(model)
    if not inside:
        kinds = sorted({type(item).__name__ for item in model.modules()})
        raise ModelError(
            "a model must have linear layers in its blocks for LoRA, got none among its modules "
            f"{', '.join(kinds)}; train all weights: --lora.rank 0"
        )
    for name in wanted:
        if name not in inside:
            raise ModelError(
                "lora.target_modules must name linear layers of the model's blocks, got "
                f"{name!r}; the model has {', '.join(inside)}"
            )
    chosen = list(wanted or inside)
    both = [name for name in chosen if name in outside]
    if both:
        raise ModelError(
            "a name in lora.target_modules must stand for layers of the blocks alone, got "
            f"{both[0]!r}, which also names a layer outside of them; leave it out: "
            f"--lora.target-modules {' '.join(name for name in inside if name not in outside)}"
        )
    return chosen


def _linear_names(model: Any) -> tuple[list[str], list[str]]:
    """Return the last names of the linear layers inside the decoder's blocks, and outside.

    A block is an item of a list of modules. GPT-2's Conv1D is a linear layer.
    """
    decoder = set(model.get_decoder().modules())
    inside: dict[str, None] = {}
    outside: dict[str, None] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            is_inside = module in decoder and any(part.isdigit() for part in name.split("."))
            (inside if is_inside else outside)[name.rpartition(".")[2]] = None
    return list(inside), list(outside)
