"""Algorithms: hand-worked steps, known limits, and refusals."""

import numpy as np
import pytest

from reason_env.agents.tabular.exact import (
    ActionFeatureChooser,
    NonstationaryPolicy,
    TabularMDP,
    ValueFeatureChooser,
    cautious_step,
    conservative_policy_iteration,
    doubling_step,
    evaluate,
    fixed_step,
    greedy,
    kakade_langford_step,
    line_search_step,
    mix,
    nonstationary_policy_iteration,
    optimal_policy,
    oracle_reset_step,
    performance,
    policy_iteration,
    policy_search,
    random_reset_step,
    restarts,
    safe_step,
    uniform_policy,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.chooser import exact_chooser
from reason_env.agents.tabular.exact.improve import (
    softmax,
    softmax_gradient,
    softmax_policy_gradient,
)
from reason_env.agents.tabular.exact.mdp import policy_value
from reason_env.agents.tabular.exact.nonstationary import PolicyLoop, one_step, prepend, stationary
from reason_env.agents.tabular.exact.resets import reverse_policy_search
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ConfigError
from reason_env.tabular import combination_lock, restart_chain

START = np.array([[0.6, 0.4], [0.5, 0.5]])


def two_states(**changes):
    """State 0: stay (reward 0) or go to state 1 (reward 0.2). State 1 pays 1 for ever."""
    arrays = {
        "transition_SAS": np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]),
        "reward_SA": np.array([[0.0, 0.2], [1.0, 1.0]]),
        "start_S": np.array([0.75, 0.25]),
        "discount": 0.5,
    }
    return TabularMDP(**(arrays | changes))


def small(seed=0, **changes):
    rng = np.random.default_rng(seed)
    sizes = {"num_states": 6, "num_actions": 3, "branching": 2, "discount": 0.9} | changes
    return families.garnet(**sizes, rng=rng)


def loop_value(mdp, policies):
    return PolicyLoop(mdp, policies).policy().value_S


def last_of(iterates):
    *_, last = iterates
    return last


def test_cpi_s_first_step_on_two_states_is_the_one_worked_out_by_hand():
    mdp = two_states()
    run = conservative_policy_iteration(mdp, START, restart=restarts.Initial(), num_iterations=3)
    first, second = next(run), next(run)
    assert (first.step_size, first.policy_advantage) == (0, 0)
    # A = d(0) * A(0, go) = (0.375 / 0.7) * (0.18 / 0.7); R = 1; alpha = 0.5 A / 4
    advantage = 0.375 / 0.7 * 0.18 / 0.7
    assert second.policy_advantage == pytest.approx(advantage)
    assert second.step_size == pytest.approx(advantage / 8)
    assert second.guaranteed_gain == pytest.approx(advantage**2 / 8)
    go = 0.4 + 0.6 * advantage / 8
    assert second.policy_SA[0] == pytest.approx([1 - go, go])
    # V(0) = (0.5 * 0.2 + 0.5) go / (1 - 0.5 (1 - go))
    value = 0.6 * go / (1 - 0.5 * (1 - go))
    assert second.value_S == pytest.approx([value, 1])
    assert second.performance == pytest.approx(0.75 * value + 0.25)


def test_cpi_takes_its_advantage_under_mu_but_reports_performance_from_the_start():
    mdp = two_states()
    mu = Given(np.array([0.1, 0.9]))
    second = list(conservative_policy_iteration(mdp, START, restart=mu, num_iterations=1))[1]
    assert second.policy_advantage == pytest.approx(0.05 / 0.7 * 0.18 / 0.7)
    assert second.performance == pytest.approx(performance(mdp, second.policy_SA))


class Given:
    def __init__(self, mu):
        self.mu = mu

    def distribution(self, mdp, policy):
        return self.mu


def test_pirotta_s_step_on_two_states_is_the_one_worked_out_by_hand():
    mdp = two_states()
    one = evaluate(mdp, START)
    candidate = np.array([[0.0, 1.0], [0.5, 0.5]])
    step, gain = safe_step(mdp, one, candidate)
    # distance 1.2, range of the advantage 0.18 / 0.7, A = (0.375 / 0.7) * range
    width = 0.18 / 0.7
    assert step == pytest.approx(0.5 * 0.375 / 0.7 / (0.5 * 1.2))
    assert gain == pytest.approx(
        step * 0.375 / 0.7 * width / 0.5 - step**2 * 0.5 * 1.2 * width / 0.5
    )


