"""Student's t: quantiles of the tables, and an interval worked out by hand."""

import pytest

from reason_env.agents.statistics import student_interval, t_quantile
from reason_env.errors import ConfigError


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


def test_what_has_no_quantile_or_no_spread_is_refused():
    with pytest.raises(ConfigError, match=r"probability in 0\.\.1 and at least 1 degree"):
        t_quantile(1.0, 3)
    with pytest.raises(ConfigError, match="at least two values, got 1"):
        student_interval([0.5])
