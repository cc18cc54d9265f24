"""The estimate of a run's cost: equal to what the run then does, and without a trace."""

from dataclasses import replace

import pytest
import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig, method_config
from reason_env.agents.train import TrainConfig, build_session, estimate, iterate, prepare
from reason_env.agents.train.estimate import _kept_tensors
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

CONFIG = TrainConfig(
    method=GRPOConfig(group_size=4),
    env=EnvConfig(levels=(3, 3), max_tokens=48, size=10),
    eval=EvalConfig(num_problems=5, samples=3, k=2, every=2),
    learner=LearnerConfig(epochs=2, updates_per_iteration=3),
    iterations=7,
    problems_per_iteration=3,
)


def weights(session):
    return {name: value.clone() for name, value in session.policy.model.state_dict().items()}


def test_a_run_after_its_estimate_is_the_same_to_the_bit():
    plain, measured = build_session(CONFIG), build_session(CONFIG)
    estimate(measured, seconds=60.0)
    assert (measured.iteration, measured.num_drawn, measured.sampled_tokens_total) == (0, 0, 0)
    assert measured.policy.policy_version == measured.learner.num_updates == 0
    first, second = iterate(plain).metrics, iterate(measured).metrics
    kept = [{k: v for k, v in own.items() if not k.startswith("time/")} for own in (first, second)]
    assert kept[0] == kept[1]
    for name, value in weights(plain).items():
        assert torch.equal(value, weights(measured)[name]), name


def test_the_estimate_of_a_whole_iteration_is_what_it_then_generates_and_trains():
    session = build_session(CONFIG)
    found = estimate(session, seconds=600.0)
    assert (found.num_measured, found.num_problems) == (3, 3)
    real = iterate(session)
    assert found.generated_tokens == real.metrics["rollout/sampled_tokens"]
    assert found.trained_tokens == sum(
        sum(sample.action_mask)
        for sample in session.method.training_samples(real.batch.groups, session.rng("merging"))
    )
    assert found.prompts == 3
    assert found.updates_per_iteration == 6
    assert found.iterations == 7
    # Before, after iterations 2, 4 and 6, and after the last.
    assert found.num_evaluations == 5
    assert found.run_tokens == 7 * found.generated_tokens
    assert found.run_s == pytest.approx(
        found.preparation_s + 7 * (found.sampling_s + found.update_s) + 5 * found.evaluation_s
    )


def test_a_part_is_scaled_to_the_whole_iteration():
    found = estimate(build_session(replace(CONFIG, problems_per_iteration=6)), seconds=1e-9)
    assert (found.num_measured, found.num_problems, found.prompts) == (1, 6, 6)
    assert found.generated_tokens % 6 == 0


def test_memory_counts_weights_gradients_moments_and_the_cache():
    session = build_session(CONFIG)
    memory = estimate(session, seconds=1e-9).memory
    count = sum(value.numel() for value in session.policy.model.parameters())
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * count, 4 * count, 8 * count)
    assert (memory.reference, memory.device_peak) == (0, None)
    config = session.policy.model.config
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    # 4 responses of 3 problems, each of the longest prompt (its text, in bytes) and 48 tokens.
    longest = max(len(p.question) for p in session.env.unwrapped.problems) + len("\n>")
    assert memory.kv_cache == 12 * (longest + 48) * per_token
    assert memory.activations > memory.weights
    assert memory.process_peak > memory.activations


def test_the_budget_of_tokens_decides_the_iterations():
    plain = estimate(build_session(CONFIG), seconds=600.0)
    budget = int(2.5 * plain.generated_tokens)
    found = estimate(build_session(replace(CONFIG, max_generated_tokens=budget)), seconds=600.0)
    assert found.generated_tokens == plain.generated_tokens
    # A run ends with the iteration that reaches the budget.
    assert (found.iterations, found.num_evaluations) == (3, 3)
    with pytest.raises(ConfigError, match="max_generated_tokens must hold an iteration and what"):
        estimate(build_session(replace(CONFIG, max_generated_tokens=11)))


def test_a_conservative_update_s_test_is_counted():
    cpi = CPIConfig(num_restarts=2, samples=2, realised_problems=0)
    config = replace(CONFIG, cpi=cpi, problems_per_iteration=2)
    found = estimate(build_session(config), seconds=600.0)
    plain = estimate(build_session(replace(config, cpi=None)), seconds=600.0)
    assert found.generated_tokens > plain.generated_tokens
    assert found.trained_tokens == plain.trained_tokens


def test_a_conservative_update_is_measured_on_problems_that_pope_has_measured():
    pope = replace(method_config("pope"), group_size=4, hard_samples=1, search="first_draw")
    cpi = CPIConfig(num_restarts=2, samples=1, realised_problems=0)
    env = EnvConfig(levels=(6, 8), max_tokens=96, size=40)
    config = replace(CONFIG, method=pope, cpi=cpi, env=env, problems_per_iteration=2)
    session = build_session(config)
    found = estimate(session, seconds=600.0)
    assert session.method.state_dict() == {"prefixes": {}, "search": None}
    assert session.num_drawn == 0
    # The search of the problems that are drawn is part of the iteration.
    plain = build_session(replace(config, cpi=None))
    alone = estimate(plain, seconds=600.0).generated_tokens
    assert alone < found.generated_tokens
    prepare(plain)
    row = iterate(plain).metrics
    assert row["rollout/preparation_tokens"] > 0
    assert alone == row["rollout/sampled_tokens_total"]


def test_a_preparation_is_measured_on_a_few_problems_and_scaled():
    method = replace(method_config("exp-dpo"), sampled="offline")
    config = replace(CONFIG, method=method, env=replace(CONFIG.env, size=32))
    session = build_session(config)
    found = estimate(session, seconds=1e-9)
    assert found.prepared_tokens > 0
    assert found.prepared_tokens % 4 == 0
    assert not session.is_prepared
    assert len(session.problem_ids) == 32


def test_kept_tensors_count_a_storage_once_and_end_with_the_graph():
    weight = torch.ones(10, requires_grad=True)
    with _kept_tensors([weight]) as kept:
        # exp keeps its output, 40 bytes; the product keeps exp's output and the other 40 bytes.
        loss = (weight.exp() * torch.full((10,), 2.0)).sum()
    assert kept.peak == kept.total == 80
    loss.backward()
    assert (kept.total, kept.peak) == (0, 80)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, 2 * torch.ones(10).exp())
