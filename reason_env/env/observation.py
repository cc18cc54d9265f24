"""What the policy sees of a state: its prompt, and the response behind it, as text or as ids."""

import contextlib
from typing import Any

import numpy as np

from reason_env.codec import Codec
from reason_env.env.actions import Layout, Observation
from reason_env.errors import ConfigError, StateError
from reason_env.state import PromptTemplate, ReasonState


class Screen:
    """Shows one state at a time; a prompt that is shown already is not made again."""

    def __init__(
        self,
        *,
        prompt: PromptTemplate,
        codec: Codec,
        layout: Layout,
        max_prompt_tokens: int,
        max_tokens: int,
    ) -> None:
        """Makes one that shows nothing yet.

        Args:
            prompt: The prompt of each state.
            codec: Of the states.
            layout: Says whether texts or ids are shown.
            max_prompt_tokens: Room for the prompt.
            max_tokens: Room for the response.

        Raises:
            ConfigError: There is no room for a prompt.
        """
        if max_prompt_tokens < 1:
            raise ConfigError(f"max_prompt_tokens must be at least 1, got {max_prompt_tokens!r}")
        self.width = max_prompt_tokens + max_tokens
        """Tokens of an observation."""
        self.prompt_ids: tuple[int, ...] = ()
        """Of the state that is shown."""
        self._prompt, self._max_prompt_tokens = prompt, max_prompt_tokens
        self._shows_text = layout.format == "text"
        self._pad_id = codec.pad_id
        self._state: ReasonState | None = None
        self._prompt_text = ""
        self._ids = np.full(0 if self._shows_text else self.width, codec.pad_id, dtype=np.int32)

    def checked(self, state: ReasonState) -> tuple[int, ...]:
        """Returns the prompt's ids, which must have room; those shown where it is the same prompt.

        Raises:
            StateError: The prompt is too long.
        """
        now = self._state
        if now is not None and now.problem is state.problem and now.guidance == state.guidance:
            return self.prompt_ids
        prompt_ids = self._prompt.token_ids(state)
        if len(prompt_ids) > self._max_prompt_tokens:
            raise StateError(
                f"prompt of {state.problem.problem_id!r} must have at most "
                f"{self._max_prompt_tokens} tokens, got {len(prompt_ids)}; raise max_prompt_tokens "
                "or drop the problem"
            )
        return prompt_ids

    def show(self, state: ReasonState, prompt_ids: tuple[int, ...]) -> None:
        """Shows the state, whose prompt `checked` returned."""
        is_other = self._state is None or prompt_ids is not self.prompt_ids or not prompt_ids
        self._state = state
        self.prompt_ids = prompt_ids
        if is_other:
            self._prompt_text = self._prompt.text(state)
        if self._shows_text:
            return
        size = len(prompt_ids)
        if is_other:
            self._ids[:size] = prompt_ids
        self._ids[size:] = self._pad_id
        response: Any = state.response
        # Numpy reads bytes more than twice as fast as a tuple; where they do not hold an id, that.
        with contextlib.suppress(ValueError):
            response = np.frombuffer(bytes(response), np.uint8)
        self._ids[size : size + len(response)] = response

    def grow(self, state: ReasonState) -> None:
        """Shows what follows the state that is shown: the same prompt, and a longer response."""
        assert self._state is not None, "nothing follows where nothing is shown"
        known = len(self._state.response)
        self._state = state
        if not self._shows_text:
            begin = len(self.prompt_ids)
            self._ids[begin + known : begin + len(state.response)] = state.response[known:]

    def observation(self) -> Observation:
        """Returns the text, or a copy of the ids, [width], right-padded."""
        if not self._shows_text:
            return self._ids.copy()
        assert self._state is not None, "nothing is shown yet"
        return self._prompt_text + self._state.text
