"""Trackers: programs that show the numbers of runs, by name, besides the run's own files.

    tensorboard   `tensorboard/` of the run (`scalars.py`)
    trackio       Trackio's own folder on this machine
    wandb         `wandb/` of the run, offline, unless the variable WANDB_MODE says otherwise

A package is imported only if its name is given. metrics.jsonl has every number, so a tracker of
another project may fail: what it raises becomes a warning, the run goes on without it, and what it
lacks is logged when the run is closed or resumed.

`tracking.json` says under which name each of them knows the run, so that a resumed run goes on in
the same place. It repeats the iterations after its checkpoint with the same numbers; what Trackio
has of them stays. wandb keeps what it is given in memory for long, and a kill loses it, so a
resumed run writes wandb's file again from metrics.jsonl.
"""

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from reason_env.agents.metrics import Number
from reason_env.agents.runs.files import read_text, remove, write_text
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean

TENSORBOARD = "tensorboard"
TRACKERS = (TENSORBOARD, "trackio", "wandb")
NONE = "none"
PROJECT = "reason-env"
"""The project that runs belong to in other people's trackers."""
NOTES = "tracking.json"
_log = logging.getLogger(__name__)
Row = Mapping[str, Any]


def tracker_names(text: str) -> tuple[str, ...]:
    """Read names of trackers, joined by commas.

    >>> tracker_names("wandb,tensorboard"), tracker_names("none")
    (('wandb', 'tensorboard'), ())

    Raises:
        UnknownNameError: There is no such tracker.
    """
    if text == NONE:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in TRACKERS:
            known = (*TRACKERS, NONE)
            raise UnknownNameError(
                f"no tracker {name!r} among {', '.join(known)}{did_you_mean(name, known)}"
            )
    return names


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages of trackers are installed, before a run begins.

    Raises:
        ConfigError: One is not.
    """
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(
                f"a tracker must be installed, got {name!r} without its package; pip install "
                f"{name}, or leave it out of --track"
            )


def how_to_show(name: str, path: Path) -> str:
    """Give the command that shows a run in a tracker."""
    return {
        TENSORBOARD: f"tensorboard --logdir {path}",
        "trackio": f"trackio show --project {PROJECT}",
        "wandb": f"wandb sync {path / 'wandb'}/offline-run-*",
    }[name]


class Tracker(Protocol):
    """A run in a tracker."""

    last: int | None
    """The last iteration that it has when it is opened; None before the first."""

    def log(self, iteration: int, values: Mapping[str, float | int]) -> None:
        """Log the numbers of an iteration."""
        ...

    def finish(self) -> None:
        """Write what is pending, and end."""
        ...


class TrackioRun:
    """A run in Trackio, which knows it by its name."""

    def __init__(self, run_id: str, path: Path, config: Mapping[str, Any]) -> None:
        self._package: Any = import_module("trackio")
        # It prints, and the console is the command's.
        with contextlib.redirect_stdout(io.StringIO()):
            self._run = self._package.init(
                project=PROJECT,
                name=f"{_title(path)}-{run_id}",
                group=_group(path),
                config=dict(config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        # A kill loses what Trackio's thread has not stored yet.
        storage: Any = import_module("trackio.sqlite_storage").SQLiteStorage
        self.last: int | None = storage.get_max_step_for_run(PROJECT, self._run.name)

    def log(self, iteration: int, values: Mapping[str, float | int]) -> None:
        """Give the numbers to Trackio's thread."""
        self._run.log(dict(values), step=iteration)

    def finish(self) -> None:
        """Wait until the thread has stored everything."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._package.finish()


class WandbRun:
    """A run in Weights & Biases, which knows it by its id."""

    def __init__(self, run_id: str, path: Path, config: Mapping[str, Any]) -> None:
        package: Any = import_module("wandb")
        self._run = package.init(
            project=PROJECT,
            id=run_id,
            name=_title(path),
            group=_group(path),
            config=dict(config),
            dir=str(path),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            reinit="create_new",
            # provenance.json says what is recorded of machine and code.
            settings=package.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        self.last: int | None = None
        own = Path(self._run.dir).parent
        for folder in (path / "wandb").glob(f"offline-run-*-{run_id}"):
            if folder.resolve() != own.resolve():
                remove(folder)

    def log(self, iteration: int, values: Mapping[str, float | int]) -> None:
        """Give the numbers to wandb's process."""
        self._run.log(dict(values), step=iteration)

    def finish(self) -> None:
        """Wait until the process has written everything."""
        self._run.finish()


