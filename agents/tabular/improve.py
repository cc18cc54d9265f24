"""Policy iteration and its cautious relatives on a discounted MDP, exact but for the chooser.

Each function is a generator of `Iterate`, the first being the initial policy, so that a caller
stops when it likes and nothing is stored. They differ in three choices:

| function | greedy under | what is kept | papers |
|---|---|---|---|
| `policy_iteration` | mu | the new policy, or a fixed mixture | API, API(alpha) |
| `conservative_policy_iteration` | d_{pi,mu} | a mixture, by a rule | CPI, CPI(alpha), CPI+, SPI |
| `policy_search` | mu | all policies, in a row | PSDP (infinite horizon) |
| `nonstationary_policy_iteration` | mu | the last m, in a loop | NSPI(m) |
| `softmax_policy_gradient` | d_{pi,mu} | logits | GRPO's tabular limit, with mu for D |

`Iterate.performance` is measured from D, guarantees from mu. Finite horizon: `resets.py`.

Axes: S states, A actions.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular import bounds
from reason_env.agents.tabular.choose import Chooser, exact
from reason_env.agents.tabular.mdp import (
    Array,
    Evaluation,
    TabularMDP,
    action_value,
    check_step_size,
    evaluate,
    mix,
    performance,
    policy_advantage,
    policy_value,
)
from reason_env.agents.tabular.restarts import Restart
from reason_env.errors import ConfigError, shown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterate:
    """A policy on the way, and the step that led to it."""

    policy_SA: Array
    """The policy that acts first; all there is, but for PSDP and NSPI."""
    value_S: Array
    performance: float
    """Value from the start distribution."""
    step_size: float
    """Weight that the candidate got; 0 for the initial policy."""
    policy_advantage: float
    """`A_{pi,mu}(pi')` of the candidate, before the step; 0 for the initial policy."""
    guaranteed_gain: float
    """Lower bound on the gain from mu; minus infinity where the rule promises nothing."""


StepRule = Callable[[TabularMDP, Evaluation, Array], tuple[float, float]]
"""(mdp, evaluation, candidate) -> (step size, guaranteed gain)."""


def kakade_langford_step(
    mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array
) -> tuple[float, float]:
    """Returns CPI's step and gain. Source: Kakade and Langford 2002, Corollary 4.2."""
    advantage = policy_advantage(evaluation, candidate_SA)
    reward = mdp.max_reward
    step = bounds.cpi_step_size(
        policy_advantage=advantage, max_reward=reward, discount=mdp.discount
    )
    return step, bounds.cpi_gain(policy_advantage=advantage, max_reward=reward)


def safe_step(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
    """Returns the step and gain of unique-parameter safe policy iteration. Source: Pirotta 2013."""
    advantage_S = (candidate_SA * evaluation.advantage_SA).sum(-1)
    figures = {
        "policy_advantage": policy_advantage(evaluation, candidate_SA),
        "policy_distance": float(np.abs(candidate_SA - evaluation.policy_SA).sum(-1).max()),
        "advantage_range": float(np.ptp(advantage_S)),
        "discount": mdp.discount,
    }
    step = bounds.safe_step_size(**figures)
    return step, bounds.safe_gain(step_size=step, **figures)


def line_search_step(
    mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array
) -> tuple[float, float]:
    """Returns the best of the steps 1, 1/2, ..., 1/1024 from mu (CPI+), or 0 if none gains."""
    steps = [0.0, *(2.0**-power for power in range(11))]
    values = [
        performance(mdp, mix(evaluation.policy_SA, candidate_SA, step), evaluation.restart_S)
        for step in steps
    ]
    best = int(np.argmax(values))
    return steps[best], values[best] - values[0]


def fixed_step(step_size: float) -> StepRule:
    """Returns the rule of CPI(alpha), which always takes the same step and promises nothing."""
    check_step_size(step_size)

    def rule(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
        return step_size, -np.inf

    return rule


def conservative_policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    step_rule: StepRule = kakade_langford_step,
    choose: Chooser = exact,
    stop_below: float = 0.0,
) -> Iterator[Iterate]:
    """Yields the policies of CPI; ends early when the policy advantage is not above `stop_below`.

    Args:
        mdp: A discounted MDP.
        policy_SA: The initial policy.
        restart: mu; asked again at each iteration.
        num_iterations: The most steps to take.
        step_rule: How far to go towards the candidate.
        choose: The chooser of candidates, asked under d_{pi,mu}.
        stop_below: Policy advantage (reward units) at which there is nothing left to gain.
    """
    one = evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
    yield _iterate(mdp, one.policy_SA, one.value_S)
    for _ in range(num_iterations):
        candidate_SA = choose(one.action_value_SA, one.occupancy_S)
        advantage = policy_advantage(one, candidate_SA)
        if advantage <= stop_below:
            return
        step, gain = step_rule(mdp, one, candidate_SA)
        policy_SA = mix(one.policy_SA, candidate_SA, step)
        one = evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(
            mdp, policy_SA, one.value_S, step_size=step, policy_advantage=advantage, gain=gain
        )


def policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    step_size: float = 1.0,
    choose: Chooser = exact,
) -> Iterator[Iterate]:
    """Yields the policies of API, or with a step below 1 of API(alpha)."""
    check_step_size(step_size)
    value_S = policy_value(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, value_S)
    for _ in range(num_iterations):
        candidate_SA = choose(action_value(mdp, value_S), restart.distribution(mdp, policy_SA))
        policy_SA = mix(policy_SA, candidate_SA, step_size)
        value_S = policy_value(mdp, policy_SA)
        yield _iterate(mdp, policy_SA, value_S, step_size=step_size)


