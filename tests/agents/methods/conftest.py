"""A run that stops in its second iteration and is resumed, to test the state of methods."""

import pytest
import torch

from reason_env.agents.runs import RunDir, latest_checkpoint
from reason_env.agents.train import build_session, train


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
