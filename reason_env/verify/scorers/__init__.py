"""Scorers of problems with several right answers."""

from reason_env.verify.scorers.countdown import (
    SCORER,
    countdown_reference,
    reaches,
    score_countdown,
)

__all__ = ["SCORER", "countdown_reference", "reaches", "score_countdown"]
