"""Layout: what one action of `ReasonEnv` holds, and whether it is text or token ids."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces

from reason_env.codec import Codec
from reason_env.env.spaces import UnicodeText
from reason_env.errors import ActionError, ConfigError, did_you_mean, shown

Granularity = Literal["token", "step", "response"]
Format = Literal["text", "tokens"]
Action = str | int | Sequence[int] | np.ndarray[Any, Any]
Observation = str | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one action holds (granularity), and how it and the observation are given (format)."""

    granularity: Granularity = "step"
    format: Format = "text"

    def __post_init__(self) -> None:
        for name, kinds in (("granularity", Granularity), ("format", Format)):
            value = getattr(self, name)
            if value not in get_args(kinds):
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(kinds))}, got {value!r}"
                    f"{did_you_mean(str(value), get_args(kinds))}"
                )

    def spaces(self, codec: Codec, width: int) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """The observation space and the action space.

        Args:
            codec: The vocabulary.
            width: Most tokens of a prompt and a response together.
        """
        if self.format == "text":
            max_chars = width * codec.max_token_chars
            return UnicodeText(max_chars), UnicodeText(max_chars)
        observations = spaces.Box(0, codec.vocab_size - 1, (width,), np.int32)
        if self.granularity == "token":
            return observations, spaces.Discrete(codec.vocab_size)
        return observations, spaces.Sequence(spaces.Discrete(codec.vocab_size))

    def tokens(self, action: Action, codec: Codec) -> tuple[int, ...]:
        """The token ids of an action.

        Raises:
            ActionError: The action is not of this format.
        """
        if self.format == "text":
            if not isinstance(action, str):
                raise ActionError(f"action must be a str in format 'text', got {shown(action)}")
            return codec.encode(action)
        if isinstance(action, str):
            raise ActionError(
                f"action must be token ids in format 'tokens', got {shown(action)}; "
                "make the environment with format='text' or encode it"
            )
        try:
            ids: Any = (action,) if self.granularity == "token" else action
            return tuple(map(operator.index, ids))
        except TypeError as error:
            raise ActionError(
                f"action must be {'one id' if self.granularity == 'token' else 'ids'} in "
                f"format 'tokens', got {shown(action)}"
            ) from error
