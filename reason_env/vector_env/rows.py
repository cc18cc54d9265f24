"""EpisodeRows: token ids of many episodes as arrays, extended by one token at a time.

A token appends, closes a step, or ends the episode. A vector of tokens takes a few array
operations, because `token_table.py` has classified every token. Two cases need a look at single
episodes: a token that may complete a step delimiter of several tokens, and a closed step that may
state an answer. Episodes end by the same rules as in `state.transition`.

Axis letters: N episodes, W ids of a prompt and a response together.
"""

from typing import Any

import numpy as np

from reason_env.codec import Codec
from reason_env.env import commits, may_commit
from reason_env.state import EpisodeRules, ReasonState, before_stop
from reason_env.vector_env.token_table import Bools, decodes_by_joining, sign_state, token_table

Ints = np.ndarray[Any, np.dtype[np.int64]]


class EpisodeRows:
    r"""N prompts, each followed by its response.

    >>> from reason_env import ByteCodec, Problem, ReasonState
    >>> codec = ByteCodec()
    >>> problem = Problem(problem_id="toy/train/0", question="?", answer="7")
    >>> start = ReasonState(problem=problem, codec=codec)
    >>> rows = EpisodeRows(1, width=40, codec=codec, rules=EpisodeRules())
    >>> rows.begin(0, np.array(codec.encode("?\n>")), start)
    >>> for token in codec.encode("#### 7\n"):
    ...     over, graded, texts = rows.append(np.array([token]), np.array([True]))
    >>> over.tolist(), graded.tolist(), texts, rows.step_ends(0)
    ([True], [True], {0: '#### 7\n'}, (7,))
    """

    def __init__(self, num_envs: int, *, width: int, codec: Codec, rules: EpisodeRules) -> None:
        """Allocate empty rows.

        Args:
            num_envs: N.
            width: W.
            codec: The codec of the ids.
            rules: When an episode ends.
        """
        self._codec, self._rules = codec, rules
        self._table = token_table(codec)
        self._is_joined = decodes_by_joining(codec)
        self.ids = np.full((num_envs, width), codec.pad_id, dtype=np.int32)
        self.num_tokens: Ints = np.zeros(num_envs, dtype=np.int64)
        """Tokens of each response, [N]."""
        self.num_steps: Ints = np.zeros(num_envs, dtype=np.int64)
        """Steps of each response, as `ReasonState.num_steps` counts them, [N]."""
        self._prompt_sizes: Ints = np.zeros(num_envs, dtype=np.int64)
        self._closed: Ints = np.zeros(num_envs, dtype=np.int64)
        self._bounds: Ints = np.zeros(num_envs, dtype=np.int64)
        self._ends = np.zeros((num_envs, min(rules.max_steps, rules.max_tokens)), dtype=np.int32)
        self._signs = np.zeros(num_envs, dtype=np.uint8)
        self._is_blank = np.ones(num_envs, dtype=np.bool_)
        """The open step has no text yet."""

    def begin(self, index: int, prompt_ids: np.ndarray[Any, Any], state: ReasonState) -> None:
        """Overwrite a row with the start of an episode."""
        row, size = self.ids[index], len(prompt_ids)
        begun = size + len(state.response)
        row[begun : self._prompt_sizes[index] + self.num_tokens[index]] = self._codec.pad_id
        row[:size] = prompt_ids
        self._prompt_sizes[index] = size
        self.num_tokens[index] = len(state.response)
        closed = self._closed[index] = len(state.step_ends)
        self._bounds[index] = self._signs[index] = 0
        self.num_steps[index] = 0
        self._is_blank[index] = True
        if state.response:
            row[size:begun] = state.response
            self._ends[index, :closed] = state.step_ends
            self._bounds[index] = state.step_ends[-1] if closed else 0
            self._signs[index] = self._sign_state(state.text)
            self.num_steps[index] = state.num_steps
            self._is_blank[index] = state.num_steps == closed

    def append(self, tokens: Ints, acts: Bools) -> tuple[Bools, Bools, dict[int, str]]:
        """Append a token to each episode that acts.

        Args:
            tokens: One valid id for each episode, [N]; ignored for those that do not act.
            acts: Which episodes act, [N].

        Returns:
            Which episodes are over; which of them ended by an answer, a stop or the end token; and
            the response text by index of those that ended by an answer or a stop.
        """
        counts, rules, table = self.num_tokens, self._rules, self._table
        rows = np.flatnonzero(acts)
        self.ids[rows, self._prompt_sizes[rows] + counts[rows]] = tokens[rows]
        counts += acts
        self._signs = np.where(acts, table.next_sign[self._signs, tokens], self._signs)
        closes = acts & (table.closes[tokens] | (table.closes_text[tokens] & ~self._is_blank))
        for index in np.flatnonzero(acts & table.may_close[tokens]).tolist():
            closes[index] = self._codec.ends_step(self.response(index, self._bounds[index]))
        texts: dict[int, str] = {}
        is_answered = np.zeros(len(acts), dtype=np.bool_)
        for index in np.flatnonzero(closes).tolist() if rules.stops else ():
            text = self.text(index)
            if before_stop(text, rules.stops) != text:
                texts[index], is_answered[index] = text, True
        if rules.stop_at_answer:
            is_open = closes & ~is_answered
            for index in np.flatnonzero(is_open & (self._signs >= table.suspect)).tolist():
                text = self._committed(index)
                if text is not None:
                    texts[index], is_answered[index] = text, True
        rows = np.flatnonzero(closes)
        self._ends[rows, self._closed[rows]] = self._bounds[rows] = counts[rows]
        self._closed[rows] += 1
        is_end = acts & table.ends[tokens]
        self._is_blank = closes | (self._is_blank & (table.is_blank[tokens] | ~acts))
        np.add(self._closed, ~self._is_blank, out=self.num_steps)
        is_full = closes & ~is_answered & (self._closed >= rules.max_steps)
        is_graded = is_answered | (is_end & ~is_full)
        return is_graded | is_full | (acts & (counts >= rules.max_tokens)), is_graded, texts

    def response(self, index: int, first: int = 0) -> list[int]:
        """The ids of a response from its token `first` on."""
        begin = int(self._prompt_sizes[index])
        return self.ids[index, begin + first : begin + int(self.num_tokens[index])].tolist()

    def text(self, index: int) -> str:
        """The text of a response."""
        return self._codec.decode(self.response(index))

    def step_ends(self, index: int) -> tuple[int, ...]:
        """The token index just after each closed step of a response."""
        return tuple(self._ends[index, : self._closed[index]].tolist())

    def _committed(self, index: int) -> str | None:
        """The response text if its closed step states an answer, else None."""
        if self._signs[index] == self._table.seen:
            text = self.text(index)
            return text if commits(text) else None
        step = self._codec.decode(self.response(index, self._bounds[index]))
        text = self.text(index) if may_commit(step) else ""
        self._signs[index] = self._sign_state(text)
        return text if commits(text) else None

    def _sign_state(self, text: str) -> int:
        if self._is_joined:
            return sign_state(text)
        return self._table.seen if may_commit(text) else 0
