"""Run a session on the console: progress, a row an iteration, a table and the report."""

import shlex
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.text import Text

from reason_env.agents.processes import watched
from reason_env.agents.report import write_report
from reason_env.agents.runs import TENSORBOARD, RunDir, how_to_show, latest_checkpoint
from reason_env.agents.train import AnySession, TrainConfig, prepare, train
from reason_env.cli import tables
from reason_env.cli.flags import out
from reason_env.cli.tables import counted
from reason_env.errors import ReasonEnvError

PROGRESS_S = 15.0
"""Seconds between progress lines of a preparation."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, with the line that says how to go on."""


@contextmanager
def ended_by_sigterm() -> Generator[None, None, None]:
    """Treat SIGTERM, which service managers send, as Ctrl-C; threads cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def deadline_of(config: TrainConfig, began: float) -> float | None:
    """Give the `time.monotonic()` after which no iteration starts; None for no limit."""
    return None if config.max_minutes is None else began + 60 * config.max_minutes


def prepare_shown(session: AnySession, path: Path, began: float) -> None:
    """Prepare the session, with a progress line every `PROGRESS_S` seconds."""
    config = session.config
    num_problems = len(session.problem_ids)
    out.print(
        Text(
            f"{config.name} on {config.env.source}: "
            f"{counted(num_problems, 'problem')}, model {config.model}, run {path}"
        )
    )
    if config.cpi is not None:
        out.print(
            f"each update is tested with fresh episodes from {2 * config.cpi.num_restarts} starts, "
            "which can cost more tokens than the update: --dry-run measures both, "
            "--cpi.num-restarts lowers it",
            highlight=False,
        )
    last_shown = began

    def on_prepared(done: int, planned: int, tokens: int) -> None:
        nonlocal last_shown
        if time.monotonic() - last_shown > PROGRESS_S:
            last_shown = time.monotonic()
            out.print(
                f"preparing: {done:,} of {planned:,} starts, {tokens:,} tokens, "
                f"{(last_shown - began) / 60:.1f} minutes",
                highlight=False,
            )

    prepare(session, on_prepared=on_prepared, deadline=deadline_of(config, began))
    if session.sampled_tokens_total and session.iteration == 0:
        out.print(
            f"prepared with {session.sampled_tokens_total:,} tokens: "
            f"training on {len(session.problem_ids):,} of {counted(num_problems, 'problem')}",
            highlight=False,
        )


def train_shown(session: AnySession, run: RunDir, began: float, *, flags: str = "") -> None:
    """Train, with a line for each iteration, and write the report.

    Args:
        session: Prepared.
        run: Just created, or resumed.
        began: `time.monotonic()` when the command began.
        flags: What the command that resumes the run needs besides --resume, as --trust.

    Raises:
        Interrupted: Ctrl-C; the message says how to resume. Other errors have a note that does.
    """
    try:
        rows = _train(session, run, began)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted {how_to_resume(run, flags)}") from None
    except (ReasonEnvError, OSError) as error:
        # A run whose directory is gone has nothing to resume.
        if (run.path / "config.json").is_file():
            error.add_note(f"the run ended {how_to_resume(run, flags)}")
        raise
    last = rows[-1]
    minutes = (time.monotonic() - began) / 60
    out.print(
        f"generated {last['rollout/sampled_tokens_total']:,} tokens in "
        f"{counted(last['iteration'], 'iteration')}, {minutes:.1f} minutes",
        highlight=False,
    )
    if not session.is_over:
        out.print(
            Text(
                f"--max-minutes ended the run after iteration {last['iteration']} of "
                f"{session.config.iterations}; to go on for as long again: "
                f"{resume_command(run, flags)}"
            )
        )
    show_results(run, rows)
    for name in session.config.trackers:
        if name != TENSORBOARD:
            out.print(Text(f"{name}: {how_to_show(name, run.path)}"))


def show_results(run: RunDir, rows: list[dict[str, Any]]) -> None:
    """Show the first and the last evaluation of a run, and write its report."""
    if any(row.get("eval/pass_at_1") is not None for row in rows):
        out.print(tables.before_and_after(rows))
    report = write_report([run.path], run.path / "report.html")
    out.print(Text(f"report: {report}\nmetrics: {run.path / 'metrics.jsonl'}"))


def resume_command(run: RunDir, flags: str = "") -> str:
    """Give the command that resumes a run, as a shell reads it."""
    return f"reason-env train --resume {shlex.quote(str(run.path))}{flags}"


def how_to_resume(run: RunDir, flags: str = "") -> str:
    """Say where a run that ended early goes on, and by which command."""
    checkpoint = latest_checkpoint(run)
    where = "from the start" if checkpoint is None else f"after its checkpoint {checkpoint.name}"
    return (
        f"after iteration {run.last_iteration or 0}; to continue {where}: "
        f"{resume_command(run, flags)}"
    )


def _train(session: AnySession, run: RunDir, began: float) -> list[dict[str, Any]]:
    config = session.config
    if session.eval_env is None:
        out.print(
            f"no evaluation: {config.env.source} has no {config.eval.split} split; to evaluate, "
            "hold problems out with --hold-out 0.1, or give --eval.problems FILE",
            highlight=False,
        )
    with out.status("evaluating before training ...") as status:

        def on_row(row: dict[str, Any]) -> None:
            out.print(Text(tables.row_line(row, config.iterations)))
            status.update(f"iteration {row['iteration'] + 1} of {config.iterations} ...")

        with watched():
            return train(session, run, on_row=on_row, deadline=deadline_of(config, began))
