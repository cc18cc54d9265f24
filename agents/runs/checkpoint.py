"""Checkpoints: complete or absent, verified by hash, without pickle.

    checkpoints/iteration_000010/
      model/             what `policy.save` writes: a model that loads with transformers alone,
                         or an adapter without its base; and reason_env.json, how it was trained
      state.safetensors  every tensor of the learner (moments of the optimizer, ...)
      state.json         everything else: progress, generator states, numbers, the tree of tensors
      manifest.json      size and SHA-256 of every other file

Several processes write their shares of the weights and of the learner's tensors, as safetensors
too (`reason_env.agents.processes.shares`):

      model/shares/      in place of the weights
      shares/            the learner's tensors; state.safetensors holds those of the progress alone

A checkpoint is written under a temporary name that readers ignore, synced to disk and renamed, so a
kill leaves the older checkpoints intact; what the system refuses to write is removed again. Hashes
detect later changes. A run resumes from the newest
whole checkpoint, with a warning if a newer one is damaged; loading a damaged one, or the model of
one, is an error.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from reason_env.agents.runs.files import (
    PARTIAL,
    iteration_name,
    iteration_paths,
    remove,
    remove_partial,
    sync_directory,
    write_text,
    writing,
)
from reason_env.agents.runs.pending_checkpoint import CheckpointWriter
from reason_env.agents.runs.run_dir import RunDir
from reason_env.agents.runs.state_tree import pack, unpack
from reason_env.errors import CheckpointError, ConfigError

WHOLE, SHARED = 1, 2
"""Formats: of one process, and of several."""
SHARES = "shares"
_log = logging.getLogger(__name__)


class _DamagedError(CheckpointError):
    """A file of a checkpoint is missing or has changed."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SavesModel(Protocol):
    """A policy that can save itself."""

    def save(self, path: Path, /) -> Any:
        """Write weights, model config and codec to a directory in Hugging Face layout."""
        ...


class Record(Protocol):
    """The record of how a model was trained."""

    def write(self, model_dir: Path, /) -> None:
        """Write the record beside the weights in a model directory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written, and which are kept.

    Raises:
        ConfigError: A number is out of range.
    """

    every: int = 10
    """Iterations between checkpoints; one is also written after the last iteration."""
    keep_last: int = 2
    """Number of newest checkpoints to keep."""
    keep_every: int | None = None
    """Also keep checkpoints of iterations divisible by this; None: no others."""

    def __post_init__(self) -> None:
        for name in ("every", "keep_last", "keep_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value!r}; raise it")

    def is_due(self, iteration: int, *, num_iterations: int) -> bool:
        """Decide whether to write a checkpoint after `iteration` (1..num_iterations)."""
        return iteration % self.every == 0 or iteration == num_iterations


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint, with tensors on the CPU."""

    iteration: int
    model_dir: Path
    """Directory with the saved model."""
    learner_state: dict[str, Any]
    progress: dict[str, Any]
    shares: Path | None = None
    """Directory with the tensors of `learner_state` in shares; None if they are in it."""


WritesState = Callable[[Path], Mapping[str, Any]]
"""Writes the tensors of a learner's state to a directory and returns the rest."""


def save_checkpoint(
    run: RunDir,
    iteration: int,
    policy: SavesModel,
    learner_state: Mapping[str, Any] | WritesState,
    progress: Mapping[str, Any],
    *,
    config: CheckpointConfig | None = None,
    record: Record | None = None,
    writer: CheckpointWriter | None = None,
) -> Path:
    """Write a checkpoint, remove those that `config` does not keep, and return its directory.

    Args:
        run: A run with the metrics of `iteration` written.
        iteration: The iteration that has ended; 0 before the first.
        policy: Saves itself inside the checkpoint.
        learner_state: Nested dicts and lists of tensors, arrays, numbers, texts and None; or what
            several processes write together.
        progress: Values of the same types: token totals, policy version, the method's state.
        config: Which older checkpoints to keep; None keeps all.
        record: Writes how the model was trained into the model's directory; None: nothing.
        writer: Writes all but the model after this returns; the states, copied here, may change
            meanwhile. The checkpoint is absent until then. None: write before returning.

    Raises:
        CheckpointError: The checkpoint exists, its metrics are not written yet, or the run cannot
            be written.
        ConfigError: A state holds a value of another type.
    """
    run.check_writable()
    if writer is not None:
        # What it still writes would be removed below, with the remains of writers that died.
        writer.wait()
    last = run.last_iteration or 0
    if last < iteration:
        raise CheckpointError(
            f"metrics must be written before the checkpoint of their iteration, got iteration "
            f"{iteration} and metrics up to {last}; call write_metrics first"
        )
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    final = folder / iteration_name(iteration)
    if final.exists():
        raise CheckpointError(
            f"a checkpoint must not be written twice, got '{final}'; resume() from an earlier one"
        )
    remove_partial(folder)
    partial = folder / (PARTIAL + final.name)
    with writing(final, partial):
        partial.mkdir()
        policy.save(partial / "model")
        if record is not None:
            record.write(partial / "model")
        is_shared = callable(learner_state)
        state = learner_state(partial / SHARES) if callable(learner_state) else learner_state
    tree, tensors = pack({"progress": dict(progress), "learner": dict(state)})
    text = json.dumps(tree, allow_nan=False)

    def finish() -> None:
        with writing(final, partial):
            _write_checkpoint(partial, iteration, text, tensors, SHARED if is_shared else WHOLE)
            partial.rename(final)
        sync_directory(folder)
        if config is not None:
            prune_checkpoints(run, config)

    if writer is None:
        finish()
    else:
        writer.begin(finish)
    return final