def policy_search(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    choose: Chooser = exact,
) -> Iterator[Iterate]:
    """Yields PSDP's growing sequences, the newest policy first, each followed over and over.

    Nothing that was chosen is changed: each choice is made for the value of the sequence so far,
    with the initial policy for ever after it. `value_S` is that of the sequence in a loop.

    Source: Bagnell et al. 2003; for the infinite horizon Scherrer 2014 (arXiv 1405.2878).
    """
    value_S = policy_value(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, value_S)
    operator_SS = np.eye(mdp.num_states)
    reward_S = np.zeros(mdp.num_states)
    for _ in range(num_iterations):
        q_SA = action_value(mdp, value_S)
        policy_SA = choose(q_SA, restart.distribution(mdp, policy_SA))
        value_S = (policy_SA * q_SA).sum(-1)
        operator_SS, reward_S = _before(mdp, policy_SA, operator_SS, reward_S)
        yield _iterate(mdp, policy_SA, _fixed_point(operator_SS, reward_S), step_size=1.0)


def nonstationary_policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    num_policies: int,
    choose: Chooser = exact,
) -> Iterator[Iterate]:
    """Yields the loops of NSPI(m): the last m policies, the newest first, over and over.

    With m = 1 it is API. The initial policy fills the loop at the beginning.

    Source: Scherrer and Lesner 2012; Scherrer 2014 (arXiv 1405.2878).
    """
    if num_policies < 1:
        raise ConfigError(f"num_policies must be at least 1, got {shown(num_policies)}; raise it")
    loop = deque([policy_SA] * num_policies, maxlen=num_policies)
    value_S = policy_value(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, value_S)
    for _ in range(num_iterations):
        weight_S = restart.distribution(mdp, policy_SA)
        policy_SA = choose(action_value(mdp, value_S), weight_S)
        loop.appendleft(policy_SA)
        value_S = loop_value(mdp, list(loop))
        yield _iterate(mdp, policy_SA, value_S, step_size=1.0)


def loop_value(mdp: TabularMDP, policies: list[Array]) -> Array:
    """Returns the value of following the policies in turn, the first first, over and over, [S]."""
    operator_SS = np.eye(mdp.num_states)
    reward_S = np.zeros(mdp.num_states)
    for policy_SA in reversed(policies):
        operator_SS, reward_S = _before(mdp, policy_SA, operator_SS, reward_S)
    return _fixed_point(operator_SS, reward_S)


def _before(
    mdp: TabularMDP, policy_SA: Array, operator_SS: Array, reward_S: Array
) -> tuple[Array, Array]:
    """Returns the affine map `V -> reward + operator V` with one step of the policy before it."""
    step_SS = mdp.discount * (policy_SA[:, None, :] @ mdp.transition_SAS)[:, 0]
    paid_S = (1.0 - mdp.discount) * (policy_SA * mdp.reward_SA).sum(-1)
    return step_SS @ operator_SS, paid_S + step_SS @ reward_S


def _fixed_point(operator_SS: Array, reward_S: Array) -> Array:
    system_SS = np.eye(len(reward_S)) - operator_SS
    return np.asarray(np.linalg.solve(system_SS, reward_S), dtype=np.float64)


def softmax_policy_gradient(
    mdp: TabularMDP,
    logits_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    learning_rate: float,
) -> Iterator[Iterate]:
    """Yields the policies of exact gradient ascent on the value from mu.

    The gradient in a logit is `d_{pi,mu}(s) * pi(a|s) * A(s, a) / (1 - discount)`: what REINFORCE
    and GRPO estimate, so a state that mu and pi miss learns nothing.

    Source: Sutton et al. 2000, Theorem 1, for a softmax policy.
    """
    policy_SA = softmax(logits_SA)
    one = evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
    yield _iterate(mdp, policy_SA, one.value_S)
    for _ in range(num_iterations):
        logits_SA = logits_SA + learning_rate * softmax_gradient(mdp, one)
        policy_SA = softmax(logits_SA)
        one = evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(mdp, policy_SA, one.value_S, step_size=1.0)


def softmax_gradient(mdp: TabularMDP, evaluation: Evaluation) -> Array:
    """Returns the gradient of the value from mu in the logits of a softmax policy, [S, A]."""
    visits_S1 = evaluation.occupancy_S[:, None] / (1.0 - mdp.discount)
    return visits_S1 * evaluation.policy_SA * evaluation.advantage_SA


def softmax(logits_SA: Array) -> Array:
    """Returns `exp(logits)`, normalised over actions, [S, A]."""
    weight_SA = np.exp(logits_SA - logits_SA.max(-1, keepdims=True))
    return weight_SA / weight_SA.sum(-1, keepdims=True)


def _iterate(
    mdp: TabularMDP,
    policy_SA: Array,
    value_S: Array,
    *,
    step_size: float = 0.0,
    policy_advantage: float = 0.0,
    gain: float = -np.inf,
) -> Iterate:
    return Iterate(
        policy_SA=policy_SA,
        value_S=value_S,
        performance=float(mdp.start_S @ value_S),
        step_size=step_size,
        policy_advantage=policy_advantage,
        guaranteed_gain=gain,
    )
