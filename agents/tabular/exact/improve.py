"""Policy iteration and its cautious relatives on a discounted MDP, exact or from samples.

Each function is a generator of `Iterate`, the first being the initial policy, so that a caller
stops when it likes and nothing is stored. They differ in three choices:

| function | greedy under | what is kept | papers |
|---|---|---|---|
| `policy_iteration` | mu | the new policy, or a fixed mixture | API, API(alpha) |
| `conservative_policy_iteration` | d_{pi,mu} | a mixture, by a rule | CPI, CPI(alpha), CPI+, SPI |
| `policy_search` | mu | all policies, in a row | PSDP (infinite horizon) |
| `nonstationary_policy_iteration` | mu | the last m, in a loop | NSPI(m) |
| `softmax_policy_gradient` | d_{pi,mu} | logits | GRPO's tabular limit, with mu for D |

All they learn about the MDP they ask the `critic`, which is exact unless `SampledCritic` is given.
`Iterate.value_S` and `performance` are exact all the same: they are our measure, which no algorithm
sees. `performance` is from D, guarantees are from mu. Finite horizon: `resets.py`.

Axes: S states, A actions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact.critic import Critic, ExactCritic
from reason_env.agents.tabular.exact.mdp import (
    Array,
    Evaluation,
    TabularMDP,
    check_step_size,
    mix,
    policy_advantage,
    policy_value,
)
from reason_env.agents.tabular.exact.plan import (
    Loop,
    before,
    fixed_point,
    only_step,
    preceded,
    stationary,
)
from reason_env.agents.tabular.exact.restarts import Restart
from reason_env.agents.tabular.exact.steps import StepRule, kakade_langford_step
from reason_env.errors import ConfigError, shown

EXACT = ExactCritic()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterate:
    """A policy on the way, and the step that led to it."""

    policy_SA: Array
    """The policy that acts first; all there is, but for PSDP and NSPI."""
    value_S: Array
    """Exact, whatever the critic."""
    performance: float
    """Value from the start distribution; exact."""
    step_size: float = 0.0
    """Weight that the candidate got; 0 for the initial policy."""
    policy_advantage: float = 0.0
    """`A_{pi,mu}(pi')` of the candidate, by the critic; 0 for the initial policy."""
    guaranteed_gain: float = -np.inf
    """Lower bound on the gain from mu, as far as the critic's figures are right; minus infinity
    where the rule promises nothing."""
    num_transitions: int = 0
    """Transitions that the critic had simulated when this policy was found; 0 if it is exact."""


def conservative_policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    step_rule: StepRule = kakade_langford_step,
    critic: Critic = EXACT,
    stop_below: float = 0.0,
) -> Iterator[Iterate]:
    """Yields the policies of CPI; ends early when the policy advantage is not above `stop_below`.

    Args:
        mdp: A discounted MDP.
        policy_SA: The initial policy.
        restart: mu; asked again at each iteration.
        num_iterations: The most steps to take.
        step_rule: How far to go towards the candidate (`steps.py`).
        critic: Where candidates and their advantages come from, under d_{pi,mu}.
        stop_below: Policy advantage (reward units) at which there is nothing left to gain.
    """
    taken: dict[str, float] = {}
    for iteration in range(num_iterations + 1):
        spent = critic.num_transitions
        one = critic.evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(
            mdp, policy_SA, _exact_value(mdp, critic, one), num_transitions=spent, **taken
        )
        if iteration == num_iterations:
            return
        candidate_SA = critic.candidate(mdp, one)
        one = critic.again(mdp, one)
        advantage = policy_advantage(one, candidate_SA)
        if advantage <= stop_below:
            return
        step, gain = step_rule(mdp, one, candidate_SA)
        taken = {"step_size": step, "policy_advantage": advantage, "guaranteed_gain": gain}
        policy_SA = mix(one.policy_SA, candidate_SA, step)


def policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    step_size: float = 1.0,
    critic: Critic = EXACT,
) -> Iterator[Iterate]:
    """Yields the policies of API, or with a step below 1 of API(alpha)."""
    check_step_size(step_size)
    plan = stationary(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, plan.value_S)
    for _ in range(num_iterations):
        candidate_SA = critic.greedy(mdp, plan, restart.distribution(mdp, policy_SA))
        policy_SA = mix(policy_SA, candidate_SA, step_size)
        plan = stationary(mdp, policy_SA)
        yield _iterate(
            mdp,
            policy_SA,
            plan.value_S,
            step_size=step_size,
            num_transitions=critic.num_transitions,
        )


def policy_search(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    critic: Critic = EXACT,
) -> Iterator[Iterate]:
    """Yields PSDP's growing sequences, the newest policy first, each followed over and over.

    Nothing that was chosen is changed: each choice is made for the value of the sequence so far,
    which ends with one step of the initial policy (so the first choice looks at the next reward
    only). `value_S` is that of the sequence in a loop, without this last step.

    Source: Bagnell et al. 2003; for the infinite horizon Scherrer 2014 (arXiv 1405.2878),
    equation 5.
    """
    plan = only_step(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, policy_value(mdp, policy_SA))
    operator_SS, reward_S = np.eye(mdp.num_states), np.zeros(mdp.num_states)
    for _ in range(num_iterations):
        policy_SA = critic.greedy(mdp, plan, restart.distribution(mdp, policy_SA))
        plan = preceded(mdp, policy_SA, plan)
        operator_SS, reward_S = before(mdp, policy_SA, operator_SS, reward_S)
        yield _iterate(
            mdp,
            policy_SA,
            fixed_point(operator_SS, reward_S),
            step_size=1.0,
            num_transitions=critic.num_transitions,
        )


def nonstationary_policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    num_policies: int,
    critic: Critic = EXACT,
) -> Iterator[Iterate]:
    """Yields the loops of NSPI(m): the last m policies, the newest first, over and over.

    With m = 1 it is API. The initial policy fills the loop at the beginning.

    Source: Scherrer and Lesner 2012; Scherrer 2014 (arXiv 1405.2878), equation 6.
    """
    if num_policies < 1:
        raise ConfigError(f"num_policies must be at least 1, got {shown(num_policies)}; raise it")
    loop = Loop(mdp, [policy_SA] * num_policies)
    plan = loop.plan()
    yield _iterate(mdp, policy_SA, plan.value_S)
    for _ in range(num_iterations):
        policy_SA = critic.greedy(mdp, plan, restart.distribution(mdp, policy_SA))
        loop.add(policy_SA)
        plan = loop.plan()
        yield _iterate(
            mdp, policy_SA, plan.value_S, step_size=1.0, num_transitions=critic.num_transitions
        )


def softmax_policy_gradient(
    mdp: TabularMDP,
    logits_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    learning_rate: float,
    critic: Critic = EXACT,
) -> Iterator[Iterate]:
    """Yields the policies of gradient ascent on the value from mu.

    The gradient in a logit is `d_{pi,mu}(s) * pi(a|s) * A(s, a) / (1 - discount)`: what REINFORCE
    and GRPO estimate, so a state that mu and pi miss learns nothing.

    Source: Sutton et al. 2000, Theorem 1, for a softmax policy.
    """
    for iteration in range(num_iterations + 1):
        policy_SA = softmax(logits_SA)
        spent = critic.num_transitions
        one = critic.evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(
            mdp,
            policy_SA,
            _exact_value(mdp, critic, one),
            step_size=float(iteration > 0),
            num_transitions=spent,
        )
        logits_SA = logits_SA + learning_rate * softmax_gradient(mdp, one)


def softmax_gradient(mdp: TabularMDP, evaluation: Evaluation) -> Array:
    """Returns the gradient of the value from mu in the logits of a softmax policy, [S, A]."""
    visits_S1 = evaluation.occupancy_S[:, None] / (1.0 - mdp.discount)
    return visits_S1 * evaluation.policy_SA * evaluation.advantage_SA


def softmax(logits_SA: Array) -> Array:
    """Returns `exp(logits)`, normalised over actions, [S, A]."""
    weight_SA = np.exp(logits_SA - logits_SA.max(-1, keepdims=True))
    return weight_SA / weight_SA.sum(-1, keepdims=True)


def _exact_value(mdp: TabularMDP, critic: Critic, evaluation: Evaluation) -> Array:
    """Returns the exact value of an evaluated policy; solved only where it is not at hand."""
    if isinstance(critic, ExactCritic):
        return evaluation.value_S
    return policy_value(mdp, evaluation.policy_SA)


def _iterate(
    mdp: TabularMDP,
    policy_SA: Array,
    value_S: Array,
    *,
    step_size: float = 0.0,
    policy_advantage: float = 0.0,
    guaranteed_gain: float = -np.inf,
    num_transitions: int = 0,
) -> Iterate:
    return Iterate(
        policy_SA=policy_SA,
        value_S=value_S,
        performance=float(mdp.start_S @ value_S),
        step_size=step_size,
        policy_advantage=policy_advantage,
        guaranteed_gain=guaranteed_gain,
        num_transitions=num_transitions,
    )
