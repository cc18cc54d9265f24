"""A softmax policy on the abstract problem of the families: a run of training in milliseconds.

A problem has L steps, C of which can go wrong, at known places; an error is final. The policy takes
critical step c of problem m rightly with probability

    q_mc = sigmoid(b + theta . phi_mc),   phi_mc = sqrt(s) u + sqrt(1 - s) w_mc

with one direction u for all (the skill) and a direction w of the context's own, so that training
problems generalise to others as far as the share s of the skill goes. All other tokens are free:
they change nothing, but their scores are added to the gradient, a Gaussian vector whose squared
length has the mean F a step (their score-function energy). Success is exact: the mean over fresh
problems of the product over c of q_mc.

An iteration is two problems of eight responses with group-normalised advantages and eight updates;
each method samples as many steps (a reset's suffix and a guided response cost the steps that they
sample). The optimizer is Adam. Methods:

    grpo   8 from the start
    rrpo   4 from the start, the first failure, 4 from a uniform step of it
    srpo   the same, from its first wrong step
    pope   8 from the start, 8 after the first quarter of the right steps (one problem for two)

Not covered: a policy whose free tokens learn, errors that a later step repairs, lists of mistakes,
explanations, and guidance that the policy does not follow. The numbers s, F, D and the learning
rate are ours.

Axes: N responses, C critical steps, D features, M problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact import Array
from reason_env.errors import ConfigError

METHODS = ("grpo", "rrpo", "srpo", "pope")
FEATURES = 32
SKILL = 0.5
TRAIN, HELD_OUT = 16, 200
LEARNING_RATE = 0.01
RESPONSES = 240
"""Budget of a run, in responses from the start."""
ITERATION, UPDATES, GROUP = 16, 8, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An abstract problem and how the untrained policy stands in it.

    Raises:
        ConfigError: A place is no step, places are not in order, or a number is out of range.
    """

    steps: int
    """L."""
    critical: tuple[int, ...]
    """Places of the critical steps, 0..L - 1, in order."""
    right: float
    """Probability of a critical step before training."""
    free: float
    """F: energy of the free tokens of a step."""

    def __post_init__(self) -> None:
        places = self.critical
        if not places or list(places) != sorted(set(places)) or not places[0] >= 0:
            raise ConfigError(f"critical must hold steps in order, got {places}; give some")
        if places[-1] >= self.steps:
            raise ConfigError(f"critical must lie in 0..{self.steps - 1}, got {places[-1]}")
        if not 0 < self.right < 1 or self.free < 0:
            raise ConfigError(
                f"right must be in 0..1 and free at least 0, got {self.right!r} and {self.free!r}"
            )

    @property
    def base(self) -> float:
        """Success before training."""
        return self.right ** len(self.critical)

    @property
    def first_errors(self) -> Array:
        """Probability that the first error of a failed response is at each critical step, [C]."""
        chance_C = self.right ** np.arange(len(self.critical)) * (1 - self.right)
        return chance_C / chance_C.sum()

    @property
    def clean(self) -> float:
        """Share of uniform cuts that keep no error; a response ends with an answer line."""
        place_C = np.array(self.critical) + 1
        return float(self.first_errors @ place_C / (self.steps + 1))

    @property
    def over_start(self) -> float:
        """Success from the first error of a failed response, less success from the start."""
        left_C = len(self.critical) - np.arange(len(self.critical))
        return float(self.first_errors @ self.right**left_C) - self.base

    @property
    def guided_gain(self) -> float:
        """Success after the first quarter of the solution, less success from the start."""
        left = sum(place >= self.quarter for place in self.critical)
        return self.right**left - self.base

    @property
    def quarter(self) -> int:
        """Steps of a quarter of the solution."""
        return max(1, self.steps // 4)

    @property
    def noise(self) -> float:
        """Share of the energy of a response that is free."""
        energy = 2 * self.right * (1 - self.right) * len(self.critical)
        return self.free * self.steps / (self.free * self.steps + energy)


class Policy:
    """theta with Adam; the directions of the training problems and of fresh ones."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world = world
        self.bias = float(np.log(world.right / (1 - world.right)))
        self.theta_D = np.zeros(FEATURES)
        self._first_D, self._second_D, self._count = np.zeros(FEATURES), np.zeros(FEATURES), 0
        skill_D = _unit(rng.normal(size=FEATURES))
        count = len(world.critical)
        own_MCD = _unit(rng.normal(size=(TRAIN + HELD_OUT, count, FEATURES)))
        self.phi_MCD = np.sqrt(SKILL) * skill_D + np.sqrt(1 - SKILL) * own_MCD

    def rights(self, problems: slice | int) -> Array:
        """Probability of each critical step of some problems."""
        return 1 / (1 + np.exp(-self.bias - self.phi_MCD[problems] @ self.theta_D))

    @property
    def success(self) -> float:
        """Exact success on fresh problems."""
        return float(self.rights(slice(TRAIN, None)).prod(-1).mean())

    def ascend(self, gradient_D: Array) -> None:
        """Take a step of Adam."""
        self._count += 1
        self._first_D = 0.9 * self._first_D + 0.1 * gradient_D
        self._second_D = 0.999 * self._second_D + 0.001 * gradient_D**2
        first_D = self._first_D / (1 - 0.9**self._count)
        second_D = self._second_D / (1 - 0.999**self._count)
        self.theta_D = self.theta_D + LEARNING_RATE * first_D / (np.sqrt(second_D) + 1e-8)


@dataclass(frozen=True, slots=True)
class Responses:
    """Responses of a problem from one start: their scores and returns."""

    problem: int
    is_right_NC: np.ndarray
    """Whether each critical step was right; those before the start are as the start has them."""
    begin: int
    """Steps that the start has."""

    @property
    def returns(self) -> Array:
        """1 if no critical step is wrong."""
        return self.is_right_NC.all(-1).astype(float)

    def sampled(self, world: World) -> int:
        """Steps that were sampled."""
        return len(self.is_right_NC) * (world.steps - self.begin)


def responses(
    policy: Policy, problem: int, num: int, rng: np.random.Generator,
    *, begin: int = 0, before_C: np.ndarray | None = None,
) -> Responses:  # fmt: skip
    """Sample responses from step `begin` on; earlier critical steps are as in `before_C`."""
    chance_C = policy.rights(problem)
    drawn_NC = rng.random((num, len(chance_C))) < chance_C
    if before_C is not None:
        is_before_C = np.array(policy.world.critical) < begin
        drawn_NC = np.where(is_before_C, before_C, drawn_NC)
    return Responses(problem, drawn_NC, begin)


def collected(
    policy: Policy, method: str, problem: int, rng: np.random.Generator
) -> tuple[list[Responses], int]:
    """Sample the groups of one problem; return those that are trained, and the steps sampled."""
    world = policy.world
    if method == "grpo":
        group = responses(policy, problem, GROUP, rng)
        return [group], group.sampled(world)
    if method == "pope":
        begin = world.quarter
        right_C = np.ones(len(world.critical), dtype=bool)
        guided = responses(policy, problem, GROUP, rng, begin=begin, before_C=right_C)
        own = responses(policy, problem, GROUP, rng)
        return [own, guided], own.sampled(world) + guided.sampled(world)
    base = responses(policy, problem, GROUP // 2 + 1, rng)
    spent = base.sampled(world)
    (failed,) = np.nonzero(base.returns == 0)
    if len(failed) == 0:
        return [base], spent
    source_C = base.is_right_NC[failed[0]]
    kept = Responses(problem, np.delete(base.is_right_NC, failed[0], axis=0), 0)
    if method == "rrpo":
        begin = int(rng.integers(world.steps + 1))
    else:
        begin = world.critical[int(np.argmin(source_C))]
    reset = responses(policy, problem, GROUP // 2, rng, begin=begin, before_C=source_C)
    return [kept, reset], spent + reset.sampled(world)


def gradients(policy: Policy, groups: Sequence[Responses], rng: np.random.Generator) -> Array:
    """Return the group-normalised score-function gradient of each response, [N, D]."""
    world = policy.world
    rows: list[Array] = []
    for group in groups:
        return_N = group.returns
        spread = return_N.std()
        advantage_N = (return_N - return_N.mean()) / spread if spread else 0 * return_N
        # Steps after the first error are sampled all the same.
        is_sampled_C = np.array(world.critical) >= group.begin
        score_NC = (group.is_right_NC - policy.rights(group.problem)) * is_sampled_C
        energy = world.free * (world.steps - group.begin)
        noise_ND = rng.normal(scale=np.sqrt(energy / FEATURES), size=(len(return_N), FEATURES))
        rows.append(advantage_N[:, None] * (score_NC @ policy.phi_MCD[group.problem] + noise_ND))
    return np.concatenate(rows)


def trained(world: World, method: str, seed: int) -> float:
    """Train a method for the budget; return the exact success on fresh problems.

    The methods of one seed have the same problems.

    Raises:
        ConfigError: The method is not one of `METHODS`.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    rng = np.random.default_rng([seed, METHODS.index(method)])
    policy = Policy(world, np.random.default_rng([seed, 99]))
    left = RESPONSES * world.steps
    problems = ITERATION // GROUP // (2 if method == "pope" else 1)
    while left > 0:
        groups: list[Responses] = []
        for problem in rng.integers(TRAIN, size=problems).tolist():
            own, spent = collected(policy, method, problem, rng)
            groups += own
            left -= spent
        rows_ND = gradients(policy, groups, rng)
        for part in np.array_split(rng.permutation(len(rows_ND)), UPDATES):
            gradient_D = rows_ND[part].sum(0)
            # An update without signal is left out, as the learner does.
            if gradient_D.any():
                policy.ascend(gradient_D)
    return policy.success


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
