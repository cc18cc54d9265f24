import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.compare import band, curve_of, preparation_tokens
from reason_env.agents.compare.statistics import (
    area,
    over_seeds,
    paired_difference,
    sign_flip_p,
    tokens_to_level,
)
from reason_env.errors import ConfigError


def rows(prepared=0):
    """Evaluations at 0, 100 and 300 tokens; the second iteration is not evaluated."""
    found = []
    for iteration, own, total, value in [
        (0, None, None, 0.1),
        (1, 100, 100, 0.5),
        (2, 150, 250, None),
        (3, 50, 300, 0.7),
    ]:
        row = {"iteration": iteration}
        if own is not None:
            row |= {"rollout/sampled_tokens": own, "rollout/sampled_tokens_total": total + prepared}
        if value is not None:
            row |= {"eval/pass_at_1": value, "eval/pass_at_k": value + 0.2, "eval/k": 8}
        found.append(row)
    return found


def test_a_curve_holds_the_evaluations_at_their_tokens():
    curve = curve_of(rows())
    assert curve.tokens == (0, 100, 300)
    assert curve.pass_at_1 == (0.1, 0.5, 0.7)
    assert curve.pass_at_k == pytest.approx((0.3, 0.7, 0.9))
    assert curve.k == 8
    assert curve.final_pass_at_1 == 0.7


def test_preparation_tokens_shift_the_curve_at_constant_pass_at_1():
    assert preparation_tokens(rows(prepared=60)) == 60
    assert preparation_tokens(rows()) == 0
    assert preparation_tokens(rows()[:1]) == 0
    curve = curve_of(rows(prepared=60))
    assert curve.tokens == (0, 60, 160, 360)
    assert curve.pass_at_1 == (0.1, 0.1, 0.5, 0.7)


def test_a_run_without_evaluation_is_no_curve():
    with pytest.raises(ConfigError, match="a run must contain an evaluation to be compared"):
        curve_of([{"iteration": 1, "rollout/sampled_tokens_total": 5}])


def test_the_area_stops_at_the_budget_and_holds_the_last_value_up_to_it():
    x, y = [0, 100, 300], [0.1, 0.5, 0.7]
    assert area(x, y, budget=100) == pytest.approx(0.3)
    assert area(x, y, budget=200) == pytest.approx((30 + 55) / 200)  # 0.6 at 200
    assert area(x, y, budget=300) == pytest.approx((30 + 120) / 300)
    assert area(x, y, budget=400) == pytest.approx((30 + 120 + 70) / 400)


def test_tokens_to_a_level_are_interpolated_0_at_the_first_evaluation_or_none():
    x, y = [0, 100, 300, 500], [0.1, 0.5, 0.4, 0.7]
    assert tokens_to_level(x, y, level=0.2) == pytest.approx(25)
    assert tokens_to_level(x, y, level=0.5) == 100
    assert tokens_to_level(x, y, level=0.6) == pytest.approx(300 + 200 * 2 / 3)
    assert tokens_to_level(x, y, level=0.05) == 0
    assert tokens_to_level(x, y, level=0.8) is None


def test_one_seed_has_no_interval_and_excludes_nothing():
    one = over_seeds({4: 0.5})
    assert (one.mean, one.low, one.high, one.values) == (0.5, None, None, {4: 0.5})
    assert not one.excludes_zero


def test_the_interval_over_seeds_is_around_their_mean_and_may_exclude_zero():
    two = over_seeds({0: 0.0, 1: 1.0})
    assert (two.mean, two.low, two.high) == (0.5, 0.0, 1.0)
    assert over_seeds({0: 0.2, 1: 0.4}).excludes_zero
    assert not over_seeds({0: -0.2, 1: 0.4}).excludes_zero
    assert over_seeds({0: -0.2, 1: -0.4}).excludes_zero


def test_differences_pair_the_seeds_that_both_arms_have():
    found = paired_difference({0: 0.9, 1: 0.4, 2: 0.8}, {0: 0.5, 2: 0.7, 3: 0.1})
    assert found is not None
    assert found.values == pytest.approx({0: 0.4, 2: 0.1})
    assert found.mean == pytest.approx(0.25)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_the_sign_flip_p_value_counts_sign_choices():
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5]) == 2 / 32
    # Of 8 choices, the sums 0.5, 0.5, -0.5, -0.5 and 0.9, 0.7, ... : 6 are at least 0.5 away.
    assert sign_flip_p([0.1, 0.2, 0.6]) == 2 / 8
    assert sign_flip_p([-0.1, 0.2, 0.6]) == 4 / 8
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([0.1] * 17) is None


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
def test_a_p_value_is_the_same_for_either_direction(values):
    assert sign_flip_p(values) == sign_flip_p([-value for value in values])


def test_a_band_is_a_pointwise_bootstrap_and_nan_for_a_single_curve():
    mean, low, high = band(np.array([[0.0, 0.5, 2.0], [1.0, 0.5, 4.0]]))
    assert mean.tolist() == [0.5, 0.5, 3.0]
    assert low.tolist() == [0.0, 0.5, 2.0]
    assert high.tolist() == [1.0, 0.5, 4.0]
    mean, low, high = band(np.array([[0.25, 0.75]]))
    assert mean.tolist() == [0.25, 0.75]
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_the_band_and_the_interval_of_five_seeds_agree():
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    _, low, high = band(np.array(values)[:, None])
    found = over_seeds(dict(enumerate(values)))
    assert found.low == pytest.approx(low[0], abs=0.03)
    assert found.high == pytest.approx(high[0], abs=0.03)


def test_a_mean_is_clear_if_student_s_interval_excludes_0():
    # Mean 0.2, standard error 0.1 / sqrt(3) = 0.0577, t(0.975, 2) = 4.303: +- 0.248.
    assert not over_seeds({0: 0.1, 1: 0.2, 2: 0.3}).is_clear
    # Mean 0.3: +- 0.248 leaves 0 out.
    assert over_seeds({0: 0.2, 1: 0.3, 2: 0.4}).is_clear
    assert over_seeds({0: -0.2, 1: -0.3, 2: -0.4}).is_clear
    assert not over_seeds({0: 0.5}).is_clear
