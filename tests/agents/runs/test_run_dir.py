import json
import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from reason_env.agents.runs import RunDir, iteration_paths, provenance, write_text
from reason_env.agents.runs.files import iteration_name, iteration_of
from reason_env.errors import CheckpointError, ConfigError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    clip: float = float("inf")


def started(path: Path) -> RunDir:
    return RunDir.create(path, Config(seed=3), command=["reason-env", "train"])


def numbers_of(iteration: int) -> dict[str, float]:
    return {
        "rollout/pass_rate": 0.1 + 0.2 * iteration,
        "rollout/sampled_tokens_total": 100 * iteration,
        "time/rollout_s": np.random.default_rng().random(),
    }


def work(run: RunDir, iterations: range) -> None:
    for iteration in iterations:
        run.write_metrics(iteration, numbers_of(iteration))
        run.write_episodes(iteration, [{"text": f"{iteration}\n\u221a"}, {"text": "\ud800"}])
        (run.path / "checkpoints" / iteration_name(iteration)).mkdir(parents=True)


def contents(path: Path) -> dict[str, bytes]:
    files = [path / "metrics.jsonl", *(path / "episodes").iterdir()]
    return {item.name: item.read_bytes() for item in files}


def scalars(path: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    return [(item.step, round(item.value, 6)) for item in events.Scalars("rollout/pass_rate")]


def test_a_run_s_config_metrics_and_episodes_round_trip(tmp_path):
    with started(tmp_path / "deep" / "run") as run:
        run.write_metrics(0, {"eval/pass_at_1": 0.25})
        run.write_metrics(1, {"rollout/pass_rate": 0.5, "time/rollout_s": 2.0})
        run.write_episodes(1, [{"text": "12*3=36\n", "ids": [1, 2]}])
    again = RunDir.open(run.path)
    assert again.config(Config) == Config(seed=3)
    assert again.read_metrics() == [
        {"iteration": 0, "eval/pass_at_1": 0.25},
        {"iteration": 1, "rollout/pass_rate": 0.5, "time/rollout_s": 2.0},
    ]
    assert again.read_episodes(1) == [{"text": "12*3=36\n", "ids": [1, 2]}]


def test_durations_are_written_to_a_separate_file(tmp_path):
    for name in ("a", "b"):
        with started(tmp_path / name) as run:
            work(run, range(1, 4))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a/timings.jsonl").read_bytes() != (
        tmp_path / "b/timings.jsonl"
    ).read_bytes()


@pytest.mark.parametrize("killed_after", [3, 4, 7])
def test_a_killed_and_resumed_run_has_the_files_of_an_uninterrupted_one(tmp_path, killed_after):
    with started(tmp_path / "whole") as run:
        work(run, range(1, 9))
    with started(tmp_path / "killed") as run:
        work(run, range(1, killed_after + 1))
    # What a kill can leave: a torn line in either file, half an episode file, half a checkpoint.
    for name in ("metrics.jsonl", "timings.jsonl"):
        with (run.path / name).open("ab") as file:
            file.write(b'{"iteration": 9, "rollout/pass')
    (run.path / "episodes/.partial_iteration_000009.jsonl").write_text("{")
    (run.path / "checkpoints/.partial_iteration_000009").mkdir()
    with RunDir.open(run.path) as again:
        again.resume(3, command=["reason-env", "train", "--resume"])
        assert list(iteration_paths(run.path / "checkpoints")) == [1, 2, 3]
        work(again, range(4, 9))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert [row["iteration"] for row in again.read_metrics()] == list(range(1, 9))
    assert scalars(tmp_path / "killed") == scalars(tmp_path / "whole")
    assert list(iteration_paths(run.path / "checkpoints")) == list(range(1, 9))
    assert not list(run.path.rglob(".partial_*"))


def test_resuming_without_a_checkpoint_starts_again_from_nothing(tmp_path):
    with started(tmp_path / "run") as run:
        work(run, range(3))
        run.resume(None)
        assert run.read_metrics() == []
        work(run, range(3))
    assert [row["iteration"] for row in run.read_metrics()] == [0, 1, 2]
    assert scalars(run.path) == [(0, 0.1), (1, 0.3), (2, 0.5)]


