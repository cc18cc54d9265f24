"""ObservationBuffer: the prompt and the response of the current state, as text or as ids."""

import contextlib
from typing import Any

import numpy as np

from reason_env.codec import Codec
from reason_env.env.layout import Layout, Observation
from reason_env.errors import ConfigError, StateError
from reason_env.state import PromptTemplate, ReasonState


class ObservationBuffer:
    """Holds the observation of one state and reuses its prompt while that stays the same."""

    def __init__(
        self,
        *,
        prompt: PromptTemplate,
        codec: Codec,
        layout: Layout,
        max_prompt_tokens: int,
        max_tokens: int,
    ) -> None:
        """Allocate an empty buffer.

        Args:
            prompt: Renders the prompt of each state.
            codec: The codec of the states.
            layout: Whether observations are texts or ids.
            max_prompt_tokens: Room for the prompt.
            max_tokens: Room for the response.

        Raises:
            ConfigError: There is no room for a prompt.
        """
        if max_prompt_tokens < 1:
            raise ConfigError(f"max_prompt_tokens must be at least 1, got {max_prompt_tokens!r}")
        self.width = max_prompt_tokens + max_tokens
        """Tokens of an observation."""
        self._prompt, self._max_prompt_tokens = prompt, max_prompt_tokens
        self._is_text = layout.format == "text"
        self._pad_id = codec.pad_id
        self._state: ReasonState | None = None
        self._prompt_ids: tuple[int, ...] = ()
        self._prompt_text = ""
        self._ids = np.full(0 if self._is_text else self.width, codec.pad_id, dtype=np.int32)

    def encode_prompt(self, state: ReasonState) -> tuple[int, ...]:
        """Encode the state's prompt; return the current ids if it is the same prompt.

        Raises:
            StateError: The prompt is too long.
        """
        current = self._state
        if (
            current is not None
            and current.problem is state.problem
            and current.guidance == state.guidance
        ):
            return self._prompt_ids
        prompt_ids = self._prompt.token_ids(state)
        if len(prompt_ids) > self._max_prompt_tokens:
            raise StateError(
                f"prompt of {state.problem.problem_id!r} must have at most "
                f"{self._max_prompt_tokens} tokens, got {len(prompt_ids)}; raise max_prompt_tokens "
                "or drop the problem"
            )
        return prompt_ids

    def set_state(self, state: ReasonState, prompt_ids: tuple[int, ...]) -> None:
        """Replace the state; `prompt_ids` are from `encode_prompt`."""
        is_new = self._state is None or prompt_ids is not self._prompt_ids or not prompt_ids
        self._state = state
        self._prompt_ids = prompt_ids
        if is_new:
            self._prompt_text = self._prompt.text(state)
        if self._is_text:
            return
        size = len(prompt_ids)
        if is_new:
            self._ids[:size] = prompt_ids
        self._ids[size:] = self._pad_id
        response: Any = state.response
        # Numpy reads bytes more than twice as fast as a tuple, if every id fits into a byte.
        with contextlib.suppress(ValueError):
            response = np.frombuffer(bytes(response), np.uint8)
        self._ids[size : size + len(response)] = response

    def extend_to(self, state: ReasonState) -> None:
        """Advance to a successor of the current state: the same prompt and a longer response."""
        assert self._state is not None, "set_state comes first"
        known = len(self._state.response)
        self._state = state
        if not self._is_text:
            begin = len(self._prompt_ids)
            self._ids[begin + known : begin + len(state.response)] = state.response[known:]

    def observation(self) -> Observation:
        """The text, or a copy of the ids, [width], right-padded."""
        if not self._is_text:
            return self._ids.copy()
        assert self._state is not None, "set_state comes first"
        return self._prompt_text + self._state.text
