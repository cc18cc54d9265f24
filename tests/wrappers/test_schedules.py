import json
import zlib

import numpy as np
import pytest

from reason_env.errors import ConfigError
from reason_env.wrappers.schedules import (
    SCHEDULES,
    BinarySearch,
    Constant,
    Cosine,
    Linear,
    Reverse,
    ShortestHelpful,
    StochasticSearch,
    schedule_of,
)


def after(schedule, outcomes: str, problem="p", memory=None):
    """Returns the share after episodes written as + (success) and - (failure)."""
    memory = {} if memory is None else memory
    for outcome in outcomes:
        memory = schedule.updated(memory, problem, is_success=outcome == "+")
        # The memory survives a snapshot at any moment.
        memory = json.loads(json.dumps(memory))
    return schedule.share(memory, problem)


def test_a_constant_share_does_not_change():
    assert after(Constant(value=0.3), "+-+-") == 0.3


def test_a_linear_share_moves_with_episodes_and_not_with_successes():
    schedule = Linear(begin=0.8, end=0.2, episodes=3)
    assert [round(after(schedule, "+-+-+"[:count]), 6) for count in range(5)] == [
        0.8, 0.6, 0.4, 0.2, 0.2,
    ]  # fmt: skip


def test_a_cosine_share_is_slow_at_both_ends():
    schedule = Cosine(begin=0.0, end=1.0, episodes=6)
    shares = [after(schedule, "-" * count) for count in range(8)]
    # (1 - cos(pi/6)) / 2 = 0.0670, (1 - cos(pi/3)) / 2 = 1/4.
    assert [round(share, 4) for share in shares] == [0, 0.067, 0.25, 0.5, 0.75, 0.933, 1, 1]


@pytest.mark.parametrize(
    ("outcomes", "share"),
    [
        ("", 1.0),
        ("++", 1.0),  # two of a window of three
        ("+-+", 0.75),  # 2 of 3 is at least 0.6
        ("+--", 1.0),  # 1 of 3
        ("+--++", 0.75),  # the window slides: - + + is 2 of 3
        ("+++++", 0.75),  # the new stage counts from nothing
        ("++++++", 0.5),
        ("+" * 12, 0.0),
        ("+" * 30, 0.0),
    ],
)
def test_a_reverse_curriculum_slides_to_the_beginning_stage_by_stage(outcomes, share):
    assert after(Reverse(stages=4, window=3, pass_rate=0.6), outcomes) == share


def test_a_stage_is_over_at_exactly_the_pass_rate():
    assert after(Reverse(stages=2, window=2, pass_rate=0.5), "+-") == 0.5
    assert after(BinarySearch(samples=2, pass_rate=0.5), "+-") == 0.25


@pytest.mark.parametrize(
    ("outcomes", "share"),
    [
        ("", 0.5),
        ("++", 0.5),  # two of three samples
        ("++-", 0.25),  # solved: the lower half
        ("+--", 0.75),  # not solved: the upper half
        ("+--+++", 0.625),
        ("++++++", 0.125),
        ("---" * 2, 0.875),
        # [0.75, 1] is narrower than 0.3: it opens downwards, to [0, 1].
        ("---" * 2 + "+++", 0.4375),
    ],
)
def test_a_binary_search_halves_the_interval_of_each_problem(outcomes, share):
    schedule = BinarySearch(samples=3, pass_rate=0.6, tolerance=0.2)
    assert after(schedule, outcomes) == share
    memory = schedule.updated({}, "other", is_success=True)
    assert after(schedule, outcomes, memory=memory) == share


