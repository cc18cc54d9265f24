import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reason_env.agents.runs import RunDir, check_trackers, tracker_names, tracking
from reason_env.errors import ConfigError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 3


class Memory:
    """A tracker that keeps what it is given, and loses what it is told to lose."""

    stored: ClassVar[dict[str, list[tuple[int, dict[str, Any]]]]] = {}
    finished: ClassVar[list[str]] = []
    fails_at: ClassVar[set[Any]] = set()

    def __init__(self, run_id, path, config):
        if "begin" in self.fails_at:
            raise RuntimeError("no server")
        assert config == {"seed": config["seed"]}
        self.run_id = run_id
        self.rows = self.stored.setdefault(run_id, [])
        self.last = self.rows[-1][0] if self.rows else None

    def log(self, iteration, values):
        if iteration in self.fails_at:
            raise ConnectionError("gone")
        self.rows.append((iteration, dict(values)))

    def finish(self):
        self.finished.append(self.run_id)


class Rewritten(Memory):
    """A tracker that is written again from the beginning."""

    def __init__(self, run_id, path, config):
        super().__init__(run_id, path, config)
        self.rows.clear()
        self.last = None


@pytest.fixture(autouse=True)
def trackers(monkeypatch):
    monkeypatch.setattr(tracking, "OTHERS", {"trackio": Memory, "wandb": Rewritten})
    for name, value in (("stored", {}), ("finished", []), ("fails_at", set())):
        monkeypatch.setattr(Memory, name, value)


def started(path: Path, *names: str) -> RunDir:
    return RunDir.create(path, Config(), command=["train"], trackers=names or ("trackio",))


def work(run: RunDir, iterations: range) -> None:
    for iteration in iterations:
        run.write_metrics(iteration, {"rollout/pass_rate": iteration / 8, "eval/pass_at_1": None})


def steps(rows: list[tuple[int, dict[str, Any]]]) -> list[int]:
    return [iteration for iteration, _ in rows]


def test_a_tracker_gets_each_iteration_once_without_missing_numbers(tmp_path):
    with started(tmp_path / "run", "trackio", "wandb") as run:
        work(run, range(3))
        assert Memory.finished == []
    notes = json.loads((tmp_path / "run/tracking.json").read_text())
    ids = [notes[name] for name in ("trackio", "wandb")]
    assert Memory.finished == ids
    assert len(set(ids)) == 2
    for own in ids:
        assert Memory.stored[own] == [(n, {"rollout/pass_rate": n / 8}) for n in range(3)]


def test_a_resumed_run_goes_on_in_the_same_place_and_repeats_nothing(tmp_path):
    for name in ("trackio", "wandb"):
        path = tmp_path / name
        with started(path, name) as run:
            work(run, range(5))
        with RunDir.open(path) as again:
            # After the checkpoint of iteration 2, iterations 3 and 4 are repeated.
            again.resume(2, trackers=(name,), config=Config())
            work(again, range(3, 7))
        (rows,) = Memory.stored.values()
        assert steps(rows) == list(range(7))
        Memory.stored.clear()


def test_what_a_tracker_lost_in_a_kill_is_logged_again(tmp_path):
    path = tmp_path / "run"
    with started(path) as run:
        work(run, range(5))
    (rows,) = Memory.stored.values()
    del rows[2:]
    with RunDir.open(path) as again:
        again.resume(3, trackers=("trackio",))
        assert steps(rows) == [0, 1, 2, 3]
        work(again, range(4, 6))
    assert steps(rows) == [0, 1, 2, 3, 4, 5]


def test_a_run_that_goes_on_with_other_settings_begins_anew_where_numbers_would_differ(tmp_path):
    for end, number in ((3, 1), (5, 2)):
        path = tmp_path / str(end)
        with started(path) as run:
            work(run, range(end))
        with RunDir.open(path) as again:
            again.resume(2, trackers=("trackio",), config=Config(seed=4))
            work(again, range(3, 6))
        assert len(Memory.stored) == number
        assert steps(list(Memory.stored.values())[-1]) == list(range(6))
        Memory.stored.clear()


def test_a_tracker_that_fails_is_left_and_gets_what_it_lacks_when_the_run_ends(tmp_path, caplog):
    with started(tmp_path / "run") as run:
        work(run, range(2))
        Memory.fails_at.add(2)
        with caplog.at_level(logging.WARNING):
            work(run, range(2, 5))
        Memory.fails_at.clear()
        (rows,) = Memory.stored.values()
        assert steps(rows) == [0, 1]
    assert steps(rows) == [0, 1, 2, 3, 4]
    assert [row["iteration"] for row in run.read_metrics()] == [0, 1, 2, 3, 4]
    (warning,) = caplog.messages
    assert warning.startswith("tracker trackio failed: ConnectionError: gone; the run goes on")


def test_a_tracker_that_never_begins_loses_nothing_of_the_run(tmp_path, caplog):
    Memory.fails_at.add("begin")
    with started(tmp_path / "run") as run:
        work(run, range(3))
    assert len(caplog.messages) == 2
    assert [row["iteration"] for row in run.read_metrics()] == [0, 1, 2]
    Memory.fails_at.clear()
    with RunDir.open(run.path) as again:
        again.resume(2, trackers=("trackio",))
    (rows,) = Memory.stored.values()
    assert steps(rows) == [0, 1, 2]


def test_tensorboard_alone_is_the_default_and_none_writes_only_the_run_s_own_files(tmp_path):
    with RunDir.create(tmp_path / "default", Config(), command=[]) as run:
        work(run, range(1))
    with RunDir.create(tmp_path / "none", Config(), command=[], trackers=()) as run:
        work(run, range(1))
    names = [
        {item.name for item in (tmp_path / name).iterdir()} - {".lock"}
        for name in ("default", "none")
    ]
    own = {"config.json", "provenance.json", "metrics.jsonl", "timings.jsonl"}
    assert names == [own | {"tensorboard"}, own]
    assert Memory.stored == {}


def test_an_unknown_tracker_is_refused_by_name():
    with pytest.raises(UnknownNameError, match=r"no tracker 'wanbd' among .*mean 'wandb'"):
        tracker_names("tensorboard,wanbd")


def test_a_tracker_that_is_not_installed_is_refused_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "wandb" else name)
    check_trackers(["trackio", "tensorboard"])
    with pytest.raises(ConfigError, match="got 'wandb' without its package; pip install wandb"):
        check_trackers(["trackio", "wandb"])
