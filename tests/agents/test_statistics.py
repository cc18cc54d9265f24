import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.statistics import (
    bootstrap_mean,
    pass_at_k,
    pass_at_k_interval,
    pass_at_k_per_problem,
    student_interval,
    student_p,
    t_quantile,
    wilson,
)
from reason_env.errors import ConfigError


def test_pass_at_k_of_small_cases_is_the_hand_count():
    # n=5, c=2, k=3: C(3,3)/C(5,3) = 1/10 of the draws hold no correct sample.
    # n=4, c=1, k=3: C(3,3)/C(4,3) = 1/4.   n=3, c=0, k=3: all.   n=6, c=4, k=3: C(2,3) = 0.
    values = pass_at_k_per_problem([2, 1, 0, 4], [5, 4, 3, 6], k=3)
    assert values.tolist() == [0.9, 0.75, 0.0, 1.0]
    assert pass_at_k([2, 1, 0, 4], [5, 4, 3, 6], k=3) == (0.9 + 0.75 + 0.0 + 1.0) / 4


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_pass_at_k_is_the_share_of_all_subsets_that_hold_a_correct_sample(case):
    n, c, k = case
    subsets = list(itertools.combinations(range(n), k))
    share = sum(min(subset) < c for subset in subsets) / len(subsets)
    assert pass_at_k([c], [n], k=k) == pytest.approx(share, abs=1e-15)


def test_pass_at_1_is_the_mean_rate_over_problems_and_not_over_samples():
    # 1/2 and 0/8: rates 0.5 and 0 average to 0.25; pooled they would be 0.1.
    assert pass_at_k([1, 0], [2, 8], k=1) == 0.25


def test_pass_at_k_stays_exact_where_factorials_overflow():
    # One correct of n: the chance to draw it is k / n.
    assert pass_at_k([1], [10_000], k=2_500) == 0.25
    # c = 3 of 1000, k = 500: 1 - (500*499*498)/(1000*999*998)
    expected = 1 - (500 * 499 * 498) / (1000 * 999 * 998)
    assert pass_at_k([3], [1000], k=500) == pytest.approx(expected, rel=1e-15)


def test_a_tiny_chance_is_not_rounded_to_zero():
    # 1 - x would lose it: k/n = 1e-9 is kept to the last digit.
    assert pass_at_k([1], [10**9], k=1) == 1e-9


@pytest.mark.parametrize(
    ("correct", "samples", "k", "message"),
    [
        ([1, 0], [4, 2], 3, "graded samples of each problem, got k=3 and 2 in row 1; sample more"),
        ([1], [4], 0, "k of pass@k must be at least 1, got 0"),
        ([5], [4], 1, r"num_correct must lie in 0\.\.num_samples, got 5 of 4 in row 0"),
        ([-1], [4], 1, r"num_correct must lie in 0\.\.num_samples, got -1 of 4 in row 0"),
        ([], [], 1, "over at least one problem, got none"),
    ],
)
def test_impossible_counts_are_refused(correct, samples, k, message):
    with pytest.raises(ConfigError, match=message):
        pass_at_k(correct, samples, k=k)


def test_the_bootstrap_of_two_problems_has_the_limits_of_its_three_means():
    # Resamples of {0, 1}: means 0, 1/2, 1 with chances 1/4, 1/2, 1/4; 2.5 % lies in the first.
    interval = bootstrap_mean([0.0, 1.0], rng=np.random.default_rng(0))
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)
    # At 40 % confidence the limits are the 30 and 70 % quantiles: both in the middle.
    interval = bootstrap_mean([0.0, 1.0], rng=np.random.default_rng(0), confidence=0.4)
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_the_bootstrap_of_many_problems_has_the_width_of_the_normal_interval():
    value_P = np.random.default_rng(1).random(500)
    interval = bootstrap_mean(value_P, rng=np.random.default_rng(2))
    half = 1.959964 * value_P.std() / math.sqrt(500)
    # 2,000 resamples know a 2.5 % limit to about 5 % of the half width.
    assert interval.low == pytest.approx(value_P.mean() - half, abs=0.08 * half)
    assert interval.high == pytest.approx(value_P.mean() + half, abs=0.08 * half)


def test_95_percent_intervals_hold_the_truth_in_about_95_percent_of_data_sets():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        rate_P = rng.beta(0.6, 1.4, size=100)  # mean 0.3; problems differ much
        correct_P = rng.binomial(4, rate_P)
        interval = pass_at_k_interval(list(correct_P), [4] * 100, k=1, rng=rng)
        held += interval.low <= 0.3 <= interval.high
    # 300 trials of 0.94: standard deviation 4; three of them either side.
    assert 270 <= held <= 296


