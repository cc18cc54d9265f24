"""How many resets show that a candidate is better, by hand in the world of two contexts."""

import numpy as np
import pytest

from benchmarks.tabular import theorem
from benchmarks.tabular.theorem import EXACT, NOISY, Case, found_in
from reason_env.agents.tabular.exact import TabularMDP
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.detection import (
    Detection,
    bernstein_samples,
    detection,
    return_squares,
)
from reason_env.agents.tabular.worlds.families import dense_mdp, random_policy, two_contexts
from reason_env.errors import ConfigError

P = 0.1


def test_no_baseline_leaves_the_noise_of_what_cannot_be_improved():
    # A sample is +G or -G. E X = p / 2; E X^2 = p / 2 + (1 - p) / 2.
    found = found_in(Case(neutral=NOISY), P)
    assert found.mean == pytest.approx(0.05)
    assert found.improvable == pytest.approx(0.1)
    assert found.square_improvable == pytest.approx(0.05)
    assert found.square_elsewhere == pytest.approx(0.45)
    # 9 (1/2 - p^2 / 4) / (p^2 / 4) = 18 / p^2 - 9.
    assert found.samples() == pytest.approx(1791)
    assert found.samples(2.0) == pytest.approx(1791 * 4 / 9)


@pytest.mark.parametrize(
    ("case", "samples"),
    [
        # G = 1 for certain elsewhere: E X^2 = p / 2 + (1 - p).
        (Case(neutral=EXACT), 9 * (0.05 + 0.9 - 0.0025) / 0.0025),
        # (G - 1/2)^2 = 1/4 everywhere: 9 (1 / p^2 - 1).
        (Case(neutral=NOISY, has_baseline=True), 891),
        # No noise elsewhere: 9 (1 / p - 1).
        (Case(neutral=EXACT, has_baseline=True), 81),
        # The candidate moves only where it gains: 18 / p - 9.
        (Case(neutral=NOISY, is_still=True), 171),
        # Resets only there: mean 1/2, variance 1/4.
        (Case(neutral=NOISY, is_oracle=True), 9),
    ],
)
def test_each_estimator_needs_its_own_number_of_resets(case, samples):
    assert found_in(case, P).samples() == pytest.approx(samples)


def test_the_guaranteed_gains_have_the_powers_of_the_theorem():
    # The decision is one of two steps: Abar = p / 4 and coverage p / 2; tau = 1/2.
    found = theorem.gains(P)
    assert found["random, guaranteed"] == pytest.approx(0.025**2 / 4)
    assert found["oracle, guaranteed"] == pytest.approx(0.05 * 0.25 / 4)
    # The mixture has alpha = Abar / (2 R H) = p / 16, or tau / 4; a whole step gains p / 2.
    assert found["random, realised"] == pytest.approx(0.1 / 16 * 0.05)
    assert found["oracle, realised"] == pytest.approx(0.125 * 0.05)


def test_the_slopes_are_those_of_the_page():
    lines = list(theorem.exact_lines())
    slopes = {line.split("  ")[0]: float(line.split()[line.split().index("samples") + 1])
              for line in lines if " samples " in line}  # fmt: skip
    # Printed with three digits; -2 and -1 as p goes to 0.
    assert slopes["random, noisy verdict, no baseline"] == -2.001
    assert slopes["random, exact verdict, value baseline"] == -1.019
    assert slopes["random, Bernstein's bound"] == -1.997
    assert slopes["oracle, noisy verdict, no baseline"] == 0.0


def test_the_square_of_a_return_of_several_rewards():
    # 2 now, then 1 with probability 1/4 or 3: 9 / 4 + 25 * 3 / 4.
    transition_SAS = np.zeros((3, 1, 3))
    transition_SAS[0, 0, 1:] = 0.25, 0.75
    transition_SAS[1:, 0, 0] = 1.0
    mdp = TabularMDP(
        transition_SAS=transition_SAS,
        reward_SA=np.array([[2.0], [1.0], [3.0]]),
        start_S=np.eye(3)[0],
        horizon=2,
    )
    old = finite.evaluate(mdp, np.ones((3, 1)))
    assert return_squares(mdp, old)[0, 0, 0] == pytest.approx(21.0)
    assert return_squares(mdp, old)[1, :, 0] == pytest.approx([4, 1, 9])


