"""LoRA layers in a model, as engines read them, and their files in peft's layout.

A layer computes base(x) + scale * B A x, A [rank, inputs], B [outputs, rank]. The layers are those
of peft, in the model's own modules (`policy/lora.py`) or below a `PeftModel`.
"""

import json
from enum import Enum
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

ADAPTER = "default"
"""The name of the only adapter."""
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_PREFIX = "base_model.model."
"""Before each module's name in a file."""


def has_adapter(model: Any) -> bool:
    """Return whether peft has put an adapter into the model, or around it."""
    return isinstance(getattr(model, "peft_config", None), dict)


def lora_layers(model: Any) -> dict[str, Any]:
    """Find the model's LoRA layers, by name; {} without an adapter."""
    if not has_adapter(model):
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: item for name, item in model.named_modules() if isinstance(item, LoraLayer)}


def lora_refusal(layer: Any) -> str | None:
    """Return why a LoRA layer computes more than base(x) + scale * B A x; None if it does not."""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or type(layer.base_layer) is not nn.Linear:
        return f"it is a {type(layer).__name__} on a {type(layer.base_layer).__name__}"
    if list(layer.lora_A) != [ADAPTER] or list(layer.active_adapters) != [ADAPTER]:
        return f"its adapters are {', '.join(layer.lora_A)}, not {ADAPTER!r} alone"
    if layer.disable_adapters or layer.merged:
        return "its adapter is switched off or merged"
    if layer.lora_variant or layer.lora_bias[ADAPTER] or layer.fan_in_fan_out:
        return "its adapter is a variant of LoRA, or has a bias"
    return None


def adapter_tensors(model: Any) -> dict[str, Tensor]:
    """Return the weights of the model's LoRA layers by the names of their modules."""
    return {
        f"{name}.{matrix}.weight": getattr(layer, matrix)[ADAPTER].weight
        for name, layer in lora_layers(model).items()
        for matrix in ("lora_A", "lora_B")
    }


def write_adapter(model: Any, directory: Path, *, base: str | None = None) -> None:
    """Write an injected adapter as peft does; equal adapters give equal bytes.

    Args:
        model: With LoRA layers in its own modules.
        directory: Created if it does not exist.
        base: What peft should load as the base model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        ADAPTER_PREFIX + name: tensor.detach().cpu().contiguous()
        for name, tensor in adapter_tensors(model).items()
    }
    save_file(tensors, directory / ADAPTER_WEIGHTS_FILE, metadata={"format": "pt"})
    config = model.peft_config[ADAPTER].to_dict()
    config |= {"base_model_name_or_path": base, "inference_mode": True}
    text = json.dumps({key: _plain(value) for key, value in config.items()}, indent=2)
    (directory / ADAPTER_CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Convert to JSON; a set's order differs from process to process."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value.value if isinstance(value, Enum) else value
