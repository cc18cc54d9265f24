"""Bounds: inequalities over thousands of random MDPs, and exact values with their arithmetic."""

import math

import numpy as np
import pytest

from reason_env.agents.tabular.exact import (
    TabularMDP,
    bounds,
    conservative_policy_iteration,
    evaluate,
    greedy,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    oracle_reset_step,
    performance,
    policy_advantage,
    random_reset_step,
    restarts,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import performance_difference
from reason_env.agents.tabular.exact.resets import reverse_policy_search, search_gap_bound
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ConfigError

NUM_MDPS = 2_000
ROUNDING = 1e-10
"""Values lie in 0..1 and come from direct solves of at most seven states."""


def worlds(num=NUM_MDPS, first_seed=0):
    """Yields small random MDPs, two policies' evaluation and candidate, mu unlike D."""
    for seed in range(first_seed, first_seed + num):
        rng = np.random.default_rng(seed)
        mdp = families.dense_mdp(
            num_states=int(rng.integers(2, 7)),
            num_actions=int(rng.integers(2, 5)),
            discount=float(rng.choice([0.1, 0.5, 0.9, 0.99])),
            rng=rng,
        )
        mu = rng.dirichlet(np.ones(mdp.num_states))
        old = evaluate(mdp, families.random_policy(mdp, rng), mu)
        candidate = families.random_policy(mdp, rng) if seed % 2 else greedy(old.action_value_SA)
        yield mdp, old, candidate, rng


def horizon_worlds(num=NUM_MDPS):
    """Yields random MDPs with a horizon and returns in 0..1, and a policy of each."""
    for seed in range(num):
        rng = np.random.default_rng([seed, 7])
        steps = int(rng.integers(1, 7))
        dense = families.dense_mdp(
            num_states=int(rng.integers(2, 6)), num_actions=int(rng.integers(2, 4)), rng=rng
        )
        mdp = TabularMDP(
            transition_SAS=dense.transition_SAS,
            reward_SA=dense.reward_SA / steps,
            start_S=dense.start_S,
            horizon=steps,
        )
        shape = (steps, mdp.num_states)
        yield mdp, rng.dirichlet(np.full(mdp.num_actions, 0.5), size=shape), rng


def gain_from_restart(mdp, old, new_policy):
    return performance(mdp, new_policy, old.restart_S) - float(old.restart_S @ old.value_S)


def test_the_performance_difference_lemma_is_an_equality():
    for mdp, old, candidate, _ in worlds():
        assert performance_difference(mdp, old, candidate) == pytest.approx(
            gain_from_restart(mdp, old, candidate), abs=ROUNDING
        )


def test_a_mixture_gains_at_least_the_bounds_of_theorem_4_1_and_pirotta_at_any_step():
    for mdp, old, candidate, rng in worlds():
        advantage_S = (candidate * old.advantage_SA).sum(-1)
        advantage = policy_advantage(old, candidate)
        step = float(rng.choice([0.0, 1e-3, 1.0, rng.random()]))
        gain = gain_from_restart(mdp, old, mix(old.policy_SA, candidate, step))
        assert (
            gain
            >= bounds.mixture_gain(
                step_size=step,
                policy_advantage=advantage,
                max_advantage=float(np.abs(advantage_S).max()),
                discount=mdp.discount,
            )
            - ROUNDING
        )
        assert (
            gain
            >= bounds.safe_gain(
                step_size=step,
                policy_advantage=advantage,
                policy_distance=float(np.abs(candidate - old.policy_SA).sum(-1).max()),
                advantage_range=float(np.ptp(advantage_S)),
                discount=mdp.discount,
            )
            - ROUNDING
        )


def test_steps_of_corollary_4_2_and_of_pirotta_gain_at_least_their_bounds():
    for mdp, old, candidate, _ in worlds():
        advantage = policy_advantage(old, candidate)
        step = bounds.cpi_step_size(
            policy_advantage=advantage, max_reward=mdp.max_reward, discount=mdp.discount
        )
        gain = gain_from_restart(mdp, old, mix(old.policy_SA, candidate, step))
        promised = bounds.cpi_gain(policy_advantage=advantage, max_reward=mdp.max_reward)
        assert gain >= promised - ROUNDING
        figures = {
            "policy_advantage": advantage,
            "policy_distance": float(np.abs(candidate - old.policy_SA).sum(-1).max()),
            "advantage_range": float(np.ptp((candidate * old.advantage_SA).sum(-1))),
            "discount": mdp.discount,
        }
        safe = bounds.safe_step_size(**figures)
        best = bounds.safe_gain(step_size=safe, **figures)
        for other in (0.0, 0.5 * safe, min(1.0, 1.1 * safe), 1.0):
            assert bounds.safe_gain(step_size=other, **figures) <= best + ROUNDING
        gain = gain_from_restart(mdp, old, mix(old.policy_SA, candidate, safe))
        assert gain >= best - ROUNDING


def test_the_gap_to_optimal_is_within_corollary_4_5_and_the_restart_form_is_the_weaker():
    for mdp, old, _, _ in worlds():
        best = optimal_policy(mdp)
        best_S = occupancy(mdp, best)
        left = policy_advantage(old, greedy(old.action_value_SA))
        gap = performance(mdp, best) - performance(mdp, old.policy_SA)
        tight = bounds.optimality_gap(
            optimal_policy_advantage=left,
            occupancy_mismatch=mismatch(best_S, old.occupancy_S),
            discount=mdp.discount,
        )
        loose = bounds.restart_gap(
            optimal_policy_advantage=left,
            restart_mismatch=mismatch(best_S, old.restart_S),
            discount=mdp.discount,
        )
        assert -ROUNDING <= gap <= tight + ROUNDING
        assert tight <= loose * (1 + 1e-9) + ROUNDING


def test_resets_gain_at_least_the_horizon_bounds_and_more_resets_never_cost():
    for mdp, policy, rng in horizon_worlds():
        old = finite.evaluate(mdp, policy)
        threshold = float(rng.choice([0.01, 0.05, 0.2]))
        random = random_reset_step(mdp, policy, threshold=threshold)
        oracle = oracle_reset_step(mdp, policy, threshold=threshold)
        assert random.realised_gain >= random.guaranteed_gain - ROUNDING
        assert oracle.realised_gain >= oracle.guaranteed_gain - ROUNDING
        worst = bounds.random_reset_gain(
            policy_advantage=random.coverage * threshold, max_return=1.0
        )
        assert random.guaranteed_gain >= worst - ROUNDING
        candidate = finite.everywhere_candidate(old)
        step = float(rng.random())
        new = finite.evaluate(mdp, mix(old.policy_HSA, candidate, step))
        assert (
            new.performance - old.performance
            >= bounds.greedy_horizon_gain(
                step_size=step,
                policy_advantage=finite.policy_advantage(old, candidate),
                horizon=mdp.horizon,
            )
            - ROUNDING
        )


def test_the_performance_difference_lemma_is_an_equality_with_a_horizon():
    for mdp, policy, rng in horizon_worlds():
        old = finite.evaluate(mdp, policy)
        new_policy = rng.dirichlet(np.ones(mdp.num_actions), size=policy.shape[:2])
        gain = finite.evaluate(mdp, new_policy).performance - old.performance
        got = finite.performance_difference(mdp, old, new_policy)
        assert got == pytest.approx(gain, abs=ROUNDING)


def test_psdp_is_within_its_bound_of_optimal_and_exact_choices_close_the_gap():
    for mdp, policy, rng in horizon_worlds(500):
        restart = rng.dirichlet(np.ones(mdp.num_states), size=mdp.horizon)
        best = finite.evaluate(mdp, finite.optimal_policy(mdp)).performance
        gap = best - finite.evaluate(mdp, policy).performance
        assert gap <= search_gap_bound(mdp, policy, restart) + ROUNDING
        *_, last = reverse_policy_search(mdp, policy, restart)
        assert last.performance == pytest.approx(best, abs=ROUNDING)
        assert search_gap_bound(mdp, last.policy_HSA, restart) == pytest.approx(0, abs=ROUNDING)


def two_states(**changes):
    """State 0: stay (reward 0) or go to state 1 (reward 0.2). State 1 pays 1 for ever."""
    arrays = {
        "transition_SAS": np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]),
        "reward_SA": np.array([[0.0, 0.2], [1.0, 1.0]]),
        "start_S": np.array([0.75, 0.25]),
        "discount": 0.5,
    }
    return TabularMDP(**(arrays | changes))


