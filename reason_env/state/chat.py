"""Chat prompts: from messages to the ids of the tokenizer's chat template.

The control tokens that the template writes are special tokens. Those written out in a message
(a question, guidance, an example) are text: a policy or a data set cannot open a turn. Where a
message holds any, the template is rendered with a mark in place of each; the pieces between the
template's own special tokens are then encoded as text. This gives the ids that the tokenizer would
give if the written ones were ordinary text, because a tokenizer divides a text at special tokens
before anything else; it is checked on the marked text, for each prompt.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from reason_env.codec import HuggingFaceCodec, encodable
from reason_env.errors import ConfigError, did_you_mean, shown

Messages = Sequence[Mapping[str, str]]
RESERVED_ARGUMENTS = (
    "conversation",
    "messages",
    "add_generation_prompt",
    "continue_final_message",
    "tokenize",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
    "chat_template",
)
"""Arguments of `apply_chat_template` that this file gives or that change what it returns."""


def chat_ids(
    codec: HuggingFaceCodec, messages: Messages, arguments: Mapping[str, Any]
) -> tuple[int, ...]:
    """Encode a chat, with the assistant's turn opened.

    Args:
        codec: Its tokenizer has a chat template.
        messages: Each with `role` and `content`.
        arguments: Further variables of the template, such as `enable_thinking`.

    Raises:
        ConfigError: The template refuses the messages, does not read an argument, or changes text
            that writes out a special token.
    """
    _check_arguments(codec, arguments)
    messages = [{name: encodable(text) for name, text in message.items()} for message in messages]
    rendered = _render(codec, messages, arguments)
    marked, written = _with_marks(messages, codec.special_pattern)
    if not written:
        return tuple(codec.tokenizer.encode(rendered, add_special_tokens=False))
    layout = _render(codec, marked, arguments)
    names = shown(", ".join(dict.fromkeys(written)))
    if _without_marks(layout, written) != rendered:
        raise ConfigError(
            "a chat template must keep the text of a message that writes out a special token, got "
            f"one that changes it near {names}; remove it from the message, or use a template of "
            "kind 'plain'"
        )
    expected = codec.tokenizer.encode(layout, add_special_tokens=False)
    # After a special token some tokenizers put a space before a text, as at the beginning.
    for encode in (codec.encode, codec.encode_prompt):
        if _encode_pieces(codec, layout, (), encode) == expected:
            return tuple(_encode_pieces(codec, layout, written, encode))
    raise ConfigError(
        f"a tokenizer must divide a chat at its special tokens if a message writes out {names}, "
        "got one that does not; remove it from the message, or use a template of kind 'plain'"
    )


def turn_end_id(codec: HuggingFaceCodec, arguments: Mapping[str, Any]) -> int:
    """The id that ends the assistant's turn in a chat: one of the codec's `end_ids`.

    Models whose chats end otherwise than texts (Gemma's `<end_of_turn>`) declare both ends. It is
    `eos_id` if the template writes no declared end after the turn.
    """
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    rendered = _render(codec, messages, arguments, opens_turn=False)
    after = rendered.rpartition(_MARK)[2]
    for found in codec.special_pattern.finditer(after):
        token = int(codec.tokenizer.convert_tokens_to_ids(found[0]))
        if token in codec.end_ids:
            return token
    return codec.eos_id


_IN_TEMPLATES = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What the expressions of a template raise besides jinja's own errors."""


def _render(
    codec: HuggingFaceCodec,
    messages: Messages,
    arguments: Mapping[str, Any],
    *,
    opens_turn: bool = True,
) -> str:
    from jinja2.exceptions import TemplateError

    apply: Any = partial(
        codec.tokenizer.apply_chat_template,
        add_generation_prompt=opens_turn,
        tokenize=False,
        **arguments,
    )
    try:
        return apply(messages)
    except (TemplateError, *_IN_TEMPLATES) as error:
        reason = shown(str(error).strip().partition("\n")[0] or type(error).__name__)
        rest = [message for message in messages if message["role"] != "system"]
        if len(rest) == len(messages):
            raise ConfigError(
                f"a chat template must render the prompt's messages, got the refusal {reason}; use "
                "a template of kind 'plain', or other chat_arguments"
            ) from error
    # Whether it refuses the system message or something else is seen without that message.
    _render(codec, rest, arguments)
    raise ConfigError(
        f"a chat template must take a system message, got the refusal {reason}; leave system empty "
        "and write its words into the template's question"
    )


def _check_arguments(codec: HuggingFaceCodec, arguments: Mapping[str, Any]) -> None:
    if not arguments:
        return
    names = set(re.findall(r"[A-Za-z_]\w*", str(codec.tokenizer.chat_template)))
    for name in arguments:
        if name not in names:
            raise ConfigError(
                f"chat_arguments must be variables of the tokenizer's chat template, got {name!r}"
                f"{did_you_mean(name, names)}"
            )


def _with_marks(
    messages: Messages, special: re.Pattern[str]
) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Put a mark into the messages for each special token they write out; list those tokens."""
    if not any(special.search(message["content"]) for message in messages):
        return [], ()
    written: list[str] = []

    def mark(found: re.Match[str]) -> str:
        written.append(found[0])
        return f"{_MARK}{len(written) - 1}{_MARK}"

    if any(_MARK in message["content"] for message in messages):
        raise ConfigError(
            f"a message that writes out a special token must not hold {_MARK!r}, got both; remove "
            "one of them"
        )
    marked = [{**message, "content": special.sub(mark, message["content"])} for message in messages]
    return marked, tuple(written)


_MARK = "\ue5a7"
"""A private-use character: no template changes it."""
_MARKED = re.compile(f"{_MARK}(\\d+){_MARK}")


def _without_marks(text: str, written: Sequence[str]) -> str:
    return _MARKED.sub(lambda found: written[int(found[1])], text)


def _encode_pieces(
    codec: HuggingFaceCodec,
    layout: str,
    written: Sequence[str],
    encode: Callable[[str], Sequence[int]],
) -> list[int]:
    """Encode a text whose special tokens are special and whose marks are text.

    Args:
        codec: Knows the special tokens.
        layout: The rendered template.
        written: The text of each mark; empty to encode the marks themselves.
        encode: Encodes each piece but the first.
    """
    ids: list[int] = []
    begin, strips = 0, False
    for found in chain(codec.special_pattern.finditer(layout), (None,)):
        special = None if found is None else codec.special_tokens[found[0]]
        piece = layout[begin:] if found is None else layout[begin : found.start()]
        # Some special tokens take the white space on a side away.
        piece = piece.lstrip() if strips else piece
        piece = piece.rstrip() if special is not None and special.lstrip else piece
        if piece:
            text = _without_marks(piece, written) if written else piece
            ids += encode(text) if begin else codec.encode_prompt(text)
        if found is None or special is None:
            break
        ids.append(codec.tokenizer.convert_tokens_to_ids(special.content))
        begin, strips = found.end(), special.rstrip
    return ids