def test_pirotta_s_step_counts_the_whole_range_of_an_advantage_that_changes_sign():
    mdp = two_states(reward_SA=np.array([[0.0, 0.2], [1.0, 0.6]]))
    one = evaluate(mdp, START)
    # V(1) = 0.8, V(0) = 0.2 / 0.7; A(0, go) = 0.5 - V(0); A(1) = 0.4 * 0.1 - 0.6 * 0.1
    gain, loss = 0.5 - 0.2 / 0.7, -0.02
    advantage = 0.375 / 0.7 * gain + 0.325 / 0.7 * loss
    step, promised = safe_step(mdp, one, np.array([[0.0, 1.0], [0.4, 0.6]]))
    assert step == pytest.approx(0.5 * advantage / (0.5 * 1.2 * (gain - loss)))
    assert promised == pytest.approx(advantage**2 / (2 * 0.5 * 1.2 * (gain - loss)))


def test_the_line_search_takes_the_best_power_of_two_and_0_if_none_gains():
    mdp = two_states()
    one = evaluate(mdp, START)
    go, stay = np.array([[0.0, 1], [1, 0]]), np.array([[1.0, 0], [1, 0]])
    step, gain = line_search_step(mdp, one, go)
    assert step == 1.0
    assert gain == pytest.approx(performance(mdp, go) - performance(mdp, START))
    assert line_search_step(mdp, one, stay) == (0.0, 0.0)


def test_the_doubling_search_takes_the_best_multiple_of_the_step_of_the_corollary():
    mdp = two_states()
    one = evaluate(mdp, START)
    go, stay = np.array([[0.0, 1], [1, 0]]), np.array([[1.0, 0], [1, 0]])
    first = 0.375 / 0.7 * 0.18 / 0.7 / 8
    # 0.01722 * 2**5 = 0.551 is the last multiple in 0..1, and more is better here.
    step, gain = doubling_step(mdp, one, go)
    assert step == pytest.approx(32 * first)
    assert gain == pytest.approx(performance(mdp, mix(START, go, step)) - performance(mdp, START))
    assert doubling_step(mdp, one, stay) == (0.0, 0.0)


def test_the_doubling_search_takes_no_step_that_is_worse_than_half_or_twice_it():
    for seed in range(20):
        mdp = small(seed, discount=0.99)
        rng = np.random.default_rng(seed)
        one = evaluate(mdp, uniform_policy(mdp), np.full(6, 1 / 6))
        candidate = families.random_policy(mdp, rng)
        least, _ = kakade_langford_step(mdp, one, candidate)
        step, gain = doubling_step(mdp, one, candidate)
        if least == 0:
            assert (step, gain) == (0.0, 0.0)
            continue
        multiple = step / least
        assert np.log2(multiple) == pytest.approx(round(np.log2(multiple)))
        before = performance(mdp, uniform_policy(mdp), one.restart_S)
        for other in (step / 2, step, 2 * step):
            if least <= other <= 1:
                mixed = mix(uniform_policy(mdp), candidate, other)
                assert performance(mdp, mixed, one.restart_S) - before <= gain + 1e-12


def test_a_cautious_step_subtracts_the_error_from_the_advantage():
    mdp = two_states()
    one = evaluate(mdp, START)
    candidate = np.array([[0.0, 1.0], [0.5, 0.5]])
    advantage = 0.375 / 0.7 * 0.18 / 0.7
    step, gain = cautious_step(0.03)(mdp, one, candidate)
    assert step == pytest.approx(0.5 * (advantage - 0.03) / 4)
    assert gain == pytest.approx((advantage - 0.03) ** 2 / 8)
    assert cautious_step(1.0)(mdp, one, candidate) == (0, 0)
    assert cautious_step(0.0)(mdp, one, candidate) == kakade_langford_step(mdp, one, candidate)


def test_conservative_steps_never_lose_and_a_line_search_reaches_the_optimum():
    for seed in range(20):
        mdp = small(seed)
        best = performance(mdp, optimal_policy(mdp))
        for rule in (kakade_langford_step, safe_step, line_search_step):
            run = list(
                conservative_policy_iteration(
                    mdp,
                    uniform_policy(mdp),
                    restart=restarts.Uniform(),
                    num_iterations=15,
                    step_rule=rule,
                )
            )
            values = [one.performance for one in run]
            assert (np.diff(values) >= -1e-12).all()
            gains = [one.guaranteed_gain for one in run[1:]]
            assert (np.diff(values) >= np.array(gains) - 1e-12).all()
        assert values[-1] == pytest.approx(best, abs=1e-9)


