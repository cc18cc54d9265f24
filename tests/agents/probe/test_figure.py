import numpy as np
import pytest

from reason_env.agents.probe import Figure, Section
from reason_env.agents.probe.figure import difference_figure, mean_figure, rate_figure
from reason_env.agents.statistics import wilson


def test_rates_that_all_are_one_have_wilson_s_interval():
    found = rate_figure("a", "a", [1.0] * 12)
    expected = wilson(12, 12)
    assert (found.estimate, found.low, found.high) == (1.0, expected.low, 1.0)
    assert found.num_problems == 12


def test_rates_that_differ_have_a_bootstrap_interval_over_problems():
    values = [0.0, 0.25, 0.25, 1.0] * 5
    found = rate_figure("a", "a", values)
    assert found.estimate == 0.375
    # The standard error of a mean of 20 with standard deviation 0.375 is 0.084.
    assert found.low == pytest.approx(0.375 - 1.96 * 0.084, abs=0.03)
    assert found.high == pytest.approx(0.375 + 1.96 * 0.084, abs=0.03)


def test_equal_values_give_equal_limits_whatever_was_measured_before():
    values = np.random.default_rng(3).random(30).tolist()
    assert rate_figure("a", "a", values) == rate_figure("a", "a", values)


def test_one_problem_has_no_interval_of_its_mean():
    found = rate_figure("a", "a", [0.5])
    assert (found.low, found.high) == (None, None)
    assert mean_figure("a", "a", [2.5], unit="nats").text() == "2.500 nats"


def test_a_difference_of_equal_rates_is_as_wide_as_wilson_s_interval_of_none():
    found = difference_figure("a", "a", [0.5, 0.25] * 6, [0.5, 0.25] * 6)
    assert (found.estimate, found.low) == (0.0, -found.high)
    assert found.high == wilson(0, 12).high


def test_a_difference_is_paired_by_problem():
    first, second = [0.5, 0.75, 1.0, 0.25] * 5, [0.25, 0.5, 0.75, 0.0] * 5
    found = difference_figure("a", "a", first, second)
    assert (found.estimate, found.low, found.high) == (0.25, 0.25, 0.25)


def test_a_section_counts_what_time_did_not_allow_and_reads_back():
    section = Section(
        name="guided",
        title="Guided",
        figures=(Figure(name="a", label="a", estimate=0.5, low=0.1, high=0.9, num_problems=7),),
        missing={"b": "no time"},
        num_problems=7,
        num_eligible=11,
        sampled_tokens=120,
        seconds=1.5,
    )
    assert section.num_left_out == 4
    assert Section.from_dict(section.to_dict()) == section