HESITANT = np.array([[0.6, 0.4], [0.5, 0.5]])
GO = np.array([[0.0, 1.0], [0.0, 1.0]])


def test_the_performance_difference_of_two_states_is_the_one_worked_out_by_hand():
    mdp = two_states()
    old = evaluate(mdp, HESITANT)
    # V(0) is 0.24 / 0.7 when hesitant and 0.6 when going; d'(0) = 0.5 * 0.75
    assert performance_difference(mdp, old, GO) == pytest.approx(0.375 * (0.6 - 0.24 / 0.7) / 0.5)
    assert performance_difference(mdp, old, GO) == pytest.approx(0.75 * (0.6 - 0.24 / 0.7))
    finite_mdp = two_states(discount=1.0, horizon=2)
    first = finite.evaluate(finite_mdp, HESITANT)
    # Stay, then go: 0.2 from state 0 in place of 0.4 * 1.2 + 0.6 * 0.08 = 0.528
    late = np.stack([np.array([[1.0, 0], [1, 0]]), GO])
    got = finite.performance_difference(finite_mdp, first, late)
    assert got == pytest.approx(0.75 * (0.2 - 0.528))


def test_theorem_4_1_and_corollary_4_5_on_two_states_are_those_worked_out_by_hand():
    mdp = two_states()
    old = evaluate(mdp, HESITANT)
    # A(0, go) = 0.6 - 0.24 / 0.7 = 0.18 / 0.7, and d(0) = 0.375 / 0.7
    width = 0.18 / 0.7
    advantage = policy_advantage(old, GO)
    assert advantage == pytest.approx(0.375 / 0.7 * width)
    # Half way: go with 0.7, so V(0) = 0.42 / 0.85; 0.5 / 0.5 * (A - 2 * 0.5 * 0.5 * eps / 0.75)
    gain = gain_from_restart(mdp, old, mix(HESITANT, GO, 0.5))
    assert gain == pytest.approx(0.75 * (0.42 / 0.85 - 0.24 / 0.7))
    promised = bounds.mixture_gain(
        step_size=0.5, policy_advantage=advantage, max_advantage=width, discount=0.5
    )
    assert promised == pytest.approx(0.375 / 0.7 * width - width / 1.5)
    # d_pi* is (0.375, 0.625) and d_pi (0.375, 0.325) / 0.7
    best_S = occupancy(mdp, GO)
    tight = bounds.optimality_gap(
        optimal_policy_advantage=advantage,
        occupancy_mismatch=mismatch(best_S, old.occupancy_S),
        discount=0.5,
    )
    assert tight == pytest.approx(advantage / 0.5 * 0.625 * 0.7 / 0.325)
    loose = bounds.restart_gap(
        optimal_policy_advantage=advantage,
        restart_mismatch=mismatch(best_S, mdp.start_S),
        discount=0.5,
    )
    assert loose == pytest.approx(advantage / 0.25 * 2.5)
    assert 0.75 * width < tight < loose


