"""ReasonVectorEnv: many token-level episodes at once, equal to `SyncVectorEnv` step for step.

A token appends, closes a step, or ends the episode: a whole vector of them is a few array
operations, and `token_table.py` says which tokens can do what. Looked at alone are a token that may
complete a step delimiter of several tokens, a step that closes where a sign of an answer stands,
and an episode that ends. Who ends is decided here as `state.transition` decides it for one token;
the tests compare everything said with `SyncVectorEnv`. States are kept as of the start, and
completed when asked for.

Not covered: other granularities and formats (use `gym.make_vec(..., vectorization_mode="sync")`),
wrappers of single environments (start wrappers act through `options={"starts": ...}` or per-episode
`options={"states": [...]}`), and rendering.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from reason_env.env import ReasonEnv, commits
from reason_env.env_arguments import may_commit
from reason_env.errors import ConfigError, StateError
from reason_env.state import ReasonState, is_truncated
from reason_env.token_table import Bools, token_table
from reason_env.vector_arguments import (
    autoreset_mode_of,
    checked_tokens,
    reset_mask,
    seeds_of,
)

INFO_TYPES: dict[str, type] = {
    "problem_id": object,
    "level": int,
    "outcome": object,
    "success": bool,
    "extracted": object,
    "reason": object,
    "num_tokens": int,
    "num_steps": int,
    "privileged_context": object,
}


class ReasonVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` episodes of `ReasonEnv(granularity="token", format="tokens")`.

    >>> envs = ReasonVectorEnv(3, problems="chain", size=5, autoreset_mode="SameStep")
    >>> ids, infos = envs.reset(seed=0)
    >>> ids.shape, infos["num_tokens"].tolist()
    ((3, 1536), [0, 0, 0])
    >>> ids, rewards, terminations, truncations, infos = envs.step(np.array([65, 257, 66]))
    >>> terminations.tolist(), infos["num_tokens"].tolist()
    ([False, True, False], [1, 0, 1])
    >>> [state.text for state in envs.states]
    ['A', '', 'B']
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own declaration
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        granularity: str = "token",
        format: str = "tokens",  # noqa: A002 - the public name
        **settings: Any,
    ) -> None:
        """Makes the episodes; everything that can be wrong is found here.

        Args:
            num_envs: Number of episodes, at least 1.
            autoreset_mode: When an episode that is over begins anew: "NextStep" (the next action is
                not taken), "SameStep" (at once; the end is in `final_obs` and `final_info`), or
                "Disabled" (`reset(options={"reset_mask": ...})`).
            copy: Returns copies of the observations; False returns the array that goes on changing.
            granularity: "token".
            format: "tokens".
            settings: As for `ReasonEnv`.
        """
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1, got {num_envs!r}")
        if (granularity, format) != ("token", "tokens"):
            raise ConfigError(
                "a vector environment must have granularity 'token' and format 'tokens', got "
                f"{granularity!r} and {format!r}; use vectorization_mode='sync' for others"
            )
        if settings.get("render_mode") is not None:
            raise ConfigError(
                f"render_mode must be None, got {settings['render_mode']!r}; render one environment"
            )
        self.autoreset_mode = autoreset_mode_of(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.env = ReasonEnv(granularity="token", format="tokens", **settings)
        self.num_envs = num_envs
        self.copy = copy
        self.render_mode = None
        single: tuple[Any, Any] = (self.env.observation_space, self.env.action_space)
        self.single_observation_space, self.single_action_space = single
        self.observation_space = batch_space(single[0], num_envs)
        self.action_space = batch_space(single[1], num_envs)
        width = self.env.max_prompt_tokens + self.env.rules.max_tokens
        self._ids = np.full((num_envs, width), self.env.codec.pad_id, dtype=np.int32)
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._states: list[ReasonState] = []
        self._prompt_sizes = np.zeros(num_envs, dtype=np.int64)
        self._closed = np.zeros(num_envs, dtype=np.int64)
        self._bounds = np.zeros(num_envs, dtype=np.int64)
        rules = self.env.rules
        self._ends = np.zeros((num_envs, min(rules.max_steps, rules.max_tokens)), dtype=np.int32)
        self._may_commit = np.zeros(num_envs, dtype=np.bool_)
        self._had_sign = np.zeros(num_envs, dtype=np.bool_)
        self._infos: dict[str, np.ndarray[Any, Any]] = {
            name: np.zeros(num_envs, dtype=kind) for name, kind in INFO_TYPES.items()
        }
        self._is_over = np.zeros(num_envs, dtype=np.bool_)
        self._table = token_table(self.env.codec)

    @property
    def states(self) -> tuple[ReasonState, ...]:
        """Every episode's present state: values, which `options={"states": ...}` takes back."""
        self._check_reset()
        self._states = [self._state(index) for index in range(self.num_envs)]
        return tuple(self._states)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Starts episodes.

        Args:
            seed: One seed (episode i gets seed + i) or one for each.
            options: As for `ReasonEnv`, for every episode; {"states": [...]} has one state for
                each, None where the problem is drawn; {"reset_mask": booleans} leaves the others as
                they are.

        Raises:
            ConfigError: Not one seed, state or boolean for each episode.
            StateError: A state cannot be a start; episodes before it have been reset.
        """
        seeds = seeds_of(seed, self.num_envs)
        given = dict(options or {})
        mask = reset_mask(given.pop("reset_mask", None), self.num_envs)
        if not self._states and not mask.all():
            raise ResetNeeded("call reset() for all episodes before a reset of some")
        states = given.pop("states", None)
        if states is not None and len(states) != self.num_envs:
            raise ConfigError(
                f"options['states'] must be one state (or None) for each of the {self.num_envs} "
                f"episodes, got {len(states)}"
            )
        for index in np.flatnonzero(mask).tolist():
            own = given if states is None or states[index] is None else {"state": states[index]}
            self._reset_one(index, seeds[index], own)
        return self._observations(), self._infos_of(mask)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Takes one token in each episode.

        Raises:
            ActionError: The actions are not one integer for each episode.
            CodecError: An id lies outside the vocabulary.
            StateError: An episode is over and autoreset is disabled.
        """
        self._check_reset()
        acts = ~self._is_over
        if self.autoreset_mode is AutoresetMode.DISABLED and not acts.all():
            raise StateError(
                f"episodes that are over must be reset before a step, got {np.sum(~acts)} of them; "
                "use reset(options={'reset_mask': ...})"
            )
        tokens = checked_tokens(actions, acts, self.env.codec.vocab_size)
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        for index in np.flatnonzero(~acts).tolist():
            self._reset_one(index, None, {})
        ends, is_graded = self._append(tokens, acts)
        for index in np.flatnonzero(ends).tolist():
            state = self._settle(index, is_graded=bool(is_graded[index]))
            rewards[index] = self.env.reward_config.reward(state, self.env.rules)
            terminations[index] = state.verdict is not None
            truncations[index] = is_truncated(state, self.env.rules)
        self._is_over = terminations | truncations
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._is_over.any():
            infos = self._reset_over()
        infos |= self._infos_of(np.ones(self.num_envs, dtype=np.bool_))
        return self._observations(), rewards, terminations, truncations, infos

    def _append(self, tokens: np.ndarray[Any, Any], acts: Bools) -> tuple[Bools, Bools]:
        """Writes the tokens, closes steps; returns which episodes end, which with a verdict."""
        counts, rules, table = self._infos["num_tokens"], self.env.rules, self._table
        rows = np.flatnonzero(acts)
        self._ids[rows, self._prompt_sizes[rows] + counts[rows]] = tokens[rows]
        counts[rows] += 1
        closes = acts & table.closes[tokens]
        for index in np.flatnonzero(acts & table.may_close[tokens]).tolist():
            closes[index] = self.env.codec.ends_step(self._response(index, self._bounds[index]))
        begins = self._bounds.copy()
        rows = np.flatnonzero(closes)
        self._ends[rows, self._closed[rows]] = self._bounds[rows] = counts[rows]
        self._closed[rows] += 1
        self._infos["num_steps"][:] = self._closed + (self._bounds < counts)
        is_answered = np.zeros(self.num_envs, dtype=np.bool_)
        self._may_commit |= acts & table.may_commit[tokens]
        if rules.stop_at_answer:
            for index in np.flatnonzero(closes & self._may_commit).tolist():
                is_answered[index] = self._commits(index, int(begins[index]))
        is_full = closes & ~is_answered & (self._closed >= rules.max_steps)
        is_graded = is_answered | (acts & (tokens == self.env.codec.eos_id) & ~is_full)
        return is_graded | is_full | (acts & (counts >= rules.max_tokens)), is_graded

    def _response(self, index: int, first: int) -> list[int]:
        """Returns an episode's ids from the response's token `first` on."""
        begin = int(self._prompt_sizes[index])
        return self._ids[
            index, begin + first : begin + int(self._infos["num_tokens"][index])
        ].tolist()

    def _commits(self, index: int, begin: int) -> bool:
        """Returns whether the response, whose last step begins at token `begin`, has an answer."""
        decode = self.env.codec.decode
        if not self._had_sign[index] and not may_commit(decode(self._response(index, begin))):
            self._may_commit[index] = False
            return False
        text = decode(self._response(index, 0))
        self._may_commit[index] = self._had_sign[index] = may_commit(text)
        return commits(text)

    def _settle(self, index: int, *, is_graded: bool) -> ReasonState:
        """Returns the last state of an episode, after keeping it."""
        state = self._state(index)
        if is_graded:
            state = self.env.graded(state)
        self._keep(index, state, self.env.info_of(state))
        return state

    def _reset_over(self) -> dict[str, Any]:
        """Begins anew what is over; returns how it ended."""
        over = self._is_over.copy()
        final_obs = np.full(self.num_envs, None, dtype=object)
        final_info = self._infos_of(over)
        for index in np.flatnonzero(over).tolist():
            final_obs[index] = self._ids[index].copy()
            self._reset_one(index, None, {})
        self._is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return {
            "final_obs": final_obs,
            "_final_obs": over,
            "final_info": final_info,
            "_final_info": over.copy(),
        }

    def _infos_of(self, mask: Bools) -> dict[str, Any]:
        """Returns the infos where `mask` is True, in the form of Gymnasium's `_add_info`."""
        infos: dict[str, Any] = {}
        is_all = bool(mask.all())
        for name, values in self._infos.items():
            infos[name] = values.copy()
            if not is_all:
                infos[name][~mask] = None if INFO_TYPES[name] is object else 0
            infos[f"_{name}"] = mask.copy()
        return infos

    def _reset_one(self, index: int, seed: int | None, options: dict[str, Any]) -> None:
        rng = self._rngs[index]
        if rng is None or seed is not None:
            rng, _ = seeding.np_random(seed)
        drawn = rng
        state, prompt_ids = self.env.start(options, lambda: drawn)
        self._rngs[index] = rng
        if not self._states:
            # Until the first reset is through, the other places hold what is never looked at.
            self._states = [state] * self.num_envs
        begun = (*prompt_ids, *state.response)
        written = self._prompt_sizes[index] + self._infos["num_tokens"][index]
        row = self._ids[index]
        row[len(begun) : written] = self.env.codec.pad_id
        row[: len(begun)] = begun
        self._prompt_sizes[index] = len(prompt_ids)
        self._keep(index, state, self.env.info_of(state))
        self._is_over[index] = False

    def _keep(self, index: int, state: ReasonState, info: dict[str, Any]) -> None:
        self._states[index] = state
        closed = self._closed[index] = len(state.step_ends)
        self._bounds[index] = state.step_ends[-1] if closed else 0
        self._ends[index, :closed] = state.step_ends
        is_begun = bool(state.response) and state.verdict is None
        had_sign = is_begun and may_commit(state.text)
        self._may_commit[index] = self._had_sign[index] = had_sign
        for values, value in zip(self._infos.values(), info.values(), strict=True):
            values[index] = value

    def _state(self, index: int) -> ReasonState:
        """Returns an episode's present state."""
        state = self._states[index]
        new = self._response(index, len(state.response))
        if not new:
            return state
        # Not extend(), which would look for the boundaries again.
        return ReasonState(
            problem=state.problem,
            codec=state.codec,
            guidance=state.guidance,
            response=(*state.response, *new),
            sources=state.sources + ("policy",) * len(new),
            verdict=state.verdict,
            step_ends=tuple(self._ends[index, : self._closed[index]].tolist()),
        )

    def _observations(self) -> np.ndarray[Any, Any]:
        return self._ids.copy() if self.copy else self._ids

    def _check_reset(self) -> None:
        if not self._states:
            raise ResetNeeded("call reset() before anything else")
