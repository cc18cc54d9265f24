"""Draw restart states from a method's start distribution, to measure an advantage at them.

The starts of any method can be mu: problems are drawn from D, the method plans and follows up as in
training, and each state that it would have trained from is a restart. Methods with `has_follow_up`
first need episodes, whose tokens count; for other methods the restarts cost nothing.

A restart is the state whose prompt the tokens are *trained* under, because the improved policy acts
there. For methods that hide their guidance this is the problem: ExPO's mu is D, and LTE's is D
restricted to the problems whose group failed.

The method's memory (ExPO's kept explanations) is restored, so that measuring changes nothing.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from reason_env.agents.methods import CollectBatch, Method, Services, collect_rounds
from reason_env.agents.rollout import Start
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

INITIAL_ROLES = ("base", "top_up", "taught", "stepwise")
"""Roles of episodes that start in D: at the problem, as the environment starts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One state to measure an advantage at."""

    state: ReasonState
    draw: int
    """Number of the problem draw that it belongs to; restarts of one draw are not independent."""
    is_initial: bool
    """True for a start from D, False for one from mu."""

    def start(self, num_samples: int, key: str) -> Start:
        """Create the start of a separate group that samples from this state."""
        return Start(
            state=self.state,
            num_samples=num_samples,
            learn_from=self.state,
            group=key,
            role="measured",
            draw=self.draw,
        )


def initial_restarts(states: Sequence[ReasonState]) -> list[Restart]:
    """Create the restart from D of each draw."""
    return [Restart(state=state, draw=draw, is_initial=True) for draw, state in enumerate(states)]


def draw_restarts(
    method: Method,
    states: Sequence[ReasonState],
    collect: CollectBatch,
    rng: np.random.Generator,
    services: Services | None = None,
) -> tuple[list[Restart], int]:
    """Find the restarts from D and mu of these draws, and count the tokens generated for it.

    Args:
        method: Its starts are mu. Its memory is restored.
        states: Where the environment starts each draw of a problem.
        collect: Collects episodes of the policy, for methods that start where it failed.
        rng: Makes the method's random choices.
        services: Of these draws; None for a method that asks for nothing. Restarts from D are those
            of `states` alone, because a method asks for further ones after it saw rewards.
    """
    memory = method.state_dict()
    with ExitStack() as stack:
        stack.callback(method.load_state_dict, memory)
        if services is not None:
            stack.enter_context(method.served_by(services))
        if method.has_follow_up:
            rounds, batch = collect_rounds(method, states, collect, rng)
            tokens = sum(item.num_sampled_tokens for item in batch.trajectories)
        else:
            rounds, tokens = [method.plan(states, rng)], 0
    planned = [start for starts in rounds for start in starts]
    num_draws = len(states) if services is None else len(services.states)
    return [*initial_restarts(states), *_mu_restarts(planned, num_draws)], tokens


def _mu_restarts(planned: Sequence[Start], num_draws: int) -> list[Restart]:
    """Create a restart for each start from mu; starts of one group and state count once."""
    restarts: dict[tuple[int, str, str], Restart] = {}
    for start in planned:
        if start.role in INITIAL_ROLES or start.is_auxiliary:
            continue
        draw = _checked_draw(start, num_draws)
        key = (draw, start.group, start.learn_from.state_id)
        restarts.setdefault(key, Restart(state=start.learn_from, draw=draw, is_initial=False))
    return list(restarts.values())


def _checked_draw(start: Start, num_draws: int) -> int:
    if start.draw is None or not 0 <= start.draw < num_draws:
        raise ConfigError(
            f"a method's starts must have a draw in 0..{num_draws - 1}, got {start.draw!r} in "
            f"group {start.group!r}; set Start.draw to the index of the state in plan()"
        )
    return start.draw
