import pytest

from reason_env.agents.probe import ProbeConfig
from reason_env.agents.probe.budget import Limits, block_sizes, run_blocks
from reason_env.errors import ConfigError


class FakeClock:
    """Advances by `each` seconds for each item that is measured."""

    def __init__(self, each):
        self.now, self.each, self.blocks = 100.0, each, []

    def __call__(self):
        return self.now

    def measure(self, items, seed):
        self.now += self.each * len(items)
        self.blocks.append((tuple(items), seed))
        return [(item, seed) for item in items]


def measured(each, deadline, number=40, last=None, expected_s=0.0):
    clock = FakeClock(each)
    limits = Limits(own=deadline, last=last or deadline, expected_s=expected_s)
    rows, done = run_blocks(
        range(number),
        clock.measure,
        sizes=block_sizes(number, 4, 16),
        seed=(7, 1),
        limits=limits,
        clock=clock,
    )
    assert done == len(rows)
    return clock.blocks, done


def test_without_a_deadline_every_item_is_measured_once_and_in_order():
    blocks, done = measured(1.0, None)
    assert [len(items) for items, _ in blocks] == [4, 4, 8, 16, 8]
    assert [item for items, _ in blocks for item in items] == list(range(40))
    assert done == 40


def test_a_block_begins_only_if_it_would_end_in_time():
    # Blocks of 4, 4, 8 end after 16 s; one of 16 more would end at 132, after the deadline.
    _, done = measured(1.0, 131.0)
    assert done == 16
    _, done = measured(1.0, 132.5)
    assert done == 32


def test_the_first_block_runs_even_if_it_is_too_slow_and_none_runs_after_the_deadline():
    assert measured(1000.0, 100.5)[1] == 4
    assert measured(1.0, 100.0)[1] == 0


def test_the_first_block_may_use_all_the_time_and_is_left_out_if_it_is_foreseen_to_be_late():
    assert measured(3.0, 101.0, last=113.0, expected_s=3.0)[1] == 4
    assert measured(3.0, 101.0, last=112.0, expected_s=3.0)[1] == 0
    assert measured(3.0, 130.0, last=140.0, expected_s=3.0)[1] == 8


def test_more_time_adds_blocks_and_changes_none():
    short, _ = measured(1.0, 110.0)
    long, _ = measured(1.0, None)
    assert 0 < len(short) < len(long)
    assert long[: len(short)] == short
    assert len({seed for _, seed in long}) == len(long)


def test_no_block_is_larger_than_an_iteration():
    assert block_sizes(20, 4, 8) == [4, 4, 8, 4]
    assert block_sizes(20, 2, 8) == [2, 2, 4, 8, 4]
    assert block_sizes(0, 4, 8) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0.0}, "minutes must be above 0 and finite, got 0.0"),
        ({"num_problems": 0}, "num_problems must be at least 1, got 0"),
        ({"max_problems": 0}, "max_problems must be at least 1, got 0"),
        ({"again": 1}, "again must be at least 2, got 1"),
        ({"shares": (0.0, 0.5)}, "shares must be above 0, got 0.0; the unguided success"),
        ({"shares": (1.5,)}, "shares must lie in 0..1, got 1.5"),
        ({"shares": (0.5, 0.25)}, "shares must rise and not be empty"),
        ({"shares": ()}, "shares must rise and not be empty"),
        ({"sections": ("entropi",)}, "sections must be among guided, .*did you mean 'entropy'?"),
    ],
)
def test_a_wrong_number_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ProbeConfig(**changes)