def test_resuming_after_iteration_zero_keeps_it(tmp_path):
    with started(tmp_path / "run") as run:
        work(run, range(3))
        run.resume(0)
        assert [row["iteration"] for row in run.read_metrics()] == [0]
        work(run, range(1, 2))


def test_a_directory_that_holds_a_run_is_not_written_over(tmp_path):
    started(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"must not hold a run already, got .*--resume, or"):
        RunDir.create(tmp_path, Config(seed=4), command=[])
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_directory_whose_creation_was_killed_can_be_used(tmp_path):
    (tmp_path / "provenance.json").write_text("{}")
    (tmp_path / ".partial_config.json").write_text("{")
    assert started(tmp_path).config(Config) == Config(seed=3)
    assert not (tmp_path / ".partial_config.json").exists()


def test_a_directory_with_other_files_can_be_used(tmp_path):
    (tmp_path / "output.log").write_text("started")
    assert started(tmp_path).config(Config) == Config(seed=3)
    assert (tmp_path / "output.log").read_text() == "started"


def test_a_config_that_json_cannot_hold_leaves_no_directory(tmp_path):
    with pytest.raises(ConfigError, match="clip must be a number"):
        RunDir.create(tmp_path / "run", Config(clip=math.nan), command=[])
    assert not (tmp_path / "run").exists()


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match=r"must be a directory, got the file .*another --out"):
        started(tmp_path / "run")


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"must hold config\.json and provenance\.json, got"):
        RunDir.open(tmp_path)


def test_an_unknown_metric_is_refused_and_writes_nothing(tmp_path):
    with started(tmp_path) as run:
        with pytest.raises(UnknownNameError, match="did you mean 'rollout/pass_rate'"):
            run.write_metrics(1, {"rollout/return_mean": 1.0, "rollout/pas_rate": 0.5})
        assert run.read_metrics() == []


def test_iterations_are_written_in_order_and_once(tmp_path):
    with started(tmp_path) as run:
        run.write_metrics(2, {"loss/total": 1.0})
        with pytest.raises(CheckpointError, match=r"in order, got 2 after 2; resume\(\) from"):
            run.write_metrics(2, {"loss/total": 1.0})


def test_an_opened_run_is_not_written_before_it_is_resumed(tmp_path):
    started(tmp_path)
    run = RunDir.open(tmp_path)
    with pytest.raises(CheckpointError, match=r"must be resumed before it is written, got"):
        run.write_metrics(1, {"loss/total": 1.0})
    with pytest.raises(CheckpointError, match=r"must be resumed before it is written, got"):
        run.write_episodes(1, [])


def test_resuming_beyond_the_metrics_is_refused_and_changes_nothing(tmp_path):
    with started(tmp_path) as run:
        work(run, range(1, 3))
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match="must reach iteration 3 to resume from there, got 2"):
        RunDir.open(tmp_path).resume(3)
    assert contents(tmp_path) == before


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    with started(tmp_path) as run:
        work(run, range(1, 4))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text(lines[0] + lines[1][:9] + "\n" + lines[2])
    with pytest.raises(CheckpointError, match=r"line 2 of .*metrics\.jsonl' must be JSON, got"):
        RunDir.open(tmp_path).read_metrics()


def test_numpy_numbers_are_written_and_other_values_are_refused(tmp_path):
    with started(tmp_path) as run:
        run.write_metrics(1, {"loss/total": np.float32(0.5), "eval/k": np.int64(8)})
        assert run.read_metrics() == [{"iteration": 1, "loss/total": 0.5, "eval/k": 8}]
        with pytest.raises(ConfigError, match=r"metric 'loss/total' must be a number, got '0\.5'"):
            run.write_metrics(2, {"loss/total": "0.5"})


def test_a_nan_metric_is_written_as_null_with_a_warning(tmp_path, caplog):
    with started(tmp_path) as run, caplog.at_level(logging.WARNING):
        run.write_metrics(1, {"loss/total": math.nan, "rollout/pass_rate": None})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"iteration": 1, "loss/total": null, "rollout/pass_rate": null}\n'
    )
    assert [record.getMessage() for record in caplog.records] == [
        "metric loss/total is nan; writing null"
    ]


