import shlex
from dataclasses import replace

import pytest

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig, LTEConfig, RRPOConfig
from reason_env.agents.probe.command import train_command
from reason_env.agents.train import TrainConfig
from reason_env.cli import train as command
from reason_env.cli.flags import parsed
from reason_env.env import EnvConfig, RewardConfig


def read_back(text):
    """Parse a command as `reason-env` does, and return its config."""
    name, *words = shlex.split(text)[2:]
    default, words = command._default(name, words)
    return parsed(type(default), words, prog="train", default=default).config


@pytest.mark.parametrize(
    ("name", "method", "config"),
    [
        ("grpo", GRPOConfig(group_size=16), TrainConfig()),
        ("rrpo", RRPOConfig(), TrainConfig(model="a model/with spaces", problems_per_iteration=4)),
        (
            "lte",
            LTEConfig(group_size=4),
            TrainConfig(
                env=EnvConfig(
                    problems="inverse",
                    levels=(2, 5),
                    max_tokens=96,
                    stop_at_answer=False,
                    columns={"question": "problem", "answer": "final"},
                    guidance={"mistakes": "Do not answer any of: {pieces}."},
                    chat_arguments={"enable_thinking": False, "depth": 3},
                    reward=RewardConfig(correct=2.0),
                    template="boxed",
                ),
                sampling=SamplingConfig(temperature=0.7, top_k=20),
                learner=LearnerConfig(learning_rate=1e-5, epochs=2),
                seed=11,
            ),
        ),
    ],
)
def test_a_command_reads_back_as_the_config_that_it_was_written_from(name, method, config):
    size = getattr(method, "group_size", 99)
    text = train_command(name, config, group_size=size)
    assert read_back(text) == replace(config, method=method)


def test_a_command_names_what_a_reader_will_want_to_change_even_if_it_is_the_default():
    words = shlex.split(train_command("grpo", TrainConfig()))
    assert words == [
        "reason-env", "train", "grpo", "--group-size", "8", "--problems", "chain",
        "--max-tokens", "256", "--template", "auto", "--model", "base",
    ]  # fmt: skip


def test_cpi_is_trained_with_the_flags_of_grpo():
    text = train_command("cpi", TrainConfig(seed=4), group_size=16)
    assert text.startswith("reason-env train cpi --group-size 16 --problems chain")
    assert text.endswith("--seed 4")