def test_cpi_stops_when_the_policy_advantage_is_at_most_the_limit():
    mdp = two_states()
    advantage = 0.375 / 0.7 * 0.18 / 0.7
    for limit, expected in ((advantage * 1.001, 1), (advantage * 0.999, 2)):
        run = conservative_policy_iteration(
            mdp, START, restart=restarts.Initial(), num_iterations=1, stop_below=limit
        )
        assert len(list(run)) == expected
    best = optimal_policy(mdp)
    run = conservative_policy_iteration(mdp, best, restart=restarts.Uniform(), num_iterations=9)
    assert len(list(run)) == 1


def test_a_fixed_step_mixes_with_its_weight_and_guarantees_no_gain():
    mdp = two_states()
    run = conservative_policy_iteration(
        mdp, START, restart=restarts.Initial(), num_iterations=1, step_rule=fixed_step(0.25)
    )
    second = last_of(run)
    assert second.policy_SA[0] == pytest.approx([0.45, 0.55])
    assert second.step_size == 0.25
    assert second.guaranteed_gain == -np.inf


def test_exact_policy_iteration_finds_the_optimum_and_with_a_step_it_mixes():
    for seed in range(20):
        mdp = small(seed)
        found = last_of(
            policy_iteration(
                mdp, uniform_policy(mdp), restart=restarts.Uniform(), num_iterations=20
            )
        )
        assert found.performance == pytest.approx(performance(mdp, optimal_policy(mdp)))
    second = last_of(
        policy_iteration(
            two_states(), START, restart=restarts.Uniform(), num_iterations=1, step_size=0.25
        )
    )
    assert second.policy_SA[0] == pytest.approx([0.45, 0.55])


def test_nspi_of_one_policy_is_policy_iteration_and_a_loop_of_equal_policies_is_that_policy():
    mdp = small(3)
    arguments = {"restart": restarts.Uniform(), "num_iterations": 6}
    api = policy_iteration(mdp, uniform_policy(mdp), **arguments)
    nspi = nonstationary_policy_iteration(mdp, uniform_policy(mdp), num_policies=1, **arguments)
    for one, other in zip(api, nspi, strict=True):
        assert one.value_S == pytest.approx(other.value_S)
    policy = families.random_policy(mdp, np.random.default_rng(0))
    assert loop_value(mdp, [policy] * 3) == pytest.approx(policy_value(mdp, policy))


def test_the_value_of_a_loop_of_two_policies_is_worked_out_by_hand():
    mdp = two_states()
    stay, go = np.array([[1.0, 0], [1, 0]]), np.array([[0.0, 1], [1, 0]])
    # Stay once, then go: V(0) = 0.5 * 0 + 0.5 * (0.5 * 0.2 + 0.5 * 1)
    assert loop_value(mdp, [stay, go]) == pytest.approx([0.3, 1])
    assert loop_value(mdp, [go, stay]) == pytest.approx([0.6, 1])


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_a_loop_follows_the_last_policies_added_to_it(length):
    mdp, rng = small(7), np.random.default_rng(7)
    policies = [families.random_policy(mdp, rng) for _ in range(length)]
    loop = PolicyLoop(mdp, policies)
    for _ in range(3 * length + 2):
        policies = [families.random_policy(mdp, rng), *policies[:-1]]
        loop.add(policies[0])
        value = np.zeros(6)
        # 0.9**300 of the start is left.
        for index in reversed(range(300)):
            q = 0.1 * mdp.reward_SA + 0.9 * mdp.transition_SAS @ value
            value = (policies[index % length] * q).sum(-1)
        sequence = loop.policy()
        assert sequence.value_S == pytest.approx(value, abs=1e-12)
        assert all(one is other for one, other in zip(sequence.loop, policies, strict=True))
        assert sequence.first is policies[0]


