"""Start wrappers for small MDPs (`ReasonTree-v0` and its like), where a state is a number.

A chain is the tuple of open states that an episode went through. `TabularResetToState` with
`cut="uniform"` on the stack's own failures therefore gives RRPO's restart distribution, and
`TabularPrefixRollin` with 0..H-1 steps gives the occupancy of the policy that acts;
`agents/tabular/exact/restarts.py` computes both exactly.

Not covered: `Hint`, `Curriculum` and `RewardShaping` have no tabular form. A number has no text to
add guidance to, an MDP is one problem, and the potential counts steps of a written solution.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, StateError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import checked_fraction
from reason_env.tabular import TabularEnv
from reason_env.wrappers.reset_to_state import KEPT, Keep, Pick
from reason_env.wrappers.start import StartWrapper

States = tuple[int, ...]
TabularCut = Literal["uniform"] | int | Callable[[States, np.random.Generator], int] | None
TabularPolicy = Callable[[int, np.random.Generator], int]
"""(state, generator) -> action."""


class _TabularStart(StartWrapper):
    """A start wrapper on a `TabularEnv`."""

    def _find_inner_env(self) -> None:
        inner = self.unwrapped
        if not isinstance(inner, TabularEnv):
            raise ConfigError(
                f"{type(self).__name__} must wrap a stack on TabularEnv, got "
                f"{type(inner).__name__}; use {type(self).__name__.removeprefix('Tabular')} for "
                "one on ReasonEnv"
            )
        self.tabular_env = inner

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the stack."""
        return self.env.step(action)


class TabularResetToState(_TabularStart):
    """Starts some episodes from the states of recorded ones.

    >>> import gymnasium as gym, reason_env
    >>> tree = gym.make("ReasonTree-v0", num_steps=3)
    >>> env = TabularResetToState(tree, states=[5, (0, 6)], cut=None)
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
        keep: Keep = "none",
        pick: Pick = "problem",
        capacity: int = 1024,
    ) -> None:
        """Wrap `env`; compare `ResetToState`.

        Args:
            env: Any stack on a `TabularEnv`.
            states: States, or chains of them.
            probability: Probability that the wrapper acts at a reset, 0..1.
            cut: Which state of a chain to start from: "uniform"; the state after a number of steps
                (the last one if the chain is shorter); the index that a function of chain and
                generator returns; None for the last.
            keep: Which of the stack's own finished episodes to add.
            pick: Without effect, since an MDP is one problem; saved specs hold it.
            capacity: Largest number of chains; the newest replaces the oldest.
        """
        is_count = isinstance(cut, int) and not isinstance(cut, bool) and cut >= 0
        if not (cut in ("uniform", None) or is_count or callable(cut)):
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
        if isinstance(states, str) or not isinstance(cast("object", states), Sequence):
            raise ConfigError(
                f"states must be states or chains of them on a TabularEnv, got {shown(states)}"
            )
        super().__init__(
            env,
            probability=probability,
            states=list(states),
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

    def add(self, trajectory: int | Sequence[int]) -> None:
        """Add a state, or the open states of an episode in their order.

        Raises:
            StateError: One of them is no open state of this MDP, or there is none.
        """
        self.chains.append(self._chain(trajectory))

    def start(self, state: int, rng: np.random.Generator) -> int:
        """Start from a state of a drawn chain."""
        if not self.chains:
            return state
        chain = self.chains[int(rng.integers(len(self.chains)))]
        return chain[self._index(chain, rng)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack and begin to record the states."""
        obs, info = super().reset(seed=seed, options=options)
        self._visited = [self.tabular_env.state]
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the stack; add a finished episode if `keep` includes its kind."""
        obs, reward, terminated, truncated, info = super().step(action)
        if not (terminated or truncated):
            self._visited.append(self.tabular_env.state)
        elif bool(info["success"]) in KEPT[self.keep]:
            self.chains.append(tuple(self._visited))
        return obs, reward, terminated, truncated, info

    def memory(self) -> dict[str, Any]:
        """The chains, and the states of this episode."""
        return super().memory() | {
            "chains": [list(chain) for chain in self.chains],
            "visited": list(self._visited),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        commit_base = super().read_memory(data)
        chains = deque(map(self._chain, data["chains"]), maxlen=self.chains.maxlen)
        visited = [int(state) for state in data["visited"]]

        def commit() -> None:
            commit_base()
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


class TabularPrefixRollin(_TabularStart):
    """Starts some episodes after steps of the reference actions, or of a policy.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("ReasonTree-v0", num_steps=3, critical_rate=0.0)
    >>> TabularPrefixRollin(env, steps=2).reset(seed=0)[0]  # "2 steps, right"
    np.int64(8)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        source: Literal["reference"] | TabularPolicy = "reference",
        *,
        steps: int | Sequence[int],
        probability: float = 1.0,
    ) -> None:
        """Wrap `env`; compare `PrefixRollin`.

        Args:
            env: Any stack on a `TabularEnv`.
            source: Who acts: the MDP's "reference" actions, or a policy.
            steps: Lowest and highest number of steps, or one number; drawn uniformly. A roll-in
                that would end the episode stops in the last open state.
            probability: Probability that the wrapper acts at a reset, 0..1.
        """
        if source != "reference" and not callable(source):
            raise ConfigError(
                "source must be 'reference' or a policy of state and generator on a TabularEnv, "
                f"got {shown(source)}"
            )
        pair: tuple[Any, ...] = tuple(steps) if isinstance(steps, (tuple, list)) else (steps, steps)
        if len(pair) != 2 or not all(type(item) is int for item in pair):
            raise ConfigError(f"steps must be one whole number or two, got {shown(steps)}")
        if not 0 <= pair[0] <= pair[1]:
            raise ConfigError(f"steps must be 0 <= low <= high, got {shown(steps)}")
        checked_fraction(probability, "probability")
        super().__init__(env, source=source, steps=steps, probability=probability)
        self.source, self.low, self.high = source, int(pair[0]), int(pair[1])

    def start(self, state: int, rng: np.random.Generator) -> int:
        """Start after a drawn number of steps."""
        model = self.tabular_env.model
        for _ in range(int(rng.integers(self.low, self.high + 1))):
            if callable(self.source):
                action = int(self.source(state, rng))
            else:
                action = int(model.reference_action[state])
            after = model.sample_next_state(state, action, rng)
            if model.terminal[after]:
                break
            state = after
        return state
