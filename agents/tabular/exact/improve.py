"""Policy iteration and its conservative variants on a discounted MDP, exact or from samples.

Each function is a generator of `Iterate` that starts with the initial policy; the caller decides
when to stop, and nothing is stored. The functions differ in three choices:

| function | greedy under | keeps | papers |
|---|---|---|---|
| `policy_iteration` | mu | the new policy, or a fixed mixture | API, API(alpha) |
| `conservative_policy_iteration` | d_{pi,mu} | a mixture, by a rule | CPI, CPI(alpha), CPI+, SPI |
| `policy_search` | mu | all policies, in sequence | PSDP (infinite horizon) |
| `nonstationary_policy_iteration` | mu | the last m, in a loop | NSPI(m) |
| `softmax_policy_gradient` | d_{pi,mu} | logits | GRPO's tabular limit, with mu for D |

The algorithms read the MDP only through the `critic`, which is exact unless the caller passes a
`SampledCritic`. `Iterate.value_S` and `performance` are always exact: they measure an algorithm and
are never its input. `performance` is from D, guarantees are from mu. Finite horizon: `resets.py`.

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
from reason_env.agents.tabular.exact.nonstationary import (
    PolicyLoop,
    fixed_point,
    one_step,
    prepend,
    prepend_step,
    stationary,
)
from reason_env.agents.tabular.exact.restarts import Restart
from reason_env.agents.tabular.exact.steps import StepRule, kakade_langford_step
from reason_env.errors import ConfigError, shown

EXACT = ExactCritic()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterate:
    """A policy of the iteration, and the step that led to it."""

    policy_SA: Array
    """The policy that acts first. The only one, except in PSDP and NSPI."""
    value_S: Array
    """Exact for any critic."""
    performance: float
    """Value from the start distribution; exact."""
    step_size: float = 0.0
    """Weight of the candidate; 0 for the initial policy."""
    policy_advantage: float = 0.0
    """`A_{pi,mu}(pi')` of the candidate, by the critic; 0 for the initial policy."""
    guaranteed_gain: float = -np.inf
    """Lower bound on the gain from mu, as far as the critic's evaluation is right; minus infinity
    if the rule guarantees nothing."""
    num_transitions: int = 0
    """Transitions that the critic had simulated up to this policy; 0 for an exact critic."""


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
    """Yield the policies of CPI; end early once the policy advantage is at most `stop_below`.

    Args:
        mdp: A discounted MDP.
        policy_SA: The initial policy.
        restart: mu; computed again for each policy.
        num_iterations: Maximum number of steps.
        step_rule: Computes the step size and the guaranteed gain (`steps.py`).
        critic: Finds candidates and evaluates policies under d_{pi,mu}.
        stop_below: Policy advantage, in reward units, at which to stop.
    """
    last_step: dict[str, float] = {}
    for iteration in range(num_iterations + 1):
        spent = critic.num_transitions
        old = critic.evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(
            mdp, policy_SA, _exact_value(mdp, critic, old), num_transitions=spent, **last_step
        )
        if iteration == num_iterations:
            return
        candidate_SA = critic.candidate(mdp, old)
        old = critic.reevaluate(mdp, old)
        advantage = policy_advantage(old, candidate_SA)
        if advantage <= stop_below:
            return
        step, gain = step_rule(mdp, old, candidate_SA)
        last_step = {"step_size": step, "policy_advantage": advantage, "guaranteed_gain": gain}
        policy_SA = mix(old.policy_SA, candidate_SA, step)


def policy_iteration(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    num_iterations: int,
    step_size: float = 1.0,
    critic: Critic = EXACT,
) -> Iterator[Iterate]:
    """Yield the policies of API; with a step size below 1, of API(alpha)."""
    check_step_size(step_size)
    sequence = stationary(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, sequence.value_S)
    for _ in range(num_iterations):
        candidate_SA = critic.greedy(mdp, sequence, restart.distribution(mdp, policy_SA))
        policy_SA = mix(policy_SA, candidate_SA, step_size)
        sequence = stationary(mdp, policy_SA)
        yield _iterate(
            mdp,
            policy_SA,
            sequence.value_S,
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
    """Yield PSDP's growing sequences of policies, newest first; each is followed in a loop.

    Earlier choices stay fixed. Each new policy is greedy for the value of the sequence so far,
    which ends with one step of the initial policy; the first choice therefore considers only the
    next reward. `value_S` is the value of the sequence in a loop, without this last step.

    Source: Bagnell et al. 2003; for the infinite horizon Scherrer 2014 (arXiv 1405.2878),
    equation 5.
    """
    sequence = one_step(mdp, policy_SA)
    yield _iterate(mdp, policy_SA, policy_value(mdp, policy_SA))
    operator_SS, reward_S = np.eye(mdp.num_states), np.zeros(mdp.num_states)
    for _ in range(num_iterations):
        policy_SA = critic.greedy(mdp, sequence, restart.distribution(mdp, policy_SA))
        sequence = prepend(mdp, policy_SA, sequence)
        operator_SS, reward_S = prepend_step(mdp, policy_SA, operator_SS, reward_S)
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
    """Yield the loops of NSPI(m), which repeats the last m policies, newest first.

    NSPI(1) is API. At the beginning all m policies are the initial policy.

    Source: Scherrer and Lesner 2012; Scherrer 2014 (arXiv 1405.2878), equation 6.
    """
    if num_policies < 1:
        raise ConfigError(f"num_policies must be at least 1, got {shown(num_policies)}; raise it")
    loop = PolicyLoop(mdp, [policy_SA] * num_policies)
    sequence = loop.policy()
    yield _iterate(mdp, policy_SA, sequence.value_S)
    for _ in range(num_iterations):
        policy_SA = critic.greedy(mdp, sequence, restart.distribution(mdp, policy_SA))
        loop.add(policy_SA)
        sequence = loop.policy()
        yield _iterate(
            mdp, policy_SA, sequence.value_S, step_size=1.0, num_transitions=critic.num_transitions
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
    """Yield the policies of gradient ascent on the value from mu.

    The gradient in a logit is `d_{pi,mu}(s) * pi(a|s) * A(s, a) / (1 - discount)`, which REINFORCE
    and GRPO estimate. The policy does not change in states that are never visited from mu.

    Source: Sutton et al. 2000, Theorem 1, for a softmax policy.
    """
    for iteration in range(num_iterations + 1):
        policy_SA = softmax(logits_SA)
        spent = critic.num_transitions
        evaluation = critic.evaluate(mdp, policy_SA, restart.distribution(mdp, policy_SA))
        yield _iterate(
            mdp,
            policy_SA,
            _exact_value(mdp, critic, evaluation),
            step_size=float(iteration > 0),
            num_transitions=spent,
        )
        logits_SA = logits_SA + learning_rate * softmax_gradient(mdp, evaluation)


def softmax_gradient(mdp: TabularMDP, evaluation: Evaluation) -> Array:
    """Compute the gradient of the value from mu in a softmax policy's logits, [S, A]."""
    visits_S1 = evaluation.occupancy_S[:, None] / (1.0 - mdp.discount)
    return visits_S1 * evaluation.policy_SA * evaluation.advantage_SA


def softmax(logits_SA: Array) -> Array:
    """Compute `exp(logits)`, normalised over actions, [S, A]."""
    weight_SA = np.exp(logits_SA - logits_SA.max(-1, keepdims=True))
    return weight_SA / weight_SA.sum(-1, keepdims=True)


def _exact_value(mdp: TabularMDP, critic: Critic, evaluation: Evaluation) -> Array:
    """Return the exact value of an evaluated policy; solve for it if the critic is not exact."""
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