def test_the_value_of_a_sequence_is_the_reward_of_its_policies_in_turn():
    mdp = two_states()
    stay, go = np.array([[1.0, 0], [1, 0]]), np.array([[0.0, 1], [1, 0]])
    # From 0: go now is paid 0.2, then nothing more; stay first halves it. State 1 pays 1.
    once = one_step(mdp, go)
    assert once.value_S == pytest.approx([0.5 * 0.2, 0.5])
    twice = prepend(mdp, stay, once)
    assert twice.value_S == pytest.approx([0.5 * 0.1, 0.5 + 0.25])
    assert list(twice.turns()) == [0, 1]
    assert twice.first is stay
    for_ever = prepend(mdp, stay, stationary(mdp, go))
    # Go for ever from 0: 0.5 * 0.2 + 0.5 * 1
    assert for_ever.value_S == pytest.approx([0.5 * 0.6, 1])
    turns = for_ever.turns()
    assert [next(turns) for _ in range(4)] == [0, 1, 1, 1]
    loop = NonstationaryPolicy(prefix=(go,), loop=(stay, go, go), value_S=np.zeros(2)).turns()
    assert [next(loop) for _ in range(8)] == [0, 1, 2, 3, 1, 2, 3, 1]


def test_nspi_keeps_only_its_last_policies():
    mdp = small(5)
    run = list(
        nonstationary_policy_iteration(
            mdp,
            uniform_policy(mdp),
            restart=restarts.Uniform(),
            num_iterations=4,
            num_policies=2,
        )
    )
    loop = [run[4].policy_SA, run[3].policy_SA]
    assert run[4].value_S == pytest.approx(loop_value(mdp, loop))
    first = [run[1].policy_SA, uniform_policy(mdp)]
    assert run[1].value_S == pytest.approx(loop_value(mdp, first))


@pytest.mark.parametrize("seed", range(10))
def test_psdp_chooses_for_the_sequence_so_far_and_reports_its_loop(seed):
    mdp = small(seed)
    run = policy_search(mdp, uniform_policy(mdp), restart=restarts.Uniform(), num_iterations=4)
    assert next(run).value_S == pytest.approx(policy_value(mdp, uniform_policy(mdp)))
    # The empty sequence is worth the reward of where it is.
    value = 0.1 * mdp.reward_SA.mean(-1)
    policies = []
    for one in run:
        q = 0.1 * mdp.reward_SA + 0.9 * mdp.transition_SAS @ value
        policies.insert(0, greedy(q))
        value = q.max(-1)
        assert one.policy_SA == pytest.approx(policies[0])
        assert one.value_S == pytest.approx(loop_value(mdp, policies))


def test_a_loop_of_three_policies_is_what_its_steps_in_turn_converge_to():
    mdp, rng = small(4), np.random.default_rng(4)
    policies = [families.random_policy(mdp, rng) for _ in range(3)]
    value = np.zeros(6)
    for _ in range(150):
        for policy in reversed(policies):
            q = 0.1 * mdp.reward_SA + 0.9 * mdp.transition_SAS @ value
            value = (policy * q).sum(-1)
    # 0.9**450 of the start is left.
    assert loop_value(mdp, policies) == pytest.approx(value, abs=1e-12)


def test_the_softmax_gradient_is_the_derivative_of_the_value_from_mu():
    mdp, rng = small(2), np.random.default_rng(2)
    logits, mu = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6))
    got = softmax_gradient(mdp, evaluate(mdp, softmax(logits), mu))
    for cell in np.ndindex(6, 3):
        nudge = np.zeros((6, 3))
        nudge[cell] = 1e-6
        up = performance(mdp, softmax(logits + nudge), mu)
        down = performance(mdp, softmax(logits - nudge), mu)
        # Central differences: error about 1e-12 from the third derivative, 1e-10 from rounding.
        assert got[cell] == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_the_softmax_gradient_climbs_and_waits_on_the_plateau():
    mdp = families.two_state_plateau()
    logits = np.log(families.plateau_policy())
    run = [
        one.performance
        for one in softmax_policy_gradient(
            mdp, logits, restart=restarts.Initial(), num_iterations=700, learning_rate=0.1
        )
    ]
    assert (np.diff(run) > 0).all()
    assert sum(0.9 <= value <= 1.1 for value in run) > 200
    assert run[-1] > 1.5
    first = softmax(logits + 0.1 * softmax_gradient(mdp, evaluate(mdp, softmax(logits))))
    assert run[1] == pytest.approx(performance(mdp, first))


