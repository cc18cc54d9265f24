import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.learning import AdvantageConfig, group_advantages
from reason_env.errors import ConfigError

RETURNS = st.lists(st.floats(-5, 5), min_size=2, max_size=9)
BASELINE_KINDS = ("grpo", "mean", "rloo")


def test_grpo_divides_by_the_unbiased_deviation_plus_eps():
    # mean 2; squares 1 + 0 + 1 = 2 over G - 1 = 2: std 1; -1 / (1 + 0.25)
    got = group_advantages([1.0, 2.0, 3.0], AdvantageConfig(kind="grpo", eps=0.25))
    assert got == pytest.approx([-0.8, 0.0, 0.8], rel=1e-12)


def test_grpo_with_the_population_deviation_divides_by_g():
    # mean 1; squares 9 + 1 + 1 + 1 = 12 over G = 4: std sqrt 3; eps 0 as in SRPO
    config = AdvantageConfig(kind="grpo", std="population", eps=0.0)
    got = group_advantages([4.0, 0.0, 0.0, 0.0], config)
    assert got == pytest.approx([math.sqrt(3)] + 3 * [-1 / math.sqrt(3)], rel=1e-12)


def test_the_default_is_grpo_as_in_trl():
    # mean 0.25; squares 0.5625 + 3 * 0.0625 = 0.75 over 3: std 0.5
    got = group_advantages([1.0, 0.0, 0.0, 0.0])
    assert got == pytest.approx([0.75 / 0.5001] + 3 * [-0.25 / 0.5001], rel=1e-12)


def test_mean_only_subtracts_the_mean():
    got = group_advantages([1.0, 4.0, -2.0], AdvantageConfig(kind="mean", eps=9.0))
    assert got.tolist() == [0.0, 3.0, -3.0]


def test_rloo_subtracts_the_mean_of_the_others():
    # 1 - (4 - 2) / 2 = 0; 4 - (1 - 2) / 2 = 4.5; -2 - (1 + 4) / 2 = -4.5
    got = group_advantages([1.0, 4.0, -2.0], AdvantageConfig(kind="rloo"))
    assert got == pytest.approx([0.0, 4.5, -4.5], abs=1e-12)


def test_rloo_on_two_returns_takes_the_other_as_baseline():
    assert group_advantages([3.0, 1.0], AdvantageConfig(kind="rloo")).tolist() == [2.0, -2.0]


def test_none_passes_the_returns_through_even_if_they_are_equal():
    assert group_advantages([2.0, 2.0], AdvantageConfig(kind="none")).tolist() == [2.0, 2.0]
    assert group_advantages([0.5], AdvantageConfig(kind="none")).tolist() == [0.5]


@pytest.mark.parametrize("kind", BASELINE_KINDS)
@pytest.mark.parametrize("returns", [[0.3], [1.0, 1.0], [0.1] * 7, [0.1 + 0.2, 0.3]])
def test_equal_returns_and_a_lone_trajectory_give_exact_zeros(kind, returns):
    config = AdvantageConfig(kind=kind, eps=0.0)
    assert group_advantages(returns, config).tolist() == [0.0] * len(returns)


@pytest.mark.parametrize("kind", BASELINE_KINDS)
@given(returns=RETURNS)
def test_a_groups_advantages_sum_to_zero(kind, returns):
    assert group_advantages(returns, AdvantageConfig(kind=kind)).sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", BASELINE_KINDS)
@given(returns=RETURNS, shift=st.floats(-100, 100))
def test_a_constant_added_to_all_returns_changes_nothing(kind, returns, shift):
    config = AdvantageConfig(kind=kind, eps=1e-2)
    # Away from the border of equality, where rounding of the shift decides.
    if np.ptp(returns) > 1e-6 or np.ptp(returns) == 0:
        shifted = group_advantages([x + shift for x in returns], config)
        assert shifted == pytest.approx(group_advantages(returns, config), abs=1e-9)


@given(returns=RETURNS)
def test_rloo_is_the_mean_baseline_times_g_over_g_minus_one(returns):
    size = len(returns)
    rloo = group_advantages(returns, AdvantageConfig(kind="rloo"))
    mean = group_advantages(returns, AdvantageConfig(kind="mean"))
    assert rloo == pytest.approx(mean * size / (size - 1), abs=1e-12)


def test_the_returns_are_not_changed():
    returns = np.array([1.0, 0.0])
    for kind in (*BASELINE_KINDS, "none"):
        got = group_advantages(returns, AdvantageConfig(kind=kind))
        got += 1
        assert returns.tolist() == [1.0, 0.0]


def test_a_small_difference_of_returns_gives_nonzero_advantages():
    assert any(group_advantages([0.0, 0.0, 1e-3]))


def test_returns_that_are_not_finite_are_counted():
    with pytest.raises(ConfigError, match="returns must be finite, got 2 of 3 that are not; drop"):
        group_advantages([1.0, math.nan, math.inf])


def test_an_empty_group_is_refused():
    with pytest.raises(ConfigError, match=r"non-empty list of numbers, got shape \(0,\); drop g"):
        group_advantages([])


def test_wrong_settings_are_refused_with_the_near_match():
    with pytest.raises(ConfigError, match=r"kind must be one of grpo, .* did you mean 'rloo'"):
        AdvantageConfig(kind="rlo")
    with pytest.raises(ConfigError, match="std must be one of unbiased, population, got 'sample'"):
        AdvantageConfig(std="sample")
    for eps in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="eps must be finite and at least 0, got"):
            AdvantageConfig(eps=eps)


