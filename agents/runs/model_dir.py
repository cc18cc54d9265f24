"""From what a user calls a trained model to the directory with its weights.

A run whose checkpoints hold an adapter alone also has model/ once it is finished.
"""

import os
from collections.abc import Callable
from pathlib import Path

from reason_env.agents.runs.checkpoint import Record, latest_checkpoint, model_of
from reason_env.agents.runs.files import (
    PARTIAL,
    iteration_of,
    iteration_paths,
    remove,
    remove_partial,
    sync_directory,
    writing,
)
from reason_env.agents.runs.run_dir import MODEL, RunDir
from reason_env.errors import CheckpointError, did_you_mean


def export_model(run: RunDir, save: Callable[[Path], None], record: Record) -> Path:
    """Write the finished run's model to its model/, whole or not at all; replaces an older one.

    Args:
        run: A run that is being written.
        save: Writes the weights to a directory.
        record: Writes how the model was trained.
    """
    run.check_writable()
    remove_partial(run.path)
    final = run.path / MODEL
    partial = run.path / (PARTIAL + MODEL)
    with writing(final, partial):
        save(partial)
        record.write(partial)
        for path in partial.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(partial)
    if final.exists():
        remove(final)
    partial.rename(final)
    sync_directory(run.path)
    return final


def model_directory(name: str) -> str:
    """Find the newest model in a run, its checkpoints/, or one checkpoint; else return the name.

    A checkpoint's model is verified, because a damaged one may load and give other numbers. A model
    that is named by its own directory is not: its files may have been changed on purpose.

    Raises:
        CheckpointError: The run has no checkpoint yet, the checkpoint's model is damaged, the
            directory holds several runs, or there is no such directory among runs.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        _check_not_among_runs(path)
        return name
    is_checkpoint = (path / "manifest.json").is_file() or iteration_of(path) is not None
    if is_checkpoint and (path / "model").is_dir():
        return str(model_of(path))
    if _is_run(path):
        if (path / MODEL).is_dir():
            return str(path / MODEL)
        checkpoint = latest_checkpoint(RunDir.open(path))
        if checkpoint is None:
            raise CheckpointError(
                f"a run must have a checkpoint to give its model, got '{path}' with none; train "
                f"it further: reason-env train --resume {path}"
            )
        return str(model_of(checkpoint))
    checkpoints = iteration_paths(path)
    if checkpoints:
        return str(model_of(next(reversed(checkpoints.values()))))
    runs = sorted(item.parent for item in path.glob("**/provenance.json") if _is_run(item.parent))
    if runs and not (path / "config.json").is_file():
        raise CheckpointError(
            f"a model must be of one run, got '{path}' with {len(runs)}; name one, for example "
            f"{runs[0]}"
        )
    return name


def _check_not_among_runs(path: Path) -> None:
    """Raise for a mistyped run, which would be looked up on the hub, with a minute of retries."""
    siblings = path.parent.iterdir() if path.parent != Path() and path.parent.is_dir() else ()
    runs = [item.name for item in siblings if _is_run(item) or iteration_of(item) is not None]
    if runs and not path.exists():
        raise CheckpointError(
            f"a model must exist, got '{path}', which is not among the runs there"
            f"{did_you_mean(path.name, runs)}"
        )


def _is_run(path: Path) -> bool:
    return all((path / name).is_file() for name in ("config.json", "provenance.json"))
