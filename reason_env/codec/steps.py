"""Where the reasoning steps of a response end: fast searches, equal to the definition."""

from collections.abc import Callable, Sequence

from reason_env.codec.byte_codec import ByteCodec
from reason_env.codec.delimiters import BLANKS
from reason_env.codec.hugging_face import HuggingFaceCodec
from reason_env.codec.protocol import Codec


def step_ends(
    codec: Codec, token_ids: Sequence[int], *, begin: int = 0, known: int = 0
) -> tuple[int, ...]:
    r"""Find the index just after each step that closes in `token_ids[known:]`.

    The blank line of a paragraph begins the next step:

    Args:
        codec: Defines the delimiter.
        token_ids: The whole response.
        begin: Where the step that is open at index `known` begins.
        known: No token between `begin` and this index closes a step.

    >>> codec = ByteCodec()
    >>> step_ends(codec, codec.encode("ab\nc\nd"))
    (3, 5)
    >>> step_ends(codec, codec.encode("First.\n\nThen.\n"))
    (7, 14)
    >>> step_ends(codec, codec.encode("ab\nc\nd"), begin=3, known=4)
    (5,)
    """
    if type(codec) is ByteCodec:
        return codec.step_ends(token_ids, begin, known)
    may_end = codec.may_end_step if type(codec) is HuggingFaceCodec else None
    ends: list[int] = []
    for end in range(max(begin, known) + 1, len(token_ids) + 1):
        if may_end is not None and not may_end(token_ids[end - 1]):
            continue
        if codec.ends_step(token_ids[begin:end]):
            ends.append(end)
            begin = end
    return tuple(ends)


def may_end_step(codec: Codec, token_id: int) -> bool:
    r"""Whether the token closes a step after some ids; cheap, and True rather than wrong.

    >>> may_end_step(ByteCodec(), 10), may_end_step(ByteCodec(), 65)
    (True, False)
    """
    if type(codec) is HuggingFaceCodec:
        return codec.may_end_step(token_id)
    text = codec.decode((token_id,))
    return codec.step_delimiter[-1] in text or text.startswith("\ufffd")


def has_text(codec: Codec, token_ids: Sequence[int]) -> bool:
    r"""Whether any of these tokens alone has text other than white space.

    >>> has_text(ByteCodec(), (10, 32, 257)), has_text(ByteCodec(), (10, 65))
    (False, True)
    """
    if type(codec) is ByteCodec:
        return codec.has_text(token_ids)
    own = text_of(codec)
    return any(own(token).strip(BLANKS) for token in token_ids)


def text_of(codec: Codec) -> Callable[[int], str]:
    r"""Give the function from a token to its text alone; quick for tokens seen before.

    >>> text_of(ByteCodec())(65)
    'A'
    """
    if type(codec) is HuggingFaceCodec:
        return codec.token_text
    return lambda token: codec.decode((token,))
