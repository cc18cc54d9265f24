"""Exact quantities: hand-worked MDPs, identities, and refusals."""

import math

import numpy as np
import pytest

from reason_env.agents.tabular.exact import (
    TabularMDP,
    evaluate,
    greedy,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    performance,
    policy_advantage,
    uniform_policy,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import action_value, improvable_coverage, policy_value
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ConfigError
from reason_env.tabular import combination_lock, reason_tree, restart_chain


def two_states(discount=0.5, **changes):
    """State 0: action 0 stays (reward 0), action 1 goes to state 1 (reward 0.2). State 1 pays 1."""
    arrays = {
        "transition_SAS": np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]),
        "reward_SA": np.array([[0.0, 0.2], [1.0, 1.0]]),
        "start_S": np.array([0.75, 0.25]),
        "discount": discount,
    }
    return TabularMDP(**(arrays | changes))


POLICY = np.array([[0.6, 0.4], [0.5, 0.5]])


def test_value_advantage_and_occupancy_of_two_states_are_those_worked_out_by_hand():
    one = evaluate(two_states(), POLICY)
    # V(1) = 1. V(0) = 0.5 * 0.4 * 0.2 + 0.5 * (0.6 V(0) + 0.4) => 0.7 V(0) = 0.24
    assert one.value_S == pytest.approx([0.24 / 0.7, 1.0])
    # Q(0, stay) = 0.5 V(0); Q(0, go) = 0.5 * 0.2 + 0.5 * 1
    assert one.action_value_SA[0] == pytest.approx([0.12 / 0.7, 0.6])
    assert one.advantage_SA[0] == pytest.approx([-0.12 / 0.7, 0.18 / 0.7])
    assert one.advantage_SA[1] == pytest.approx([0, 0])
    # d(0) = 0.5 * 0.75 + 0.5 * 0.6 d(0) => d(0) = 0.375 / 0.7
    assert one.occupancy_S == pytest.approx([0.375 / 0.7, 0.325 / 0.7])
    go = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert policy_advantage(one, go) == pytest.approx(0.375 / 0.7 * 0.18 / 0.7)
    assert performance(two_states(), POLICY) == pytest.approx(0.75 * 0.24 / 0.7 + 0.25)
    mu = np.array([0.1, 0.9])
    assert performance(two_states(), POLICY, mu) == pytest.approx(0.1 * 0.24 / 0.7 + 0.9)
    # From mu: d(0) = 0.5 * 0.1 / 0.7
    assert occupancy(two_states(), POLICY, mu) == pytest.approx([0.05 / 0.7, 0.65 / 0.7])
    assert evaluate(two_states(), POLICY, mu).occupancy_S == pytest.approx([0.05 / 0.7, 0.65 / 0.7])


def test_values_and_occupancies_agree_with_a_long_sum():
    rng = np.random.default_rng(0)
    mdp = families.garnet(num_states=9, num_actions=3, branching=4, discount=0.8, rng=rng)
    policy = families.random_policy(mdp, rng)
    step = np.einsum("sa,sat->st", policy, mdp.transition_SAS)
    paid = (policy * mdp.reward_SA).sum(-1)
    state, value, visits = mdp.start_S, 0.0, np.zeros(9)
    for time in range(200):
        value += 0.2 * 0.8**time * state @ paid
        visits += 0.2 * 0.8**time * state
        state = state @ step
    assert performance(mdp, policy) == pytest.approx(value, abs=1e-12)
    assert occupancy(mdp, policy) == pytest.approx(visits, abs=1e-12)


