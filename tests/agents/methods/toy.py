"""An environment of toy problems for a scripted policy."""

import gymnasium as gym

from reason_env.problem import ProblemSet


def toy_env(*problems, **settings):
    """Makes an environment in which a whole response, as tokens, is one action."""
    return gym.make(
        "MathReason-v0",
        disable_env_checker=True,
        problems=ProblemSet("toy", problems),
        format="tokens",
        granularity="response",
        **settings,
    )
