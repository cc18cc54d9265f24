"""Curriculum: choose problems by their measured pass rate.

A problem is drawn with weight `p (1 - p)`, which is largest if half of its episodes succeed; a
group of samples then carries the most signal. The wrapper measures `p` by problem or by level, as
an exponential moving average that starts at one half, so that unknown problems are tried.

Not covered: pass rates measured elsewhere; pass them as `measured`.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import ReasonState, checked_fraction
from reason_env.wrappers.start import DrawingWrapper

By = Literal["problem", "level"]


class Curriculum(DrawingWrapper):
    """Draws the problem of some episodes.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 3), size=4)
    >>> env = Curriculum(env, by="level", measured={"2": 1.0, "3": 0.5}, floor=0.0)
    >>> {env.reset(seed=seed)[1]["level"] for seed in range(20)}
    {3}
    """

    tabular_advice = "an MDP is one problem, so there is none to choose: leave Curriculum out"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        by: By = "problem",
        probability: float = 1.0,
        floor: float = 0.01,
        memory: float = 0.9,
        measured: Mapping[str, float] | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            by: Measure a pass rate for each "problem" or for each "level".
            probability: Probability that the wrapper chooses the problem at a reset, 0..1;
                otherwise the draw is uniform.
            floor: Constant added to every weight, 0..1, so that each problem keeps being drawn;
                `p (1 - p)` is at most 0.25.
            memory: Weight of the old pass rate in the moving average, 0..1.
            measured: Initial pass rates by problem id or level (as text).
        """
        self._refuse_tabular(env)
        if by not in get_args(By):
            raise ConfigError(
                f"by must be one of {', '.join(get_args(By))}, got {shown(by)}"
                f"{did_you_mean(str(by), get_args(By))}"
            )
        self.probability = checked_fraction(probability, "probability")
        self.floor = checked_fraction(floor, "floor")
        self.forgetting = 1.0 - checked_fraction(memory, "memory")
        rates = {
            str(key): checked_fraction(rate, "measured") for key, rate in (measured or {}).items()
        }
        super().__init__(
            env,
            by=by,
            probability=probability,
            floor=floor,
            memory=memory,
            measured=dict(rates),
        )
        self.by = by
        keys = [
            self._key(problem.problem_id, problem.level) for problem in self.reason_env.problems
        ]
        self._keys = sorted(set(keys))
        index = {key: position for position, key in enumerate(self._keys)}
        unknown = [key for key in rates if key not in index]
        if unknown:
            raise ConfigError(
                f"measured must name a {by} of the set, got {shown(unknown[0])}"
                f"{did_you_mean(unknown[0], self._keys)}"
            )
        self._index_of = index
        self._key_of_problem = np.array([index[key] for key in keys])
        self._rates = np.array([rates.get(key, 0.5) for key in self._keys])

    @property
    def pass_rates(self) -> dict[str, float]:
        """The measured pass rates; one half if nothing has been measured."""
        return dict(zip(self._keys, self._rates.tolist(), strict=True))

    @property
    def chooses_problems(self) -> bool:
        """True unless the probability is 0."""
        return self.probability > 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack; choose the problem unless the options hold one, or a state."""
        self.reseed(seed)
        given = dict(options or {})
        if "problem" in given or "state" in given or not self._acts():
            return self.env.reset(seed=seed, options=options)
        weights = (self._rates * (1.0 - self._rates) + self.floor)[self._key_of_problem]
        total = weights.sum()
        chosen = int(self.rng.choice(len(weights), p=weights / total if total else None))
        given["problem"] = self.reason_env.problems[chosen].problem_id
        return self.env.reset(seed=seed, options=given)

    def ended(self, state: ReasonState) -> None:
        """Update the pass rate."""
        if state.verdict is not None and not state.verdict.is_graded:
            return
        is_success = state.verdict is not None and state.verdict.is_correct
        index = self._index_of[self._key(state.problem.problem_id, state.problem.level)]
        self._rates[index] += self.forgetting * (float(is_success) - self._rates[index])

    def memory(self) -> dict[str, Any]:
        """The pass rates in the order of the sorted problem ids or levels."""
        return {"rates": self._rates.tolist()}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        rates = np.array([float(rate) for rate in data["rates"]])
        if rates.shape != self._rates.shape:
            raise ValueError(f"{len(self._rates)} pass rates, got {len(rates)}")

        def commit() -> None:
            self._rates = rates

        return commit

    def _acts(self) -> bool:
        if self.probability in (0.0, 1.0):
            return self.probability == 1.0
        return float(self.rng.random()) < self.probability

    def _key(self, problem_id: str, level: int) -> str:
        return problem_id if self.by == "problem" else str(level)
