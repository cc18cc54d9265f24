"""TokenVecEnv: the native vector environment as Stable-Baselines3's `VecEnv`.

The episodes live in one `ReasonVectorEnv`, so there is no object for each of them. `get_attr` and
`env_method` therefore answer for the names listed here, and say so for any other. The adapter
resets episodes itself, so that starts act at automatic resets too.

Not covered: `set_attr` (the episodes share one environment) and pictures.
"""

# Stable-Baselines3 and Gymnasium's spaces are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from reason_env.agents.sb3.start_stack import StartStack, Wrap
from reason_env.env import STARTS_OPTION
from reason_env.errors import ConfigError, shown
from reason_env.state import ReasonState
from reason_env.vector_env import ReasonVectorEnv

Indices = int | Iterable[int] | None
StartFunction = Callable[[ReasonState], ReasonState]
"""Maps the state where an episode would start to another start."""
MaskFunction = Callable[[ReasonState], np.ndarray[Any, np.dtype[np.bool_]]]
"""Maps an open state to the ids that may come next, [vocab_size]."""
RESET_OPTIONS = ("state", "problem")

SHARED = (
    "action_space",
    "codec",
    "grade_options",
    "layout",
    "max_prompt_tokens",
    "metadata",
    "observation_space",
    "problems",
    "prompt",
    "render_mode",
    "reward_config",
    "rules",
    "template",
)
"""Attributes of `ReasonEnv` that are the same for all episodes."""
METHODS = ("action_masks", "get_state", "set_state")
"""Methods that `env_method` calls."""