def load_checkpoint(path: str | Path, *, verify: bool = True) -> Checkpoint:
    """Load the checkpoint in a directory, after verifying every file.

    Args:
        path: The directory.
        verify: Whether to read every file for that; another process may have.

    Raises:
        CheckpointError: It is missing, partial, damaged, or has another format.
    """
    path = Path(path)
    iteration, form = _check_manifest(path, below="" if verify else "manifest.json")
    tree = json.loads((path / "state.json").read_text(encoding="utf-8"))
    state = unpack(tree, load_file(path / "state.safetensors"))
    return Checkpoint(
        iteration=iteration,
        model_dir=path / "model",
        learner_state=state["learner"],
        progress=state["progress"],
        shares=path / SHARES if form == SHARED else None,
    )


def checkpoints(run: RunDir) -> dict[int, Path]:
    """List checkpoints as iteration -> directory, oldest first, unverified."""
    return iteration_paths(run.path / "checkpoints")


def latest_checkpoint(run: RunDir) -> Path | None:
    """Find the newest checkpoint, unverified; None if the run has none."""
    return next(reversed(checkpoints(run).values()), None)


def whole_checkpoint(run: RunDir) -> Path | None:
    """Find the newest checkpoint whose files are as they were written; None if the run has none.

    Warns about each newer one, which is damaged.

    Raises:
        CheckpointError: Every checkpoint is damaged, or one has another format.
    """
    damaged: dict[Path, _DamagedError] = {}
    for path in reversed(checkpoints(run).values()):
        try:
            _check_manifest(path)
        except _DamagedError as error:
            damaged[path] = error
            continue
        for other, error in damaged.items():
            _log.warning(
                "checkpoint '%s' is damaged: %s; the run resumes from %s",
                other,
                error.reason,
                path.name,
            )
        return path
    if damaged:
        raise next(iter(damaged.values()))
    return None


def model_of(path: Path) -> Path:
    """Find the model in a checkpoint, after verifying the model's files.

    Raises:
        CheckpointError: One of them is missing or damaged, or the checkpoint has another format.
    """
    _check_manifest(path, below="model/")
    return path / "model"


def prune_checkpoints(run: RunDir, config: CheckpointConfig) -> None:
    """Remove the checkpoints that `config` does not keep."""
    for iteration, path in list(checkpoints(run).items())[: -config.keep_last]:
        if config.keep_every is None or iteration % config.keep_every != 0:
            remove(path)


def _write_checkpoint(
    path: Path, iteration: int, state: str, tensors: dict[str, torch.Tensor], form: int
) -> None:
    """Write the files beside the model, and then the manifest of all."""
    save_file(tensors, path / "state.safetensors")
    write_text(path / "state.json", state)
    files = {name: _fingerprint(path / name) for name in _file_names(path)}
    manifest = {"format": form, "iteration": iteration, "files": files}
    for name in files:
        with (path / name).open("rb") as file:
            os.fsync(file.fileno())
    for folder in {(path / name).parent for name in files}:
        sync_directory(folder)
    write_text(path / "manifest.json", json.dumps(manifest, indent=2))


def _check_manifest(path: Path, *, below: str = "") -> tuple[int, int]:
    """Verify the files whose names begin with `below`; return the iteration and the format."""
    if not path.is_dir():
        raise CheckpointError(
            f"a checkpoint must be a directory, got '{path}'; name one of a run's checkpoints/"
        )
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        version, iteration, files = (manifest[key] for key in ("format", "iteration", "files"))
    except FileNotFoundError:
        raise _damaged(path, "manifest.json is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "manifest.json has changed since it was written") from error
    if version not in (WHOLE, SHARED):
        raise CheckpointError(
            f"checkpoint '{path}' must be of format {WHOLE} or {SHARED}, got {version!r}; "
            "resume with the version of reason-env that wrote it"
        )
    for name, fingerprint in files.items():
        if not name.startswith(below):
            continue
        if not (path / name).is_file():
            raise _damaged(path, f"{name} is missing")
        if _fingerprint(path / name) != fingerprint:
            raise _damaged(path, f"{name} has changed since it was written")
    return iteration, version


def _damaged(path: Path, reason: str) -> _DamagedError:
    others = [item.name for item in iteration_paths(path.parent).values() if item.name != path.name]
    instead = f"to continue from {others[-1]}" if others else "to start again"
    return _DamagedError(
        f"checkpoint '{path}' must be whole, got a damaged one: {reason}; remove this directory "
        f"and resume again {instead}",
        reason,
    )


def _file_names(path: Path) -> list[str]:
    return sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
