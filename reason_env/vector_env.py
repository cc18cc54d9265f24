"""ReasonVectorEnv: many token-level episodes at once, equal to `SyncVectorEnv` step for step.

Most tokens only append: they neither end a step nor the response, so a whole vector of them is a
few array operations. A token that may complete the step delimiter is looked at alone. One that
ends an episode (the end token, an answer, a budget) goes through `ReasonEnv.after`, the definition
itself. States are therefore kept as of the start, and completed when asked for.

Not covered: other granularities and formats (use `gym.make_vec(..., vectorization_mode="sync")`),
wrappers of single environments (start wrappers act through `options={"starts": ...}` or per-episode
`options={"states": [...]}`), and rendering.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from reason_env.env import ReasonEnv, commits
from reason_env.errors import ActionError, CodecError, ConfigError, StateError, shown
from reason_env.state import ReasonState, is_truncated

Bools = np.ndarray[Any, np.dtype[np.bool_]]
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
        modes = {mode.value: mode for mode in AutoresetMode}
        if autoreset_mode not in (*modes, *modes.values()):
            raise ConfigError(
                f"autoreset_mode must be one of {', '.join(modes)}, got {shown(autoreset_mode)}"
            )
        self.autoreset_mode = AutoresetMode(autoreset_mode)
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
        self._bounds = [0] * num_envs
        self._infos: dict[str, np.ndarray[Any, Any]] = {
            name: np.zeros(num_envs, dtype=kind) for name, kind in INFO_TYPES.items()
        }
        self._is_over = np.zeros(num_envs, dtype=np.bool_)
        self._may_end = self._tokens_that_may_end()

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
        seeds = self._seeds(seed)
        given = dict(options or {})
        mask = self._mask(given.pop("reset_mask", None))
        states = given.pop("states", None)
        if states is not None and len(states) != self.num_envs:
            raise ConfigError(
                f"options['states'] must be one state (or None) for each of the {self.num_envs} "
                f"episodes, got {len(states)}"
            )
        infos: dict[str, Any] = {}
        for index in np.flatnonzero(mask).tolist():
            own = given if states is None or states[index] is None else {"state": states[index]}
            infos = self._add_info(infos, self._reset_one(index, seeds[index], own), index)
        return self._observations(), infos

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
        tokens = self._checked_tokens(actions, acts)
        infos: dict[str, Any] = {}
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        for index in np.flatnonzero(~acts).tolist():
            self._reset_one(index, None, {})
        special = self._append(tokens, acts)
        for index in np.flatnonzero(special).tolist():
            if self._only_closes(index, int(tokens[index])):
                continue
            state = self._settle(index, int(tokens[index]))
            rewards[index] = self.env.reward_config.reward(state, self.env.rules)
            terminations[index] = state.verdict is not None
            truncations[index] = is_truncated(state, self.env.rules)
        self._is_over = terminations | truncations
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._is_over.any():
            infos = self._reset_over()
        masks = np.ones((len(self._infos), self.num_envs), dtype=np.bool_)
        for mask, (name, values) in zip(masks, self._infos.items(), strict=True):
            infos[name], infos[f"_{name}"] = values.copy(), mask
        return self._observations(), rewards, terminations, truncations, infos

    def _append(self, tokens: np.ndarray[Any, Any], acts: Bools) -> Bools:
        """Writes the tokens; returns the episodes whose token may have ended something."""
        counts = self._infos["num_tokens"]
        rows = np.flatnonzero(acts)
        self._ids[rows, self._prompt_sizes[rows] + counts[rows]] = tokens[rows]
        counts[rows] += 1
        special = acts & (self._may_end[tokens] | (counts >= self.env.rules.max_tokens))
        plain = acts & ~special
        self._infos["num_steps"][plain] = self._closed[plain] + 1
        return special

    def _only_closes(self, index: int, token: int) -> bool:
        """Returns whether the token, kept, at most closes a step after which all goes on."""
        env, count = self.env, int(self._infos["num_tokens"][index])
        if token == env.codec.eos_id or count >= env.rules.max_tokens:
            return False
        begin = int(self._prompt_sizes[index])
        response = self._ids[index, begin : begin + count].tolist()
        if env.codec.ends_step(response[self._bounds[index] :]):
            closed = self._closed[index] + 1
            if closed >= env.rules.max_steps:
                return False
            if env.rules.stop_at_answer and commits(env.codec.decode(response)):
                return False
            self._closed[index], self._bounds[index] = closed, count
        self._infos["num_steps"][index] = self._closed[index] + (self._bounds[index] < count)
        return True

    def _settle(self, index: int, token: int) -> ReasonState:
        """Takes a token that may end something by the definition; returns the state after it."""
        state = self.env.after(self._state(index, leave_out=1), (token,))
        self._keep(index, state, self.env.info_of(state))
        return state

    def _reset_over(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for index in np.flatnonzero(self._is_over).tolist():
            final = {
                "final_obs": self._ids[index].copy(),
                "final_info": self.env.info_of(self._states[index]),
            }
            infos = self._add_info(infos, final, index)
            self._reset_one(index, None, {})
        self._is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return infos

    def _reset_one(self, index: int, seed: int | None, options: dict[str, Any]) -> dict[str, Any]:
        rng = self._rngs[index]
        if rng is None and seed is None:
            rng = np.random.default_rng()
        if rng is not None:
            self.env.np_random = rng
        observation, info = self.env.reset(seed=seed, options=options)
        self._rngs[index] = self.env.np_random
        self._ids[index] = observation
        if not self._states:
            # Until the first reset is through, the other places hold what is never looked at.
            self._states = [self.env.state] * self.num_envs
        self._prompt_sizes[index] = self.env.num_prompt_tokens
        self._keep(index, self.env.state, info)
        self._is_over[index] = False
        return info

    def _keep(self, index: int, state: ReasonState, info: dict[str, Any]) -> None:
        self._states[index] = state
        self._closed[index] = len(state.step_ends)
        self._bounds[index] = state.step_ends[-1] if state.step_ends else 0
        for name, value in info.items():
            self._infos[name][index] = value

    def _state(self, index: int, leave_out: int = 0) -> ReasonState:
        """Returns an episode's state without its last `leave_out` tokens."""
        state, begin = self._states[index], int(self._prompt_sizes[index])
        end = begin + int(self._infos["num_tokens"][index]) - leave_out
        new = self._ids[index, begin + len(state.response) : end].tolist()
        return state.extend(new) if new else state

    def _observations(self) -> np.ndarray[Any, Any]:
        return self._ids.copy() if self.copy else self._ids

    def _tokens_that_may_end(self) -> Bools:
        codec = self.env.codec
        last = codec.step_delimiter[-1]
        texts = [codec.decode((token,)) for token in range(codec.vocab_size)]
        # A token may hold the last bytes of a character: alone it decodes to U+FFFD.
        broken = "" if last.isascii() else "\ufffd"
        may_end = np.array([last in text or text[:1] == broken != "" for text in texts])
        may_end[codec.eos_id] = True
        return may_end

    def _checked_tokens(self, actions: Any, acts: Bools) -> np.ndarray[Any, Any]:
        tokens = np.asarray(actions)
        if tokens.shape != (self.num_envs,) or tokens.dtype.kind not in "iu":
            raise ActionError(
                f"actions must be one token id for each of the {self.num_envs} episodes, got "
                f"{shown(actions)}"
            )
        size = self.env.codec.vocab_size
        wrong = acts & ((tokens < 0) | (tokens >= size))
        if wrong.any():
            raise CodecError(
                f"token ids must lie in 0..{size - 1}, got {int(tokens[wrong][0])}; encode the "
                "text with this environment's codec"
            )
        return np.where(acts, tokens, 0)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int):
            return [seed + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ConfigError(
                f"seed must be one number, or one for each of the {self.num_envs} episodes, got "
                f"{len(seed)}"
            )
        return list(seed)

    def _mask(self, given: Any) -> Bools:
        if given is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask: np.ndarray[Any, Any] = np.asarray(given)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ConfigError(
                f"options['reset_mask'] must be one boolean for each of the {self.num_envs} "
                f"episodes, at least one of them True, got {shown(given)}"
            )
        if not self._states and not mask.all():
            raise ResetNeeded("call reset() for all episodes before a reset of some")
        return mask

    def _check_reset(self) -> None:
        if not self._states:
            raise ResetNeeded("call reset() before anything else")
