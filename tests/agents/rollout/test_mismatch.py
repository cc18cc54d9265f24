import math
from dataclasses import replace

import pytest
import torch

from reason_env.agents.engines import EngineConfig, MismatchConfig, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.rollout import mismatch_metrics
from reason_env.agents.rollout.mismatch import mismatch_of
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.agents.train.collecting import collect_iteration
from reason_env.env import EnvConfig
from reason_env.errors import EngineError

SAMPLING = SamplingConfig(temperature=0.8, top_k=12)


def config(**mismatch):
    return TrainConfig(
        method=GRPOConfig(group_size=3),
        env=EnvConfig(size=8, levels=(4, 4), max_tokens=64),
        eval=EvalConfig(num_problems=1, samples=1, k=1),
        sampling=SAMPLING,
        problems_per_iteration=4,
        iterations=1,
        engine=EngineConfig(mismatch=MismatchConfig(**mismatch)),
    )


@pytest.fixture(scope="module")
def session():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield build_session(config())
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch(session):
    session.iteration = 1
    return collect_iteration(session).batch.trajectories


def shifted(trajectories, gap):
    return [
        replace(item, behavior_log_probs=tuple(x - gap for x in item.behavior_log_probs))
        for item in trajectories
    ]


def measured(session, trajectories, **numbers):
    return mismatch_metrics(session.policy, trajectories, SAMPLING, MismatchConfig(**numbers))


def test_the_torch_engine_agrees_with_the_trainer_at_its_temperature_and_top_k(session, batch):
    found = measured(session, batch)
    assert found["rollout/mismatch_max"] < 1e-4
    assert found["rollout/mismatch_effective_sample_fraction"] == pytest.approx(1)
    assert found["rollout/mismatch_alarm"] == 0
    at_one = mismatch_metrics(session.policy, batch, SamplingConfig(), MismatchConfig())
    assert at_one["rollout/mismatch_mean"] > 1e-3


def test_a_constant_shift_of_the_sampler_s_log_probs_is_measured(session, batch):
    found = measured(session, shifted(batch, 0.3), limit=0.4)
    assert found["rollout/mismatch_mean"] == pytest.approx(0.3, abs=1e-4)
    assert found["rollout/mismatch_kl_behavior_policy"] == pytest.approx(
        math.exp(0.3) - 1.3, abs=1e-4
    )
    assert found["rollout/mismatch_alarm"] == 0


def test_a_mismatch_above_the_limit_warns_or_stops_the_run(session, batch, caplog):
    found = measured(session, shifted(batch, 0.3), limit=0.2)
    assert found["rollout/mismatch_alarm"] == 1
    assert "sampler and trainer must agree within 0.2 nats a token, got 0.3" in caplog.text
    with pytest.raises(EngineError, match=r"agree within 0\.2 nats a token, got 0\.3"):
        measured(session, shifted(batch, 0.3), limit=0.2, alarm="stop")


def test_the_temperature_of_a_start_replaces_that_of_the_run(session, batch):
    other = [replace(item, start=replace(item.start, temperature=0.5)) for item in batch]
    assert measured(session, other)["rollout/mismatch_mean"] > 1e-3


def test_the_configured_number_of_episodes_is_scored_spread_over_the_groups(session, batch):
    asked = []

    class Listening:
        def score(self, contexts, completions, sampling):
            asked.extend(contexts)
            return session.policy.score(contexts, completions, sampling)

    assert len(batch) == 12
    mismatch_metrics(Listening(), batch, SAMPLING, MismatchConfig(sequences=2))
    assert asked == [item.prompt_ids for item in batch[:2]]
    asked.clear()
    mismatch_metrics(Listening(), batch, SAMPLING, MismatchConfig(sequences=8))
    assert asked == [item.prompt_ids for item in (*batch[:4], *batch[8:])]
    asked.clear()
    mismatch_metrics(Listening(), batch, SAMPLING, MismatchConfig(sequences=12))
    assert asked == [item.prompt_ids for item in batch]
    assert measured(session, batch, sequences=0) == {}
    assert measured(session, []) == {}


def test_trajectories_of_one_temperature_are_scored_in_one_call_with_equal_results(session, batch):
    calls = []

    class Listening:
        def score(self, contexts, completions, sampling):
            found = session.policy.score(contexts, completions, sampling)
            calls.append((sampling.temperature, len(contexts)))
            return found

    own = (None, 0.5, None, 1.5)
    mixed = [
        replace(item, start=replace(item.start, temperature=own[number % 4]))
        for number, item in enumerate(batch)
    ]
    found = mismatch_metrics(Listening(), mixed, SAMPLING, MismatchConfig(sequences=100))
    assert calls == [(0.8, 6), (0.5, 3), (1.5, 3)]
    pairs = []
    for item in mixed:
        used = replace(SAMPLING, temperature=item.start.temperature or SAMPLING.temperature)
        tokens = item.completion_ids[: len(item.behavior_log_probs)]
        (alone,) = session.policy.score([item.prompt_ids], [tokens], used)
        pairs += zip(alone, item.behavior_log_probs, strict=True)
    expected = mismatch_of([a for a, _ in pairs], [b for _, b in pairs])
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_an_iteration_reports_the_mismatch_and_the_restarts(session):
    metrics = iterate(session).metrics
    assert metrics["rollout/mismatch_max"] < 1e-4
    assert metrics["rollout/engine_restarts"] == 0
