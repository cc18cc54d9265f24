"""`--devices N`: what is refused; tests/scale runs several processes."""

import pytest

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.methods import GRPOConfig, method_config
from reason_env.agents.policy import LoraConfig
from reason_env.agents.processes import Processes
from reason_env.agents.train import TrainConfig, session_of
from reason_env.cli import devices, train
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

TWO = Processes(0, 2)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_devices_must_be_a_number_of_processes(refused, text):
    line = refused("train", "grpo", "--problems", "chain", "--devices", text)
    assert "--devices must be a number of at least 1, and that of the processes" in line
    assert repr(text) in line


def test_devices_must_agree_with_torchrun():
    check = devices._check_number
    check(["--devices", "2"], TWO)
    check([], TWO)
    with pytest.raises(ConfigError, match="if torchrun starts them, got '3' and 2; leave it out"):
        check(["--devices", "3"], TWO)


def test_one_device_and_processes_of_torchrun_start_no_others(monkeypatch):
    started = []
    monkeypatch.setattr(devices, "launch", lambda *words: started.append(words))
    assert not devices.launches("train", ["grpo", "--devices", "1"])
    assert not devices.launches("train", ["grpo"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not devices.launches("train", ["grpo", "--devices", "2"])
    assert started == []


@pytest.mark.parametrize("status", [0, 2])
def test_two_devices_start_the_same_command_twice_and_its_status_is_theirs(monkeypatch, status):
    started = []

    def launch(*words):
        started.append(words)
        return status

    monkeypatch.setattr(devices, "launch", launch)
    words = ["grpo", "--devices=2", "--seed", "3"]
    if status:
        with pytest.raises(SystemExit) as stop:
            train.run(words)
        assert stop.value.code == status
    else:
        train.run(words)
    assert started == [(2, ["-m", "reason_env.cli", "train", *words])]


def small(**changes):
    env = EnvConfig(levels=(3, 4), size=4, max_tokens=64)
    return TrainConfig(**({"method": GRPOConfig(), "env": env} | changes))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (small(cpi=CPIConfig()), "devices must be 1 for cpi, got several processes; its test"),
        (
            small(lora=LoraConfig(rank=2, dropout=0.5)),
            "lora.dropout must be 0 with several devices, got 0.5; each process",
        ),
        (small(device="cuda:0"), "device must be cpu or cuda with several devices, got 'cuda:0'"),
        (small(method=method_config("sb3-ppo")), "devices must be 1 for sb3-ppo, got 2; it trains"),
    ],
)
def test_what_one_process_alone_can_train_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        session_of(config, processes=TWO)


def test_a_dry_run_measures_one_process():
    with pytest.raises(ConfigError, match="--devices must be 1 with --dry-run, got 2; what it"):
        train._run(["grpo", "--problems", "chain", "--dry-run"], TWO)