def test_more_samples_of_the_same_problems_do_not_narrow_the_interval_to_nothing():
    # Ten problems, each solved always or never: 1,000 samples each add no information.
    few = pass_at_k_interval([4, 0] * 5, [4] * 10, k=1, rng=np.random.default_rng(0))
    many = pass_at_k_interval([1000, 0] * 5, [1000] * 10, k=1, rng=np.random.default_rng(0))
    assert few == many
    assert many.high - many.low > 0.4


def test_equal_generators_give_equal_intervals_and_other_seeds_others():
    value_P = np.random.default_rng(4).random(1500)  # 2000 * 1500 is drawn in pieces
    a = bootstrap_mean(value_P, rng=np.random.default_rng(5))
    b = bootstrap_mean(value_P, rng=np.random.default_rng(5))
    c = bootstrap_mean(value_P, rng=np.random.default_rng(6))
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, r"one number per problem, got shape \(0,\)"),
        ({"values": [[1.0]]}, r"one number per problem, got shape \(1, 1\)"),
        ({"values": [1.0], "confidence": 95}, "confidence must lie between 0 and 1, got 95"),
        ({"values": [1.0], "num_resamples": 0}, "num_resamples must be at least 1, got 0"),
    ],
)
def test_a_bootstrap_of_nothing_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap_mean(**arguments, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("correct", "samples", "low", "high"),
    [
        # z^2 = 3.841459: center 0.992073 / 1.384146, half 1.416036 * sqrt(0.016 + 0.0096036)
        (8, 10, 0.4901625, 0.9433178),
        (0, 10, 0.0, 0.2775328),  # high = z^2 / (n + z^2)
        (10, 10, 0.7224672, 1.0),
        (1, 1, 0.2065493, 1.0),  # low = 1 / (1 + z^2)
    ],
)
def test_wilson_limits_are_the_hand_computed_ones(correct, samples, low, high):
    interval = wilson(correct, samples)
    assert interval.estimate == correct / samples
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-7)


def test_wilson_refuses_no_samples():
    with pytest.raises(ConfigError, match="got k=1 and 0 in row 0"):
        wilson(0, 0)


def test_an_interval_prints_as_estimate_and_limits():
    assert str(wilson(1, 2)) == "0.500 [0.095, 0.905]"


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 3, 3.18245),
        (0.975, 4, 2.77645),
        (0.95, 5, 2.01505),
        (0.995, 9, 3.24984),
        (0.025, 7, -2.36462),
        (0.975, 63, 1.99834),
    ],
)
def test_quantiles_of_student_s_t_are_those_of_the_tables(probability, degrees, quantile):
    assert t_quantile(probability, degrees) == pytest.approx(quantile, abs=1e-5)


def test_the_interval_of_a_mean_worked_out_by_hand():
    found = student_interval([0.0, 0.4, 0.2, 0.6], confidence=0.9)
    # Sample variance 0.2 / 3, standard error sqrt(0.05 / 3) = 0.12910, t(0.95, 3) = 2.35336.
    assert found.estimate == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - 0.303818, 0.3 + 0.303818), abs=1e-5)


def test_student_s_p_value_is_that_of_the_tables():
    # t = 0.3 / 0.12910 = 2.32379 with 3 degrees of freedom: theta = atan(2.32379 / sqrt(3)) =
    # 0.930274, P(|T| < t) = 2 / pi (theta + 0.801784 * 0.597614) = 0.897272.
    assert student_p([0.0, 0.4, 0.2, 0.6]) == pytest.approx(0.102728, abs=2e-6)
    assert student_p([-0.0, -0.4, -0.2, -0.6]) == student_p([0.0, 0.4, 0.2, 0.6])
    assert (student_p([0.2, 0.2, 0.2]), student_p([0.0, 0.0])) == (0.0, 1.0)
    with pytest.raises(ConfigError, match="a p-value must have at least two values, got 1"):
        student_p([0.5])


@given(
    st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=12).filter(
        lambda own: len(set(own)) > 1
    )
)
def test_an_interval_touches_0_at_the_confidence_of_the_p_value(values):
    p = student_p(values)
    if 1e-6 < p < 1 - 1e-6:
        found = student_interval(values, confidence=1 - p)
        assert min(abs(found.low), abs(found.high)) < 1e-6


def test_a_probability_of_1_and_an_interval_of_one_value_are_refused():
    with pytest.raises(ConfigError, match=r"probability in 0\.\.1 and at least 1 degree"):
        t_quantile(1.0, 3)
    with pytest.raises(ConfigError, match="at least two values, got 1"):
        student_interval([0.5])
