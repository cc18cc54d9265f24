"""From what a user calls a trained model to the directory with its weights."""

from pathlib import Path

from reason_env.agents.runs.checkpoint import latest_checkpoint
from reason_env.agents.runs.files import iteration_of, iteration_paths
from reason_env.agents.runs.run_dir import RunDir
from reason_env.errors import CheckpointError, did_you_mean


def model_directory(name: str) -> str:
    """Find the newest model in a run, its checkpoints/, or one checkpoint; else return the name.

    Raises:
        CheckpointError: The run has no checkpoint yet, the directory holds several runs, or there
            is no such directory among runs.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        _check_not_among_runs(path)
        return name
    if (path / "manifest.json").is_file() and (path / "model").is_dir():
        return str(path / "model")
    if _is_run(path):
        checkpoint = latest_checkpoint(RunDir.open(path))
        if checkpoint is None:
            raise CheckpointError(
                f"a run must have a checkpoint to give its model, got '{path}' with none; train "
                f"it further: reason-env train --resume {path}"
            )
        return str(checkpoint / "model")
    checkpoints = iteration_paths(path)
    if checkpoints:
        return str(next(reversed(checkpoints.values())) / "model")
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
