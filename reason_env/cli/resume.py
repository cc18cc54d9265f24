"""`reason-env train --resume RUN`: continues an interrupted run, and prolongs one that ended.

The run knows its method and every setting. Only its limits may change.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from reason_env.agents.processes import Processes
from reason_env.agents.runs import RunDir, iteration_of, whole_checkpoint
from reason_env.agents.train import Limits, TrainConfig, progress_of, prolonged, session_of
from reason_env.cli.devices import devices_flag
from reason_env.cli.flags import Arguments, check_only, leading, out, parsed, trust_flag
from reason_env.cli.running import (
    Interrupted,
    prepare_shown,
    resume_command,
    show_results,
    train_shown,
)
from reason_env.errors import ConfigError

COPY = (
    "a run keeps its settings: copy its config.json, change it, and start a new run with "
    "--from-config"
)
LIMITS = ("--iterations", "--max-generated-tokens", "--max-minutes")
"""The limits that --resume changes."""
ALSO = ("--accept-changed-data", "--trust", "--devices")
"""Others that it allows."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Resume a run, or prolong it by a later limit."""

    resume: Path
    """Directory of the run."""
    iterations: int | None = None
    """Iterations of the whole run, those before included; None: as planned."""
    max_generated_tokens: int | None = None
    """Budget of generated tokens of the whole run; None: as planned."""
    max_minutes: float | None = None
    """Minutes after which no iteration starts; None: as long again, if the run had a limit."""
    accept_changed_data: bool = False
    """Go on although the problems are not those that the run began with."""
    devices: int = 1
    """Processes that train together from here on; as many as the command says, whatever their
    number before."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code runs."""


def resumes(words: Arguments) -> bool:
    """Decide whether a command resumes a run."""
    return any(word.partition("=")[0] == "--resume" for word in words)


def resume_run(words: Arguments, processes: Processes) -> None:
    """Resume the run that --resume names; a word before the flags must be its method."""
    trusted = trust_flag(words) + devices_flag(processes)
    names = leading(words)
    flags = list(words[len(names) :])
    check_only("--resume", flags, advice=COPY, also=(*LIMITS, *ALSO))
    default = Resume(resume=Path())
    given: Resume = parsed(Resume, flags, prog="train", default=default)
    with RunDir.open(given.resume) as run:
        # Before anything is read that another process may be writing.
        run.lock()
        try:
            _resume(run, given, names, words, processes)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted before an iteration; to try again: {resume_command(run, trusted)}"
            ) from None


def _resume(
    run: RunDir,
    given: Resume,
    names: Sequence[str],
    words: Arguments,
    processes: Processes,
) -> None:
    trusted = trust_flag(words) + devices_flag(processes)
    config = run.config(TrainConfig)
    if names and names != [config.name]:
        raise ConfigError(
            f"--resume must name a run of {names[0]!r}, got one of {config.name!r}; "
            f"use: {resume_command(run, trusted)}"
        )
    checkpoint = whole_checkpoint(run)
    done = 0 if checkpoint is None else iteration_of(checkpoint)
    rows = [row for row in run.read_metrics() if row["iteration"] <= (done or 0)]
    limits = Limits(
        iterations=given.iterations,
        max_generated_tokens=given.max_generated_tokens,
        max_minutes=given.max_minutes,
    )
    config = prolonged(config, limits, rows)
    iteration, tokens = progress_of(rows)
    if config.is_over(iteration, tokens):
        _show_finished(run, config, rows, trusted)
        return
    session = session_of(config, checkpoint=checkpoint, processes=processes)
    command = ["reason-env", "train", *words]
    run.resume(
        session.iteration,
        command=command,
        device=config.device,
        config=config,
        problem_sets=session.problem_sets,
        accept_changed_data=given.accept_changed_data,
        trackers=config.trackers,
    )
    out.print(f"resuming {given.resume} after iteration {session.iteration}", highlight=False)
    if config.prolonged_from and config.learner.schedule != "constant":
        out.print(
            f"the {config.learner.schedule} schedule of the learning rate ends at iteration "
            f"{config.iterations} from here on; it was planned for "
            f"{config.prolonged_from[-1]}",
            highlight=False,
        )
    began = time.monotonic()
    prepare_shown(session, given.resume, began)
    train_shown(session, run, began, flags=trusted)


def _show_finished(
    run: RunDir, config: TrainConfig, rows: list[dict[str, Any]], trusted: str
) -> None:
    """Say that nothing is left to run, and how to run more."""
    iteration, tokens = progress_of(rows)
    if iteration >= config.iterations:
        what = f"all {config.iterations} iterations have run"
        more = f"--iterations {2 * config.iterations}"
    else:
        what = f"{tokens:,} of {config.max_generated_tokens:,} tokens are generated"
        more = f"--max-generated-tokens {2 * (config.max_generated_tokens or 0)}"
    out.print(
        Text(
            f"{run.path} is finished: {what}; to train longer: "
            f"{resume_command(run, trusted)} {more}"
        )
    )
    show_results(run, rows)