class TokenVecEnv(VecEnv):
    """The episodes of a `ReasonVectorEnv`, for the algorithms of Stable-Baselines3.

    Infos are those of `DummyVecEnv` on the same environments, and `is_success` at the end of an
    episode, which `EvalCallback` reports.

    >>> envs = TokenVecEnv.make(2, problems="chain", levels=(1, 1), size=3)
    >>> _ = envs.seed(0)
    >>> ids = envs.reset()
    >>> ids, rewards, dones, infos = envs.step(np.array([65, 257]))
    >>> rewards.tolist(), dones.tolist(), infos[1]["outcome"], infos[1]["is_success"]
    ([0.0, 0.0], [False, True], 'no_answer', False)
    >>> [state.text for state in envs.get_attr("state")]
    ['A', '']
    """

    def __init__(
        self,
        envs: ReasonVectorEnv,
        *,
        starts: Sequence[StartFunction] = (),
        wrap: Wrap | None = None,
        masks: MaskFunction | None = None,
    ) -> None:
        """Adapt a vector environment, which nothing else may step from now on.

        Args:
            envs: With autoreset_mode "Disabled", since the adapter resets its episodes.
            starts: Move the start of every episode that begins without a given state: the first
                maps the problem's initial state, each further one the result before it.
            wrap: Puts start wrappers around an environment, as in `lambda env: PrefixRollin(env)`.
                They act before `starts`, and are the same for all episodes.
            masks: Which ids may come next in a state, such as those of a form that responses must
                have; for `action_masks`, which excludes padding too. Steps do not check it.

        Raises:
            ConfigError: The environments reset themselves, or return their own array; or `wrap`
                adds other wrappers.
        """
        if envs.autoreset_mode is not AutoresetMode.DISABLED:
            raise ConfigError(
                "autoreset_mode of a vector environment for Stable-Baselines3 must be 'Disabled', "
                f"got {envs.autoreset_mode.value!r}; the adapter resets the episodes"
            )
        if not envs.copy:
            raise ConfigError(
                "a vector environment for Stable-Baselines3 must return copies, got copy=False; "
                "rollout buffers read an observation after the next step"
            )
        self.envs = envs
        self._starts = tuple(starts)
        self._start_stack = None if wrap is None else StartStack(envs.env, wrap)
        self._mask = envs.env.action_masks()
        self._masks = masks
        self._actions: np.ndarray[Any, Any] | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    @classmethod
    def make(
        cls,
        num_envs: int,
        *,
        starts: Sequence[StartFunction] = (),
        wrap: Wrap | None = None,
        masks: MaskFunction | None = None,
        **settings: Any,
    ) -> Self:
        """Make the environments and adapt them.

        Args:
            num_envs: Number of episodes.
            starts: As for the class.
            wrap: As for the class.
            masks: As for the class.
            settings: As for `gym.make("MathReason-v0")`.
        """
        settings = {"template": "auto"} | settings
        envs = ReasonVectorEnv(num_envs, autoreset_mode="Disabled", **settings)
        return cls(envs, starts=starts, wrap=wrap, masks=masks)

    def set_options(self, options: Any = None) -> None:
        """Set the options of the next reset: one dict for all, or one for each episode.

        {"state": s} starts from a state; {"problem": id} chooses the problem, and starts act.
        """
        # Not copied deeply, as the base class does: states are values, and share their codec.
        given = {} if options is None else options
        each = [given] * self.num_envs if isinstance(given, dict) else list(given)
        if len(each) != self.num_envs:
            raise ConfigError(
                f"options must be one dict for each of the {self.num_envs} episodes, got "
                f"{len(each)}"
            )
        self._options = [dict(own) for own in each]

    def reset(self) -> np.ndarray[Any, Any]:
        """Start all episodes, with the seeds and the options set before."""
        for own in self._options:
            _check_options(own)
        states = [
            self._start(index, own, seed)
            for index, (own, seed) in enumerate(zip(self._options, self._seeds, strict=True))
        ]
        ids = self._reset(np.ones(self.num_envs, dtype=np.bool_), states, self._seeds)
        self._reset_seeds()
        self._reset_options()
        return ids

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Take one token in each episode and reset those that are over."""
        ids, rewards, terminated, truncated, columns = self.envs.step(self._actions)
        over = terminated | truncated
        infos = _rows_of(columns)
        for info, is_cut in zip(infos, truncated.tolist(), strict=True):
            info["TimeLimit.truncated"] = is_cut
        for index in np.flatnonzero(over).tolist():
            infos[index]["terminal_observation"] = ids[index].copy()
            infos[index]["is_success"] = infos[index]["success"]
            if self._start_stack is not None:
                self._start_stack.end(index, self.envs.state(index))
        if over.any():
            states = [
                self._start(index, {}, None) if is_over else None
                for index, is_over in enumerate(over.tolist())
            ]
            ids = self._reset(over, states, [None] * self.num_envs)
        return ids, rewards.astype(np.float32), over, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Read an attribute of some episodes: `state`, or one that all episodes share.

        Raises:
            AttributeError: It is another name.
        """
        chosen = self._chosen(indices)
        if attr_name == "action_masks":
            return [partial(self._action_mask, index) for index in chosen]
        if attr_name == "set_state":
            return [partial(self._set_state, index) for index in chosen]
        if attr_name in ("state", "get_state"):
            own = [self.envs.state(index) for index in chosen]
            return own if attr_name == "state" else [partial(_same, state) for state in own]
        if attr_name in SHARED:
            return [getattr(self.envs.env, attr_name)] * len(chosen)
        known = ", ".join(("state", *SHARED, *METHODS))
        raise AttributeError(f"an episode has the attributes {known}, got {attr_name!r}")

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Refuse: the episodes share one environment.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"attributes must be set when the environments are made, got {attr_name!r} = "
            f"{shown(value)} later; give it to TokenVecEnv.make"
        )

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call `action_masks()`, `get_state()` or `set_state(state)` of some episodes.

        Raises:
            AttributeError: It is another name.
        """
        if method_name not in METHODS:
            raise AttributeError(
                f"an episode has the methods {', '.join(METHODS)}, got {method_name!r}"
            )
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Answer that no episode is wrapped; `VecMonitor` records what `Monitor` would."""
        return [False] * len(self._chosen(indices))

    def _action_mask(self, index: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if self._masks is None:
            return self._mask.copy()
        state = self.envs.state(index)
        mask = self._mask & self._masks(state)
        if not mask.any():
            raise ConfigError(
                f"masks must allow an id in every open state, got none after {shown(state.text)}; "
                "allow an end token there"
            )
        return mask

    def _set_state(self, index: int, state: ReasonState) -> np.ndarray[Any, Any]:
        mask = np.arange(self.num_envs) == index
        states: list[ReasonState | None] = [None] * self.num_envs
        states[index] = self._start(index, {"state": state}, None)
        return self._reset(mask, states, [None] * self.num_envs)[index]

    def _start(
        self, index: int, options: Mapping[str, Any], seed: int | None
    ) -> ReasonState | None:
        """Where an episode begins; None for a drawn problem's start."""
        moved = {STARTS_OPTION: self._starts} if self._starts and "state" not in options else {}
        if self._start_stack is not None:
            return self._start_stack.begin(index, seed=seed, options={**options, **moved})
        if "problem" in options:
            env = self.envs.env
            state = env.initial_state(env.problems.by_id(str(options["problem"])))
            return reduce(lambda start, move: move(start), self._starts, state)
        return options.get("state")

    def _reset(
        self,
        mask: np.ndarray[Any, Any],
        states: Sequence[ReasonState | None],
        seeds: Sequence[int | None],
    ) -> np.ndarray[Any, Any]:
        """Start the masked episodes; return the observations of all."""
        options: dict[str, Any] = {"reset_mask": mask, "states": list(states)}
        if self._starts:
            options[STARTS_OPTION] = self._starts
        ids, columns = self.envs.reset(seed=list(seeds), options=options)
        infos = _rows_of(columns)
        for index in np.flatnonzero(mask).tolist():
            self.reset_infos[index] = infos[index]
        return ids

    def _chosen(self, indices: Indices) -> list[int]:
        return list(self._get_indices(indices))


def _check_options(options: dict[str, Any]) -> None:
    wrong = [name for name in options if name not in RESET_OPTIONS]
    if wrong or len(options) > 1:
        raise ConfigError(
            f"options of an episode must be one of {' or '.join(RESET_OPTIONS)}, got "
            f"{shown(list(options))}; give `starts` to the environment"
        )


def _same(state: ReasonState) -> ReasonState:
    return state


def _rows_of(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert the infos of a vector environment to one dict for each episode."""
    names = [name for name in columns if not name.startswith("_")]
    values = [columns[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
