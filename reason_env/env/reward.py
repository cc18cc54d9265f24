"""RewardConfig: verdict -> reward, the only source of reward in the environment."""

import math
from dataclasses import dataclass, fields

from reason_env.errors import ConfigError
from reason_env.state import EpisodeRules, ReasonState, is_truncated
from reason_env.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Reward of the turn that ends an episode, by how it ended; every other turn gives 0.

    A verifier that failed gives `ungraded`, which says nothing about the response; collectors drop
    such episodes from their groups and count them.
    """

    correct: float = 1.0
    incorrect: float = 0.0
    no_answer: float = 0.0
    truncated: float = 0.0
    ungraded: float = 0.0
    """TIMEOUT and ERROR."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"reward {item.name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ConfigError(f"reward {item.name} must be finite, got {value!r}")

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
