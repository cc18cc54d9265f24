"""TabularModel, the arrays of a small MDP, and the three MDPs that are also environments.

Arrays and environment are separate. `agents/tabular` computes exact values from a `TabularModel`,
and `TabularEnv` (env.py) samples from the same arrays, so that an exact value and a Monte-Carlo
estimate through the public API describe one MDP.

Axes: S states, A actions. Not covered: rewards that depend on the next state; give each outcome its
own state, as `reason_tree` does with its answers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reason_env.errors import ConfigError

Array = NDArray[np.float64]
_TOLERANCE = 1e-9

RIGHT, CRITICAL, RECOVERABLE, WRONG = range(4)
"""Statuses of a chain in `reason_tree`; `state = 4 * steps_taken + status`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TabularModel:
    """A finite MDP with terminal states; its arrays are checked and read-only."""

    transition: Array
    """Probability of each next state, [S, A, S]."""
    reward: Array
    """Reward of an action, [S, A]; 0 in terminal states."""
    start: Array
    """Start distribution, [S]."""
    terminal: NDArray[np.bool_]
    """True for terminal states, [S]; such a state leads to itself."""
    reference_action: NDArray[np.int64]
    """One optimal action of each state, [S]: the reference solution."""
    state_names: tuple[str, ...]
    """A description of each state, for people."""

    def __post_init__(self) -> None:
        num_states, num_actions = self.reward.shape
        _check_shapes(self, num_states, num_actions)
        check_rows("transition", self.transition)
        check_rows("start", self.start)
        if not np.isfinite(self.reward).all():
            raise ConfigError("reward must be finite, got nan or infinity; correct the array")
        ends = np.flatnonzero(self.terminal)
        loops = self.transition[ends, :, ends] == 1.0
        if not loops.all() or self.reward[ends].any():
            raise ConfigError(
                f"terminal states must lead to themselves with reward 0, got {ends.tolist()!r} of "
                "which one does not; make terminal states absorbing"
            )
        for name in ("transition", "reward", "start", "terminal", "reference_action"):
            frozen = getattr(self, name).copy()
            frozen.setflags(write=False)
            object.__setattr__(self, name, frozen)

    @property
    def num_states(self) -> int:
        """Number of states, terminal ones included."""
        return self.reward.shape[0]

    @property
    def num_actions(self) -> int:
        """Number of actions, the same in every state."""
        return self.reward.shape[1]

    def sample_next_state(self, state: int, action: int, rng: np.random.Generator) -> int:
        """Draw a next state, with one number of `rng`."""
        return draw(self.transition[state, action], rng)


def draw(row: Array, rng: np.random.Generator) -> int:
    """Draw an index from a distribution, [N]; never one of probability 0."""
    support = np.flatnonzero(row)
    edges = row[support].cumsum()
    # Rounding may leave the last edge below the drawn number.
    return int(support[min(edges.searchsorted(rng.random(), side="right"), len(support) - 1)])


def check_rows(name: str, rows: Array) -> None:
    """Raise ConfigError unless the last axis of `rows` holds probability distributions.

    >>> check_rows("start", np.array([0.5, 0.4]))
    Traceback (most recent call last):
        ...
    reason_env.errors.ConfigError: start must sum to 1, got 0.9; correct the array
    """
    wrong = ~np.isfinite(rows) | (rows < 0)
    if wrong.any():
        raise ConfigError(
            f"{name} must be finite and >= 0, got {float(rows[wrong][0])!r}; correct the array"
        )
    sums = rows.sum(-1)
    off = np.argwhere(np.abs(sums - 1.0) > _TOLERANCE)
    if len(off):
        index = tuple(int(part) for part in off[0])
        where = f" in row {index!r} ({len(off)} of {sums.size} rows)" if index else ""
        raise ConfigError(
            f"{name} must sum to 1, got {float(sums[index]):.6g}{where}; correct the array"
        )


