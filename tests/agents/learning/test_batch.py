import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.learning import make_batch
from reason_env.agents.rollout import TrainingSample
from reason_env.errors import ConfigError

PAD = 99


def sample(context, response, mask=None, log_probs=None, advantage=0.5):
    mask = tuple(mask) if mask else (True,) * len(response)
    return TrainingSample(
        context_ids=tuple(context),
        token_ids=tuple(response),
        action_mask=mask,
        behavior_log_probs=tuple(log_probs or [-0.5 if m else 0.0 for m in mask]),
        advantage=advantage,
        role="base",
        group="toy/train/0",
    )


def test_rows_hold_context_then_response_padded_on_the_right():
    batch = make_batch(
        [
            sample([5, 6], [7, 8, 9], [False, True, True], [0.0, -1.5, -0.25], advantage=2.0),
            sample([4], [3], [True], [-3.0], advantage=-1.0),
        ],
        PAD,
    )
    assert batch.token_ids_BT.tolist() == [[5, 6, 7, 8, 9], [4, 3, PAD, PAD, PAD]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch.action_mask_BT.tolist() == [
        [False, False, False, True, True],
        [False, True, False, False, False],
    ]
    assert batch.behavior_log_probs_BT.tolist() == [[0, 0, 0, -1.5, -0.25], [0, -3.0, 0, 0, 0]]
    assert batch.advantages_BT.tolist() == [[0, 0, 0, 2.0, 2.0], [0, -1.0, 0, 0, 0]]
    assert (batch.token_ids_BT.dtype, batch.action_mask_BT.dtype) == (torch.int64, torch.bool)


def test_each_token_has_its_own_advantage():
    batch = make_batch(
        [
            sample([5, 6], [7, 8, 9], [False, True, True], advantage=(0.0, 2.0, -0.5)),
            sample([4], [3], advantage=-1.0),
        ],
        PAD,
        dtype=torch.float64,
    )
    assert batch.advantages_BT.tolist() == [[0, 0, 0, 2.0, -0.5], [0, -1.0, 0, 0, 0]]
    with pytest.raises(ConfigError, match="1 of 2 samples have a non-finite advantage"):
        make_batch([sample([5], [7, 8], advantage=(0.0, math.nan)), sample([5], [7])], PAD)


def test_a_log_probability_outside_the_mask_is_not_read():
    batch = make_batch([sample([1], [2, 3], [False, True], [math.nan, -1.0])], PAD)
    assert batch.behavior_log_probs_BT.tolist() == [[0.0, 0.0, -1.0]]


def test_a_batch_can_hold_float64_numbers():
    batch = make_batch([sample([1], [2], [True], [-0.1])], PAD, dtype=torch.float64)
    assert batch.behavior_log_probs_BT[0, 1].item() == -0.1
    assert batch.advantages_BT.dtype == torch.float64


def test_select_takes_rows_in_order_and_cuts_to_the_longest():
    batch = make_batch([sample([1], [2] * n, advantage=float(n)) for n in (4, 1, 2)], PAD)
    chosen = batch.select(torch.tensor([2, 1]))
    assert chosen.token_ids_BT.tolist() == [[1, 2, 2], [1, 2, PAD]]
    assert chosen.advantages_BT.tolist() == [[0, 2.0, 2.0], [0, 1.0, 0]]
    assert chosen.num_rows == 2


def test_split_sorts_by_length_and_keeps_to_the_budget():
    # Row lengths 3, 9, 2, 4, 3; sorted 9 4 3 3 2; budget 9: [9], [4, 3] (8), [3, 2] (6).
    batch = make_batch([sample([1], [2] * n) for n in (2, 8, 1, 3, 2)], PAD)
    assert [part.tolist() for part in batch.split_rows(9)] == [[1], [3, 0], [4, 2]]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), budget=st.integers(1, 120))
def test_split_is_a_partition_within_the_budget(lengths, budget):
    batch = make_batch([sample([1], [2] * n) for n in lengths], PAD)
    parts = batch.split_rows(budget)
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(lengths)))
    for rows in parts:
        width = max(lengths[row] + 1 for row in rows.tolist())
        assert len(rows) == 1 or len(rows) * width <= budget
        assert batch.select(rows).token_ids_BT.shape == (len(rows), width)


def test_non_finite_numbers_are_counted_and_refused():
    good, bad = sample([1], [2]), sample([1], [2, 3], log_probs=[-math.inf, math.nan])
    message = "2 of 3 sampled tokens have a non-finite behavior log-probability; drop these"
    with pytest.raises(ConfigError, match=message):
        make_batch([good, bad], PAD)
    with pytest.raises(ConfigError, match="1 of 2 samples have a non-finite advantage; drop"):
        make_batch([good, sample([1], [2], advantage=math.nan)], PAD)


def test_a_sampled_token_without_a_token_before_it_is_refused():
    with pytest.raises(ConfigError, match="1 of 2 samples begin with a sampled token"):
        make_batch([sample([1], [2]), sample([], [2, 3])], PAD)
    assert make_batch([sample([], [2, 3], [False, True])], PAD).num_rows == 1


def test_an_empty_batch_and_a_budget_of_zero_are_refused():
    with pytest.raises(ConfigError, match="at least one training sample, got none"):
        make_batch([], PAD)
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, got 0"):
        make_batch([sample([1], [2])], PAD).split_rows(0)
