import pytest
from torch import nn

from reason_env.agents.learning import (
    LearnerConfig,
    default_learning_rate,
    learning_rate_line,
)
from reason_env.agents.learning.learning_rate import schedule_factor, with_learning_rate
from reason_env.errors import ConfigError


@pytest.mark.parametrize(
    ("num_parameters", "rate"),
    [
        (1_000, 2e-4),
        (820_864, 2e-4),
        (1_000_000, 2e-4),
        # 2e-4 * 200^(-log10(n / 1e6) / 3): 200^(-1/3) = 0.171, 200^(-2/3) = 0.0292.
        (10_000_000, 3.4e-5),
        (100_000_000, 5.8e-6),
        # log10(134.515) / 3 = 0.70960, 200^-0.7096 = 0.023291
        (134_515_008, 4.7e-6),
        (1_000_000_000, 1e-6),
        (32_000_000_000, 1e-6),
    ],
)
def test_the_default_rate_falls_from_2e_4_at_a_million_to_1e_6_at_a_billion(num_parameters, rate):
    assert default_learning_rate(num_parameters) == rate
    assert default_learning_rate(num_parameters, is_adapter=True) == pytest.approx(10 * rate)


def test_the_rate_in_the_config_wins_over_the_default():
    config = LearnerConfig(learning_rate=0.125)
    assert with_learning_rate(config, nn.Linear(3, 3)) is config
    assert with_learning_rate(LearnerConfig(), nn.Linear(3, 3)).learning_rate == 2e-4


def test_a_model_with_frozen_weights_has_the_rate_of_an_adapter_on_all_its_weights():
    model = nn.Sequential(nn.Linear(2000, 5000, bias=False), nn.Linear(2, 2))
    model[0].weight.requires_grad_(False)
    own = with_learning_rate(LearnerConfig(), model)
    assert own.learning_rate == pytest.approx(3.4e-4)
    line = learning_rate_line(own, model, is_default=True)
    assert line == ("learning rate 0.00034 (default for an adapter on 10.0 M parameters), constant")


def test_a_line_says_rate_and_schedule():
    config = LearnerConfig(learning_rate=1e-6, schedule="cosine")
    line = learning_rate_line(config, nn.Linear(2, 2), is_default=False)
    assert line == "learning rate 1e-06 (as given), cosine to 0.1 of it"


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", (1.0, 1.0, 1.0)),
        ("linear", (1.0, 1 - 0.9 / 3, 0.1)),
        # cos(pi / 3) = 0.5: 0.1 + 0.9 * 0.75
        ("cosine", (1.0, 0.775, 0.1)),
    ],
)
def test_a_schedule_falls_from_one_to_a_tenth(schedule, factors):
    found = [schedule_factor(schedule, share) for share in (0.0, 1 / 3, 1.0)]
    assert found == pytest.approx(factors)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ConfigError, match="schedule must be one of constant, linear, cosine, got"):
        LearnerConfig(schedule="step")  # pyright: ignore[reportArgumentType]
