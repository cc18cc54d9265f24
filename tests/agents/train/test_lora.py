"""Runs that train an adapter: what changes, what is written, and how they resume."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from reason_env.agents.engines import adapter_tensors, lora_layers
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig, LossConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.runs import (
    CheckpointConfig,
    config_json,
    model_directory,
)
from reason_env.agents.train import TrainConfig, build_session, estimate, read_record
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ModelError
from tests.agents.train.test_loop import KilledError, kill_at, resumed, run_to_end, weights

LORA = LoraConfig(rank=4, alpha=8)


def small(**changes):
    """Build the config of a run of seconds that trains an adapter on the base model."""
    arguments = {
        "method": GRPOConfig(group_size=6),
        "env": EnvConfig(levels=(2, 3), max_tokens=48),
        "eval": EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1, keep_last=10),
        "learner": LearnerConfig(updates_per_iteration=2),
        "iterations": 3,
        "problems_per_iteration": 2,
        "episodes_per_iteration": 2,
        "lora": LORA,
    }
    return TrainConfig(**(arguments | changes))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The session, rows and directory of an uninterrupted run of three iterations."""
    path = tmp_path_factory.mktemp("lora") / "whole"
    return *run_to_end(small(), path), path


def test_only_the_adapter_is_trained_at_ten_times_the_rate(finished):
    session, rows, _ = finished
    assert session.config.learner.learning_rate == pytest.approx(2e-3)
    assert rows[-1]["update/num_updates_total"] > 0
    base = LanguageModelPolicy.load("base").model.state_dict()
    after = weights(session)
    changed = {name for name in after if ".lora_B." in name and after[name].any()}
    assert len(changed) == 28
    plain = {name.replace(".base_layer.", "."): value for name, value in after.items()}
    assert equal({name: plain[name] for name in base}, base)
    moments = session.learner.state_dict()["optimizer"]["state"]
    assert sum(state["exp_avg"].numel() for state in moments.values()) == sum(
        value.numel() for value in adapter_tensors(session.policy.model).values()
    )


@pytest.mark.parametrize("lora", [LORA, replace(LORA, dropout=0.3, use_rslora=True)])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, lora):
    config = small(lora=lora, iterations=2)
    whole, rows = run_to_end(config, tmp_path / "whole")
    assert rows[1]["update/num_updates"] == 2
    with pytest.raises(KilledError):
        run_to_end(config, tmp_path / "killed", on_row=kill_at(2))
    again, _ = resumed(tmp_path / "killed")
    assert equal(weights(whole), weights(again))
    for name in (
        "metrics.jsonl",
        "config.json",
        "episodes/iteration_000002.jsonl",
        "model/model.safetensors",
        "checkpoints/iteration_000002/state.safetensors",
    ):
        written = [(tmp_path / place / name).read_bytes() for place in ("whole", "killed")]
        assert written[0] == written[1], name


def test_a_checkpoint_holds_the_adapter_alone(finished):
    _, _, path = finished
    model = path / "checkpoints" / "iteration_000003" / "model"
    assert sorted(item.name for item in model.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "base_model.json",
        "reason_env.json",
    ]
    base = LanguageModelPolicy.load("base").model
    size = sum(value.numel() for value in base.parameters())
    tensors = load_file(model / "adapter_model.safetensors").values()
    assert sum(value.numel() for value in tensors) < 0.1 * size
    state = load_file(model.parent / "state.safetensors").values()
    # Two moments of each weight of the adapter, and a counter each.
    assert sum(value.numel() for value in state) < 0.2 * size
    assert json.loads((model / "base_model.json").read_text())["name"] == "base"


def test_the_finished_run_has_a_merged_model_for_any_loader(finished):
    session, _, path = finished
    assert model_directory(str(path)) == str(path / "model")
    merged = AutoModelForCausalLM.from_pretrained(path / "model").eval()
    assert lora_layers(merged) == {}
    ids = torch.tensor([[72, 101, 108, 3, 5]])
    with torch.no_grad():
        found, own = (model(input_ids=ids).logits for model in (merged, session.policy.model))
    torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-5)
    # The checkpoint is the same model.
    checkpoint = path / "checkpoints" / "iteration_000003"
    loaded = LanguageModelPolicy.load(model_directory(str(checkpoint)))
    assert equal(loaded.model.state_dict(), merged.state_dict())