def test_resets_take_the_steps_that_are_worked_out_by_hand():
    mdp = two_states(discount=1.0, horizon=2)
    # max_a A is 0.672 at (0, state 0), visited 0.75, and 0.12 at (1, state 0), visited 0.45
    random = random_reset_step(mdp, START, threshold=0.5, max_return=3.0)
    advantage = (0.75 * 0.672 + 0.45 * 0.12) / 2
    assert random.step_size == pytest.approx(advantage / (2 * 3 * 2))
    assert random.guaranteed_gain == pytest.approx(advantage**2 / 12)
    assert random.policy_HSA[1, 0, 1] == pytest.approx(0.4 + 0.6 * random.step_size)
    oracle = oracle_reset_step(mdp, START, threshold=0.5, max_return=3.0)
    assert oracle.coverage == pytest.approx(0.375)
    assert oracle.step_size == pytest.approx(0.5 / 12)
    assert oracle.guaranteed_gain == pytest.approx(0.375 * 0.25 / 12)
    # Only step 0 changes, so the gain is the weight times the advantage there.
    assert oracle.realised_gain == pytest.approx(0.5 / 12 * 0.75 * 0.672)
    assert oracle.policy_HSA[1] == pytest.approx(START)


def test_reverse_psdp_solves_a_lock_digit_by_digit_where_mu_reaches_and_not_elsewhere():
    model = combination_lock(num_steps=4, num_actions=3, seed=1)
    mdp = TabularMDP.from_model(model, horizon=4)
    start = uniform_policy(mdp)
    mu = restarts.Occupancy(families.reference_policy(model)).distribution(mdp, start)
    run = list(reverse_policy_search(mdp, start, mu))
    assert [one.step for one in run] == [3, 2, 1, 0]
    # After k digits are known, the others are guessed with 1/3 each.
    assert [one.performance for one in run] == pytest.approx([3.0**-3, 3.0**-2, 3.0**-1, 1.0])
    blind = mu.copy()
    blind[2] = 0
    assert last_of(reverse_policy_search(mdp, start, blind)).performance == pytest.approx(1 / 3)


def test_reverse_psdp_values_states_under_the_policy_and_not_under_the_best_action():
    # From 0, action 0 leads to 1, which pays 1 for an action that is never taken there, and
    # action 1 leads to 2, which pays 0.5 for certain. No restart reaches 1, so it stays as it is.
    transition = np.zeros((4, 2, 4))
    transition[[0, 0], [0, 1], [1, 2]] = 1
    transition[1:, :, 3] = 1
    mdp = TabularMDP(
        transition_SAS=transition,
        reward_SA=np.array([[0.0, 0], [1, 0], [0.5, 0.5], [0, 0]]),
        start_S=np.eye(4)[0],
        horizon=2,
    )
    old = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    mu = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0]])
    last = last_of(reverse_policy_search(mdp, old, mu))
    assert last.policy_HSA[0, 0].tolist() == [0, 1]
    assert last.performance == 0.5


def chooser_world():
    """Two states, two actions; action 0 stays and action 1 moves, paid by the state: 0.2 and 1."""
    stay, move = np.eye(2), np.eye(2)[::-1]
    return TabularMDP(
        transition_SAS=np.stack([stay, move], axis=1),
        reward_SA=np.array([[0.2, 0.2], [1.0, 1.0]]),
        start_S=np.array([0.5, 0.5]),
        discount=0.5,
    )


@pytest.mark.parametrize("kind", [ActionFeatureChooser, ValueFeatureChooser])
def test_a_feature_chooser_with_all_features_and_no_noise_is_exact(kind):
    mdp, rng = small(), np.random.default_rng(0)
    value = policy_value(mdp, uniform_policy(mdp))
    choose = kind(np.eye(6), 0.0, rng)
    everywhere = np.ones(6) / 6
    assert (choose(mdp, value, everywhere) == exact_chooser(mdp, value, everywhere)).all()