def test_an_episode_that_json_cannot_hold_is_refused_and_leaves_no_file(tmp_path):
    with started(tmp_path) as run:
        with pytest.raises(ConfigError, match="an episode must be JSON-able, got one that is not"):
            run.write_episodes(1, [{"text": "a"}, {"text": Fraction(1, 2)}])
        assert run.read_episodes(1) == []


def test_provenance_records_command_and_device_of_a_run_and_of_its_resumption(tmp_path):
    run = RunDir.create(
        tmp_path,
        Config(),
        command=["reason-env", "train", "grpo"],
        device="cuda:0",
        seeds={"sampling": 7},
        problem_sets={"chain/train": "ab12"},
    )
    run.resume(None, command=["reason-env", "train", "--resume"], device="cpu")
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts["command"] == ["reason-env", "train", "grpo"]
    assert facts["device"] == "cuda:0"
    assert facts["seeds"] == {"sampling": 7}
    assert facts["problem_sets"] == {"chain/train": "ab12"}
    assert facts["packages"]["numpy"] == np.__version__
    (resumed,) = facts["resumed"]
    assert resumed["after_iteration"] is None
    assert resumed["command"] == ["reason-env", "train", "--resume"]
    assert resumed["device"] == "cpu"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    out = provenance._git(folder, *identity, *arguments)
    assert out is not None, arguments
    return out


def test_the_commit_is_given_only_for_a_tracked_file_with_its_dirty_flag(tmp_path):
    git(tmp_path, "init", "--quiet")
    ours, theirs = tmp_path / "ours.py", tmp_path / "theirs.py"
    ours.write_text("1")
    assert provenance.git_state(ours) is None
    git(tmp_path, "add", "ours.py")
    assert provenance.git_state(ours) is None  # no commit yet
    git(tmp_path, "commit", "--quiet", "--message", "a")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_state(ours) == {"commit": head, "is_dirty": False}
    ours.write_text("2")
    assert provenance.git_state(ours) == {"commit": head, "is_dirty": True}
    theirs.write_text("3")
    assert provenance.git_state(theirs) is None


def test_a_folder_outside_of_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "a").mkdir()
    assert provenance.git_state(tmp_path / "a" / "file.py") is None


def test_iteration_names_sort_as_numbers_beyond_their_width(tmp_path):
    for number in (1_000_000, 10, 9):
        (tmp_path / iteration_name(number)).mkdir()
    (tmp_path / "iteration_000010 copy").mkdir()
    (tmp_path / ".partial_iteration_000011").mkdir()
    assert list(iteration_paths(tmp_path)) == [9, 10, 1_000_000]
    assert iteration_of(tmp_path / "iteration_x") is None


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "long text of before")
    write_text(path, "now")
    assert path.read_text() == "now"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_a_run_whose_problems_changed_is_not_resumed_unless_that_is_accepted(tmp_path):
    sets = {"train": "aa", "eval": "bb"}
    path = tmp_path / "run"
    with RunDir.create(path, Config(), command=["test"], problem_sets=sets) as run:
        work(run, range(2))
    before = contents(path)
    for changed, message in (
        ({"train": "ac", "eval": "bb"}, r"the train problems of a run .* content ac instead of aa"),
        ({"train": "aa"}, r"the eval problems of a run .* got content None instead of bb"),
    ):
        with RunDir.open(path) as run:
            with pytest.raises(CheckpointError, match=message + ".* accept_changed_data=True"):
                run.resume(0, problem_sets=changed)
            with pytest.raises(CheckpointError, match="must be resumed before it is written"):
                run.write_metrics(2, {})
    assert contents(path) == before
    with RunDir.open(path) as run:
        run.resume(0, problem_sets=sets)
        run.resume(0, problem_sets=sets | {"train": "ac"}, accept_changed_data=True)
        run.resume(0, problem_sets=sets | {"train": "ac"})
    facts = json.loads((path / "provenance.json").read_text())
    assert facts["problem_sets"] == {"train": "ac", "eval": "bb"}
    changed = [entry.get("changed_data") for entry in facts["resumed"]]
    assert changed == [None, {"train problems": ["aa", "ac"]}, None]


def test_a_text_with_a_lone_surrogate_is_written_with_its_escape(tmp_path):
    write_text(tmp_path / "page.html", "a\ud800\u00e9\n")
    assert (tmp_path / "page.html").read_bytes() == b"a\\ud800\xc3\xa9\n"
