"""The cost of a run of an algorithm, measured on its first iteration."""

from dataclasses import replace

import gymnasium as gym
import pytest
import torch

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import method_config
from reason_env.agents.train import (
    TrainConfig,
    estimate_agent,
    iterate_agent,
    prepare,
    session_of,
)
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.wrappers import RecordEpisodes, stack_to_json

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

STEPS = {"num_steps": 30, "num_epochs": 3, "updates_per_epoch": 2}
GROUPS = {"group_size": 2, "num_epochs": 2}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(name, numbers, **changes):
    arguments = {
        "method": replace(method_config(name), **numbers),
        "env": EnvConfig(levels=(1, 1), max_tokens=24, size=6),
        "eval": EvalConfig(num_problems=3, samples=2, k=1, greedy=False, every=2),
        "iterations": 5,
        "problems_per_iteration": 4,
    }
    return TrainConfig(**(arguments | changes))


@pytest.mark.parametrize(
    ("name", "numbers", "updates"), [("sb3-ppo", STEPS, 6), ("sb3-grpo", GROUPS, 2)]
)
def test_the_estimate_is_the_first_iteration(name, numbers, updates):
    config = config_of(name, numbers)
    session = session_of(config)
    prepare(session)
    real = iterate_agent(session).metrics
    found = estimate_agent(session_of(config))
    assert found.generated_tokens == real["rollout/sampled_tokens"]
    assert found.trained_tokens == real["update/tokens"]
    assert found.prompts == session.num_drawn >= 4
    assert found.updates_per_iteration == updates
    assert (found.num_measured, found.num_problems, found.iterations) == (4, 4, 5)
    # Before, after iterations 2 and 4, and after the last.
    assert found.num_evaluations == 4
    assert min(found.sampling_s, found.update_s, found.evaluation_s) > 0


def test_the_budget_counts_environment_steps():
    # 4 episodes of 30 steps an iteration
    found = estimate_agent(session_of(config_of("sb3-ppo", STEPS, max_generated_tokens=250)))
    assert (found.iterations, found.run_tokens, found.num_evaluations) == (3, 360, 3)
    with pytest.raises(ConfigError, match="max_generated_tokens must hold an iteration and what"):
        estimate_agent(session_of(config_of("sb3-ppo", STEPS, max_generated_tokens=3)))


def test_memory_counts_the_critic_the_steps_and_the_evaluation_s_cache():
    session = session_of(config_of("sb3-ppo", STEPS))
    memory = estimate_agent(session).memory
    width = session.policy.model.config.hidden_size
    count = sum(value.numel() for value in session.policy.model.parameters()) + width + 1
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * count, 4 * count, 8 * count)
    assert memory.activations > memory.weights
    masked = estimate_agent(session_of(config_of("sb3-maskable-ppo", STEPS))).memory
    # One float32 for each id of the codec.
    assert masked.step_buffer - memory.step_buffer == 30 * 4 * 258 * 4
    row = session.agent.episodes.observation_space
    assert memory.step_buffer > 30 * 4 * row.shape[0] * row.dtype.itemsize
    more = replace(session.config, eval=replace(session.config.eval, samples=4))
    assert estimate_agent(session_of(more)).memory.kv_cache == 2 * memory.kv_cache


def test_groups_without_a_signal_are_updated_in_the_measurement():
    config = config_of("sb3-grpo", GROUPS | {"weights": "random"})
    session = session_of(config)
    prepare(session)
    assert iterate_agent(session).metrics["update/num_updates"] == 0
    found = estimate_agent(session_of(config))
    assert found.signal_fraction == 0.0
    assert found.memory.activations > found.memory.weights


def test_without_problems_to_evaluate_on_nothing_is_evaluated(tmp_path):
    place = tmp_path / "own.jsonl"
    place.write_text('{"question": "1+1", "answer": "2"}\n' * 1)
    env = EnvConfig(problems=str(place), max_tokens=24)
    found = estimate_agent(session_of(config_of("sb3-ppo", STEPS, env=env)))
    assert (found.evaluation_s, found.num_evaluations) == (0.0, 0)


def test_an_estimate_records_no_episode(tmp_path):
    file = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(gym.make("MathReason-v0", levels=(1, 1), max_tokens=24, size=6), file)
    config = config_of("sb3-grpo", GROUPS, env=EnvConfig(stack=stack_to_json(env)))
    session = session_of(config)
    estimate_agent(session)
    assert file.read_bytes() == b""
    iterate_agent(session)
    assert file.read_bytes()
