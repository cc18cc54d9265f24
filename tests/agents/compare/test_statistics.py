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


def test_preparation_is_a_flat_piece_of_the_curve():
    assert preparation_tokens(rows(prepared=60)) == 60
    assert preparation_tokens(rows()) == 0
    assert preparation_tokens(rows()[:1]) == 0
    curve = curve_of(rows(prepared=60))
    assert curve.tokens == (0, 60, 160, 360)
    assert curve.pass_at_1 == (0.1, 0.1, 0.5, 0.7)


def test_a_run_without_evaluation_is_no_curve():
    with pytest.raises(ConfigError, match="a run must contain an evaluation to be compared"):
        curve_of([{"iteration": 1, "rollout/sampled_tokens_total": 5}])


def test_the_area_is_cut_at_the_budget_and_held_beyond_the_end():
    x, y = [0, 100, 300], [0.1, 0.5, 0.7]
    assert area(x, y, budget=100) == pytest.approx(0.3)
    assert area(x, y, budget=200) == pytest.approx((30 + 55) / 200)  # 0.6 at 200
    assert area(x, y, budget=300) == pytest.approx((30 + 120) / 300)
    assert area(x, y, budget=400) == pytest.approx((30 + 120 + 70) / 400)


def test_a_level_is_reached_between_evaluations_or_at_the_first_or_never():
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


def test_an_interval_over_seeds_is_that_of_their_mean():
    two = over_seeds({0: 0.0, 1: 1.0})
    assert (two.mean, two.low, two.high) == (0.5, 0.0, 1.0)
    assert over_seeds({0: 0.2, 1: 0.4}).excludes_zero
    assert not over_seeds({0: -0.2, 1: 0.4}).excludes_zero
    assert over_seeds({0: -0.2, 1: -0.4}).excludes_zero


def test_differences_are_taken_seed_by_seed_where_both_have_one():
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


def test_a_band_is_the_bootstrap_of_each_place_and_none_for_one_curve():
    mean, low, high = band(np.array([[0.0, 0.5, 2.0], [1.0, 0.5, 4.0]]))
    assert mean.tolist() == [0.5, 0.5, 3.0]
    assert low.tolist() == [0.0, 0.5, 2.0]
    assert high.tolist() == [1.0, 0.5, 4.0]
    mean, low, high = band(np.array([[0.25, 0.75]]))
    assert mean.tolist() == [0.25, 0.75]
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_a_band_of_five_seeds_is_the_interval_of_five_seeds():
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    _, low, high = band(np.array(values)[:, None])
    found = over_seeds(dict(enumerate(values)))
    assert found.low == pytest.approx(low[0], abs=0.03)
    assert found.high == pytest.approx(high[0], abs=0.03)


def test_clear_is_what_student_s_interval_shows_worked_out_by_hand():
    # Mean 0.2, standard error 0.1 / sqrt(3) = 0.0577, t(0.975, 2) = 4.303: +- 0.248.
    assert not over_seeds({0: 0.1, 1: 0.2, 2: 0.3}).is_clear
    # Mean 0.3: +- 0.248 leaves 0 out.
    assert over_seeds({0: 0.2, 1: 0.3, 2: 0.4}).is_clear
    assert over_seeds({0: -0.2, 1: -0.3, 2: -0.4}).is_clear
    assert not over_seeds({0: 0.5}).is_clear
