"""RewardConfig: verdict -> reward, the only source of reward in the environment."""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from reason_env.errors import ConfigError, shown
from reason_env.state import EpisodeRules, ReasonState, is_truncated
from reason_env.verdict import Outcome, Verdict

Undecided = Literal["no_reward", "left_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Reward of the turn that ends an episode, by how it ended; every other turn gives 0.

    A response that the verifier cannot decide (TIMEOUT, ERROR) gives `ungraded`. By default the
    episode counts in its group like any other: otherwise a policy could escape from wrong answers
    by making them hard to check. The metrics `grade/timeout_fraction` and `grade/error_fraction`
    say how often it happens.
    """

    correct: float = 1.0
    incorrect: float = 0.0
    no_answer: float = 0.0
    truncated: float = 0.0
    ungraded: float = 0.0
    """TIMEOUT and ERROR."""
    undecided: Undecided = "no_reward"
    """`no_reward`: such an episode counts, with the reward `ungraded`. `left_out`: it is left out
    of its group, of every mean and of training."""

    def __post_init__(self) -> None:
        if self.undecided not in get_args(Undecided):
            raise ConfigError(
                f"reward undecided must be no_reward or left_out, got {shown(self.undecided)}"
            )
        for item in fields(self):
            if item.name == "undecided":
                continue
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"reward {item.name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ConfigError(f"reward {item.name} must be finite, got {value!r}")

    @property
    def least(self) -> float:
        """The smallest reward of any outcome."""
        return min(self.correct, self.incorrect, self.no_answer, self.truncated, self.ungraded)

    def reward(self, state: ReasonState, rules: EpisodeRules) -> float:
        """The reward of the turn that reached `state`."""
        is_open = state.verdict is None and not is_truncated(state, rules)
        return 0.0 if is_open else self.of_end(state.verdict)

    def of_end(self, verdict: Verdict | None) -> float:
        """The reward of an episode's end; a verdict of None means that a budget ended it."""
        if verdict is None:
            return float(self.truncated)
        match verdict.outcome:
            case Outcome.CORRECT:
                return float(self.correct)
            case Outcome.INCORRECT:
                return float(self.incorrect)
            case Outcome.NO_ANSWER:
                return float(self.no_answer)
            case Outcome.TIMEOUT | Outcome.ERROR:
                return float(self.ungraded)