OTHERS: Mapping[str, type[TrackioRun] | type[WandbRun]] = {
    "trackio": TrackioRun,
    "wandb": WandbRun,
}
"""Trackers of other projects, which may fail."""


class Tracking:
    """The trackers of a run that is being written."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        config: Mapping[str, Any],
        *,
        rows: Sequence[Row],
        is_changed: bool = False,
    ) -> None:
        """Begin, or go on, and log what a tracker lacks.

        Args:
            path: The run.
            names: Of `OTHERS`.
            config: The run's, as JSON.
            rows: What the run has written.
            is_changed: The run goes on otherwise than before. A tracker that already has later
                iterations begins a new run then, because those will give other numbers.
        """
        self._path = path
        self._config = config
        self._run_ids = _read_notes(path)
        self._open: dict[str, Tracker] = {}
        self._last: dict[str, int | None] = {}
        self._failed: list[str] = []
        for name in names:
            self._begin(name, rows, is_changed=is_changed)

    def write(self, iteration: int, values: Mapping[str, Number]) -> None:
        """Log the numbers of an iteration, unless a tracker has them; None is left out."""
        for name in tuple(self._open):
            with self._tolerant(name):
                self._log(name, iteration, values)

    def close(self, read_rows: Callable[[], Sequence[Row]]) -> None:
        """End; a tracker that failed is tried once more.

        Args:
            read_rows: Reads what the run has written.
        """
        failed, self._failed = self._failed, []
        for name in failed:
            self._begin(name, read_rows())
        for name in tuple(self._open):
            with self._tolerant(name):
                self._open.pop(name).finish()

    def _begin(self, name: str, rows: Sequence[Row], *, is_changed: bool = False) -> None:
        with self._tolerant(name):
            tracker = self._opened(name)
            end = max((int(row["iteration"]) for row in rows), default=-1)
            if is_changed and tracker.last is not None and tracker.last > end:
                tracker.finish()
                del self._run_ids[name]
                tracker = self._opened(name)
            self._open[name], self._last[name] = tracker, tracker.last
            for row in rows:
                values = {key: value for key, value in row.items() if key != "iteration"}
                self._log(name, int(row["iteration"]), values)

    def _opened(self, name: str) -> Tracker:
        if name not in self._run_ids:
            self._run_ids[name] = uuid4().hex[:8]
            write_text(self._path / NOTES, json.dumps(self._run_ids, indent=2))
        return OTHERS[name](self._run_ids[name], self._path, self._config)

    def _log(self, name: str, iteration: int, values: Mapping[str, Number]) -> None:
        last = self._last[name]
        if last is not None and iteration <= last:
            return
        given = {key: value for key, value in values.items() if value is not None}
        self._open[name].log(iteration, given)
        self._last[name] = iteration

    @contextmanager
    def _tolerant(self, name: str) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - another project's package may raise anything
            self._open.pop(name, None)
            self._failed.append(name)
            _log.warning(
                "tracker %s failed: %s: %s; the run goes on, metrics.jsonl has its numbers, and "
                "what %s lacks is logged when the run ends or is resumed",
                name,
                type(error).__name__,
                error,
                name,
            )


def _read_notes(path: Path) -> dict[str, str]:
    file = path / NOTES
    return json.loads(read_text(file)) if file.is_file() else {}


def _title(path: Path) -> str:
    return path.absolute().name


def _group(path: Path) -> str:
    """Name the folder of a run: the arm, in a comparison."""
    return path.absolute().parent.name
