"""The interval of the policy advantage: hand-computed, and its coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.cpi.interval import advantage_interval, initial_weight
from reason_env.errors import VerifierError


def test_draws_from_one_distribution_have_the_plain_t_interval():
    # Mean 0.25, sample variance (4 * 0.0625) / 3 = 1 / 12, standard error sqrt(1 / 48).
    found = advantage_interval([0.5, 0.0, 0.5, 0.0], [0, 1, 2, 3], [True] * 4, beta=1.0)
    assert found.estimate == 0.25
    assert found.high - found.estimate == pytest.approx(3.18245 / 48**0.5, abs=1e-5)
    assert found.estimate - found.low == pytest.approx(3.18245 / 48**0.5, abs=1e-5)


def test_starts_of_one_draw_count_as_one():
    # Draw 0: D 0.4, mu mean of (0.8, 0.0); draw 1: D 0.0, mu 0.2; beta 0.25.
    values, draws = [0.4, 0.8, 0.0, 0.0, 0.2], [0, 0, 0, 1, 1]
    found = advantage_interval(values, draws, [True, False, False, True, False], beta=0.25)
    # 0.25 * 0.4 + 0.75 * 0.4 = 0.4 and 0.25 * 0 + 0.75 * 0.2 = 0.15: mean 0.275, sd / sqrt 2 0.125
    assert found.estimate == pytest.approx(0.275)
    assert found.high == 1.0
    narrow = advantage_interval(
        values, draws, [True, False, False, True, False], beta=0.25, confidence=0.5, limit=9.0
    )
    # t of 1 degree of freedom at 0.75 is exactly 1.
    assert narrow.high == pytest.approx(0.4)
    assert narrow.low == pytest.approx(0.15)


def test_draws_without_a_start_from_mu_add_no_spread_to_the_mean_over_mu():
    # D: 0.1, 0.3, 0.5, 0.3 (mean 0.3); mu only in draws 0 and 1: 0.0, 0.4 (mean 0.2). beta 0.5.
    found = advantage_interval(
        [0.1, 0.3, 0.5, 0.3, 0.0, 0.4],
        [0, 1, 2, 3, 0, 1],
        [True] * 4 + [False] * 2,
        beta=0.5,
        confidence=0.5,
    )
    assert found.estimate == pytest.approx(0.25)
    # psi: -0.1 - 0.2, 0 + 0.2, 0.1, 0; squares 0.14; / 16 * 2 / 1 = 0.0175; t(1) at 0.75 is 1.
    assert found.high - found.estimate == pytest.approx(0.0175**0.5)


def test_a_single_draw_gives_the_widest_interval():
    found = advantage_interval([0.5], [0], [True], beta=1.0, limit=2.0)
    assert (found.estimate, found.low, found.high) == (0.5, -2.0, 2.0)
    lone = advantage_interval([0.5, 0.5, 0.5], [0, 1, 1], [True, True, False], beta=0.5)
    assert (lone.low, lone.high) == (-1.0, 1.0)


def test_all_weight_is_on_the_distribution_that_has_starts():
    only = advantage_interval([0.2, 0.4], [0, 1], [True, True], beta=0.1)
    assert only.estimate == pytest.approx(0.3)
    other = advantage_interval([0.2, 0.4], [0, 1], [False, False], beta=0.9)
    assert other.estimate == pytest.approx(0.3)
    assert initial_weight([False, False], 0.9) == 0.0
    both = advantage_interval(
        [0.2, 0.4, 9.0, 9.0], [0, 1, 0, 1], [True, True, False, False], beta=1
    )
    assert both == only


def test_nothing_graded_is_refused():
    with pytest.raises(VerifierError, match="one start or more, got none"):
        advantage_interval([], [], [], beta=0.5)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.5, 0.99))
def test_the_interval_holds_its_estimate_and_shifts_with_the_values(values, confidence):
    draws, base = range(len(values)), [True] * len(values)
    one = advantage_interval(values, draws, base, beta=1, confidence=confidence, limit=1e9)
    assert one.low <= one.estimate <= one.high
    moved = [value + 0.25 for value in values]
    two = advantage_interval(moved, draws, base, beta=1, confidence=confidence, limit=1e9)
    assert two.low == pytest.approx(one.low + 0.25, abs=1e-6)


@pytest.mark.parametrize(("num", "share"), [(12, 1.0), (24, 0.6)])
def test_nineteen_of_twenty_intervals_hold_the_true_advantage(num, share):
    rng = np.random.default_rng(3)
    held, trials, beta = 0, 600, 0.4
    for _ in range(trials):
        # One effect of the draw in both of its starts, as two starts of one problem have.
        common = rng.normal(0, 0.2, num)
        of_d = 0.1 + common + rng.choice([-0.25, 0.25], num)
        has_mu = rng.random(num) < share
        of_mu = (0.3 + common + rng.normal(0, 0.3, num))[has_mu]
        draws = [*range(num), *np.flatnonzero(has_mu).tolist()]
        is_initial = [True] * num + [False] * len(of_mu)
        found = advantage_interval([*of_d, *of_mu], draws, is_initial, beta=beta, limit=9.0)
        held += found.low <= beta * 0.1 + (1 - beta) * 0.3 <= found.high
    # 0.95 with a standard error of 0.009; few starts of mu make it a little wider.
    assert 0.925 <= held / trials <= 0.985
