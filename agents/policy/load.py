"""Find and load a language model and its codec; report a failure in one line."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from reason_env.agents.engines import lora_layers, quiet_transformers
from reason_env.agents.policy.adapter_files import (
    BaseModel,
    base_of,
    is_adapter_dir,
    merge_adapter,
)
from reason_env.agents.policy.gguf import SMOLLM2, converted_gguf, smollm2_file
from reason_env.agents.policy.weights_hash import weights_hash
from reason_env.agents.processes import SHARES, read_shares
from reason_env.codec import ByteCodec, Codec, load_codec
from reason_env.errors import ConfigError, ModelError, shown

BASE_MODEL_DIR = Path(__file__).parents[1] / "base_model"
SHIPPED: Mapping[str, Path] = {
    "base": BASE_MODEL_DIR,
    "late": BASE_MODEL_DIR / "late",
    "sealed": BASE_MODEL_DIR / "sealed",
}
"""Name -> directory of a small model that comes with the package."""
_NAMED = f"one of {', '.join(map(repr, (*SHIPPED, SMOLLM2)))}"
CODEC_KEY = "reason_env_codec"
"""Key in a model's config.json; the value "bytes" selects the built-in codec, not a tokenizer."""
MOST_PACKED = 16
"""Most parameters of a model for one number in its files: quantized ones are packed."""
_LAYERS = re.compile(r'"n(?:um)?(?:_hidden|_decoder)?_layers?"\s*:\s*(\d{1,18})')
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)


def load_model(name: str, *, step_delimiter: str = "\n") -> tuple[Any, Codec]:
    """Load a model on the CPU, in float32, and its codec; see `LanguageModelPolicy.load`.

    The directory of an adapter gives its base model, with the adapter added to the weights.
    """
    place = _model_place(name)
    if is_adapter_dir(Path(place)):
        base = base_of(Path(place))
        model, codec = load_model(base.name, step_delimiter=step_delimiter)
        base.check(model)
        return merge_adapter(model, Path(place)), codec
    model = _load_weights(name, place)
    return model, _load_codec_of(place, model.config, step_delimiter)


def base_model(name: str, model: Any) -> BaseModel:
    """Describe the model that `load_model` loaded by this name, before an adapter changes it."""
    place = _model_place(name)
    is_local = Path(place).is_dir()
    path = str(Path(name).expanduser().absolute())
    return BaseModel(
        name=path if is_local and name not in (*SHIPPED, SMOLLM2) else name,
        place=str(Path(place).absolute()) if is_local else place,
        sha256=weights_hash(model),
    )


