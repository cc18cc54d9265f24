import sys

import pytest
import torch
from torch import nn

from reason_env.agents.bench import bench
from reason_env.agents.bench.limit import linear_shapes, product_rate, token_flop
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.env import EnvConfig


@pytest.fixture(scope="module")
def session():
    env = EnvConfig(problems="precedence", levels=(1, 2), max_tokens=8)
    return build_session(
        TrainConfig(method=GRPOConfig(group_size=3), env=env, problems_per_iteration=2)
    )


def test_a_bench_leaves_the_session_as_it_was(session):
    before = {name: value.clone() for name, value in session.policy.model.state_dict().items()}
    state = session.learner.state_dict()["num_updates"], session.policy.policy_version
    turns = []
    report = bench(session, seconds=0.01, on_turn=turns.append)
    assert turns == [0, 1, 2, 3]
    assert report.num_turns == 3
    after = session.policy.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (session.learner.state_dict()["num_updates"], session.policy.policy_version) == state
    assert (session.iteration, session.num_drawn, session.sampled_tokens_total) == (0, 0, 0)
    assert session.learner.optimizer.state_dict()["state"] == {}


def test_figures_are_consistent(session):
    report = bench(session, seconds=0.01)
    assert report.num_rows == 6
    assert report.max_tokens == 8
    assert report.num_parameters == 820_864
    assert report.speed("limit/sampling").unit == "GFLOP/s"
    # A token is 2 FLOP for each weight of a linear layer, the tied head included.
    flop = token_flop(linear_shapes(session.policy.model))
    assert flop == pytest.approx(2 * 820_864, rel=0.01)
    sampling = report.speed("sampling")
    limit = report.speed("limit/sampling")
    assert sampling.low * flop <= sampling.share * limit.high * 1e9 * 1.001
    assert sampling.share * limit.low * 1e9 <= sampling.high * flop * 1.001
    assert 0 < sampling.share < 1
    assert 0 < report.speed("learning").share < 1
    assert 0 < report.speed("iteration/rest").median < 100


def test_every_response_of_the_measured_iteration_is_learned_from(session, monkeypatch):
    seen = []

    def listening(own, *, adjust):
        found = iterate(own, adjust=adjust)
        seen.append(found.metrics)
        return found

    monkeypatch.setattr(sys.modules[bench.__module__], "iterate", listening)
    bench(session, seconds=0.01)
    # The first one only warms up, with one problem.
    assert [row["rollout/num_trajectories"] for row in seen] == [3, 6, 6, 6]
    assert {row["update/active_rows_fraction"] for row in seen} == {1.0}


def test_a_long_product_is_timed_once_and_a_short_one_three_times(monkeypatch):
    shapes = linear_shapes(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5)))
    calls = []
    seconds = iter((0.6, 0.2, 0.1, 0.3))

    def timed(run, device):
        calls.append(run)
        return next(seconds)

    monkeypatch.setattr("reason_env.agents.bench.limit.seconds_of", timed)
    rate = product_rate(shapes, 7, dtype=torch.float32, device=torch.device("cpu"))
    # 12 weights took 0.6 s, 15 at best 0.1 s.
    assert rate == pytest.approx(7 * 2 * (12 + 15) / 0.7)
    assert len(calls) == 4


def test_the_products_of_training_are_three_times_those_of_sampling(monkeypatch):
    shapes = linear_shapes(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 5)))
    assert token_flop(shapes) == 2 * (2 * 12 + 15)
    monkeypatch.setattr("reason_env.agents.bench.limit.seconds_of", lambda run, device: 0.5)
    rates = [
        product_rate(
            shapes, 7, dtype=torch.float32, device=torch.device("cpu"), is_backward=is_backward
        )
        for is_backward in (False, True)
    ]
    # Each of the three layers takes half a second.
    assert rates == [7 * 78 / 1.5, 3 * 7 * 78 / 1.5]