def test_a_value_chooser_fits_the_value_under_its_weights_then_looks_one_step_ahead():
    mdp = chooser_world()
    value = np.array([0.3, 0.9])
    # One feature (1, 2): w = (m0 * 0.3 + m1 * 1.8) / (m0 + 4 m1) > 0, so state 1 looks better.
    upward = ValueFeatureChooser(np.array([[1.0], [2.0]]), 0.0, np.random.default_rng(0))
    assert upward(mdp, value, np.array([0.5, 0.5])).tolist() == [[0, 1], [1, 0]]
    # One feature (2, 1), the same w > 0: state 0 looks better.
    downward = ValueFeatureChooser(np.array([[2.0], [1.0]]), 0.0, np.random.default_rng(0))
    assert downward(mdp, value, np.array([0.5, 0.5])).tolist() == [[1, 0], [0, 1]]
    # Feature (1, -1): w = m0 * 0.3 - m1 * 0.9, so the weights decide the sign.
    signed = ValueFeatureChooser(np.array([[1.0], [-1.0]]), 0.0, np.random.default_rng(0))
    assert signed(mdp, value, np.array([0.8, 0.2])).tolist() == [[1, 0], [0, 1]]
    assert signed(mdp, value, np.array([0.7, 0.3])).tolist() == [[0, 1], [1, 0]]


def test_an_action_chooser_fits_each_action_under_its_weights():
    # Rewards 1, 0 in state 0 and 0, 0.4 in state 1, both ends: one constant feature takes means.
    mdp = TabularMDP(
        transition_SAS=np.full((2, 2, 2), 0.5),
        reward_SA=np.array([[1.0, 0.0], [0.0, 0.4]]),
        start_S=np.array([0.5, 0.5]),
        discount=0.5,
    )
    choose = ActionFeatureChooser(np.ones((2, 1)), 0.0, np.random.default_rng(0))
    assert choose(mdp, np.zeros(2), np.array([0.5, 0.5])).tolist() == [[1, 0], [1, 0]]
    assert choose(mdp, np.zeros(2), np.array([0.3, 0.7])).tolist() == [[1, 0], [1, 0]]
    assert choose(mdp, np.zeros(2), np.array([0.2, 0.8])).tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("scale", "width"),
    [("value", [0.03, 0.09]), ("largest_value", [0.1, 0.1]), ("reward", [0.05, 0.05])],
)
def test_the_noise_of_a_value_chooser_has_the_width_of_its_scale(scale, width, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "reason_env.agents.tabular.exact.chooser._fitted",
        lambda features, target, weight: seen.append(target[:, 0]) or target,
    )
    value = np.array([0.3, 0.9])
    choose = ValueFeatureChooser(np.eye(2), 0.1, np.random.default_rng(0), scale)
    for _ in range(3000):
        choose(chooser_world(), value, np.array([0.5, 0.5]))
    noise = np.array(seen) - value
    # Of 3,000 uniform draws the largest is within 1 % of the width, but for a chance of e-13.
    assert np.abs(noise).max(0) == pytest.approx(width, rel=0.01)
    assert noise.mean(0) == pytest.approx([0, 0], abs=0.01)


def test_restart_distributions_are_those_worked_out_by_hand():
    mdp = two_states()
    visits = np.array([0.375, 0.325]) / 0.7
    assert restarts.Initial().distribution(mdp, START) == pytest.approx([0.75, 0.25])
    assert restarts.Uniform().distribution(mdp, START) == pytest.approx([0.5, 0.5])
    go = np.array([[0.0, 1], [1, 0]])
    # Going at once: d(0) = 0.5 * 0.75
    assert restarts.Occupancy(go).distribution(mdp, START) == pytest.approx([0.375, 0.625])
    # Failure from 0 is 1 - 0.24 / 1.4 and from 1 is 0.5, with R = 2
    weight = visits * np.array([1 - 0.12 / 0.7, 0.5])
    got = restarts.OwnFailures(max_return=2.0).distribution(mdp, START)
    assert got == pytest.approx(weight / weight.sum())
    assert restarts.Improvable(0.1).distribution(mdp, START) == pytest.approx([1, 0])
    assert restarts.Improvable(0.9).distribution(mdp, START) == pytest.approx([0.75, 0.25])
    mixed = restarts.Mixture(restarts.Uniform(), 0.2).distribution(mdp, START)
    assert mixed == pytest.approx([0.55, 0.45])


