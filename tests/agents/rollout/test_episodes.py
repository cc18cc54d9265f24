import json
from dataclasses import replace

import pytest
import torch

from reason_env.agents.rollout import (
    TrainingSample,
    discarded_metrics,
    episode_rows,
    trained_rows,
    training_sample,
)
from reason_env.state import Guidance


def rows_of(trajectories, limit=100, samples=(), rows=None, old=None):
    rows = [None] * len(trajectories) if rows is None else rows
    return episode_rows(trajectories, limit, samples=samples, rows=rows, old_log_probs=old or {})


def test_samples_are_matched_to_episodes_in_any_order_and_group(build):
    state = build["problem_state"](1)
    first, second, third = (build["trajectory"](state, text) for text in ("a\n", "b\n", "c\n"))
    samples = [
        replace(training_sample(third, 0.5), group="another"),
        training_sample(first, -0.5),
    ]
    assert trained_rows([first, second, third], samples) == [1, None, 0]


def test_episodes_with_equal_tokens_are_distinguished(build):
    state = build["problem_state"](1)
    twins = [build["trajectory"](state, "a\n") for _ in range(3)]
    samples = [training_sample(twins[2], 0.5), training_sample(twins[1], -0.5)]
    rows = trained_rows(twins, samples)
    assert rows == [None, 1, 0]
    written = rows_of(twins, samples=samples, rows=rows)
    assert [row["advantage"] for row in written] == [None, -0.5, 0.5]


def test_a_reference_sample_has_no_episode_even_if_its_tokens_equal_one(build):
    item = build["trajectory"](build["problem_state"](1), "a\n")
    imitated = replace(training_sample(item, 0.5), source="reference", trajectory_id=None)
    assert trained_rows([item], [imitated]) == [None]


def test_an_episode_with_two_samples_takes_the_first(build):
    item = build["trajectory"](build["problem_state"](1), "a\n")
    assert trained_rows([item], [training_sample(item, value) for value in (0.5, 0.25)]) == [0]


def test_batches_with_equal_ids_are_refused(build):
    item = build["trajectory"](build["problem_state"](1), "a\n")
    with pytest.raises(AssertionError, match="collected with other seeds"):
        trained_rows([item, item], [])


def test_a_sample_keeps_its_episode_in_json_and_one_of_version_0_1_has_none(build):
    sample = training_sample(build["trajectory"](build["problem_state"](1), "a\n"), 0.5)
    plain = json.loads(json.dumps(sample.to_dict()))
    assert TrainingSample.from_dict(plain) == sample
    del plain["trajectory_id"]
    assert TrainingSample.from_dict(plain) == replace(sample, trajectory_id=None)


def test_a_row_records_that_training_hides_the_guidance(build):
    state = build["problem_state"](1)
    told = state.with_guidance(Guidance("mistakes", ("35",)))
    item = build["trajectory"](told, "a\n", learn_from=state, role="hinted")
    (row,) = rows_of([item])
    assert row["hides_guidance"]
    assert row["state"]["guidance"] == [["mistakes", ["35"]]]


def test_discarded_tokens_count_episodes_without_a_sample_except_localisations(build):
    state = build["problem_state"](1)
    items = [
        build["trajectory"](state, "a\n"),  # 2 letters, the end and one that was left out
        build["trajectory"](state, "abc\n"),
        build["trajectory"](state, "abcdef\n", role="localise"),
    ]
    assert discarded_metrics(items, [0, None, None]) == {"rollout/discarded_tokens": 6}
    assert discarded_metrics(items, [None, 0, None]) == {"rollout/discarded_tokens": 4}


def test_a_limit_keeps_whole_problems_with_their_later_resets(build):
    one, two, three = (build["problem_state"](number) for number in (1, 2, 3))
    items = [build["trajectory"](state, "a\n", index=at) for at in (0, 1) for state in (one, two)]
    items += [build["trajectory"](three, "a\n")]
    kept = items[0].final_state.cut(1, source="reset")
    items += [build["trajectory"](kept, "b\n", role="reset")]

    def ids(limit):
        rows = rows_of(items, limit)
        return [(row["state"]["problem"]["problem_id"][-1], row["role"]) for row in rows]

    assert ids(5) == [("1", "base"), ("1", "base"), ("1", "reset"), ("2", "base"), ("2", "base")]
    assert ids(4) == [("1", "base"), ("1", "base"), ("1", "reset")]
    assert ids(2) == [("1", "base"), ("1", "base")]  # a problem that alone is too large is cut
    assert ids(0) == []


