"""Every registered method trains an adapter, and leaves the base weights as they are."""

from dataclasses import replace

import pytest
import torch

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import method_config, method_names
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig


@pytest.mark.parametrize("name", [*method_names(), "srpo+lte"])
def test_one_iteration_changes_the_adapter_alone(name):
    method = method_config(name)
    if name == "pope":
        method = replace(method, group_size=4, hard_samples=2, probe_samples=2, grid=0.5)
    if name == "failure-prefix":
        method = replace(method, saturated_pass_rate=0.25)
    if name in ("vineppo", "spo"):
        method = replace(method, group_size=4, value_samples=2)
    if name == "spo-tree":
        method = replace(method, branch_factors=(3, 2))
    if name in ("treerl", "int", "vppo"):
        method = replace(method, group_size=4)
    config = TrainConfig(
        method=method,
        env=EnvConfig(levels=(2, 4), max_tokens=64, size=6),
        eval=EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
        learner=LearnerConfig(learning_rate=2e-3),
        problems_per_iteration=2,
        lora=LoraConfig(rank=4, alpha=8),
    )
    session = build_session(config)
    before = {name: value.clone() for name, value in session.policy.model.state_dict().items()}
    prepare(session)
    for _ in range(3):
        found = iterate(session)
        if found.metrics["update/num_updates_total"]:
            break
    assert found.metrics["update/num_updates_total"] > 0
    after = session.policy.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    # Where B is 0, A has no gradient in the first update, and Adam leaves it.
    assert changed
    assert all(".lora_" in name for name in changed)
    assert sum(".lora_B." in name for name in changed) == 28
    base = LanguageModelPolicy.load("base").model.state_dict()
    for name, value in base.items():
        owner, _, kind = name.rpartition(".")
        own = after.get(f"{owner}.base_layer.{kind}", after.get(name))
        assert torch.equal(own, value), name
