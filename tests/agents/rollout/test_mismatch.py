import math
import sys
from dataclasses import replace

import pytest
import torch

from reason_env.agents.engines import EngineConfig, MismatchConfig, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.rollout import (
    is_trained_as_sampled,
    mismatch_metrics,
    trainer_scores,
    training_sample,
)
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


def compared(policy, trajectories, sampling=SAMPLING, **numbers):
    config = MismatchConfig(**numbers)
    scores = trainer_scores(policy, trajectories, sampling, config)
    return mismatch_metrics(trajectories, scores, config)


def measured(session, trajectories, **numbers):
    return compared(session.policy, trajectories, **numbers)


def test_the_torch_engine_agrees_with_the_trainer_at_its_temperature_and_top_k(session, batch):
    found = measured(session, batch)
    assert found["rollout/mismatch_max"] < 1e-4
    assert found["rollout/mismatch_effective_sample_fraction"] == pytest.approx(1)
    assert found["rollout/mismatch_alarm"] == 0
    at_one = compared(session.policy, batch, SamplingConfig())
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
    compared(Listening(), batch, sequences=2)
    assert asked == [item.prompt_ids for item in batch[:2]]
    asked.clear()
    compared(Listening(), batch, sequences=8)
    assert asked == [item.prompt_ids for item in (*batch[:4], *batch[8:])]
    asked.clear()
    compared(Listening(), batch, sequences=12)
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
    found = compared(Listening(), mixed, sequences=100)
    assert calls == [(0.8, 6), (0.5, 3), (1.5, 3)]
    pairs = []
    for item in mixed:
        used = replace(SAMPLING, temperature=item.start.temperature or SAMPLING.temperature)
        tokens = item.completion_ids[: len(item.behavior_log_probs)]
        (alone,) = session.policy.score([item.prompt_ids], [tokens], used)
        pairs += zip(alone, item.behavior_log_probs, strict=True)
    expected = mismatch_of([a for a, _ in pairs], [b for _, b in pairs])
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_episodes_that_the_learner_scores_count_and_only_missing_ones_are_scored_again(
    session, batch
):
    config = MismatchConfig(sequences=3)
    asked = []

    class Listening:
        def score(self, contexts, completions, sampling):
            asked.extend(contexts)
            return [(0.0,) * len(tokens) for tokens in completions]

    found = trainer_scores(Listening(), batch, SAMPLING, config, learned=(0, 5))
    # One is missing: the first that the learner does not score.
    assert list(found) == [1]
    assert asked == [batch[1].prompt_ids]
    assert trainer_scores(Listening(), batch, SAMPLING, config, learned=(0, 5, 7)) == {}
    assert len(asked) == 1
    apart = [
        replace(item, behavior_log_probs=(-gap,) * len(item.behavior_log_probs))
        for item, gap in zip(batch, range(12), strict=True)
    ]
    scores = {number: (0.0,) * len(apart[number].behavior_log_probs) for number in (2, 5)}
    sizes = [len(apart[number].behavior_log_probs) for number in (2, 5)]
    metrics = mismatch_metrics(apart, scores, MismatchConfig(limit=100.0))
    assert metrics["rollout/mismatch_max"] == 5
    assert metrics["rollout/mismatch_mean"] == pytest.approx(
        (2 * sizes[0] + 5 * sizes[1]) / sum(sizes)
    )


def test_a_sample_counts_only_if_it_trains_the_sampled_tokens_under_their_own_distribution(batch):
    item, plain = batch[0], SamplingConfig(temperature=0.8)
    sample = training_sample(item, 1.0)
    assert is_trained_as_sampled(item, sample, plain)
    assert is_trained_as_sampled(
        replace(item, start=replace(item.start, temperature=0.8)), sample, plain
    )
    other = [
        (item, sample, SAMPLING),
        (item, sample, replace(plain, top_p=0.9)),
        (item, sample, SamplingConfig(temperature=0.0)),
        (replace(item, start=replace(item.start, temperature=0.5)), sample, plain),
        (item, replace(sample, context_ids=(*item.prompt_ids, 5)), plain),
        (replace(item, behavior_log_probs=item.behavior_log_probs[:-1]), sample, plain),
    ]
    for case in other:
        assert not is_trained_as_sampled(*case)
    size = len(sample.token_ids)
    longer = replace(
        sample,
        token_ids=(*sample.token_ids, 7),
        action_mask=(*sample.action_mask, False),
        behavior_log_probs=(*sample.behavior_log_probs, 0.0),
    )
    assert len(longer.token_ids) == size + 1
    assert not is_trained_as_sampled(item, longer, plain)


class Counting:
    """A policy that counts how many episodes it scores for the comparison."""

    def __init__(self, policy):
        self.policy, self.scored = policy, 0

    def __call__(self, contexts, completions, sampling):
        self.scored += len(contexts)
        return type(self.policy).score(self.policy, contexts, completions, sampling)


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(temperature=0.9)])
def test_an_iteration_compares_all_episodes_that_it_learns_from(monkeypatch, loss):
    given = replace(
        config(sequences=4),
        sampling=SamplingConfig(temperature=0.8),
        method=GRPOConfig(group_size=3, loss=loss),
    )
    run = build_session(given)
    counting = Counting(run.policy)
    monkeypatch.setattr(run.policy, "score", counting)
    trained = GRPO.training_samples

    def signalled(self, groups, rng):
        samples = trained(self, groups, rng)
        return [
            replace(sample, advantage=(0.5, -0.5, 0.0)[number % 3])
            for number, sample in enumerate(samples)
        ]

    monkeypatch.setattr(GRPO, "training_samples", signalled)
    seen = []
    monkeypatch.setattr(
        sys.modules[iterate.__module__],
        "mismatch_metrics",
        lambda trajectories, scores, config: (
            seen.append(scores) or mismatch_metrics(trajectories, scores, config)
        ),
    )
    found = iterate(run)
    # Of each group of three, two have a gradient; with another temperature none is comparable.
    learned = [0, 1, 3, 4, 6, 7, 9, 10] if loss.temperature is None else []
    assert counting.scored == (0 if learned else 4)
    assert sorted(seen[0]) == (learned or [0, 1, 2, 3])
    assert 0 < found.metrics["rollout/mismatch_max"] < 1e-4
    for number, scores in seen[0].items():
        known = found.batch.trajectories[number].behavior_log_probs
        assert scores == pytest.approx(known, abs=1e-4)


def test_an_iteration_reports_the_mismatch_and_the_restarts(session):
    metrics = iterate(session).metrics
    assert metrics["rollout/mismatch_max"] < 1e-4
    assert metrics["rollout/engine_restarts"] == 0