def checked_device(device: str) -> torch.device:
    """Return the device.

    Raises:
        ConfigError: It is not a torch device, or does not exist on this machine.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"device must be a torch device, got {device!r}; use 'cpu' or 'cuda'"
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device must exist on this machine, got {device!r} without a CUDA device; use 'cpu'"
        )
    return found


def context_length_of(config: Any) -> int:
    """Return the tokens that a model can attend to.

    Raises:
        ModelError: A layer keeps a state other than keys and values, or the config states no
            context length.
    """
    text_config = config.get_text_config()
    layer_types = set(getattr(text_config, "layer_types", None) or ["full_attention"])
    other = sorted(layer_types - {"full_attention", "sliding_attention", "chunked_attention"})
    if other:
        raise ModelError(
            f"every layer must keep keys and values, got layers of type {', '.join(other)}; "
            "use a model with attention only"
        )
    length = getattr(text_config, "max_position_embeddings", None)
    if not length:
        raise ModelError(
            f"the model's config must state max_position_embeddings, got {length!r}; "
            "set it to the longest sequence that the model can read"
        )
    return int(length)


def _model_place(name: str) -> str:
    """Resolve `name` to a directory or a hub name; a GGUF file is converted to a directory."""
    if name == SMOLLM2:
        return str(converted_gguf(smollm2_file()))
    if name in SHIPPED:
        if not (SHIPPED[name] / "config.json").is_file():
            raise ModelError(
                f"the shipped model {name!r} must be in agents/base_model, got no config.json for "
                f"it there; train it with `reason-env pretrain --recipe {name}`"
            )
        return str(SHIPPED[name])
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and not path.is_dir():
        return str(converted_gguf(path))
    if path.is_dir():
        if not (path / "config.json").is_file() and not is_adapter_dir(path):
            raise ModelError(
                f"a model directory must hold config.json, got {shown(name)} without one; "
                "save a model there with save_pretrained"
            )
        return str(path)
    # A hub name is `name` or `owner/name`; anything else can only mean a directory.
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.exists():
        raise ModelError(
            f"the model must be a directory, a GGUF file, a hub name, or {_NAMED}, got "
            f"{shown(name)}, which is not a directory; check the path"
        )
    return name


def _check_size(name: str, directory: Path) -> None:
    """Raise if a config describes a model that its files cannot hold.

    transformers fills what a file lacks with random numbers, so a config of a few bytes could ask
    for all memory of the machine.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    stored = 0
    tensors = 0
    for path in (*directory.glob("*.safetensors"), *(directory / SHARES).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            tensors += len(names)
            stored += sum(math.prod(file.get_slice(one).get_shape()) for one in names)
    if not tensors:
        # The loader says that there are no weights.
        return
    text = (directory / "config.json").read_text(encoding="utf-8")
    # transformers makes a list of all layers as it reads the config.
    layers = max(map(int, _LAYERS.findall(text)), default=0)
    described = f"{layers:,} layers" if layers > tensors else ""
    if not described:
        config: Any = AutoConfig.from_pretrained(directory, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        wanted = sum(parameter.numel() for parameter in model.parameters())
        if wanted > MOST_PACKED * stored:
            described = f"{wanted:,} parameters"
    if described:
        raise ModelError(
            f"a model's config.json must describe its weights, got {described} for {stored:,} "
            f"numbers in {tensors:,} tensors in {shown(name)}; restore config.json"
        )


def _load_weights(name: str, place: str) -> Any:
    from huggingface_hub.errors import StrictDataclassError

    try:
        with quiet_transformers():
            if (Path(place) / "config.json").is_file():
                _check_size(name, Path(place))
            # No code of the model's folder runs, and no pickle is read; without the first,
            # transformers would ask on the console whether to run it.
            loaded = _from_files(place)
    except ModelError:
        raise
    except (
        AttributeError, KeyError, OSError, RecursionError, RuntimeError, SafetensorError,
        StrictDataclassError, TypeError, ValueError,
    ) as error:  # fmt: skip
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ModelError(
            f"no causal language model can be loaded from {shown(name)} ({lines[0][:200]}); "
            f"give a model directory, a GGUF file, a hub name, or {_NAMED}"
        ) from error
    model, info = loaded
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"a model's files must hold every weight, got {shown(name)} without {len(missing)} of "
            f"them (the first is {missing[0]}); they would be random numbers; restore the files"
        )
    if lora_layers(model):
        # transformers loads its base with the adapter in it, frozen, and saves the adapter alone.
        raise ModelError(
            f"a hub name must be that of a whole model, got {shown(name)}, an adapter; download it "
            "(hf download NAME --local-dir DIR) and give the directory"
        )
    return model


def _from_files(place: str) -> Any:
    """Give a model, and what transformers says of its files."""
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    common: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    shares = Path(place) / SHARES
    if not shares.is_dir():
        return AutoModelForCausalLM.from_pretrained(
            place, trust_remote_code=False, use_safetensors=True, **common
        )
    # Several processes wrote it.
    config: Any = AutoConfig.from_pretrained(place, trust_remote_code=False)
    with torch.device("meta"):
        kind: Any = type(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    loaded = kind.from_pretrained(None, config=config, state_dict=read_shares(shares), **common)
    if (Path(place) / "generation_config.json").is_file():
        loaded[0].generation_config = GenerationConfig.from_pretrained(place)
    return loaded


def _load_codec_of(place: str, config: Any, step_delimiter: str) -> Codec:
    """Load a model's codec: the built-in one if its config says so, else its tokenizer."""
    kind = getattr(config, CODEC_KEY, None)
    if kind == "bytes":
        return ByteCodec(step_delimiter)
    if kind is not None:
        raise ModelError(
            f"{CODEC_KEY} in the model's config must be 'bytes', got {shown(kind)}; "
            "remove it to use the directory's tokenizer"
        )
    directory = Path(place)
    # transformers silently builds an empty tokenizer if the files are missing.
    if directory.is_dir() and not any((directory / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(
            f"a model directory must hold a tokenizer, got {shown(place)} without one; save one "
            f'there with tokenizer.save_pretrained, or put "{CODEC_KEY}": "bytes" in its '
            "config.json"
        )
    return load_codec(place, step_delimiter=step_delimiter)
