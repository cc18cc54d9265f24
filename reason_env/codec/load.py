"""Load a codec by its name, with the end tokens that a model's files declare."""

import json
import logging
from pathlib import Path
from typing import Any

from reason_env.codec.byte_codec import ByteCodec
from reason_env.codec.hugging_face import HuggingFaceCodec
from reason_env.codec.protocol import Codec
from reason_env.errors import ModelError, shown

_LOGGER = logging.getLogger(__name__)


def load_codec(name: str, *, step_delimiter: str = "\n") -> Codec:
    r"""Load the built-in codec "bytes", or the tokenizer of a model directory or hub name.

    >>> load_codec("bytes").codec_id
    "bytes-'\\n'"

    Raises:
        ModelError: No tokenizer can be loaded from there.
    """
    if name == "bytes":
        return ByteCodec(step_delimiter)
    import transformers

    loader: Any = transformers.AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(
            f"{name!r} must be 'bytes' or hold a Hugging Face tokenizer, and none could be loaded "
            f"from it ({first_line[:200]}); save one there with tokenizer.save_pretrained"
        ) from error
    return HuggingFaceCodec(tokenizer, step_delimiter, end_ids=_declared_ends(name, tokenizer))


def _declared_ends(name: str, tokenizer: Any) -> tuple[int, ...]:
    """Read the end tokens that a model's files declare; drop ordinary tokens with a warning.

    The default values of a model's config name ids of another tokenizer: `LlamaConfig` has 2.
    """
    import transformers.utils.hub

    hub: Any = transformers.utils.hub

    declared: list[int] = []
    for file in ("generation_config.json", "config.json"):
        path = hub.cached_file(name, file, _raise_exceptions_for_missing_entries=False)
        if path is None:
            continue
        value = json.loads(Path(path).read_text(encoding="utf-8")).get("eos_token_id")
        declared += value if isinstance(value, list) else [] if value is None else [value]
    known = frozenset(map(int, tokenizer.added_tokens_decoder)) | {int(tokenizer.eos_token_id or 0)}
    ends = tuple(dict.fromkeys(declared))
    ordinary = [end for end in ends if end not in known]
    if ordinary:
        _LOGGER.warning(
            "the files of %s declare end tokens %s, which are ordinary tokens of its tokenizer; "
            "they do not end a response",
            shown(name),
            ordinary,
        )
    return tuple(end for end in ends if end in known)