def test_the_record_names_precision_and_adapter(finished):
    _, _, path = finished
    for place in (path / "model", path / "checkpoints" / "iteration_000003" / "model"):
        record = read_record(place)
        assert (record.lora, record.precision, record.iteration) == (LORA, "float32", 3)
        assert record.base_model == "base"
    # Of a run without LoRA, and from before the fields existed.
    text = json.loads((path / "model" / "reason_env.json").read_text())
    del text["lora"], text["precision"]
    older = path.parent / "older"
    older.mkdir()
    (older / "reason_env.json").write_text(json.dumps(text))
    record = read_record(older)
    assert (record.lora, record.precision) == (LoraConfig(), "float32")


def test_the_export_can_be_the_adapter(tmp_path):
    config = small(lora=replace(LORA, export="adapter"), iterations=1)
    session, _ = run_to_end(config, tmp_path / "run")
    model = tmp_path / "run" / "model"
    assert (model / "adapter_config.json").is_file()
    assert not (model / "config.json").exists()
    assert read_record(model).lora.export == "adapter"
    loaded = LanguageModelPolicy.load(model_directory(str(tmp_path / "run"))).model
    ids = torch.tensor([[72, 101, 108, 3, 5]])
    with torch.no_grad():
        found, own = (one(input_ids=ids).logits for one in (loaded, session.policy.model))
    torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-5)


def test_a_run_that_goes_on_has_no_finished_model_until_it_ends_again(finished, tmp_path):
    session, _, path = finished
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    (copy / "config.json").write_text(config_json.dump(replace(session.config, iterations=4)))
    with pytest.raises(KilledError):
        resumed(copy, on_row=kill_at(4))
    assert not (copy / "model").exists()
    assert model_directory(str(copy)).endswith("checkpoints/iteration_000003/model")
    resumed(copy)
    assert read_record(copy / "model").iteration == 4
    # With a constant rate, as a run that was planned for four.
    run_to_end(small(iterations=4), tmp_path / "four")
    for name in ("model.safetensors", "reason_env.json"):
        found = (copy / "model" / name).read_bytes()
        assert found == (tmp_path / "four" / "model" / name).read_bytes()


def test_a_run_on_a_base_model_that_changed_is_not_resumed(tmp_path):
    base = tmp_path / "base"
    LanguageModelPolicy.load("base").save(base)
    with pytest.raises(KilledError):
        run_to_end(small(model=str(base), iterations=2), tmp_path / "run", on_row=kill_at(2))
    path = base / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(bytes(data))
    line = (
        r"the base model must be the one that the adapter was trained on, got '.*base' with "
        r"weights of SHA-256"
    )
    with pytest.raises(ModelError, match=line):
        resumed(tmp_path / "run")


def test_the_kl_reference_is_the_policy_without_adapter(tmp_path):
    method = GRPOConfig(group_size=4, loss=LossConfig(kl_coefficient=0.1))
    config = small(method=method, iterations=2, learner=LearnerConfig())
    session, rows = run_to_end(config, tmp_path / "run")
    assert session.learner.ref_policy.model is session.policy.model
    # The first update begins at the reference.
    assert abs(rows[1]["update/kl_policy_ref"]) < 1e-9 < 1e-7 < rows[2]["update/kl_policy_ref"]
    memory = estimate(build_session(config), seconds=0.1).memory
    number = sum(value.numel() for value in adapter_tensors(session.policy.model).values())
    assert memory.reference == 0
    assert (memory.gradients, memory.optimizer) == (4 * number, 8 * number)
    whole = estimate(build_session(replace(config, lora=LoraConfig())), seconds=0.1).memory
    assert whole.reference == whole.weights == memory.weights - 4 * number
    assert whole.gradients == whole.weights


def test_a_run_in_mixed_precision_samples_with_the_adapter_as_it_trains(tmp_path):
    session, rows = run_to_end(small(precision="bf16-mixed", iterations=2), tmp_path / "run")
    assert session.policy.engine.path == "fused"
    assert rows[1]["rollout/mismatch_mean"] < 2e-3
    assert rows[2]["rollout/mismatch_mean"] < 2e-3
    assert {value.dtype for value in weights(session).values()} == {torch.float32}
    assert read_record(tmp_path / "run" / "model").precision == "bf16-mixed"


def test_dropout_with_gradient_checkpointing_is_refused():
    learner = LearnerConfig(gradient_checkpointing=True)
    with pytest.raises(ConfigError, match=r"lora\.dropout must be 0 with gradient_checkpointing"):
        small(lora=replace(LORA, dropout=0.1), learner=learner)
    small(learner=learner)
