"""ReasonVectorEnv: many token-level episodes at once, equal to `SyncVectorEnv` step for step.

`rows.py` holds the ids and decides which episodes end; this file grades, reports and resets them.
`reset_cache.py` keeps the prompts and first infos of the latest problems, so that drawing a problem
again renders and tokenizes nothing. A state is stored at the start of an episode and completed when
it is read. The tests compare all outputs with `SyncVectorEnv`.

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

from reason_env.env import ReasonEnv, verdict_fields
from reason_env.errors import ConfigError, StateError
from reason_env.state import ReasonState, before_stop
from reason_env.vector_env.arguments import autoreset_mode_of, checked_tokens, reset_mask, seeds_of
from reason_env.vector_env.reset_cache import ResetCache
from reason_env.vector_env.rows import EpisodeRows
from reason_env.vector_env.token_table import Bools
from reason_env.verdict import Verdict
from reason_env.verify import grade

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
NO_INFO: dict[str, Any] = {
    name: None if kind is object else kind() for name, kind in INFO_TYPES.items()
}
"""Placeholders for the episodes that an info does not cover."""


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
        """Build the episodes and check every argument.

        Args:
            num_envs: Number of episodes, at least 1.
            autoreset_mode: When an episode that is over is reset: "NextStep" (the next action is
                ignored), "SameStep" (at once; `final_obs` and `final_info` hold the end), or
                "Disabled" (by `reset(options={"reset_mask": ...})`).
            copy: Return copies of the observations; False returns the array itself, which later
                steps change.
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
        self._rows = EpisodeRows(
            num_envs,
            width=self.env.max_prompt_tokens + self.env.rules.max_tokens,
            codec=self.env.codec,
            rules=self.env.rules,
        )
        self._reset_cache = ResetCache(self.env)
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._states: list[ReasonState] = []
        self._verdicts: list[Verdict | None] = [None] * num_envs
        self._infos: dict[str, np.ndarray[Any, Any]] = {
            name: np.zeros(num_envs, dtype=kind) for name, kind in INFO_TYPES.items()
        }
        # The same arrays: the rows count them.
        self._infos |= {"num_tokens": self._rows.num_tokens, "num_steps": self._rows.num_steps}
        self._is_over = np.zeros(num_envs, dtype=np.bool_)

    @property
    def states(self) -> tuple[ReasonState, ...]:
        """The current state of each episode: values that `options={"states": ...}` accepts."""
        self._states = [self.state(index) for index in range(self.num_envs)]
        return tuple(self._states)

    def state(self, index: int) -> ReasonState:
        """The current state of one episode."""
        self._check_reset()
        state = self._states[index]
        new = self._rows.response(index, len(state.response))
        if not new:
            return state
        # Not extend(), which would search for the step boundaries again.
        return ReasonState(
            problem=state.problem,
            codec=state.codec,
            guidance=state.guidance,
            response=(*state.response, *new),
            sources=state.sources + ("policy",) * len(new),
            verdict=self._verdicts[index],
            step_ends=self._rows.step_ends(index),
        )

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: One seed (episode i gets seed + i) or one for each.
            options: As for `ReasonEnv`, for every episode. {"states": [...]} holds one state for
                each, or None to draw its problem; {"reset_mask": booleans} resets only some.

        Raises:
            ConfigError: There is not one seed, state or boolean for each episode.
            StateError: A state cannot be a start; the episodes before it are already reset.
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
        """Take one token in each episode.

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
        for index in np.flatnonzero(~acts).tolist():
            self._reset_one(index, None, {})
        over, is_graded, texts = self._rows.append(tokens, acts)
        for index in np.flatnonzero(over).tolist():
            rewards[index] = self._end(index, texts.get(index), is_graded=bool(is_graded[index]))
        self._is_over = over.copy()
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and over.any():
            infos = self._reset_over()
        infos |= self._infos_of(np.ones(self.num_envs, dtype=np.bool_))
        return self._observations(), rewards, is_graded, over & ~is_graded, infos

    def _end(self, index: int, text: str | None, *, is_graded: bool) -> float:
        """Grade an episode that is over, record its end, and return its reward."""
        verdict = None
        if is_graded:
            reference = self._states[index].problem.reference
            whole = self._rows.text(index) if text is None else text
            response = before_stop(whole, self.env.rules.stops)
            verdict = grade(response, reference, self.env.grade_options)
        self._verdicts[index] = verdict
        infos = self._infos
        infos["outcome"][index] = "truncated" if verdict is None else verdict.outcome.value
        infos["success"][index], infos["extracted"][index], infos["reason"][index] = verdict_fields(
            verdict
        )
        return self.env.reward_config.of_end(verdict)

    def _reset_over(self) -> dict[str, Any]:
        """Reset the episodes that are over; return their last observations and infos."""
        over = self._is_over.copy()
        final_obs = np.full(self.num_envs, None, dtype=object)
        final_info = self._infos_of(over)
        for index in np.flatnonzero(over).tolist():
            final_obs[index] = self._rows.ids[index].copy()
            self._reset_one(index, None, {})
        self._is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return {
            "final_obs": final_obs,
            "_final_obs": over,
            "final_info": final_info,
            "_final_info": over.copy(),
        }

    def _infos_of(self, mask: Bools) -> dict[str, Any]:
        """The infos of the masked episodes, in the form of Gymnasium's `_add_info`."""
        infos: dict[str, Any] = {}
        is_all = bool(mask.all())
        for name, values in self._infos.items():
            infos[name] = values.copy() if is_all else np.where(mask, values, NO_INFO[name])
            infos[f"_{name}"] = mask.copy()
        return infos

    def _reset_one(self, index: int, seed: int | None, options: dict[str, Any]) -> None:
        """Start one episode."""
        rng = self._rngs[index]
        if rng is None or seed is not None:
            rng, _ = seeding.np_random(seed)
        start = self._reset_cache.get(options, rng)
        self._rngs[index] = rng
        if not self._states:
            # Placeholders, never read: the first reset covers every episode.
            self._states = [start.state] * self.num_envs
        self._states[index], self._verdicts[index] = start.state, None
        self._rows.begin(index, start.prompt_ids, start.state)
        for values, value in zip(self._infos.values(), start.info, strict=True):
            values[index] = value
        self._is_over[index] = False

    def _observations(self) -> np.ndarray[Any, Any]:
        return self._rows.ids.copy() if self.copy else self._rows.ids

    def _check_reset(self) -> None:
        if not self._states:
            raise ResetNeeded("call reset() before anything else")
