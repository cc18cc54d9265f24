"""Restart states drawn from a method's own start distribution, for measuring and not for training.

Any method's starts can be mu: problems are drawn from D anew, the method plans and follows up as in
training, and what it would have trained from is taken as a state. A method without a second batch
has its starts before anything is sampled; the others must see episodes first, whose tokens count.

A restart is the state that the tokens are *learned* under: the improved policy acts there. For
methods that hide their guidance that is the problem itself: ExPO's mu is D again, LTE's is D among
the problems whose group failed.

What the method remembers (ExPO's kept explanations) is put back, so that measuring changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.methods import Method
from reason_env.agents.rollout import Group, RolloutBatch, Start, merge_batches
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

BASE_ROLES = ("base", "top_up")
"""Roles of episodes that begin at the problem as the environment starts it: D."""
CollectBatch = Callable[[Sequence[Start]], RolloutBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One state that an advantage is measured at."""

    state: ReasonState
    unit: int
    """The draw of a problem that it comes from; restarts of one draw are not independent."""
    is_base: bool
    """True for a start of D, False for one of mu."""

    def start(self, num_samples: int, key: str) -> Start:
        """Returns the start that samples from this state, a group of its own."""
        return Start(
            state=self.state,
            num_samples=num_samples,
            learn_from=self.state,
            group=key,
            role="measured",
        )


def base_restarts(states: Sequence[ReasonState]) -> list[Restart]:
    """Returns one restart of D a draw."""
    return [Restart(state=state, unit=unit, is_base=True) for unit, state in enumerate(states)]


def drawn_restarts(
    method: Method,
    states: Sequence[ReasonState],
    collect: CollectBatch,
    rng: np.random.Generator,
) -> tuple[list[Restart], int]:
    """Returns the restarts of D and mu at these draws, and the tokens generated to find them.

    Args:
        method: Its starts are mu. Its memory is as before afterwards.
        states: Where the environment starts each draw of a problem.
        collect: Samples a batch with the policy whose failures are restarted from.
        rng: Makes the method's choices.
    """
    memory = method.state_dict()
    try:
        starts, batches = method.plan(states, rng), list[RolloutBatch]()
        planned = list(starts)
        while starts and method.has_follow_up:
            batches.append(collect(starts))
            starts = method.follow_up(_groups(batches), rng)
            planned += starts
    finally:
        method.load_state_dict(memory)
    tokens = sum(item.num_sampled_tokens for batch in batches for item in batch.trajectories)
    return [*base_restarts(states), *_of_mu(planned, len(states))], tokens


def _groups(batches: Sequence[RolloutBatch]) -> Sequence[Group]:
    return merge_batches(batches).groups


def _of_mu(planned: Sequence[Start], num_units: int) -> list[Restart]:
    """Returns each start of mu once: a method may ask for more episodes of the same."""
    found: dict[tuple[int, str, str], Restart] = {}
    for start in planned:
        if start.role in BASE_ROLES or start.is_auxiliary:
            continue
        unit = _unit(start, num_units)
        key = (unit, start.group, start.learn_from.state_id)
        found.setdefault(key, Restart(state=start.learn_from, unit=unit, is_base=False))
    return list(found.values())


def _unit(start: Start, num_units: int) -> int:
    if start.draw is None or not 0 <= start.draw < num_units:
        raise ConfigError(
            f"a method's starts must have a draw in 0..{num_units - 1}, got {start.draw!r} in "
            f"group {start.group!r}; set Start.draw to the index of the state in plan()"
        )
    return start.draw
