"""Run the runs of comparisons in this process, one after the other: one start of Python for all.

Several processes may work through the same comparisons: each takes a run by its lock, skips what is
finished or taken, and ends when nothing is left. A run is the one that its own process would have
written, but for its timings: nothing outside its session decides it.

A run that its settings or its model end is recorded as failed, with the error in its log, and the
next one starts. Any other error ends this process; the run is taken again the next time.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from reason_env.agents.compare.run import Run, Status
from reason_env.agents.compare.runner import Comparison
from reason_env.agents.runs import (
    RunDir,
    config_json,
    iteration_of,
    locked,
    model_directory,
    whole_checkpoint,
    write_text,
)
from reason_env.agents.train import TrainConfig, prepare, progress_of, session_of, train
from reason_env.errors import ReasonEnvError

OnEnd = Callable[[Run, Status], None]


def run_here(
    comparisons: Iterable[Comparison], *, on_end: OnEnd = lambda run, status: None
) -> None:
    """Run every run that is neither finished nor taken by another process.

    Args:
        comparisons: In order; the runs of each one in its order.
        on_end: Called with each run that ended here.
    """
    for comparison in comparisons:
        for run in comparison.runs:
            if run.is_finished:
                continue
            run.folder.mkdir(parents=True, exist_ok=True)
            with locked(run.lock) as handle:
                # Another process may have finished it since the first look.
                if handle is not None and not run.is_finished:
                    on_end(run, _run(run, comparison.config_of(run)))


def _run(run: Run, config: TrainConfig) -> Status:
    run.end_file.unlink(missing_ok=True)
    write_text(run.config_file, config_json.dump(config))
    status: Status = "finished"
    try:
        if (run.path / "config.json").is_file():
            _resume(run.path)
        else:
            _begin(run, config)
    except ReasonEnvError as error:
        status = "failed"
        with run.log.open("a", encoding="utf-8") as log:
            log.write(f"{error}\n")
    end = {"status": status, "exit_status": int(status == "failed")}
    write_text(run.end_file, json.dumps(end))
    return status


def _begin(run: Run, config: TrainConfig) -> None:
    session = session_of(replace(config, model=model_directory(config.model)))
    prepare(session)
    with RunDir.create(
        run.path,
        session.config,
        command=_command(config, "--from-config", run.config_file, "--out", run.path),
        device=config.device,
        seeds={"seed": config.seed},
        problem_sets=session.problem_sets,
        trackers=config.trackers,
    ) as own:
        train(session, own)


def _resume(path: Path) -> None:
    with RunDir.open(path) as own:
        own.lock()
        config = own.config(TrainConfig)
        checkpoint = whole_checkpoint(own)
        done = 0 if checkpoint is None else iteration_of(checkpoint)
        rows = [row for row in own.read_metrics() if row["iteration"] <= (done or 0)]
        if config.is_over(*progress_of(rows)):
            return
        session = session_of(config, checkpoint=checkpoint)
        own.resume(
            session.iteration,
            command=_command(config, "--resume", path),
            device=config.device,
            config=config,
            problem_sets=session.problem_sets,
            trackers=config.trackers,
        )
        prepare(session)
        train(session, own)


def _command(config: TrainConfig, *words: str | Path) -> list[str]:
    """Give the command that does the same in a process of its own."""
    return ["reason-env", "train", config.name, *map(str, words)]
