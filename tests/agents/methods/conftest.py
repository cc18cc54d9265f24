"""A run that is resumed, to test the state of methods; a policy whose likelihoods are known."""

import math

import pytest
import torch

from reason_env.agents.runs import RunDir, latest_checkpoint
from reason_env.agents.train import build_session, train
from reason_env.codec import ByteCodec

CODEC = ByteCodec()


class StopError(Exception):
    pass


def stop_at_two(row):
    if row["iteration"] == 2:
        raise StopError


@pytest.fixture
def cut_and_resumed(tmp_path):
    """Returns (config, check) -> the whole run, the resumed one and the rows, once both are equal.

    `check` gets both sessions before the resumed one trains.
    """

    def run(config, check=lambda whole, again: None):
        whole = build_session(config)
        with RunDir.create(tmp_path / "whole", config, command=["test"]) as run_dir:
            rows = train(whole, run_dir)
        with (
            RunDir.create(tmp_path / "cut", config, command=["test"]) as run_dir,
            pytest.raises(StopError),
        ):
            train(build_session(config), run_dir, on_row=stop_at_two)
        with RunDir.open(tmp_path / "cut") as run_dir:
            again = build_session(config, checkpoint=latest_checkpoint(run_dir))
            assert again.iteration == 1
            run_dir.resume(again.iteration)
            check(whole, again)
            train(again, run_dir)
        before, after = (item.policy.model.state_dict() for item in (whole, again))
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        written = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut")]
        assert written[0] == written[1]
        return whole, again, rows

    return run


class UniformPolicy:
    """Every one of 258 ids has the same probability; one parameter, so that it can be trained."""

    codec, device = CODEC, torch.device("cpu")
    is_prefix_shared = False

    def __init__(self):
        self.model = torch.nn.Linear(1, 1).double()

    def token_log_probs(
        self,
        token_ids_BT,
        attention_mask_BT,
        *,
        action_mask_BT=None,
        temperature=1.0,
        with_entropy=False,
        checkpointing=False,
    ):
        shift = 0.0 * self.model.weight.sum()
        log_probs = torch.full(token_ids_BT.shape, -math.log(258), dtype=torch.float64) + shift
        return log_probs, torch.zeros_like(log_probs) if with_entropy else None

    def mark_updated(self):
        pass


@pytest.fixture
def uniform_policy():
    """The class of a policy under which each of 258 ids has the same probability."""
    return UniformPolicy
