"""RewardShaping: adds format, length, step and progress terms to the verdict's reward.

The term for overlong responses is DAPO's (Yu et al. 2025, arXiv 2503.14476, equation 13): nothing
up to the last part of the budget, then linearly down to the whole penalty at its end.

The progress term is potential-based: `discount * Phi(next) - Phi(state)`. Phi is `progress` times
the share of the reference solution that the response follows, and 0 once the episode is over. Its
discounted sum over an episode is exactly `-Phi(start)` for every policy, so that the best policy
stays the best. The other terms are preferences and can change it.

Source: Ng, Harada & Russell 1999, theorem 1.

`info["success"]` does not change; `info["shaping"]` is the added reward. A truncated episode also
ends with potential 0, and nothing is bootstrapped from it.
"""

import math
from typing import Any

import gymnasium as gym

from reason_env.errors import ConfigError
from reason_env.snapshot import Commit
from reason_env.state import ReasonState, checked_fraction
from reason_env.verdict import Outcome
from reason_env.wrappers.start import WatchingWrapper


class RewardShaping(WatchingWrapper):
    r"""Adds terms to the reward.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 2))
    >>> env = RewardShaping(env, progress=1.0, step_penalty=0.125)
    >>> obs, info = env.reset(options={"problem": "chain/test/0"})
    >>> env.step("B:8*4 y=2\n")[1]
    0.375
    >>> env.step("C:2-8 y=4\n")[1]
    0.375
    >>> env.step("#### 842\n")[1]
    -0.125
    """

    tabular_advice = "its terms count tokens and steps of a text: leave RewardShaping out"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        format_bonus: float = 0.0,
        token_penalty: float = 0.0,
        step_penalty: float = 0.0,
        progress: float = 0.0,
        discount: float = 1.0,
        overlong_penalty: float = 0.0,
        overlong_share: float = 0.2,
    ) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            format_bonus: Reward added if an episode ends with a readable answer, right or wrong.
            token_penalty: Reward subtracted for each token of an action.
            step_penalty: Reward subtracted for each reasoning step that an action closes.
            progress: Scale of the potential, in reward units.
            discount: The learner's discount, 0..1; the progress term needs the same.
            overlong_penalty: Reward subtracted at the end of an episode that fills the token
                budget; at least 0.
            overlong_share: Share of the budget, before its end, in which the penalty rises.

        Raises:
            ConfigError: A number is out of its range.
        """
        self._refuse_tabular(env)
        self.format_bonus = _checked(format_bonus, "format_bonus")
        self.token_penalty = _checked(token_penalty, "token_penalty")
        self.step_penalty = _checked(step_penalty, "step_penalty")
        self.progress = _checked(progress, "progress")
        self.discount = checked_fraction(discount, "discount")
        self.overlong_penalty = _checked(overlong_penalty, "overlong_penalty")
        self.overlong_share = checked_fraction(overlong_share, "overlong_share")
        if self.overlong_penalty < 0:
            raise ConfigError(f"overlong_penalty must be at least 0, got {overlong_penalty!r}")
        if self.overlong_penalty and not self.overlong_share:
            raise ConfigError(
                "overlong_share must be above 0 with an overlong_penalty, got 0.0; the penalty "
                "rises in this part of the budget"
            )
        # Left out where it is off: snapshots hold a hash of the arguments.
        overlong = {"overlong_penalty": overlong_penalty, "overlong_share": overlong_share}
        super().__init__(
            env,
            format_bonus=format_bonus,
            token_penalty=token_penalty,
            step_penalty=step_penalty,
            progress=progress,
            discount=discount,
            **(overlong if self.overlong_penalty else {}),
        )
        self._potential = 0.0

    @property
    def is_off(self) -> bool:
        """Whether every term is 0, so that the wrapper changes nothing."""
        lengths = self.token_penalty or self.step_penalty or self.overlong_penalty
        return not (self.format_bonus or lengths or self.progress)

    def potential(self, state: ReasonState) -> float:
        """Phi of an open state: `progress` times the share of right leading steps."""
        expected = state.problem.solution
        if not self.progress or not expected:
            return 0.0
        right = 0
        for step, reference in zip(state.steps[: len(state.step_ends)], expected, strict=False):
            if step.strip() != reference.strip():
                break
            right += 1
        return self.progress * right / len(expected)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack and compute the start state's potential."""
        obs, info = super().reset(seed=seed, options=options)
        self._potential = self.potential(self.reason_env.state)
        return obs, info if self.is_off else info | {"shaping": 0.0}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the stack and add the terms."""
        before = self.reason_env.state
        obs, reward, terminated, truncated, info = super().step(action)
        if self.is_off:
            return obs, reward, terminated, truncated, info
        after, is_over = self.reason_env.state, terminated or truncated
        potential = 0.0 if is_over else self.potential(after)
        shaping = self.discount * potential - self._potential
        shaping -= self.token_penalty * (len(after.response) - len(before.response))
        shaping -= self.step_penalty * (len(after.step_ends) - len(before.step_ends))
        if after.verdict is not None and after.verdict.outcome in _ANSWERED:
            shaping += self.format_bonus
        if is_over:
            shaping -= self.overlong_penalty * self._overlong(after)
        self._potential = potential
        return obs, float(reward) + shaping, terminated, truncated, info | {"shaping": shaping}

    def _overlong(self, state: ReasonState) -> float:
        """Return how far a response reaches into the last part of the budget, 0..1."""
        if not self.overlong_penalty:
            return 0.0
        budget = self.reason_env.rules.max_tokens
        part = self.overlong_share * budget
        return min(1.0, max(0.0, (len(state.response) - (budget - part)) / part))

    def memory(self) -> dict[str, Any]:
        """The potential of the current state."""
        return {"potential": self._potential}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        potential = float(data["potential"])

        def commit() -> None:
            self._potential = potential

        return commit


_ANSWERED = (Outcome.CORRECT, Outcome.INCORRECT)


def _checked(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, got {value!r}")
    return float(value)
