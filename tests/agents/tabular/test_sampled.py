"""Monte-Carlo agrees with exact values, within stated intervals."""

import numpy as np
import pytest

from reason_env.agents.tabular.exact import (
    TabularMDP,
    evaluate,
    occupancy,
    performance,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import action_value
from reason_env.agents.tabular.exact.nonstationary import one_step, prepend, stationary
from reason_env.agents.tabular.sampled import Simulator, draw_states, returns_with_action
from reason_env.agents.tabular.sampled.estimates import (
    RowSampler,
    action_samples,
    mean_interval,
    stopped_rewards,
    visited_states,
)
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ConfigError
from reason_env.tabular import reason_tree

CONFIDENCE = 0.9999
"""Of each interval; the seeds are fixed, so a pass stays a pass."""


def world(seed=0):
    rng = np.random.default_rng(seed)
    mdp = families.garnet(num_states=12, num_actions=3, branching=3, discount=0.9, rng=rng)
    return mdp, families.random_policy(mdp, rng), rng


def holds(interval, exact):
    return interval.low <= exact <= interval.high


def test_rows_are_drawn_by_their_probabilities_and_never_outside_their_support():
    rows = np.array([[0.0, 0.25, 0.75, 0.0], [1.0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]])
    row_N = np.repeat([0, 1, 2], 40_000)
    drawn = RowSampler(rows).draw(row_N, np.random.default_rng(0)).reshape(3, -1)
    for row, got in zip(rows, drawn, strict=True):
        share = np.bincount(got, minlength=4) / 40_000
        # Four standard errors of a proportion, at most 4 * 0.5 / 200
        assert share == pytest.approx(row, abs=0.01)
        assert (share[row == 0] == 0).all()


def test_a_draw_at_the_upper_edge_stays_in_its_row():
    class Highest:
        def random(self, size):
            return np.full(size, np.nextafter(1.0, 0.0))

    rows = np.tile([0.5, 0.5, 0.0], (100_000, 1))
    row_N = np.array([0, 70_000, 99_999])
    assert RowSampler(rows).draw(row_N, Highest()).tolist() == [1, 1, 1]


def test_values_and_occupancies_agree_with_the_exact_ones():
    mdp, policy, rng = world()
    for mu in (None, np.eye(12)[3]):
        state_N = draw_states(mdp.start_S if mu is None else mu, 60_000, rng)
        reward_N = stopped_rewards(Simulator(mdp, policy), state_N, rng)
        got = mean_interval(reward_N, CONFIDENCE)
        assert holds(got, performance(mdp, policy, mu))
        assert got.high - got.low < 0.02
    mu = rng.dirichlet(np.ones(12))
    states = visited_states(Simulator(mdp, policy), mu, 100_000, rng)
    # Five standard errors of a proportion of at most 0.3
    assert np.bincount(states, minlength=12) / 1e5 == pytest.approx(
        occupancy(mdp, policy, mu), abs=0.0075
    )


def test_action_values_agree_with_the_exact_ones():
    mdp, policy, rng = world(1)
    mu = rng.dirichlet(np.ones(12))
    one = evaluate(mdp, policy, mu)
    simulator = Simulator(mdp, policy)
    state_N, action_N = np.full(40_000, 5), np.full(40_000, 2)
    sample_N = action_samples(simulator, state_N, action_N, rng)
    assert holds(mean_interval(sample_N, CONFIDENCE), one.action_value_SA[5, 2])
    assert 0 <= sample_N.min() <= sample_N.max() <= mdp.max_reward


def test_returns_to_the_horizon_agree_with_exact_action_values_from_any_step():
    model = reason_tree(num_steps=4, critical_rate=0.5, seed=3)
    mdp = TabularMDP.from_model(model, horizon=5)
    rng = np.random.default_rng(0)
    policy = rng.dirichlet(np.ones(4), size=(5, mdp.num_states))
    one = finite.evaluate(mdp, policy)
    simulator = Simulator(mdp, policy)
    # The answer pays 1 for certain, so its interval is one point.
    cells = [(0, 1, 2), (1, 6, 0), (3, 13, 1), (4, 16, 3)]
    step_N, state_N, action_N = np.repeat(np.array(cells).T, 30_000, axis=1)
    return_N = returns_with_action(simulator, state_N.copy(), action_N, step_N, rng)
    for cell, got in zip(cells, return_N.reshape(4, -1), strict=True):
        interval = mean_interval(got, CONFIDENCE)
        assert holds(interval, one.action_value_HSA[cell])


def test_an_interval_is_the_mean_and_its_quantiles_of_the_standard_error():
    # Of 1 and 3: variance 2, so the error of the mean is sqrt(2 / 2); 1.959964 times it
    got = mean_interval(np.array([1.0, 3.0]))
    assert (got.estimate, got.low, got.high) == pytest.approx((2, 2 - 1.959964, 2 + 1.959964))


def test_episodes_of_several_policies_follow_their_turns_and_are_paid_nothing_after_the_last():
    mdp, policy, rng = world(3)
    other = families.random_policy(mdp, rng)
    ending = prepend(mdp, policy, one_step(mdp, other))
    for_ever = prepend(mdp, other, stationary(mdp, policy))
    for one in (ending, for_ever):
        simulator = Simulator(mdp, np.stack(one.policies))
        state_N = np.full(40_000, 4)
        reward_N = stopped_rewards(simulator, state_N, rng, one.turns())
        assert holds(mean_interval(reward_N, CONFIDENCE), one.value_S[4])
        action_N = np.full(40_000, 1)
        sample_N = action_samples(simulator, state_N, action_N, rng, one.turns())
        exact = action_value(mdp, one.value_S)[4, 1]
        assert holds(mean_interval(sample_N, CONFIDENCE), exact)


def test_equal_seeds_draw_equal_episodes():
    mdp, policy, _ = world(2)
    draws = [
        visited_states(Simulator(mdp, policy), mdp.start_S, 500, np.random.default_rng(7))
        for _ in range(2)
    ]
    assert (draws[0] == draws[1]).all()
    assert len(set(draw_states(mdp.start_S, 500, np.random.default_rng(7)))) > 5


def test_a_simulator_refuses_a_policy_of_another_mdp():
    mdp, _, _ = world()
    with pytest.raises(ConfigError, match=r"policy_SA must have shape \(12, 3\), got \(11, 3\)"):
        Simulator(mdp, np.full((11, 3), 1 / 3))
