import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reason_env.agents.runs.scalars import ScalarFile


def read(folder, name):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(item.step, round(item.value, 6)) for item in events.Scalars(name)]


def test_tensorboard_reads_what_is_written_and_none_is_left_out(tmp_path):
    file = ScalarFile(tmp_path / "tensorboard", purge_step=None)
    file.write(0, {"eval/pass_at_1": 0.25, "rollout/pass_rate": None})
    file.write(3, {"eval/pass_at_1": 0.5, "rollout/pass_rate": 1})
    assert read(tmp_path / "tensorboard", "eval/pass_at_1") == [(0, 0.25), (3, 0.5)]
    assert read(tmp_path / "tensorboard", "rollout/pass_rate") == [(3, 1.0)]


@pytest.mark.parametrize("clock", [[100.0, 100.0], [5e9, 100.0]])
def test_a_resumed_run_replaces_what_the_killed_one_wrote_whatever_the_clock_says(
    tmp_path, monkeypatch, clock
):
    moments = iter(clock)
    now = next(moments)
    monkeypatch.setattr(time, "time", lambda: now)
    first = ScalarFile(tmp_path / "tensorboard", purge_step=None)
    for iteration in (1, 2, 3):
        first.write(iteration, {"rollout/pass_rate": iteration / 10})
    now = next(moments)
    again = ScalarFile(tmp_path / "tensorboard", purge_step=2)
    again.write(2, {"rollout/pass_rate": 0.75})
    assert read(tmp_path / "tensorboard", "rollout/pass_rate") == [(1, 0.1), (2, 0.75)]
