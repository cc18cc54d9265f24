"""The start wrappers on small MDPs (`ReasonTree-v0` and friends), where a state is a number.

`ResetToState` and `PrefixRollin` become these by themselves on a `TabularEnv`; arguments that speak
of texts are refused. A chain is the tuple of the open states that an episode went through, so that
`cut="uniform"` of own failures is RRPO's restart distribution, and a roll-in of 0..H-1 steps the
occupancy of the policy that is rolled in: `agents/tabular/exact/restarts.py` has both exactly.

`Hint`, `Curriculum` and `RewardShaping` are refused there: a number has no text to show anything
beside, there is one problem, and the potential counts the steps of a written solution.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, StateError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import checked_fraction
from reason_env.tabular import TabularEnv
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import KEPT, ResetToState
from reason_env.wrappers.start import StartWrapper

States = tuple[int, ...]
TabularCut = Literal["uniform"] | int | Callable[[States, np.random.Generator], int] | None
TabularPolicy = Callable[[int, np.random.Generator], int]
"""(state, generator) -> action."""


class TabularResetToState(ResetToState):
    """Starts some episodes from the states of recorded ones.

    >>> import gymnasium as gym, reason_env
    >>> env = ResetToState(gym.make("ReasonTree-v0", num_steps=3), states=[5, (0, 6)], cut=None)
    >>> sorted({int(env.reset(seed=seed)[0]) for seed in range(20)})
    [5, 6]
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        states: Sequence[int | Sequence[int]] = (),
        *,
        probability: float = 1.0,
        cut: TabularCut = "uniform",
        keep: Literal["none", "failures", "successes", "all"] = "none",
        pick: Literal["problem", "any"] = "problem",
        capacity: int = 1024,
    ) -> None:
        """Wraps `env`; see `ResetToState`.

        Args:
            env: Any stack on a `TabularEnv`.
            states: States, or chains of them.
            probability: Of acting at a reset, 0..1.
            cut: Which state of a chain: "uniform"; the one after a number of steps, or the last
                before that; the index that a function of chain and generator returns; None: the
                last.
            keep: Which of the stack's own finished episodes are taken in.
            pick: The same here: there is one problem.
            capacity: Chains that are held; the oldest makes room.
        """
        whole = isinstance(cut, int) and not isinstance(cut, bool) and cut >= 0
        if not (cut in ("uniform", None) or whole or callable(cut)):
            raise ConfigError(
                f"cut must be 'uniform', a number of steps, a function or None on a TabularEnv, "
                f"got {shown(cut)}; its chains have no texts to look at"
            )
        if keep not in KEPT or pick not in ("problem", "any"):
            raise ConfigError(
                f"keep must be one of {', '.join(KEPT)}, and pick 'problem' or 'any', got "
                f"{shown(keep)} and {shown(pick)}{did_you_mean(str(keep), KEPT)}"
            )
        if capacity < 1:
            raise ConfigError(f"capacity must be at least 1, got {capacity!r}")
        StartWrapper.__init__(
            self,
            env,
            probability=probability,
            states=_listed_states(states),
            cut=cut,
            keep=keep,
            pick=pick,
            capacity=capacity,
        )
        self.cut, self.keep, self.pick = cut, keep, pick
        self.chains: deque[States] = deque(maxlen=capacity)
        self._visited: list[int] = []
        for item in states:
            self.add(item)

    def _look_below(self, env: gym.Env[Any, Any]) -> None:
        self.tabular_env = _tabular_env(env)

    def add(self, trajectory: int | Sequence[int], entropies: None = None) -> None:  # type: ignore[override]
        """Takes in a state, or the open states of an episode in their order.

        Raises:
            StateError: One of them is no open state of this MDP, or there is none.
        """
        del entropies
        self.chains.append(self._chain(trajectory))

    def start(self, state: int, rng: np.random.Generator) -> int:  # type: ignore[override]
        """Returns a chain's state as the start."""
        if not self.chains:
            return state
        chain = self.chains[int(rng.integers(len(self.chains)))]
        return chain[self._index(chain, rng)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack and begins to note the states."""
        obs, info = StartWrapper.reset(self, seed=seed, options=options)
        self._visited = [self.tabular_env.state]
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the stack; a finished episode is taken in if it is of the kind that is kept."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if not (terminated or truncated):
            self._visited.append(self.tabular_env.state)
        elif bool(info["success"]) in KEPT[self.keep]:
            self.chains.append(tuple(self._visited))
        return obs, reward, terminated, truncated, info

    def memory(self) -> dict[str, Any]:
        """Returns the chains, and the states of this episode."""
        return StartWrapper.memory(self) | {
            "chains": [list(chain) for chain in self.chains],
            "visited": list(self._visited),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        remember = StartWrapper.read_memory(self, data)
        chains = deque(map(self._chain, data["chains"]), maxlen=self.chains.maxlen)
        visited = [int(state) for state in data["visited"]]

        def commit() -> None:
            remember()
            self.chains, self._visited = chains, visited

        return commit

    def _chain(self, given: int | Sequence[int]) -> States:
        items = given if isinstance(given, (tuple, list)) else (given,)
        if not items:
            raise StateError("a chain must hold at least one state, got none; leave it out")
        return tuple(map(self.tabular_env.open_state, items))

    def _index(self, chain: States, rng: np.random.Generator) -> int:
        cut = self.cut
        if cut is None:
            return len(chain) - 1
        if isinstance(cut, int):
            return min(cut, len(chain) - 1)
        if not callable(cut):
            return int(rng.integers(len(chain)))
        index = cut(chain, rng)
        if not 0 <= index < len(chain):
            raise ConfigError(
                f"cut must return an index in 0..{len(chain) - 1}, got {index!r}; it is one of the "
                "chain's states"
            )
        return index


class TabularPrefixRollin(PrefixRollin):
    """Starts some episodes after steps of the reference actions, or of a policy.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("ReasonTree-v0", num_steps=3, critical_rate=0.0)
    >>> PrefixRollin(env, steps=2).reset(seed=0)[0]  # "2 steps, right"
    np.int64(8)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        source: Literal["reference"] | TabularPolicy = "reference",
        *,
        steps: int | Sequence[int] | None = None,
        probability: float = 1.0,
        fraction: None = None,
        conditioning: Literal["response"] = "response",
        schedule: None = None,
        capacity: int = 1024,
    ) -> None:
        """Wraps `env`; see `PrefixRollin`.

        Args:
            env: Any stack on a `TabularEnv`.
            source: Who acts: the MDP's "reference" actions, or a policy.
            steps: Lowest and highest number of steps, or one; drawn uniformly. A roll-in that would
                end the episode stops in the last open state.
            probability: Of acting at a reset, 0..1.
            fraction: None: an MDP's chain has no length to take a share of.
            conditioning: "response": there is no prompt.
            schedule: None.
            capacity: As it is.
        """
        refused = {"fraction": fraction, "schedule": schedule}
        wrong = [name for name, value in refused.items() if value is not None]
        if wrong or conditioning != "response" or not (source == "reference" or callable(source)):
            raise ConfigError(
                "on a TabularEnv, PrefixRollin must be given by steps, probability and a source "
                "('reference' or a policy of state and generator), got "
                f"{wrong[0] if wrong else shown(source)}; leave the rest out"
            )
        if steps is None:
            raise ConfigError("steps must be given on a TabularEnv, got None; say how many")
        pair: tuple[Any, ...] = tuple(steps) if isinstance(steps, (tuple, list)) else (steps, steps)
        if len(pair) != 2 or not all(type(item) is int for item in pair):
            raise ConfigError(f"steps must be one whole number or two, got {shown(steps)}")
        if not 0 <= pair[0] <= pair[1]:
            raise ConfigError(f"steps must be 0 <= low <= high, got {shown(steps)}")
        checked_fraction(probability, "probability")
        StartWrapper.__init__(self, env, source=source, steps=steps, probability=probability)
        self.source, self.low, self.high = source, int(pair[0]), int(pair[1])

    def _look_below(self, env: gym.Env[Any, Any]) -> None:
        self.tabular_env = _tabular_env(env)

    def add(self, trajectory: Any) -> None:
        """Refuses: trajectories are `ResetToState`'s here.

        Raises:
            StateError: Always.
        """
        raise StateError(
            f"PrefixRollin must not be given trajectories on a TabularEnv, got {shown(trajectory)};"
            " use ResetToState(env, states=...)"
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack."""
        return StartWrapper.reset(self, seed=seed, options=options)

    def start(self, state: int, rng: np.random.Generator) -> int:  # type: ignore[override]
        """Returns the state after the roll-in."""
        model = self.tabular_env.model
        for _ in range(int(rng.integers(int(self.low), int(self.high) + 1))):
            action = (
                int(model.reference_action[state])
                if self.source == "reference"
                else int(self.source(state, rng))  # type: ignore[operator]
            )
            after = model.drawn(state, action, rng)
            if model.terminal[after]:
                break
            state = after
        return state

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the stack."""
        return self.env.step(action)

    def memory(self) -> dict[str, Any]:
        """Returns whether the wrapper moved this episode's start."""
        return StartWrapper.memory(self)

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        return StartWrapper.read_memory(self, data)


def _tabular_env(env: gym.Env[Any, Any]) -> TabularEnv:
    inner = env.unwrapped
    assert isinstance(inner, TabularEnv), "chosen by StartWrapper.__new__"
    return inner


def _listed_states(states: Any) -> list[Any]:
    if isinstance(states, str) or not isinstance(states, Sequence):
        raise ConfigError(
            f"states must be states or chains of them on a TabularEnv, got {shown(states)}"
        )
    return [list(item) if isinstance(item, (tuple, list)) else item for item in states]


ResetToState.tabular_form = TabularResetToState
PrefixRollin.tabular_form = TabularPrefixRollin
