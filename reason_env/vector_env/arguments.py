"""Check the arguments of `ReasonVectorEnv`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from reason_env.errors import ActionError, CodecError, ConfigError, shown
from reason_env.vector_env.token_table import Bools


def autoreset_mode_of(given: str | AutoresetMode) -> AutoresetMode:
    """Convert a mode's name to the mode.

    >>> autoreset_mode_of("SameStep")
    <AutoresetMode.SAME_STEP: 'SameStep'>
    """
    modes = {mode.value: mode for mode in AutoresetMode}
    if given not in (*modes, *modes.values()):
        raise ConfigError(f"autoreset_mode must be one of {', '.join(modes)}, got {shown(given)}")
    return AutoresetMode(given)


def checked_tokens(actions: Any, acts: Bools, vocab_size: int) -> np.ndarray[Any, Any]:
    """Check one id per episode; replace those of episodes that do not act by 0, [N].

    Raises:
        ActionError: The actions are not one integer for each episode.
        CodecError: The id of an acting episode lies outside the vocabulary.
    """
    tokens = np.asarray(actions)
    if tokens.shape != acts.shape or tokens.dtype.kind not in "iu":
        raise ActionError(
            f"actions must be one token id for each of the {len(acts)} episodes, got "
            f"{shown(actions)}"
        )
    wrong = acts & ((tokens < 0) | (tokens >= vocab_size))
    if wrong.any():
        raise CodecError(
            f"token ids must lie in 0..{vocab_size - 1}, got {int(tokens[wrong][0])}; encode the "
            "text with this environment's codec"
        )
    return np.where(acts, tokens, 0)


def seeds_of(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """A seed for each episode; from one number, episode i gets seed + i.

    >>> seeds_of(5, 2), seeds_of(None, 2)
    ([5, 6], [None, None])
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int):
        return [seed + index for index in range(num_envs)]
    if len(seed) != num_envs:
        raise ConfigError(
            f"seed must be one number, or one for each of the {num_envs} episodes, got {len(seed)}"
        )
    return list(seed)


def reset_mask(given: Any, num_envs: int) -> Bools:
    """The episodes to reset, [N]; None means all."""
    if given is None:
        return np.ones(num_envs, dtype=np.bool_)
    mask: np.ndarray[Any, Any] = np.asarray(given)
    if mask.shape != (num_envs,) or mask.dtype != np.bool_ or not mask.any():
        raise ConfigError(
            f"options['reset_mask'] must be one boolean for each of the {num_envs} episodes, at "
            f"least one of them True, got {shown(given)}"
        )
    return mask
