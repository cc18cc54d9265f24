"""The trainer's weights as files that vLLM loads, and whether they changed since it did.

Changes are found by content: a checksum over all weights, taken before each wave. Nobody has to
announce an update, so no path of training (an optimizer step, a mixture of policies, a checkpoint
loaded by hand) can leave the engine behind.

What is written is a model directory as `save_pretrained` writes it, with two differences: rows of
the embedding beyond the codec's vocabulary are left out, so that no padded id can be sampled, and
an output layer that is tied to the embedding stands as a tensor of its own. Of a PEFT model with a
LoRA adapter the base is written once, and then only the adapter.
"""

import copy
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reason_env.agents.engines.transformers_logging import quiet_transformers
from reason_env.errors import ModelError

CHUNK = 2**22
"""Numbers whose checksum is taken at once."""
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights on disk."""

    directory: Path
    """A model directory."""
    version: str
    """Name of the content of `directory`."""
    adapter: Path | None = None
    """A LoRA adapter to be used with it."""
    adapter_number: int = 0
    """1, 2, ...: another for each content of the adapter; 0 without one."""
    lora_rank: int = 0
    """Rank of the adapter."""


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
        """Writes nothing yet.

        Args:
            model: A `transformers` model, or a PEFT model of one with one LoRA adapter.
            vocab_size: Rows of the embedding that are written.
            folder: Where a folder of this object's own is made; None for a temporary place.
            keeps_first: Leave the first weights there, for a server that starts on them again.

        Raises:
            ModelError: The adapter is of a kind that vLLM does not serve.
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
        """Returns the weights as they are now, written if they were not."""
        base, adapter = _split(self.model, is_lora=self.lora_rank > 0)
        base_sum = checksum(base.items())
        if base_sum != self._base:
            self.num_written += 1
            self._write_base(base)
            self._base = base_sum
        if self.lora_rank and (adapter_sum := checksum(adapter.items())) != self._adapter:
            self.num_adapters += 1
            with quiet_transformers():
                self.model.save_pretrained(self._adapter_dir(self.num_adapters))
            self._adapter = adapter_sum
        return Weights(
            directory=self._base_dir(self.num_written),
            version=f"{self.num_written}-{self._base[:12]}",
            adapter=self._adapter_dir(self.num_adapters) if self.lora_rank else None,
            adapter_number=self.num_adapters,
            lora_rank=self.lora_rank,
        )

    def drop_old(self) -> None:
        """Removes the files of all weights but the current (and first) ones."""
        keep = {self._base_dir(self.num_written), self._adapter_dir(self.num_adapters)}
        if self.keeps_first:
            keep.add(self._base_dir(1))
        for path in self.root.iterdir():
            if path not in keep:
                shutil.rmtree(path)

    def close(self) -> None:
        """Removes all files."""
        self._remove()

    def _base_dir(self, number: int) -> Path:
        return self.root / f"weights-{number:06d}"

    def _adapter_dir(self, number: int) -> Path:
        return self.root / f"adapter-{number:06d}"

    def _write_base(self, state: dict[str, Tensor]) -> None:
        model = self.model.get_base_model() if self.lora_rank else self.model
        config = copy.deepcopy(model.config)
        config.get_text_config().vocab_size = self.vocab_size
        config.architectures = [type(model).__name__]
        # A tied output layer is written out: vLLM's reload (0.32.0) renews the embedding and leaves
        # the layer tied to it as it was, so that samples would come from half-old weights.
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        trimmed = _trimmed(model, state, self.vocab_size)
        directory = self._base_dir(self.num_written)
        with quiet_transformers():
            model.save_pretrained(directory, state_dict=trimmed)
            config.save_pretrained(directory)


def lora_rank(model: Any) -> int:
    """Returns the rank of a PEFT model's LoRA adapter; 0 of a model without one.

    Raises:
        ModelError: It has several adapters, or one that vLLM does not serve.
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
            f"modules_to_save, got {sorted(adapters)} of kind {kind}; merge it, or train another"
        )
    return int(config.r)


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Returns a checksum of names, shapes, types and every bit, taken where the tensors are.

    >>> zero = torch.zeros(3)
    >>> checksum([("a", zero)]) == checksum([("a", zero.clone())])
    True
    >>> checksum([("a", zero)]) == checksum([("a", torch.tensor([0.0, 1e-30, 0.0]))])
    False
    """
    digest = hashlib.sha256()
    sums: list[Tensor] = []
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        flat = tensor.detach().contiguous().flatten()
        bits = flat.view(_INTEGERS[flat.element_size()])
        sums += [_checksum_of(part) for part in bits.split(CHUNK)]
    if sums:
        # One transfer for all: a GPU is waited for once.
        digest.update(torch.stack(sums).cpu().numpy().tobytes())
    return digest.hexdigest()


def _checksum_of(bits: Tensor) -> Tensor:
    """Returns two sums [2] over integers, the second weighted by place, modulo 2^64."""
    numbers = bits.long()
    # Odd multipliers: no bit of a number is lost, and an exchange of two shows.
    places = torch.arange(len(numbers), device=bits.device) * 2 + 1
    mixed = numbers * 6364136223846793005 + (numbers >> 29)
    return torch.stack([mixed.sum(), (mixed * places).sum()])


def _split(model: Any, *, is_lora: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the tensors of the base under a checkpoint's names, and those of the adapter."""
    if not is_lora:
        return dict(model.state_dict()), {}
    state = model.get_base_model().state_dict()
    adapter = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    base = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in state.items()
        if name not in adapter
    }
    return base, adapter


def _trimmed(model: Any, state: dict[str, Tensor], vocab_size: int) -> dict[str, Tensor]:
    """Returns the state with the codec's rows only, and no two tensors in one memory."""
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    ends = {embedding.data_ptr()}
    if head is not None:
        ends |= {item.data_ptr() for item in (head.weight, head.bias) if item is not None}
    return {
        name: tensor[:vocab_size].clone() if tensor.data_ptr() in ends else tensor
        for name, tensor in state.items()
    }
