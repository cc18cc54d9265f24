import inspect
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from reason_env.agents.compare import (
    CompareConfig,
    Comparison,
    arms_of,
    end_with_parent,
    num_cores,
    shared_settings,
    tokens_of,
)
from reason_env.agents.compare.runner import TRAIN
from reason_env.agents.runs import locked
from reason_env.errors import CheckpointError

# Replaces `reason-env train`: one line of metrics per start, and what a test asks of it.
PROGRAM = """
import json, os, pathlib, sys, time
method, how, place = sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[-1])
begun = how == "--resume"
if not begun:
    config = json.loads(pathlib.Path(sys.argv[4]).read_text())
    assert config["method"]["kind"] == method and config["max_generated_tokens"] == 1000
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
config = json.loads((place / "config.json").read_text())
threads = os.environ["OMP_NUM_THREADS"]
print("started", how, "threads", threads, "pid", os.getpid(), flush=True)
row = {"iteration": 1, "rollout/sampled_tokens_total": 600, "eval/pass_at_1": 0.25}
with (place / "metrics.jsonl").open("a") as file:
    file.write(json.dumps(row) + chr(10))
if method == "expo":
    print("out of luck", flush=True)
    sys.exit(3)
pause = place.parents[3] / "pause"
while pause.exists():
    time.sleep(0.02)
"""


def make(path, arms=("grpo", "lte"), **changes):
    settings = {"sources": ("chain",), "num_seeds": 2, "budget": 1000} | changes
    config = CompareConfig(arms=arms_of(list(arms), shared_settings()), **settings)
    return Comparison.open_or_create(path, config)