def test_cpi_stops_within_the_calls_of_theorem_4_4():
    taken = []
    for mdp, old, _, _ in worlds(300):
        accuracy = 0.45 * mdp.max_reward
        most = bounds.cpi_num_calls(max_reward=mdp.max_reward, accuracy=accuracy)
        # 72 / 0.45**2 = 355.5...
        assert most == 355
        run = conservative_policy_iteration(
            mdp,
            old.policy_SA,
            restart=restarts.Uniform(),
            num_iterations=most + 1,
            stop_below=2 * accuracy / 3,
        )
        taken.append(sum(1 for _ in run) - 1)
    assert 5 < max(taken) <= 355


def test_each_bound_has_the_value_that_is_worked_out_by_hand():
    # 0.1 / 0.2 * (0.3 - 2 * 0.1 * 0.8 * 0.4 / (1 - 0.8 * 0.9)) = 0.5 * (0.3 - 0.064 / 0.28)
    assert bounds.mixture_gain(
        step_size=0.1, policy_advantage=0.3, max_advantage=0.4, discount=0.8
    ) == pytest.approx(0.5 * (0.3 - 0.064 / 0.28))
    # 0.2 * 0.3 / (4 * 3) and 0.09 / 24
    assert bounds.cpi_step_size(
        policy_advantage=0.3, max_reward=3.0, discount=0.8
    ) == pytest.approx(0.005)
    assert bounds.cpi_gain(policy_advantage=0.3, max_reward=3.0) == pytest.approx(0.00375)
    # 72 * 4 / 0.09 = 3200
    assert bounds.cpi_num_calls(max_reward=2.0, accuracy=0.3) == 3200
    # 0.02 / 0.2 * 7 and 0.02 / 0.04 * 7
    assert bounds.optimality_gap(
        optimal_policy_advantage=0.02, occupancy_mismatch=7.0, discount=0.8
    ) == pytest.approx(0.7)
    assert bounds.restart_gap(
        optimal_policy_advantage=0.02, restart_mismatch=7.0, discount=0.8
    ) == pytest.approx(3.5)
    # 0.1 * 0.3 / 0.2 - 0.01 * 0.8 * 1.5 * 0.6 / (2 * 0.04) = 0.15 - 0.09
    figures = {
        "policy_advantage": 0.3,
        "policy_distance": 1.5,
        "advantage_range": 0.6,
        "discount": 0.8,
    }
    assert bounds.safe_gain(step_size=0.1, **figures) == pytest.approx(0.06)
    # 0.2 * 0.3 / (0.8 * 1.5 * 0.6) = 0.06 / 0.72
    assert bounds.safe_step_size(**figures) == pytest.approx(1 / 12)
    # 0.3 / (2 * 2 * 5); 0.1 * 0.09 / 8; the same with Abar 0.3; 0.09 / 8
    assert bounds.oracle_reset_step_size(threshold=0.3, max_return=2.0, horizon=5) == pytest.approx(
        0.015
    )
    assert bounds.oracle_reset_gain(coverage=0.1, threshold=0.3, max_return=2.0) == pytest.approx(
        0.001125
    )
    assert bounds.random_reset_step_size(
        policy_advantage=0.3, max_return=2.0, horizon=5
    ) == pytest.approx(0.015)
    assert bounds.random_reset_gain(policy_advantage=0.3, max_return=2.0) == pytest.approx(0.01125)
    # 0.25 * 0.75**2 * 3 * 0.4
    assert bounds.greedy_horizon_gain(
        step_size=0.25, policy_advantage=0.4, horizon=3
    ) == pytest.approx(0.16875)
    # 2 * 0.1 + 5 * 0.03
    assert bounds.search_gap(mismatches=[2.0, 5.0], errors=[0.1, 0.03]) == pytest.approx(0.35)
    # 9 * ln(20) / (2 * 0.0625) = 215.69...
    assert bounds.num_samples(value_range=3.0, accuracy=0.25, failure=0.1) == 216


