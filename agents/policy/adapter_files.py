"""Adapters on disk: in peft's layout, beside the name and hash of the base model.

    adapter_model.safetensors   the adapter's weights
    adapter_config.json         rank, scale, layers: as peft writes it
    base_model.json             which model it belongs to, with the SHA-256 of its weights

An adapter that is read belongs to a base model with the same hash: added to other weights, it would
compute something else without an error. Adapters that other programs wrote have no hash.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from reason_env.agents.engines import (
    ADAPTER,
    ADAPTER_CONFIG_FILE,
    ADAPTER_PREFIX,
    ADAPTER_WEIGHTS_FILE,
    adapter_tensors,
    write_adapter,
)
from reason_env.agents.policy.lora import LoraConfig
from reason_env.agents.policy.weights_hash import weights_hash
from reason_env.errors import ModelError, shown

BASE_FILE = "base_model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """The model below an adapter."""

    name: str
    """As `LanguageModelPolicy.load` takes it; of a directory or file, the absolute path."""
    place: str
    """What peft can load: a directory or a hub name."""
    sha256: str | None
    """Of the weights in float32; None if whoever wrote the adapter did not record it."""

    def check(self, model: Any) -> None:
        """Raise if a model without adapter has other weights.

        Raises:
            ModelError: It has.
        """
        if self.sha256 is not None:
            self.check_hash(weights_hash(model))

    def check_hash(self, sha256: str | None) -> None:
        """Raise if the weights of a model that is used as this one have another hash.

        Raises:
            ModelError: They have.
        """
        if sha256 != self.sha256:
            raise ModelError(
                f"the base model must be the one that the adapter was trained on, got {self.name!r}"
                f" with weights of SHA-256 {str(sha256)[:12]}, not {str(self.sha256)[:12]}; "
                "restore the model, or train another adapter on this one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The adapter that a policy trains."""

    config: LoraConfig
    base: BaseModel
    seed: int
    """Of its first values, and of its dropout."""


def is_adapter_dir(directory: Path) -> bool:
    """Return whether a directory holds an adapter."""
    return (directory / ADAPTER_CONFIG_FILE).is_file()


def save_adapter(model: Any, base: BaseModel, directory: Path) -> None:
    """Write the adapter of a model, without the model."""
    write_adapter(model, directory, base=base.place)
    facts = {"name": base.name, "place": base.place, "sha256": base.sha256}
    (directory / BASE_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def base_of(directory: Path) -> BaseModel:
    """Read which model an adapter belongs to.

    Raises:
        ModelError: The files do not say it, or are damaged.
    """
    path = directory / BASE_FILE
    if not path.is_file():
        path = directory / ADAPTER_CONFIG_FILE
    facts = _read_json(path)
    if path.name == BASE_FILE:
        try:
            return BaseModel(name=facts["name"], place=facts["place"], sha256=facts["sha256"])
        except KeyError as error:
            raise _damaged(path, error) from error
    name = facts.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"'{path}' must name the adapter's base_model_name_or_path, got {shown(name)}; add it"
        )
    return BaseModel(name=name, place=name, sha256=None)


@torch.no_grad()
def load_adapter(model: Any, directory: Path) -> None:
    """Copy an adapter's weights into the LoRA layers of a model, bit for bit.

    Raises:
        ModelError: A file is missing, damaged, or of other layers, another rank or another scale.
    """
    config = _read_json(directory / ADAPTER_CONFIG_FILE)
    for key in ("r", "lora_alpha", "use_rslora"):
        expected = getattr(model.peft_config[ADAPTER], key)
        if config.get(key) != expected:
            raise ModelError(
                f"the adapter in '{directory}' must fit the model's, got {key} "
                f"{config.get(key)!r} for {expected!r}; use the settings that it was trained with"
            )
    path = directory / ADAPTER_WEIGHTS_FILE
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"'{path}' must hold an adapter, got an unreadable file ({error}); restore it"
        ) from error
    own = {ADAPTER_PREFIX + name: tensor for name, tensor in adapter_tensors(model).items()}
    for name in sorted(own.keys() | found.keys()):
        shapes = [tuple(one[name].shape) if name in one else None for one in (own, found)]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"'{path}' must fit the model's adapter, got {name} of shape {shapes[1]} for one "
                f"of {shapes[0]}; use the rank and layers that it was trained with"
            )
        own[name].copy_(found[name])


def merge_adapter(model: Any, directory: Path) -> Any:
    """Add an adapter to the weights of a model and return the model, without adapter.

    Raises:
        ModelError: peft cannot load the adapter, or it does not fit the model.
    """
    from peft import PeftModel

    if not (directory / ADAPTER_WEIGHTS_FILE).is_file():
        # peft would read a pickle instead, or look on the hub.
        raise ModelError(
            f"an adapter's directory must hold {ADAPTER_WEIGHTS_FILE}, got {shown(str(directory))} "
            "without one; restore it, or save the adapter again"
        )
    try:
        merged = PeftModel.from_pretrained(model, str(directory)).merge_and_unload()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ModelError(
            f"the adapter in {shown(str(directory))} must fit its base model, got "
            f"{lines[0][:200]}; check that the files are whole and of this model"
        ) from error
    # peft froze the weights, and leaves its mark.
    if hasattr(merged, "peft_config"):
        del merged.peft_config
    return merged.requires_grad_(True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict):
        raise _damaged(path, found)
    return found


def _damaged(path: Path, what: object) -> ModelError:
    return ModelError(
        f"'{path}' must describe an adapter, got a damaged file ({shown(what)}); restore it"
    )
