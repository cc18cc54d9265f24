"""WeightFiles: writes the trainer's weights as files for vLLM whenever their content has changed.

Each call of `sample` computes a checksum over all weights and compares it with the last one. No
part of training has to announce an update, so none (an optimizer step, a mixture of policies, a
checkpoint loaded by hand) can leave old weights in the engine.

The files are a model directory as `save_pretrained` writes it, with two differences. They omit the
rows of the embedding beyond the codec's vocabulary, so that vLLM cannot sample a padded id. And
they hold an output layer that is tied to the embedding as a separate tensor. Of a model with a LoRA
adapter (in its own modules, or below a `PeftModel`) the base is written once and each update writes
only the adapter.
"""

import copy
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reason_env.agents.engines.adapter import write_adapter
from reason_env.agents.engines.checksum import checksum
from reason_env.agents.engines.transformers_logging import quiet_transformers
from reason_env.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights on disk."""

    directory: Path
    """A model directory."""
    version: str
    """Identifies the content of `directory`."""
    adapter: Path | None = None
    """Directory of a LoRA adapter for the model, or None."""
    adapter_number: int = 0
    """1, 2, ...: increases with each change of the adapter; 0 without one."""
    lora_rank: int = 0
    """Rank of the adapter; 0 without one."""

    def adapter_json(self) -> dict[str, Any] | None:
        """Name the adapter in a request; None without one.

        Each content of the adapter has its own name. The name is part of the prefix cache's keys,
        so that vLLM never reuses entries that an older adapter computed.
        """
        if self.adapter is None:
            return None
        return {
            "name": f"{self.version}-adapter-{self.adapter_number}",
            "number": self.adapter_number,
            "path": str(self.adapter),
        }


class WeightFiles:
    """Writes a model's weights whenever their content has changed."""

    def __init__(
        self,
        model: Any,
        *,
        vocab_size: int,
        folder: str | None = None,
        keeps_first: bool = False,
    ) -> None:
        """Create the folder; `current` writes the weights.

        Args:
            model: A `transformers` model, or one with one LoRA adapter.
            vocab_size: Rows of the embedding to write.
            folder: Parent of the folder for the files; None for the system's temporary folder.
            keeps_first: Keep the first weights, so that a server can start from them again.

        Raises:
            ModelError: vLLM cannot serve the model's adapter.
        """
        self.model, self.vocab_size, self.keeps_first = model, vocab_size, keeps_first
        self.lora_rank = lora_rank(model)
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix="reason-env-weights-", dir=folder))
        self.num_written = self.num_adapters = 0
        self._base = self._adapter = ""
        self._remove = weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)

    def current(self) -> Weights:
        """Return the current weights; write them first if they have changed."""
        base, adapter = _split(self.model, is_lora=self.lora_rank > 0)
        base_sum = checksum(base.items())
        if base_sum != self._base:
            self.num_written += 1
            self._write_base(base)
            self._base = base_sum
        if self.lora_rank and (adapter_sum := checksum(adapter.items())) != self._adapter:
            self.num_adapters += 1
            write_adapter(_inner(self.model), self._adapter_dir(self.num_adapters))
            self._adapter = adapter_sum
        return Weights(
            directory=self._base_dir(self.num_written),
            version=f"{self.num_written}-{self._base[:12]}",
            adapter=self._adapter_dir(self.num_adapters) if self.lora_rank else None,
            adapter_number=self.num_adapters,
            lora_rank=self.lora_rank,
        )

    def drop_old(self) -> None:
        """Remove the files of all weights except the current ones (and the first, if kept)."""
        keep = {self._base_dir(self.num_written), self._adapter_dir(self.num_adapters)}
        if self.keeps_first:
            keep.add(self._base_dir(1))
        for path in self.root.iterdir():
            if path not in keep:
                shutil.rmtree(path)

    def close(self) -> None:
        """Remove all files."""
        self._remove()

    def _base_dir(self, number: int) -> Path:
        return self.root / f"weights-{number:06d}"

    def _adapter_dir(self, number: int) -> Path:
        return self.root / f"adapter-{number:06d}"

    def _write_base(self, state: dict[str, Tensor]) -> None:
        model = _inner(self.model)
        config = copy.deepcopy(model.config)
        config.get_text_config().vocab_size = self.vocab_size
        config.architectures = [type(model).__name__]
        # Untie the output layer: vLLM's reload (0.32.0) updates the embedding but not a layer tied
        # to it, so that samples would come from a mixture of old and new weights.
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        trimmed = _trimmed(model, state, self.vocab_size)
        directory = self._base_dir(self.num_written)
        with quiet_transformers():
            model.save_pretrained(directory, state_dict=trimmed)
            config.save_pretrained(directory)


def _inner(model: Any) -> Any:
    """Return the `transformers` model below a `PeftModel`; any other model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def lora_rank(model: Any) -> int:
    """Return the rank of a PEFT model's LoRA adapter; 0 for a model without one.

    Raises:
        ModelError: The model has several adapters, or one that vLLM cannot serve.
    """
    adapters = getattr(model, "peft_config", None)
    if not isinstance(adapters, dict):
        return 0
    (name, config), *others = adapters.items()
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    is_plain = not (config.modules_to_save or getattr(config, "use_dora", False))
    if others or name != "default" or kind != "LORA" or not is_plain or config.bias != "none":
        raise ModelError(
            "an adapter for vLLM must be one LoRA adapter named 'default' without bias, DoRA or "
            f"modules_to_save, got {sorted(adapters)} of kind {kind}; merge it into the model, or "
            "train a plain LoRA adapter"
        )
    return int(config.r)


def _split(model: Any, *, is_lora: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the base model's tensors under a checkpoint's names, and the adapter's tensors."""
    if not is_lora:
        return dict(model.state_dict()), {}
    state = _inner(model).state_dict()
    adapter = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    base = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in state.items()
        if name not in adapter
    }
    return base, adapter


def _trimmed(model: Any, state: dict[str, Tensor], vocab_size: int) -> dict[str, Tensor]:
    """Cut the vocabulary layers to the codec's rows; the result shares no memory between them."""
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    ends = {embedding.data_ptr()}
    if head is not None:
        ends |= {item.data_ptr() for item in (head.weight, head.bias) if item is not None}
    return {
        name: tensor[:vocab_size].clone() if tensor.data_ptr() in ends else tensor
        for name, tensor in state.items()
    }
