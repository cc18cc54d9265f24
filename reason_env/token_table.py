"""What each token can do to an episode, found once from the codec, so that arrays can say it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.codec import Codec
from reason_env.env_arguments import COMMITMENT_SIGNS

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenTable:
    """Booleans over the vocabulary, [vocab_size] each."""

    closes: Bools
    """The token ends a reasoning step whatever stands before it."""
    may_close: Bools
    """Whether it ends one depends on what stands before it."""
    may_commit: Bools
    """A sign without which no answer is stated may begin in it; see `env_arguments.may_commit`."""


def token_table(codec: Codec) -> TokenTable:
    r"""Returns the table of a codec's tokens.

    >>> from reason_env import ByteCodec
    >>> table = token_table(ByteCodec())
    >>> table.closes.nonzero()[0].tolist(), table.may_close.any(), table.may_commit.sum()
    ([10], np.False_, np.int64(2))
    >>> token_table(ByteCodec("\n\n")).may_close.nonzero()[0].tolist()
    [10]
    """
    last = codec.step_delimiter[-1]
    # A token may hold the last bytes of a character: alone it decodes to U+FFFD.
    broken = "" if last.isascii() else "\ufffd"
    signs = {sign[0] for sign in COMMITMENT_SIGNS}
    texts = [codec.decode((token,)) for token in range(codec.vocab_size)]
    candidates = np.array([last in text or text[:1] == broken != "" for text in texts])
    closes = np.zeros(codec.vocab_size, dtype=np.bool_)
    for token in np.flatnonzero(candidates).tolist():
        closes[token] = codec.ends_step((token,))
    return TokenTable(
        closes=closes,
        may_close=candidates & ~closes,
        may_commit=np.array([not signs.isdisjoint(text) for text in texts]),
    )
