"""The conservative update of an adapter: mixtures of adapters, and adapters put back."""

import numpy as np
import pytest
import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.cpi.config import DistillConfig
from reason_env.agents.cpi.measure import AdvantageEstimate, AdvantageEstimator
from reason_env.agents.cpi.mixture import Distiller, copy_weights, using_weights
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import method_config
from reason_env.agents.policy import LoraConfig
from reason_env.agents.statistics import Interval
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig

QUICK = {"num_restarts": 2, "samples": 1, "realised_problems": 2, "realised_samples": 1}


def session_of(cpi, method="grpo"):
    session = build_session(
        TrainConfig(
            method=method_config(method),
            env=EnvConfig(levels=(2, 3), max_tokens=64),
            eval=EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
            learner=LearnerConfig(learning_rate=3e-3, updates_per_iteration=2),
            problems_per_iteration=3,
            lora=LoraConfig(rank=4, alpha=8),
            cpi=CPIConfig(**(QUICK | cpi)),
        )
    )
    prepare(session)
    return session


def state(session):
    return {name: value.clone() for name, value in session.policy.model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def measured(monkeypatch, low):
    found = AdvantageEstimate(
        interval=Interval(low + 0.1, low, low + 0.2),
        num_restarts=3,
        restart_weight=0.0,
        num_tokens=7,
    )
    monkeypatch.setattr(AdvantageEstimator, "advantage", lambda self, old, new, **options: found)


def optimizer_state(session):
    states = session.learner.state_dict()["optimizer"]["state"]
    return {f"{n} {key}": value.clone() for n, own in states.items() for key, value in own.items()}


def test_a_rejected_update_puts_the_adapter_and_its_optimizer_back(monkeypatch):
    session = session_of({"accept": "always", "step_size": 1.0})
    iterate(session)
    before, moments = state(session), optimizer_state(session)
    assert any(value.any() for name, value in before.items() if ".lora_B." in name)
    monkeypatch.undo()
    session.conservative.config = CPIConfig(**QUICK)
    measured(monkeypatch, -0.3)
    found = iterate(session)
    assert found.metrics["cpi/accepted"] == 0
    assert found.metrics["update/num_updates"] == 2
    assert equal(state(session), before)
    assert equal(optimizer_state(session), moments)


@pytest.mark.parametrize(("mixture", "method"), [("interpolate", "grpo"), ("distill", "rrpo")])
def test_an_accepted_update_mixes_two_adapters_on_one_base(monkeypatch, mixture, method):
    measured(monkeypatch, 0.2)
    distill = DistillConfig(updates=3, rows=4)
    session = session_of({"step_size": 0.25, "mixture": mixture, "distill": distill}, method)
    before = state(session)
    iterate(session)
    after = state(session)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".lora_" in name for name in changed)


def test_a_mixture_holds_adapters_alone_and_is_exact_at_both_ends():
    session = session_of({"accept": "always", "step_size": 1.0})
    policy = session.policy
    old = copy_weights(policy.model)
    found = iterate(session)
    new = copy_weights(policy.model)
    assert all(".lora_" in name for name in old)
    assert len(old) == 56
    ids = torch.tensor([[72, 101, 108, 3, 5]])
    with torch.no_grad():
        trained = policy.token_log_probs(ids, torch.ones_like(ids))[0]
        with using_weights(policy.model, old):
            base = policy.token_log_probs(ids, torch.ones_like(ids))[0]
            reference = policy.without_adapter().token_log_probs(ids, torch.ones_like(ids))[0]
        assert torch.equal(base, reference)
        assert not torch.equal(base, trained)
        assert torch.equal(policy.token_log_probs(ids, torch.ones_like(ids))[0], trained)
    samples = session.method.training_samples(found.batch.groups, np.random.default_rng(0))
    distiller = Distiller(policy, samples, old=old, new=new, step_size=0.5, level="response")
    own = distiller.kl(distiller.held_out)
    with using_weights(policy.model, old):
        other = distiller.kl(distiller.held_out)
    # Each of two policies is at a distance from their mixture.
    assert own > 0
    assert other > 0