def events(comparison, **options):
    seen = []
    comparison.run(workers=2, on_progress=seen.append, program=PROGRAM, **options)
    return [(own.run.arm, own.run.seed, own.status) for own in seen], seen


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def forked(comparison, **options):
    """Run a comparison in a child process, which ends even if it raises; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            comparison.run(**options)
        finally:
            os._exit(1)
    return child


def test_runs_start_in_order_of_seed_use_one_thread_and_report_progress(tmp_path):
    comparison = make(tmp_path / "cmp")
    order, seen = events(comparison)
    begun = [own[:2] for own in dict.fromkeys(own for own in order if own[2] == "running")]
    assert begun == [("grpo", 0), ("lte", 0), ("grpo", 1), ("lte", 1)]
    assert sorted(own[:2] for own in order if own[2] == "finished") == sorted(begun)
    last = seen[-1]
    assert (last.tokens, last.pass_at_1) == (600, 0.25)
    for run in comparison.runs:
        assert run.is_finished
        assert "threads 1 pid" in run.log_tail()


def test_finished_runs_are_not_run_again(tmp_path):
    comparison = make(tmp_path / "cmp")
    events(comparison)
    logs = {run: run.log.read_text() for run in comparison.runs}
    order, _ = events(Comparison.open(comparison.path))
    assert order == []
    assert {run: run.log.read_text() for run in comparison.runs} == logs


def test_a_failed_run_does_not_stop_the_others_and_is_resumed_next_time(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo", "expo"), num_seeds=1)
    order, _ = events(comparison)
    assert ("expo", 0, "failed") in order
    assert ("grpo", 0, "finished") in order
    run = comparison.runs[1]
    assert run.end == {"status": "failed", "exit_status": 3}
    assert run.log_tail(1) == "out of luck"
    order, _ = events(comparison)
    assert [own[2] for own in order if own[0] == "expo"][-1] == "failed"
    assert "started --resume" in run.log.read_text()
    assert not [own for own in order if own[0] == "grpo"]


def test_restarting_a_failed_run_clears_its_end(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("expo",), num_seeds=1)
    (run,) = comparison.runs
    comparison.run(workers=1, program=PROGRAM)
    assert run.end == {"status": "failed", "exit_status": 3}

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comparison.run(workers=1, program=PROGRAM, on_progress=interrupt)
    assert run.end is None


def test_a_run_whose_parent_was_killed_is_awaited_and_not_started_twice(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=1)
    (run,) = comparison.runs
    pause = comparison.path / "pause"
    pause.touch()
    parent = forked(comparison, workers=1, program=PROGRAM)
    wait_for(lambda: "started" in run.log_tail())
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    orphan = int(run.log_tail(1).split()[-1])
    os.kill(orphan, 0)  # still there
    seen = []

    def on_progress(progress):
        seen.append(progress.status)
        if len(seen) == 1:
            assert run.log.read_text().count("started") == 1
            pause.unlink()  # now the orphan ends

    comparison.run(workers=1, program=PROGRAM, on_progress=on_progress)
    assert run.is_finished
    lines = run.log.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["--from-config", "--resume"]
    assert len({line.split()[-1] for line in lines}) == 2


@pytest.mark.parametrize("obeys", [True, False])
def test_runs_end_when_the_comparison_is_killed_and_the_next_one_resumes_them(tmp_path, obeys):
    source = inspect.getsource(end_with_parent)
    imports = "import os, signal, threading, time\n_ENDING_S = 0.2\n"
    program = f"{imports}{source}\nend_with_parent()\n"
    if not obeys:
        program += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=2)
    pause = comparison.path / "pause"
    pause.touch()
    parent = forked(comparison, workers=2, program=program + PROGRAM)
    wait_for(lambda: all("started" in run.log_tail() for run in comparison.runs))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    # A process holds its lock until it has ended.
    for run in comparison.runs:
        wait_for(lambda path=run.lock: is_free(path))
    assert [run.end for run in comparison.runs] == [None, None]
    pause.unlink()
    comparison.run(workers=2, program=program + PROGRAM)
    assert all(run.is_finished for run in comparison.runs)
    assert all("started --resume" in run.log.read_text() for run in comparison.runs)


def is_free(path):
    with locked(path) as handle:
        return handle is not None


@pytest.mark.slow
def test_a_real_run_ends_with_its_comparison_and_says_how_to_go_on(tmp_path):
    assert TRAIN.startswith("from reason_env.agents.compare import end_with_parent; end_with_p")
    words = [sys.executable, "-c", TRAIN, "train", "grpo", "--out", str(tmp_path / "run")]
    words += ["--size", "2", "--levels", "3", "--problems-per-iteration", "1", "--group-size", "2"]
    words += ["--max-tokens", "16", "--eval.num-problems", "1", "--eval.samples", "1"]
    words += ["--eval.k", "1", "--eval.greedy", "False", "--iterations", "100000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        wait_for((tmp_path / "run" / "metrics.jsonl").is_file)
        child.stdin.close()
        error = child.stderr.read()
    assert child.returncode == 130
    assert error.startswith(b"reason-env: interrupted after iteration ")
    assert b"reason-env train --resume" in error


def test_a_killed_run_is_resumed(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=1)
    (run,) = comparison.runs
    pause = comparison.path / "pause"
    pause.touch()
    killed = []

    def on_progress(progress):
        if not killed and "pid" in run.log_tail():
            killed.append(int(run.log_tail(1).split()[-1]))
            os.kill(killed[0], signal.SIGKILL)
            pause.unlink()

    comparison.run(workers=1, program=PROGRAM, on_progress=on_progress)
    assert run.end == {"status": "failed", "exit_status": -9}
    comparison.run(workers=1, program=PROGRAM)
    assert run.is_finished
    assert "started --resume" in run.log.read_text()


def test_an_interrupted_comparison_ends_its_processes(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=1)
    (comparison.path / "pause").touch()
    (run,) = comparison.runs

    def on_progress(progress):
        wait_for(lambda: "pid" in run.log_tail())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comparison.run(workers=1, program=PROGRAM, on_progress=on_progress)
    with pytest.raises(ProcessLookupError):
        os.kill(int(run.log_tail(1).split()[-1]), 0)
    assert run.end is None


def test_two_processes_do_not_run_one_comparison(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=1)

    def on_progress(progress):
        with pytest.raises(CheckpointError, match="a comparison must be run by one process"):
            comparison.run(workers=1, program=PROGRAM)

    comparison.run(workers=1, program=PROGRAM, on_progress=on_progress)


def test_a_comparison_directory_refuses_other_settings_and_foreign_files(tmp_path):
    comparison = make(tmp_path / "cmp")
    assert make(tmp_path / "cmp").config == comparison.config
    with pytest.raises(
        CheckpointError,
        match=r"must keep its settings, got others for '.*cmp': budget 1000 there and 2000 here; "
        r"continue the old one with --resume .*cmp, or give another --out",
    ):
        make(tmp_path / "cmp", budget=2000)
    with pytest.raises(CheckpointError, match=r"absent there and .*, .* and \d+ more; continue"):
        make(tmp_path / "cmp", arms=("grpo", "lte", "srpo"))
    # A run's directory has a config.json too.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="a new comparison must have an empty directory"):
        make(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(CheckpointError, match="a new comparison must have an empty directory"):
        make(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"a comparison must hold config\.json and runs/"):
        Comparison.open(tmp_path / "other")


def test_a_run_killed_before_its_config_was_written_starts_from_the_beginning(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",), num_seeds=1)
    (run,) = comparison.runs
    run.folder.mkdir(parents=True)
    program = PROGRAM.replace("place.mkdir()", "place.mkdir(exist_ok=True)")
    run.path.mkdir()
    (run.path / "provenance.json").write_text("{}")  # RunDir writes it before config.json
    comparison.run(workers=1, program=program)
    assert "started --from-config" in run.log_tail()


def test_tokens_of_metrics_come_from_the_last_row_that_has_the_total():
    rows = [{"iteration": 0}, {"rollout/sampled_tokens_total": 7}, {"iteration": 2}]
    assert tokens_of(rows) == 7
    assert tokens_of([]) == 0
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


@pytest.mark.slow
def test_compare_from_the_command_line_ends_with_table_sentences_and_report(tmp_path, capsys):
    from reason_env.cli import main

    words = [
        "compare", "grpo", "grpo:zero_advantages=true", "--problems", "chain", "--seeds", "1",
        "--budget", "600", "--levels", "3", "3", "--size", "8", "--problems-per-iteration", "2",
        "--group-size", "2", "--eval.num-problems", "2", "--eval.samples", "1", "--eval.k", "1",
        "--out", str(tmp_path / "cmp"),
    ]  # fmt: skip
    main(words)
    first = capsys.readouterr().out
    found = json.loads((tmp_path / "cmp" / "comparison.json").read_text())
    assert [run["status"] for run in found["runs"]] == ["finished", "finished"]
    assert all(600 <= run["tokens"] < 1200 for run in found["runs"])
    for own in found["by_source"]["chain"]["arms"].values():
        assert own["sentence"] in first
    assert str(tmp_path / "cmp" / "report.html") in first
    # Both saw the same problems in the same order.
    problems = []
    for arm in ("grpo", "grpo_zero_advantages=true"):
        folder = tmp_path / "cmp" / "runs" / "chain" / arm / "seed_0" / "episodes"
        text = (folder / "iteration_000001.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        problems.append([row["state"]["problem"]["problem_id"] for row in rows])
    assert problems[0] == problems[1]
    before = (tmp_path / "cmp" / "comparison.json").read_bytes()
    main(words)
    assert "finished:" not in capsys.readouterr().out
    assert (tmp_path / "cmp" / "comparison.json").read_bytes() == before