def test_restart_distributions_with_a_horizon_sum_to_1_over_steps_and_states():
    mdp = two_states(discount=1.0, horizon=2)
    own = restarts.OwnFailures(max_return=2.0).distribution(mdp, START)
    # Visits / 2 times 1 - V / 2: V is 0.528, 2 at step 0 and 0.08, 1 at step 1
    weight = np.array([[0.75 * 0.736, 0], [0.45 * 0.96, 0.55 * 0.5]])
    assert own == pytest.approx(weight / weight.sum())
    assert restarts.Improvable(0.12).distribution(mdp, START) == pytest.approx(
        np.array([[0.75, 0], [0.45, 0]]) / 1.2
    )
    assert restarts.Uniform().distribution(mdp, START) == pytest.approx(np.full((2, 2), 0.25))
    assert restarts.Initial().distribution(mdp, START).tolist() == [[0.75, 0.25], [0, 0]]


def test_a_mislocated_reset_lands_where_the_policy_was_before_or_goes_after():
    mdp = two_states(discount=1.0, horizon=3)
    exact_mu = restarts.mislocated(mdp, START, threshold=0.05, offset=0)
    assert exact_mu == pytest.approx(restarts.Improvable(0.05).distribution(mdp, START))
    # Improvable is state 0 at each step, visited 0.75, 0.45, 0.27
    assert exact_mu[:, 0] == pytest.approx(np.array([0.75, 0.45, 0.27]) / 1.47)
    late = restarts.mislocated(mdp, START, threshold=0.05, offset=1)
    assert late[0].sum() == 0
    assert late[1] == pytest.approx(np.array([0.6, 0.4]) * 0.75 / 1.47)
    # The last step cannot move: its own mass stays, and step 1's arrives.
    assert late[2] == pytest.approx((np.array([0.6, 0.4]) * 0.45 + np.array([0.27, 0])) / 1.47)
    early = restarts.mislocated(mdp, START, threshold=0.05, offset=-1)
    # State 0 is only ever reached from state 0.
    assert early[:, 0] == pytest.approx(np.array([1.2, 0.27, 0]) / 1.47)
    assert early[:, 1] == pytest.approx([0, 0, 0])


def test_uniform_restarts_escape_the_chain_that_the_start_distribution_does_not():
    mdp = TabularMDP.from_model(restart_chain(num_states=16), discount=0.9)
    best = performance(mdp, optimal_policy(mdp))
    found = {
        name: last_of(
            conservative_policy_iteration(
                mdp,
                uniform_policy(mdp),
                restart=mu,
                num_iterations=60,
                step_rule=line_search_step,
                stop_below=1e-4,
            )
        ).performance
        for name, mu in (("initial", restarts.Initial()), ("uniform", restarts.Uniform()))
    }
    assert found["uniform"] == pytest.approx(best)
    assert found["initial"] < 0.01 * best


def test_algorithms_refuse_settings_that_make_no_sense():
    mdp = two_states()
    with pytest.raises(ConfigError, match=r"noise must be at least 0, got -0\.1"):
        ValueFeatureChooser(np.eye(2), -0.1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="noise must be at least 0, got nan"):
        ActionFeatureChooser(np.eye(2), np.nan, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got -1"):
        fixed_step(-1)
    with pytest.raises(ConfigError, match=r"step_size must be in 0\.\.1, got 2"):
        next(
            policy_iteration(mdp, START, restart=restarts.Uniform(), num_iterations=1, step_size=2)
        )
    with pytest.raises(ConfigError, match="num_policies must be at least 1, got 0"):
        next(
            nonstationary_policy_iteration(
                mdp, START, restart=restarts.Uniform(), num_iterations=1, num_policies=0
            )
        )
    with pytest.raises(ConfigError, match="threshold must be above 0, got 0"):
        restarts.Improvable(0)
    with pytest.raises(ConfigError, match=r"initial_weight must be in 0\.\.1, got 1\.5"):
        restarts.Mixture(restarts.Initial(), 1.5)
    with pytest.raises(ConfigError, match="threshold must be above 0, got -1"):
        random_reset_step(two_states(discount=1.0, horizon=2), START, threshold=-1)
    with pytest.raises(ConfigError, match=r"rewards must be >= 0 for a bound"):
        list(
            conservative_policy_iteration(
                two_states(reward_SA=np.array([[-1.0, 0.2], [1, 1]])),
                START,
                restart=restarts.Initial(),
                num_iterations=1,
            )
        )
    assert mix(START, START, 1.0) == pytest.approx(START)
    assert finite.checked_policy(two_states(discount=1.0, horizon=2), START).shape == (2, 2, 2)