def test_a_row_records_steps_tokens_advantage_and_both_log_probabilities(build):
    state = build["problem_state"](1)
    item = build["trajectory"](state, "a\nbc\n", log_prob=-0.1234567891)
    sample = training_sample(item, 0.75)
    old = {0: torch.tensor([-0.5] * 6)}
    (row,) = rows_of([item], samples=[sample], rows=[0], old=old)
    assert row["pieces"] == ["a", "\n", "b", "c", "\n", ""]
    assert row["step_ends"] == [2, 5]
    assert row["advantage"] == 0.75
    assert row["old_log_probs"] == [-0.5] * 6
    assert row["behavior_log_probs"][:2] == [-0.123457, -0.124457]
    assert row["sampled_tokens"] == 7
    assert (row["start_tokens"], row["is_auxiliary"]) == (0, False)
    (row,) = rows_of([item], samples=[sample], rows=[0])
    assert (row["advantage"], row["old_log_probs"]) == (0.75, None)
    (row,) = rows_of([item])
    assert (row["advantage"], row["old_log_probs"]) == (None, None)


def test_a_row_holds_the_old_log_probabilities_of_its_own_sampled_tokens_alone(build):
    state = build["problem_state"](1)
    item = build["trajectory"](state.extend(state.codec.encode("x\n"), "reset"), "ab\n")
    sample = training_sample(item, 0.5)
    # The prefix of two tokens is trained too: its numbers are not the episode's.
    unmasked = replace(sample, action_mask=(True,) * len(sample.token_ids))
    old = {0: torch.tensor([-9.0, -8.0, -0.1, -0.2, -0.3, -0.4])}
    (row,) = rows_of([item], samples=[unmasked], rows=[0], old=old)
    assert row["old_log_probs"] == [-0.1, -0.2, -0.3, -0.4]
    other = replace(sample, token_ids=(*sample.token_ids[:-1], 7))
    (row,) = rows_of([item], samples=[other], rows=[0], old={0: torch.zeros(4)})
    assert (row["advantage"], row["old_log_probs"]) == (0.5, None)


def test_a_run_records_the_trainer_s_log_probabilities_where_there_is_a_gradient():
    from reason_env.agents.evaluate import EvalConfig
    from reason_env.agents.methods import GRPOConfig
    from reason_env.agents.train import TrainConfig, build_session, iterate
    from reason_env.env import EnvConfig

    config = TrainConfig(
        method=GRPOConfig(group_size=4),
        env=EnvConfig(levels=(3, 4), max_tokens=64, size=8),
        eval=EvalConfig(num_problems=1, samples=1, k=1),
        problems_per_iteration=3,
        episodes_per_iteration=12,
        iterations=1,
    )
    session = build_session(config)
    found = iterate(session)
    assert len(found.episodes) == 12
    trained = [row for row in found.episodes if row["old_log_probs"] is not None]
    assert trained
    for row in found.episodes:
        assert (row["old_log_probs"] is not None) == (row["advantage"] != 0)
    for row in trained:
        # One context and one set of weights: sampler and trainer differ by rounding alone.
        assert row["old_log_probs"] == pytest.approx(row["behavior_log_probs"], abs=2e-3)
    assert found.metrics["rollout/discarded_tokens"] == 0


def test_a_row_holds_the_advantages_of_its_tokens_and_their_mean_if_they_differ(build):
    state = build["problem_state"](1)
    item = build["trajectory"](state.extend(state.codec.encode("x\n"), "reset"), "ab\n")
    assert len(item.behavior_log_probs) == 4
    sample = training_sample(item, [0.5, -1.0, 0.0, 0.1234567891])
    assert sample.advantages == (0.0, 0.0, 0.5, -1.0, 0.0, 0.1234567891)
    (row,) = rows_of([item], samples=[sample], rows=[0])
    assert row["advantage"] == pytest.approx((0.5 - 1.0 + 0.1234567891) / 4)
    assert row["advantages"] == [0.5, -1.0, 0.0, 0.123457]
    # With the prefix trained too, the row still holds the episode's own tokens.
    unmasked = replace(sample, action_mask=(True,) * 6, advantage=(3.0, 2.0, 0.5, -1.0, 0.0, 0.25))
    (row,) = rows_of([item], samples=[unmasked], rows=[0])
    assert row["advantages"] == [0.5, -1.0, 0.0, 0.25]
    assert row["advantage"] == pytest.approx(4.75 / 6)
    # A sample that trains the first and the last of the sampled tokens alone.
    partly = replace(
        sample,
        action_mask=(False, False, True, False, False, True),
        advantage=(0.0, 0.0, 0.5, 0.0, 0.0, 0.25),
    )
    (row,) = rows_of([item], samples=[partly], rows=[0], old={0: torch.tensor([-0.1, -0.4])})
    assert row["advantages"] == [0.5, 0.0, 0.0, 0.25]
    assert (row["advantage"], row["old_log_probs"]) == (pytest.approx(0.375), None)
    (row,) = rows_of([item], samples=[training_sample(item, 0.5)], rows=[0])
    assert "advantages" not in row
    other = replace(sample, token_ids=(*sample.token_ids[:-1], 7))
    assert rows_of([item], samples=[other], rows=[0])[0]["advantages"] is None