def test_maxrl_divides_by_the_mean_plus_eps():
    # mean 0.75; 1.25 / (0.75 + 0.05), -0.25 / 0.8, -0.75 / 0.8, -0.25 / 0.8
    got = group_advantages([2.0, 0.5, 0.0, 0.5], AdvantageConfig(kind="maxrl", eps=0.05))
    assert got == pytest.approx([1.5625, -0.3125, -0.9375, -0.3125], rel=1e-12)
    # One right of five: 0.8 / 0.2, and -1 for each wrong one.
    got = group_advantages([0.0, 1.0, 0.0, 0.0, 0.0], AdvantageConfig(kind="maxrl", eps=0.0))
    assert got == pytest.approx([-1, 4, -1, -1, -1], rel=1e-12)


def test_maxrl_of_a_failed_group_is_zero_even_without_eps():
    assert group_advantages([0.0] * 3, AdvantageConfig(kind="maxrl", eps=0.0)).tolist() == [0] * 3


def test_maxrl_refuses_negative_returns():
    with pytest.raises(
        ConfigError, match=r"at least 0 with advantage kind 'maxrl', got -0.5; give"
    ):
        group_advantages([1.0, -0.5], AdvantageConfig(kind="maxrl"))


@pytest.mark.parametrize(("size", "right"), [(2, 0.3), (4, 0.3), (4, 0.05), (5, 0.9)])
def test_maxrl_is_the_gradient_of_the_first_terms_of_log_p(size, right):
    # A policy with one logit: right with probability p; d log pi = 1 - p if right, -p if wrong,
    # and dp = p (1 - p).
    config = AdvantageConfig(kind="maxrl", eps=0.0)
    estimated = 0.0
    for drawn in itertools.product((1.0, 0.0), repeat=size):
        chance = math.prod(right if value else 1 - right for value in drawn)
        scores = [1 - right if value else -right for value in drawn]
        estimated += chance * float(np.mean(group_advantages(drawn, config) * scores))
    slope = sum((1 - right) ** (k - 1) for k in range(1, size))
    assert estimated == pytest.approx(slope * right * (1 - right), rel=1e-12)


def pass_at_k(returns, k):
    return group_advantages(returns, AdvantageConfig(kind="pass_at_k", k=k)).tolist()


def test_the_pass_at_k_advantage_is_what_a_return_adds_to_the_best_of_k():
    # k = 2. 3: with each other 3; without, of {1, 0}, {1, 2}, {0, 2}: 5/3; 2 (3 - 5/3).
    # 1: (3 + 1 + 2)/3 = 2; {3, 0}, {3, 2}, {0, 2}: 8/3. 0: (3 + 1 + 2)/3; {3, 1}, {3, 2}, {1, 2}:
    # 8/3. 2: (3 + 2 + 2)/3; {3, 1}, {3, 0}, {1, 0}: 7/3.
    assert pass_at_k([3.0, 1.0, 0.0, 2.0], 2) == pytest.approx(
        [8 / 3, -4 / 3, -4 / 3, 0], abs=1e-12
    )
    # k = 3 of 0/1: right: 1 - 0; wrong: of {1, 0, 0} two at a time 2/3, three at a time 1.
    assert pass_at_k([1.0, 0.0, 0.0, 0.0], 3) == pytest.approx([3, -1, -1, -1], abs=1e-12)
    # Two right of four, k = 3: one right is always among three others, whoever is left out.
    assert pass_at_k([1.0, 1.0, 0.0, 0.0], 3) == pytest.approx([0, 0, 0, 0], abs=1e-12)


@given(returns=st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_the_pass_at_1_advantage_equals_rloo(returns):
    rloo = group_advantages(returns, AdvantageConfig(kind="rloo"))
    assert pass_at_k(returns, 1) == pytest.approx(rloo.tolist(), abs=1e-9)


@pytest.mark.parametrize(("size", "k"), [(3, 2), (4, 2), (4, 3)])
def test_pass_at_k_is_unbiased_over_all_outcomes(size, k):
    # A policy over three answers with returns 1, 0.25 and 0; gradient of its logits.
    chances, rewards = np.array([0.2, 0.3, 0.5]), (1.0, 0.25, 0.0)

    def score(answer):
        return np.eye(3)[answer] - chances

    exact, estimated = np.zeros(3), np.zeros(3)
    for drawn in itertools.product(range(3), repeat=k):
        best = max(rewards[answer] for answer in drawn)
        exact += np.prod(chances[list(drawn)]) * best * sum(score(answer) for answer in drawn)
    for drawn in itertools.product(range(3), repeat=size):
        weights = pass_at_k([rewards[answer] for answer in drawn], k)
        terms = [w * score(answer) for w, answer in zip(weights, drawn, strict=True)]
        estimated += np.prod(chances[list(drawn)]) * np.mean(terms, axis=0)
    assert np.abs(exact).max() > 0.05
    np.testing.assert_allclose(estimated, exact, atol=1e-12)


def test_pass_at_k_advantages_of_at_most_k_returns_are_zero():
    assert pass_at_k([1.0, 0.0, 0.0], 3) == [0.0, 0.0, 0.0]
    assert pass_at_k([1.0, 0.0, 0.0], 4) == [0.0, 0.0, 0.0]


def test_groups_that_are_too_small_for_the_estimator_are_refused():
    with pytest.raises(ConfigError, match="group_size must be at least 5, got 4; the best of 4"):
        AdvantageConfig(kind="pass_at_k").check_size(4, "group_size")
    AdvantageConfig(kind="pass_at_k").check_size(5, "group_size")
    with pytest.raises(ConfigError, match="num_base must be at least 2, got 1; a single episode"):
        AdvantageConfig(k=9).check_size(1, "num_base")
    with pytest.raises(ConfigError, match="advantage k must be at least 1, got 0"):
        AdvantageConfig(k=0)