def test_the_optimal_policy_beats_every_deterministic_one():
    rng = np.random.default_rng(1)
    mdp = families.dense_mdp(num_states=3, num_actions=3, discount=0.9, rng=rng)
    best = policy_value(mdp, optimal_policy(mdp))
    for code in range(27):
        policy = np.eye(3)[[code % 3, code // 3 % 3, code // 9]]
        assert (policy_value(mdp, policy) <= best + 1e-12).all()


def test_a_state_that_cannot_be_reached_has_occupancy_exactly_0_and_mismatch_is_infinite():
    mdp = TabularMDP.from_model(restart_chain(num_states=12), discount=0.95)
    left = np.eye(3)[np.ones(12, dtype=int)]
    visits = occupancy(mdp, left)
    assert (visits[1:] == 0.0).all()
    assert math.isinf(mismatch(occupancy(mdp, optimal_policy(mdp)), visits))
    assert mismatch(visits, occupancy(mdp, uniform_policy(mdp))) < math.inf


def test_mismatch_is_the_largest_ratio_over_visited_states_only():
    assert mismatch(np.array([0.6, 0.4, 0.0]), np.array([0.2, 0.8, 0.0])) == pytest.approx(3.0)


def test_improvable_coverage_counts_states_at_the_threshold():
    one = evaluate(two_states(), POLICY)
    gain = float(one.advantage_SA[0].max())
    assert improvable_coverage(one, gain) == pytest.approx(0.375 / 0.7)
    assert improvable_coverage(one, gain + 1e-9) == 0
    assert improvable_coverage(one, 1e-12) == pytest.approx(0.375 / 0.7)


def test_a_horizon_s_values_occupancies_and_advantages_are_those_worked_out_by_hand():
    mdp = two_states(discount=1.0, horizon=2)
    one = finite.evaluate(mdp, POLICY)
    # Last step: V(0) = 0.08, V(1) = 1. First: Q(0, stay) = 0.08, Q(0, go) = 0.2 + 1
    assert one.value_HS[1] == pytest.approx([0.08, 1.0])
    assert one.action_value_HSA[0, 0] == pytest.approx([0.08, 1.2])
    assert one.value_HS[0] == pytest.approx([0.6 * 0.08 + 0.4 * 1.2, 2.0])
    assert one.performance == pytest.approx(0.75 * 0.528 + 0.25 * 2)
    assert one.occupancy_HS == pytest.approx(np.array([[0.75, 0.25], [0.45, 0.55]]))
    # Greedy: 0.75 * (1.2 - 0.528) at step 0, 0.45 * (0.2 - 0.08) at step 1
    candidate = finite.everywhere_candidate(one)
    assert finite.policy_advantage(one, candidate) == pytest.approx((0.504 + 0.054) / 2)
    # max_a A is 0.672 at (0, state 0) and 0.12 at (1, state 0)
    assert finite.improvable_coverage(one, 0.12) == pytest.approx((0.75 + 0.45) / 2)
    assert finite.improvable_coverage(one, 0.5) == pytest.approx(0.75 / 2)
    oracle = finite.oracle_candidate(one, 0.5)
    assert oracle[0, 0].tolist() == [0, 1]
    assert oracle[1] == pytest.approx(POLICY)
    best = finite.optimal_policy(mdp)
    assert best[:, 0].tolist() == [[0, 1], [0, 1]]
    # 0.75 * 1.2 + 0.25 * 2
    assert finite.evaluate(mdp, best).performance == pytest.approx(1.4)
    late = finite.evaluate(mdp, POLICY, np.array([0.0, 1.0]))
    assert late.performance == pytest.approx(2.0)


def test_the_chain_takes_the_expected_steps_of_the_paper_under_the_uniform_policy():
    for length in (2, 5, 9):
        model = restart_chain(num_states=length)
        step = model.transition.mean(1)[:-1, :-1]
        hitting = np.linalg.solve(np.eye(length - 1) - step, np.ones(length - 1))
        assert hitting[0] == pytest.approx(3 * (2**length - length - 1))


def test_the_lock_opens_with_the_probability_of_its_combination():
    model = combination_lock(num_steps=3, num_actions=4, seed=2)
    mdp = TabularMDP.from_model(model, horizon=3)
    assert finite.evaluate(mdp, uniform_policy(mdp)).performance == pytest.approx(4.0**-3)
    assert finite.evaluate(mdp, families.reference_policy(model)).performance == 1.0
    # 0.7 * 0.7 * 0.7 with the reference action taken 0.7 of the time
    assert finite.evaluate(mdp, families.noisy_reference(model, 0.7)).performance == pytest.approx(
        0.343
    )


def test_the_tree_s_success_is_the_chance_that_no_critical_step_goes_wrong():
    model = reason_tree(
        num_steps=3, num_actions=4, critical_rate=0.3, recoverable_fraction=0.0, seed=5
    )
    mdp = TabularMDP.from_model(model, horizon=4)
    # Each step is critical with 0.3 and then right with 0.6: (1 - 0.3 * 0.4)**3
    got = finite.evaluate(mdp, families.noisy_reference(model, 0.6)).performance
    assert got == pytest.approx(0.88**3)


def test_the_tree_repairs_a_slip_and_guesses_at_its_floor():
    model = reason_tree(
        num_steps=2,
        num_actions=3,
        critical_rate=1.0,
        recoverable_fraction=0.5,
        ceiling=0.9,
        floor=0.2,
        seed=1,
    )
    mdp = TabularMDP.from_model(model, horizon=3)
    policy = families.tree_policy(model, right=0.6, repair=0.25)
    # Each wrong action 0.2: one slips, one is final. Right at the end: 0.6 * 0.6 + 0.2 * 0.25.
    right = 0.36 + 0.05
    assert finite.evaluate(mdp, policy).performance == pytest.approx(
        0.9 * right + 0.2 * (1 - right)
    )


def test_a_garnet_has_its_branching_and_the_plateau_its_stationary_law():
    rng = np.random.default_rng(3)
    mdp = families.garnet(num_states=20, num_actions=3, branching=4, rng=rng)
    assert ((mdp.transition_SAS > 0).sum(-1) == 4).all()
    assert (mdp.reward_SA == mdp.reward_SA[:, :1]).all()
    plateau = families.two_state_plateau()
    step = np.einsum("sa,sat->st", families.plateau_policy(), plateau.transition_SAS)
    assert np.array([0.8, 0.2]) @ step == pytest.approx([0.8, 0.2])
    assert occupancy(plateau, families.plateau_policy()) == pytest.approx([0.8, 0.2])
    assert plateau.reward_SA.tolist() == [[1, 0], [2, 0]]


def test_a_mixture_is_the_two_policies_in_proportion():
    assert mix(POLICY, greedy(-POLICY), 0.25)[0] == pytest.approx([0.45, 0.55])


def test_a_normalised_action_value_is_worked_out_by_hand():
    # 0.8 * 0.2 + 0.2 * 3 with V = (1, 3), for going from state 0
    got = action_value(two_states(discount=0.2), np.array([1.0, 3.0]))
    assert got[0] == pytest.approx([0.2, 0.76])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_S": np.array([0.75, 0.2])}, r"start_S must sum to 1, got 0\.95; correct"),
        ({"start_S": np.array([1.25, -0.25])}, r"start_S must be finite and >= 0, got -0\.25"),
        ({"start_S": np.array([1.0])}, r"start_S must have shape \(2,\), got \(1,\)"),
        (
            {"transition_SAS": np.array([[[1.0, 0], [0, 1]], [[0, 0.9], [0, 1]]])},
            r"transition_SAS must sum to 1, got 0\.9 in row \(1, 0\) \(1 of 4 rows\)",
        ),
        ({"transition_SAS": np.full((2, 2, 2), np.nan)}, "must be finite and >= 0, got nan"),
        ({"reward_SA": np.array([[0, np.inf], [0, 0]])}, "reward_SA must be finite"),
        ({"reward_SA": np.zeros(2)}, r"reward_SA must have two axes, got shape \(2,\)"),
        ({"discount": 1.0}, "discount must be below 1 with an infinite horizon, got 1.0; give a"),
        ({"discount": 1.5}, r"discount must be in 0\.\.1, got 1\.5"),
        ({"discount": -0.5}, r"discount must be in 0\.\.1, got -0\.5"),
        ({"horizon": 3}, "discount must be 1 with a horizon, got 0.5"),
        ({"horizon": 0, "discount": 1.0}, "horizon must be at least 1, got 0"),
    ],
)
def test_bad_arrays_discounts_and_horizons_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        two_states(**changes)


