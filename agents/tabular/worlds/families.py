"""Families of tabular MDPs and their policies.

`reason_tree`, `restart_chain` and `combination_lock` are in `reason_env.tabular`, because they are
also Gymnasium environments. The families here return a `TabularMDP`.

Axes: S states, A actions.
"""

import numpy as np

from reason_env.agents.tabular.exact import Array, TabularMDP
from reason_env.errors import ConfigError, shown
from reason_env.tabular import RECOVERABLE, TabularModel


def two_state_plateau(*, discount: float = 0.9, first_share: float = 0.8) -> TabularMDP:
    """Build two states with rewards 1 and 2 for staying and 0 for moving (action 1).

    `plateau_policy` visits the first state four times as often. A softmax gradient therefore first
    learns to stay there, and its value remains near 1 for long before it finds the reward 2.

    Args:
        discount: The discount.
        first_share: Probability that an episode starts in the first state, 0..1.

    Source: Kakade 2001 ("A Natural Policy Gradient"), figure 3; Kakade and Langford 2002,
    section 3.
    """
    stay, move = np.eye(2), np.eye(2)[::-1]
    return TabularMDP(
        transition_SAS=np.stack([stay, move], axis=1),
        reward_SA=np.array([[1.0, 0.0], [2.0, 0.0]]),
        start_S=np.array([first_share, 1.0 - first_share]),
        discount=discount,
    )


def plateau_policy(first_share: float = 0.8) -> Array:
    """Build the policy with stationary distribution (first_share, 1 - first_share), [2, 2].

    >>> plateau_policy().tolist()
    [[0.8, 0.19999999999999996], [0.19999999999999996, 0.8]]
    """
    return np.array([[first_share, 1.0 - first_share], [1.0 - first_share, first_share]])


def garnet(
    *,
    num_states: int,
    num_actions: int,
    branching: int,
    discount: float = 0.99,
    rng: np.random.Generator,
) -> TabularMDP:
    """Draw a random MDP: each action leads to `branching` states drawn without replacement.

    Their probabilities are the gaps between `branching - 1` uniform cuts of 0..1. The reward
    depends on the state only and is uniform in 0..1; the start distribution is uniform.

    Source: Archibald, McKinnon and Thomas 1995; Scherrer 2014 (arXiv 1405.2878), section 5. The
    distributions of rewards and start are our choice.
    """
    if not 1 <= branching <= num_states:
        raise ConfigError(
            f"branching must be in 1..{num_states}, got {shown(branching)}; "
            "an action cannot lead to more states than there are"
        )
    shape = (num_states, num_actions)
    next_SAB = rng.random((*shape, num_states)).argpartition(branching - 1, -1)[..., :branching]
    cuts = np.sort(rng.random((*shape, branching - 1)), axis=-1)
    prob_SAB = np.diff(cuts, axis=-1, prepend=0.0, append=1.0)
    transition_SAS = np.zeros((*shape, num_states))
    np.put_along_axis(transition_SAS, next_SAB, prob_SAB, axis=-1)
    return TabularMDP(
        transition_SAS=transition_SAS,
        reward_SA=np.repeat(rng.random((num_states, 1)), num_actions, axis=1),
        start_S=np.full(num_states, 1.0 / num_states),
        discount=discount,
    )


def dense_mdp(
    *, num_states: int, num_actions: int, discount: float = 0.9, rng: np.random.Generator
) -> TabularMDP:
    """Draw a small, irregular random MDP for tests of inequalities.

    Transition rows are Dirichlet(0.3), which gives nearly deterministic and nearly uniform rows;
    the start is Dirichlet(1); rewards are uniform in 0..1.
    """
    law = np.full(num_states, 0.3)
    return TabularMDP(
        transition_SAS=rng.dirichlet(law, size=(num_states, num_actions)),
        reward_SA=rng.random((num_states, num_actions)),
        start_S=rng.dirichlet(np.ones(num_states)),
        discount=discount,
    )


def two_contexts(*, improvable: float, neutral: float) -> TabularMDP:
    """Build the smallest problem of the random-reset theorem: one decision, then its verdict.

    State 0, a share `improvable` of the starts: action 0 succeeds, action 1 fails. State 1: either
    action succeeds with probability `neutral`. States 2 and 3 pay 1 and 0; horizon 2, two actions.
    `neutral` 0 or 1 is an exact verdict on what is settled, anything between a noisy one.

    Args:
        improvable: p, 0..1.
        neutral: Success where nothing can be improved, 0..1.
    """
    for name, value in (("improvable", improvable), ("neutral", neutral)):
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} must be in 0..1, got {shown(value)}; give a probability")
    transition_SAS = np.zeros((4, 2, 4))
    transition_SAS[0, 0, 2] = transition_SAS[0, 1, 3] = 1.0
    transition_SAS[1, :, 2], transition_SAS[1, :, 3] = neutral, 1.0 - neutral
    transition_SAS[2:, :, 3] = 1.0
    reward_SA = np.zeros((4, 2))
    reward_SA[2] = 1.0
    return TabularMDP(
        transition_SAS=transition_SAS,
        reward_SA=reward_SA,
        start_S=np.array([improvable, 1.0 - improvable, 0.0, 0.0]),
        horizon=2,
    )


def random_policy(mdp: TabularMDP, rng: np.random.Generator) -> Array:
    """Draw a policy with a Dirichlet(0.5) row for each state, [S, A]."""
    return rng.dirichlet(np.full(mdp.num_actions, 0.5), size=mdp.num_states)


def noisy_reference(model: TabularModel, right_probability: float) -> Array:
    """Build the policy that takes the reference action with `right_probability`, [S, A].

    The other actions share the rest equally, as in a base model trained on noisy demonstrations.
    """
    if not 0.0 <= right_probability <= 1.0:
        raise ConfigError(
            f"right_probability must be in 0..1, got {shown(right_probability)}; correct it"
        )
    other = (1.0 - right_probability) / (model.num_actions - 1)
    policy_SA = np.full((model.num_states, model.num_actions), other)
    policy_SA[np.arange(model.num_states), model.reference_action] = right_probability
    return policy_SA


def tree_policy(model: TabularModel, *, right: float, repair: float = 0.0) -> Array:
    """Build a `reason_tree` policy from the probabilities to be right and to repair, [S, A]."""
    policy_SA = noisy_reference(model, right)
    repaired_SA = noisy_reference(model, repair)
    is_recoverable_S = np.arange(model.num_states) % 4 == RECOVERABLE
    return np.where(is_recoverable_S[:, None], repaired_SA, policy_SA)


def reference_policy(model: TabularModel) -> Array:
    """Build the deterministic policy of the reference solution, [S, A]."""
    return noisy_reference(model, 1.0)