def test_a_candidate_with_negative_advantage_has_step_0_and_gain_0():
    assert bounds.cpi_step_size(policy_advantage=-0.1, max_reward=1.0, discount=0.9) == 0
    assert bounds.cpi_gain(policy_advantage=-0.1, max_reward=1.0) == 0
    assert bounds.random_reset_gain(policy_advantage=-0.1, max_return=1.0) == 0
    assert bounds.random_reset_step_size(policy_advantage=-0.1, max_return=1.0, horizon=3) == 0
    figures = {"policy_distance": 2.0, "advantage_range": 1.0, "discount": 0.9}
    assert bounds.safe_step_size(policy_advantage=-0.1, **figures) == 0


def test_the_safe_step_is_at_most_a_full_one():
    figures = {"policy_distance": 0.1, "advantage_range": 0.1, "discount": 0.5}
    assert bounds.safe_step_size(policy_advantage=0.3, **figures) == 1.0


def test_an_infinite_mismatch_is_an_infinite_gap_even_with_nothing_left_to_gain():
    assert math.isinf(
        bounds.restart_gap(optimal_policy_advantage=0.0, restart_mismatch=math.inf, discount=0.9)
    )
    assert math.isinf(bounds.search_gap(mismatches=[1.0, math.inf], errors=[0.0, 0.0]))


@pytest.mark.parametrize("step", [-0.1, 1.1, math.nan])
def test_a_step_outside_0_to_1_is_refused(step):
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got"):
        bounds.mixture_gain(step_size=step, policy_advantage=1, max_advantage=1, discount=0.9)
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got"):
        bounds.safe_gain(
            step_size=step,
            policy_advantage=1,
            policy_distance=1,
            advantage_range=1,
            discount=0.9,
        )
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got"):
        bounds.greedy_horizon_gain(step_size=step, policy_advantage=1, horizon=2)


def test_bounds_refuse_ranges_accuracies_and_thresholds_that_are_not_positive():
    with pytest.raises(ConfigError, match=r"max_reward must be above 0, got 0\.0"):
        bounds.cpi_gain(policy_advantage=0.1, max_reward=0.0)
    with pytest.raises(ConfigError, match="accuracy must be above 0, got 0"):
        bounds.num_samples(value_range=1.0, accuracy=0, failure=0.1)
    with pytest.raises(ConfigError, match=r"failure must be in 0\.\.1, got 1"):
        bounds.num_samples(value_range=1.0, accuracy=0.1, failure=1)
    with pytest.raises(ConfigError, match="threshold must be above 0, got 0"):
        bounds.oracle_reset_gain(coverage=0.1, threshold=0, max_return=1.0)