def test_bad_policies_restarts_steps_and_thresholds_are_refused():
    mdp, horizon = two_states(), two_states(discount=1.0, horizon=2)
    with pytest.raises(ConfigError, match=r"policy_SA must have shape \(2, 2\), got \(3, 2\)"):
        policy_value(mdp, np.full((3, 2), 0.5))
    with pytest.raises(ConfigError, match=r"policy_SA must sum to 1, got 1\.2 in row \(0,\)"):
        evaluate(mdp, np.array([[0.6, 0.6], [0.5, 0.5]]))
    with pytest.raises(ConfigError, match=r"restart_S must have shape \(2,\), got \(3,\)"):
        evaluate(mdp, POLICY, np.ones(3) / 3)
    with pytest.raises(ConfigError, match=r"restart_S must sum to 1, got 2"):
        occupancy(mdp, POLICY, np.ones(2))
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got 1\.01; a mixture"):
        mix(POLICY, POLICY, 1.01)
    with pytest.raises(ConfigError, match="threshold must be above 0, got 0"):
        improvable_coverage(evaluate(mdp, POLICY), 0)
    with pytest.raises(ConfigError, match=r"needs an infinite horizon, got horizon 2; use"):
        policy_value(horizon, POLICY)
    with pytest.raises(ConfigError, match=r"needs a horizon, got discount 0\.5 without one"):
        finite.evaluate(mdp, POLICY)
    with pytest.raises(ConfigError, match=r"policy_HSA must have shape \(2, 2, 2\), got \(3, 2\)"):
        finite.evaluate(horizon, np.full((3, 2), 0.5))
    with pytest.raises(ConfigError, match=r"rewards must be >= 0 for a bound in R, got -1\.0"):
        _ = two_states(reward_SA=np.array([[-1.0, 0], [0, 0]])).max_reward


def test_families_refuse_parameters_out_of_range():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"branching must be in 1\.\.3, got 4"):
        families.garnet(num_states=3, num_actions=2, branching=4, rng=rng)
    with pytest.raises(ConfigError, match=r"right_probability must be in 0\.\.1, got 2"):
        families.noisy_reference(restart_chain(), 2)
    with pytest.raises(ConfigError, match=r"critical_rate must be in 0\.\.1, got -0\.1"):
        reason_tree(critical_rate=-0.1)
    with pytest.raises(ConfigError, match="num_actions must be at least 2, got 1"):
        combination_lock(num_actions=1)
