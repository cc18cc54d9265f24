import pytest
import torch
from torch import nn

from reason_env.agents.bench import bench
from reason_env.agents.bench.limit import linear_shapes, product_rate, token_flop
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.train import TrainConfig, build_session
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