def test_the_shortest_helpful_share_is_the_first_with_a_success():
    schedule = ShortestHelpful(size=8, longest=0.375, samples=2)
    assert after(schedule, "") == 0.0
    assert after(schedule, "-") == 0.0
    assert after(schedule, "--") == 0.125
    assert after(schedule, "---+") == 0.125
    assert after(schedule, "---+------") == 0.125  # found: it stays
    assert after(schedule, "------") == 0.375
    assert after(schedule, "--" * 9) == 0.375  # none works: the longest stays
    assert after(schedule, "--" * 9 + "+") == 0.375
    assert after(schedule, "+----") == 0.0


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_is_named_by_its_kind_and_its_share_stays_within_0_and_1(kind):
    schedule = schedule_of(kind)
    assert schedule.kind == kind
    assert schedule_of({"kind": kind}) == schedule == schedule_of(schedule)
    memory = {}
    for episode in range(60):
        share = schedule.share(memory, "p")
        assert 0.0 <= share <= 1.0
        before = json.dumps(memory)
        after_it = schedule.updated(memory, "p", is_success=episode % 3 == 0)
        assert json.dumps(memory) == before
        memory = after_it


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "linaer"}, "schedule kind must be .*got 'linaer'.*mean 'linear'"),
        ({"begin": 1.0}, "schedule kind must be one of .*got None"),
        ({"kind": "linear", "start": 1.0}, "schedule 'linear' must be given by its .*start"),
        ({"kind": "linear", "begin": 1.5}, r"begin must lie in 0\.\.1, got 1\.5"),
        ({"kind": "cosine", "end": -1}, r"end must lie in 0\.\.1, got -1"),
        ({"kind": "linear", "episodes": 0}, "episodes must be at least 1, got 0"),
        ({"kind": "constant", "value": 2}, r"value must lie in 0\.\.1, got 2"),
        ({"kind": "reverse", "stages": 0}, "stages must be at least 1, got 0"),
        ({"kind": "reverse", "window": 0}, "window must be at least 1, got 0"),
        ({"kind": "reverse", "pass_rate": 7}, r"pass_rate must lie in 0\.\.1, got 7"),
        ({"kind": "binary_search", "samples": 0}, "samples must be at least 1, got 0"),
        ({"kind": "binary_search", "pass_rate": 3}, r"pass_rate must lie in 0\.\.1, got 3"),
        ({"kind": "binary_search", "tolerance": 0}, "tolerance must lie between 0 and 1, got 0"),
        ({"kind": "stochastic_search", "samples": 0}, "samples must be at least 1, got 0"),
        ({"kind": "stochastic_search", "pass_rate": -1}, r"pass_rate must lie in 0\.\.1, got -1"),
        ({"kind": "stochastic_search", "seed": -1}, "seed must be at least 0, got -1"),
        ({"kind": "shortest_helpful", "size": 0}, "size must be at least 1, got 0"),
        ({"kind": "shortest_helpful", "longest": 2}, r"longest must lie in 0\.\.1, got 2"),
        ({"kind": "shortest_helpful", "samples": 0}, "samples must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_a_wrong_schedule_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        schedule_of(given)


def drawn(seed, problem, number):
    entropy = (seed, zlib.crc32(problem.encode()), number)
    return float(np.random.default_rng(entropy).random())


def test_a_stochastic_search_draws_below_a_solved_share_and_above_an_unsolved_one():
    schedule = StochasticSearch(samples=3, pass_rate=0.6, seed=7)
    first, second, third, fourth = (drawn(7, "p", number) for number in range(4))
    assert after(schedule, "") == after(schedule, "+-") == first
    below = first * second
    assert after(schedule, "+-+") == pytest.approx(below, rel=1e-12)  # 2 of 3 is at least 0.6
    above = below + (1 - below) * third
    assert after(schedule, "+-+" + "+--") == pytest.approx(above, rel=1e-12)  # 1 of 3
    # The lower end opens again.
    assert after(schedule, "+-+" + "+--" + "+++") == pytest.approx(above * fourth, rel=1e-12)


def test_a_stochastic_search_is_of_each_problem_and_seed():
    schedule = StochasticSearch(samples=1)
    memory = schedule.updated({}, "a", is_success=True)
    assert schedule.share(memory, "b") == drawn(0, "b", 0)
    assert schedule.share(memory, "a") == drawn(0, "a", 0) * drawn(0, "a", 1)
    assert StochasticSearch(seed=1).share({}, "a") == drawn(1, "a", 0)


def test_a_stochastic_search_reaches_the_whole_interval():
    schedule = StochasticSearch()
    shares = [schedule.share({}, str(number)) for number in range(400)]
    counts = np.histogram(shares, bins=4, range=(0, 1))[0]
    assert counts.min() > 70


def test_a_solved_stochastic_search_goes_to_zero():
    assert after(StochasticSearch(samples=2), "++" * 30) < 1e-6
    assert after(StochasticSearch(samples=2), "--" * 30) > 1 - 1e-6