def _check_shapes(model: TabularModel, num_states: int, num_actions: int) -> None:
    expected = {
        "transition": (num_states, num_actions, num_states),
        "start": (num_states,),
        "terminal": (num_states,),
        "reference_action": (num_states,),
    }
    for name, shape in expected.items():
        got = getattr(model, name).shape
        if got != shape:
            raise ConfigError(
                f"{name} must have shape {shape!r}, got {got!r}; reward is [S, A] = "
                f"{model.reward.shape!r}"
            )
    if len(model.state_names) != num_states:
        raise ConfigError(
            f"state_names must have {num_states} names, got {len(model.state_names)}; name each"
        )


def reason_tree(
    *,
    num_steps: int = 8,
    num_actions: int = 4,
    critical_rate: float = 0.25,
    recoverable_fraction: float = 0.5,
    ceiling: float = 1.0,
    floor: float = 0.0,
    seed: int = 0,
) -> TabularModel:
    """A chain of reasoning steps, a few of them critical, and a graded answer.

    While the chain is right, the next step is critical with probability `critical_rate`; on other
    steps all actions are equally good. On a critical step one action is right. A share of the other
    actions makes a mistake that one later action repairs; the rest make one that nothing repairs. A
    wrong chain continues to its end, as text does. The answer follows after `num_steps` steps:
    reward 1 with probability `ceiling` from a right chain, `floor` (a lucky guess) from any other.

    State `4 * k + status` is a chain of k steps that is RIGHT, CRITICAL (right, and the next step
    matters), RECOVERABLE or WRONG; then the right answer, the wrong answer, and the end.

    Args:
        num_steps: Reasoning steps before the answer.
        num_actions: Candidates for each step.
        critical_rate: Probability that the next step of a right chain is critical, 0..1. It sets
            p, the probability of a state in which a better action helps.
        recoverable_fraction: Share of the wrong actions that can be repaired, 0..1.
        ceiling: Probability of reward 1 from a right chain.
        floor: Probability of reward 1 from a chain that is not right.
        seed: Selects the right action of each state.

    >>> tree = reason_tree(num_steps=1, num_actions=2, critical_rate=1.0)
    >>> tree.state_names[CRITICAL], tree.num_states
    ('0 steps, critical', 7)
    """
    for name, value in {
        "critical_rate": critical_rate,
        "recoverable_fraction": recoverable_fraction,
        "ceiling": ceiling,
        "floor": floor,
    }.items():
        _check_fraction(name, value)
    check_at_least("num_steps", num_steps, 1)
    check_at_least("num_actions", num_actions, 2)
    right_answer, end = 4 * num_steps, 4 * num_steps + 2
    transition = np.zeros((end + 1, num_actions, end + 1))
    reference = np.random.default_rng(seed).integers(num_actions, size=end + 1)
    num_slips = round(recoverable_fraction * (num_actions - 1))
    for step in range(num_steps):
        after = _after_step(step + 1, num_steps, critical_rate, ceiling, floor)
        here = 4 * step
        transition[here + RIGHT] = after[RIGHT]
        transition[here + RECOVERABLE] = after[RECOVERABLE]
        transition[here + WRONG] = after[WRONG]
        for offset in range(num_actions):
            action = (reference[here + CRITICAL] + offset) % num_actions
            outcome = RIGHT if offset == 0 else RECOVERABLE if offset <= num_slips else WRONG
            transition[here + CRITICAL, action] = after[outcome]
        transition[here + RECOVERABLE, reference[here + RECOVERABLE]] = after[RIGHT]
    transition[right_answer:, :, end] = 1.0
    reward = np.zeros((end + 1, num_actions))
    reward[right_answer] = 1.0
    start = np.zeros(end + 1)
    start[[RIGHT, CRITICAL]] = 1.0 - critical_rate, critical_rate
    words = ("right", "critical", "recoverable", "wrong")
    names = [f"{step} steps, {word}" for step in range(num_steps) for word in words]
    return TabularModel(
        transition=transition,
        reward=reward,
        start=start,
        terminal=np.arange(end + 1) == end,
        reference_action=reference.astype(np.int64),
        state_names=(*names, "right answer", "wrong answer", "end"),
    )