def test_the_moments_agree_with_drawn_samples():
    rng = np.random.default_rng(5)
    mdp = two_contexts(improvable=0.3, neutral=0.8)
    policy_SA = random_policy(mdp, rng)
    old = finite.evaluate(mdp, policy_SA)
    candidate_HSA = finite.everywhere_candidate(old)
    restart_HS = np.zeros((2, 4))
    restart_HS[0] = mdp.start_S
    found = detection(mdp, old, candidate_HSA, restart_HS, threshold=0.1, has_baseline=True)
    state_N = rng.choice(4, p=mdp.start_S, size=200_000)
    action_N = rng.integers(2, size=200_000)
    success_N = np.where(state_N == 0, action_N == 0, rng.random(200_000) < 0.8)
    change_N = (candidate_HSA - old.policy_HSA)[0, state_N, action_N]
    sample_N = 2 * change_N * (success_N - old.value_HS[0, state_N])
    # Standard errors of mean and variance are below 0.003 here; five of them.
    assert sample_N.mean() == pytest.approx(found.mean, abs=0.015)
    assert sample_N.var() == pytest.approx(found.variance, abs=0.015)


def test_a_baseline_changes_no_mean_and_lowers_the_square_by_the_values_part():
    rng = np.random.default_rng(0)
    world = dense_mdp(num_states=5, num_actions=3, rng=rng)
    mdp = TabularMDP(
        transition_SAS=world.transition_SAS,
        reward_SA=world.reward_SA,
        start_S=world.start_S,
        horizon=4,
    )
    old = finite.evaluate(mdp, random_policy(mdp, rng))
    restart_HS = old.occupancy_HS / 4
    candidate_HSA = finite.everywhere_candidate(old)
    plain, based = (
        detection(mdp, old, candidate_HSA, restart_HS, threshold=0.1, has_baseline=has)
        for has in (False, True)
    )
    assert plain.mean == pytest.approx(finite.policy_advantage(old, candidate_HSA))
    assert based.mean == pytest.approx(plain.mean)
    squares = plain.square_improvable + plain.square_elsewhere
    change_HSA = candidate_HSA - old.policy_HSA
    value_HS1 = old.value_HS[:, :, None]
    part = (restart_HS[:, :, None] * 3 * change_HSA**2
            * (2 * value_HS1 * old.action_value_HSA - value_HS1**2)).sum()  # fmt: skip
    assert based.square_improvable + based.square_elsewhere == pytest.approx(squares - part)


def test_bernsteins_number_is_of_the_theorems_order():
    # ln 20 * 8 (1 + 1/6) / 0.25 = 111.8
    assert (
        bernstein_samples(num_actions=2, max_return=1.0, policy_advantage=0.5, failure=0.05) == 112
    )
    few, many = (
        bernstein_samples(num_actions=3, max_return=2.0, policy_advantage=own, failure=0.01)
        for own in (2e-3, 1e-3)
    )
    assert many / few == pytest.approx(4, rel=0.001)
    # It allows for any estimator, so it is above the number of this one at 1.64 standard errors.
    case = found_in(Case(neutral=NOISY), P)
    bound = bernstein_samples(
        num_actions=2, max_return=1.0, policy_advantage=case.mean, failure=0.05
    )
    assert bound > case.samples(1.64)


def test_what_cannot_be_detected_is_refused():
    found = Detection(mean=0.0, improvable=0.1, square_improvable=1.0, square_elsewhere=0.0)
    with pytest.raises(ConfigError, match="must have an advantage to be detected"):
        found.samples()
    with pytest.raises(ConfigError, match=r"failure in 0\.\.1"):
        bernstein_samples(num_actions=2, max_return=1.0, policy_advantage=0.5, failure=1.0)
    with pytest.raises(ConfigError, match=r"neutral must be in 0\.\.1, got 1\.5"):
        two_contexts(improvable=0.5, neutral=1.5)
