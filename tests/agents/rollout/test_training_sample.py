import json
from dataclasses import replace

import pytest

from reason_env.agents.rollout import (
    TrainingSample,
    advantage_metrics,
    signal_metrics,
    training_sample,
)
from reason_env.errors import ConfigError


def sample_of(advantage, group="0:toy"):
    return TrainingSample(
        context_ids=(5, 6),
        token_ids=(8, 9, 2, 4),
        action_mask=(False, True, True, False),
        behavior_log_probs=(0.0, -0.5, -1.2, 0.0),
        advantage=advantage,
        role="base",
        group=group,
    )


def test_a_number_is_the_advantage_of_every_trained_token():
    assert sample_of(0.75).advantages == (0.0, 0.75, 0.75, 0.0)
    assert sample_of((0.0, 0.5, -2.0, 0.0)).advantages == (0.0, 0.5, -2.0, 0.0)


def test_a_factor_scales_the_advantage_of_every_token():
    assert sample_of(0.75).scaled(2.0) == sample_of(1.5)
    assert sample_of((0.0, 0.5, -2.0, 0.0)).scaled(3.0) == sample_of((0.0, 1.5, -6.0, 0.0))


def test_a_sample_has_a_signal_if_one_of_its_tokens_has():
    assert [sample_of(a).has_signal for a in (0.0, -0.1)] == [False, True]
    assert [sample_of((0.0, 0.0, a, 0.0)).has_signal for a in (0.0, -0.1)] == [False, True]


@pytest.mark.parametrize("advantage", [0.3, (0.0, 0.5, -2.0, 0.0)])
def test_a_sample_is_read_back_from_json(advantage):
    sample = sample_of(advantage)
    assert TrainingSample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample
    assert TrainingSample.from_dict(sample.to_dict()) == sample


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        ((0.0, 0.5), r"one for each of the 4 token_ids, got 2 in group '0:toy'; give 0 to"),
        ((0.1, 0.5, 0.5, 0.2), r"must be 0 where action_mask is False, got 2 others in group"),
    ],
)
def test_advantages_that_do_not_fit_the_tokens_are_refused(advantage, message):
    with pytest.raises(ConfigError, match=message):
        sample_of(advantage)


def test_the_advantages_of_sampled_tokens_are_placed_after_the_prefix(build):
    state = build["problem_state"](1)
    item = build["trajectory"](state.extend(state.codec.encode("x\n"), "reset"), "ab\n")
    found = training_sample(item, (0.1, 0.2, 0.3, 0.4))
    assert found.advantages == (0.0, 0.0, 0.1, 0.2, 0.3, 0.4)
    assert replace(found, advantage=1.0) == training_sample(item, 1.0)
    message = r"one for each of the 4 sampled tokens, got 3; give them in the order of behavior"
    with pytest.raises(ConfigError, match=message):
        training_sample(item, [0.1, 0.2, 0.3])


def test_metrics_read_the_advantages_of_tokens():
    samples = [sample_of((0.0, 0.5, -2.0, 0.0)), sample_of(-0.25)]
    # Means over the trained tokens: 1.25 and 0.25.
    assert advantage_metrics(samples) == {"advantage/mean_abs": 0.75}
    flat = [sample_of((0.0,) * 4, "1:toy"), sample_of(0.0, "1:toy")]
    name = "advantage/trained_groups_without_signal_fraction"
    assert signal_metrics([*samples, *flat]) == {name: 0.5}