def _after_step(
    step: int, num_steps: int, critical_rate: float, ceiling: float, floor: float
) -> Array:
    """The distribution of the state after `step` steps, by status, [4, S]."""
    after = np.zeros((4, 4 * num_steps + 3))
    here = 4 * step
    if step == num_steps:
        after[:, here] = ceiling, ceiling, floor, floor
        after[:, here + 1] = 1.0 - after[:, here]
        return after
    after[RIGHT, [here + RIGHT, here + CRITICAL]] = 1.0 - critical_rate, critical_rate
    after[RECOVERABLE, here + RECOVERABLE] = 1.0
    after[WRONG, here + WRONG] = 1.0
    return after


def restart_chain(*, num_states: int = 8) -> TabularModel:
    """Kakade and Langford's chain: one action leads right, two lead left, the last state pays 1.

    From the first of the n states, the uniform policy needs `3 * (2**n - n - 1)` expected steps to
    the last, so that its gradient vanishes; a restart distribution with weight near the last state
    gives a gradient at once. Each action in the last state earns 1. That state is absorbing but not
    terminal: with a discount, the value measures the time spent in it.

    Source: Kakade and Langford 2002, section 3 (the example of a policy gradient without signal).

    >>> restart_chain(num_states=3).transition[0].argmax(-1).tolist()
    [1, 0, 0]
    """
    check_at_least("num_states", num_states, 2)
    states = np.arange(num_states)
    transition = np.zeros((num_states, 3, num_states))
    transition[states, 0, np.minimum(states + 1, num_states - 1)] = 1.0
    transition[states[:, None], [1, 2], np.maximum(states - 1, 0)[:, None]] = 1.0
    transition[-1] = np.eye(num_states)[-1]
    reward = np.zeros((num_states, 3))
    reward[-1] = 1.0
    return TabularModel(
        transition=transition,
        reward=reward,
        start=np.eye(num_states)[0],
        terminal=np.zeros(num_states, dtype=np.bool_),
        reference_action=np.zeros(num_states, dtype=np.int64),
        state_names=tuple(f"state {state + 1}" for state in states),
    )


def combination_lock(*, num_steps: int = 6, num_actions: int = 3, seed: int = 0) -> TabularModel:
    """A lock of `num_steps` digits: one action is right for each, and any other jams the lock.

    The return is 1 for the whole combination and 0 otherwise; the uniform policy finds it with
    probability `num_actions ** -num_steps`.

    >>> combination_lock(num_steps=2).state_names
    ('0 digits right', '1 digits right', 'open', 'jammed')
    """
    check_at_least("num_steps", num_steps, 1)
    check_at_least("num_actions", num_actions, 2)
    opened, jammed = num_steps, num_steps + 1
    reference = np.random.default_rng(seed).integers(num_actions, size=num_steps + 2)
    transition = np.zeros((num_steps + 2, num_actions, num_steps + 2))
    transition[:, :, jammed] = 1.0
    steps = np.arange(num_steps)
    transition[steps, reference[:-2], jammed] = 0.0
    transition[steps, reference[:-2], steps + 1] = 1.0
    transition[opened] = np.eye(num_steps + 2)[opened]
    reward = np.zeros((num_steps + 2, num_actions))
    reward[num_steps - 1, reference[num_steps - 1]] = 1.0
    return TabularModel(
        transition=transition,
        reward=reward,
        start=np.eye(num_steps + 2)[0],
        terminal=np.arange(num_steps + 2) >= opened,
        reference_action=reference.astype(np.int64),
        state_names=(*(f"{step} digits right" for step in steps), "open", "jammed"),
    )


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} must be in 0..1, got {value!r}; give a probability")


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise ConfigError if a count is too small."""
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, got {value!r}; raise it")
