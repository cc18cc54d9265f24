"""The directory of one run: config, provenance, metrics, episodes and checkpoints.

    config.json       repeats the run; written last when a run is created
    provenance.json   commit, versions, device, seeds, problem sets, and every resumption
    metrics.jsonl     one object per iteration, with names of `METRICS`
    timings.jsonl     the `time/` metrics
    episodes/         iteration_000010.jsonl
    checkpoints/      iteration_000010/ (`reason_env.agents.runs.checkpoint`)
    model/            of a finished run with an adapter: the model, or the adapter alone
    tensorboard/      the scalars of metrics.jsonl and timings.jsonl, unless --track says otherwise
    tracking.json     where other trackers have the run (`tracking.py`)
    .lock             locked while a process may write

Two runs of one config differ only in their timings. With these in a separate file, `metrics.jsonl`
is equal byte by byte, even if one run was killed and resumed. `read_metrics` joins the two files.

One process writes: it holds the lock from `create` or `resume` to `close`.
"""

import json
import logging
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reason_env.agents.metrics import Number, metric
from reason_env.agents.runs import config_json
from reason_env.agents.runs.config_tree import differences
from reason_env.agents.runs.files import (
    append_line,
    check_free,
    cut_file,
    iteration_name,
    iteration_paths,
    read_lines,
    read_text,
    remove,
    remove_partial,
    write_text,
)
from reason_env.agents.runs.lock import Lock, holder
from reason_env.agents.runs.provenance import provenance
from reason_env.agents.runs.scalars import ScalarFile
from reason_env.agents.runs.tracking import TENSORBOARD, Tracking
from reason_env.errors import CheckpointError, ConfigError, shown

C = TypeVar("C")
MODEL = "model"
"""The model of a finished run; other runs have theirs in the newest checkpoint."""
_log = logging.getLogger(__name__)


class RunDir:
    """The files of one run: writable from `create` or `resume` to `close`, else read-only.

    Within an iteration, write metrics and episodes before the checkpoint: resuming from a
    checkpoint needs the metrics up to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_iteration: int | None = None
        self._is_writable = False
        self._lock: Lock | None = None
        self._scalars: ScalarFile | None = None
        self._tracking: Tracking | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Any,
        *,
        command: Sequence[str],
        device: str = "cpu",
        seeds: Mapping[str, int] | None = None,
        problem_sets: Mapping[str, str] | None = None,
        trackers: Sequence[str] = (TENSORBOARD,),
    ) -> "RunDir":
        """Create the directory of a run, writable.

        Args:
            path: Created if absent; must not hold a run.
            config: A config dataclass, written by `config_json.dump`.
            command: The command line that started the run.
            device: The policy's device.
            seeds: Name -> seed of each random stream.
            problem_sets: Name -> content hash of each problem set.
            trackers: Names of trackers that get the numbers too.

        Raises:
            CheckpointError: The path holds a run or is a file, or another process begins a run
                there.
            ConfigError: The config cannot be written as JSON.
        """
        path = Path(path)
        text = config_json.dump(config)
        check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.lock()
        # Another process may have created a run since the first look.
        check_free(path)
        facts = {
            **provenance(command=command, device=device),
            "seeds": dict(seeds or {}),
            "problem_sets": dict(problem_sets or {}),
            "resumed": [],
        }
        write_text(path / "provenance.json", json.dumps(facts, indent=2))
        write_text(path / "config.json", text)
        run._is_writable = True
        run._track(trackers, purge_step=None)
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunDir":
        """Open the directory of a run for reading; `resume` makes it writable.

        Raises:
            CheckpointError: There is no run.
        """
        run = cls(Path(path))
        if not all((run.path / name).is_file() for name in ("config.json", "provenance.json")):
            raise CheckpointError(
                f"a run directory must hold config.json and provenance.json, got '{path}' "
                "without; give the directory that `reason-env train` wrote (its --out)"
            )
        return run

    def lock(self) -> None:
        """Keep other processes from writing, until `close`; `create` and `resume` do so too.

        Raises:
            CheckpointError: Another process may write.
        """
        if self._lock is not None:
            return
        file = self.path / ".lock"
        try:
            self._lock = Lock(file)
        except BlockingIOError:
            raise CheckpointError(
                f"a run must be written by one process, got '{self.path}', which {holder(file)} is "
                "writing; wait for it, or end it"
            ) from None

    def config(self, cls: type[C]) -> C:
        """Read the run's config."""
        return config_json.load(cls, read_text(self.path / "config.json"))

    def resume(
        self,
        iteration: int | None,
        *,
        command: Sequence[str] = (),
        device: str = "cpu",
        config: Any = None,
        problem_sets: Mapping[str, str] | None = None,
        accept_changed_data: bool = False,
        trackers: Sequence[str] = (TENSORBOARD,),
    ) -> None:
        """Make the run writable in its state after `iteration`; removes everything later.

        Without a checkpoint the files of `note_recordings` return to their noted sizes.

        Args:
            iteration: The iteration of the checkpoint to resume from; None, without a checkpoint,
                removes every metric and episode.
            command: The command line that resumes.
            device: The policy's device.
            config: The run's config from here on, of the same class; None keeps the config. The
                provenance records what changed.
            problem_sets: As for `create`, of now; compared with those of the run. None: not.
            accept_changed_data: Go on with other problems; the provenance records their hashes.
            trackers: As for `create`; they go on where they were.

        Raises:
            CheckpointError: The metrics do not reach `iteration`, or are damaged; the problems are
                not those of the run; or another process writes.
        """
        self.lock()
        facts = json.loads((self.path / "provenance.json").read_text(encoding="utf-8"))
        sets = dict(problem_sets or {})
        other = _changed_sets(facts, sets)
        if other and not accept_changed_data:
            name, (before, now) = next(iter(other.items()))
            raise CheckpointError(
                f"the {name} of a run must stay as they were, got content {now} instead of "
                f"{before} in '{self.path}'; restore the file, start a new run, or go on with what "
                "is there now: accept_changed_data=True"
            )
        end = -1 if iteration is None else iteration
        kept = self._kept_lines(end)
        self._remove_after(end, facts.get("recordings", {}))
        for name, lines in kept.items():
            write_text(self.path / name, "".join(lines))
        changed: dict[str, Any] = {"changed_data": other} if other else {}
        found: dict[str, dict[str, Any]] = {}
        if config is not None:
            found = differences({"before": self.config(type(config)), "after": config})
            changed |= {
                "changed": {key: [own["before"], own["after"]] for key, own in found.items()}
            }
        facts["problem_sets"] = facts.get("problem_sets", {}) | sets
        facts["resumed"].append(
            {"after_iteration": iteration, **changed, **provenance(command=command, device=device)}
        )
        write_text(self.path / "provenance.json", json.dumps(facts, indent=2))
        if config is not None:
            write_text(self.path / "config.json", config_json.dump(config))
        self._last_iteration = iteration if kept["metrics.jsonl"] else None
        self._is_writable = True
        self._track(trackers, purge_step=end + 1, is_changed=bool(other or found))

    def note_recordings(self, sizes: Mapping[Path, int]) -> None:
        """Note the sizes that files outside the directory had before the run, unless noted.

        Args:
            sizes: File that the run appends to -> its bytes before.
        """
        self.check_writable()
        file = self.path / "provenance.json"
        facts = json.loads(file.read_text(encoding="utf-8"))
        if sizes and "recordings" not in facts:
            own = {str(path.absolute()): size for path, size in sizes.items()}
            write_text(file, json.dumps(facts | {"recordings": own}, indent=2))

    def write_metrics(self, iteration: int, metrics: Mapping[str, Number]) -> None:
        """Append the numbers of one iteration to the files and to TensorBoard.

        Args:
            iteration: Larger than the last one written.
            metrics: Names of `METRICS` -> numbers. None and non-finite numbers, which JSON lacks,
                are written as null, the latter with a warning.

        Raises:
            UnknownNameError: A name is not in `METRICS`.
            CheckpointError: The iteration is written already, the run is read-only, or its files
                are gone.
        """
        self.check_writable()
        last = self._last_iteration
        if last is not None and iteration <= last:
            raise CheckpointError(
                f"iterations must be written in order, got {iteration} after {last}; resume() from "
                "the iteration before"
            )
        values = {name: _number(name, metrics[name]) for name in metrics}
        split: dict[str, dict[str, Number]] = {"metrics.jsonl": {}, "timings.jsonl": {}}
        for name, value in values.items():
            split["timings.jsonl" if name.startswith("time/") else "metrics.jsonl"][name] = value
        # Timings first: the line in metrics.jsonl marks the iteration as written.
        for file in ("timings.jsonl", "metrics.jsonl"):
            append_line(self.path / file, json.dumps({"iteration": iteration, **split[file]}))
        self._last_iteration = iteration
        if self._scalars is not None:
            self._scalars.write(iteration, values)
        if self._tracking is not None:
            self._tracking.write(iteration, values)

    def write_episodes(self, iteration: int, episodes: Iterable[Mapping[str, Any]]) -> None:
        """Write one JSON line per episode to `episodes/iteration_<n>.jsonl`, atomically.

        Raises:
            ConfigError: An episode is not JSON-able.
        """
        self.check_writable()
        try:
            lines = [json.dumps(dict(episode), allow_nan=False) + "\n" for episode in episodes]
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"an episode must be JSON-able, got one that is not; {error}"
            ) from error
        folder = self.path / "episodes"
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{iteration_name(iteration)}.jsonl", "".join(lines))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read one dict per iteration, `time/` included; ignores an incomplete last line.

        Raises:
            CheckpointError: Another line is damaged.
        """
        timings = {row["iteration"]: row for _, row in read_lines(self.path / "timings.jsonl")}
        return [
            row | timings.get(row["iteration"], {})
            for _, row in read_lines(self.path / "metrics.jsonl")
        ]

    def read_episodes(self, iteration: int) -> list[dict[str, Any]]:
        """Read the episodes that `write_episodes` wrote."""
        return [
            row
            for _, row in read_lines(self.path / "episodes" / f"{iteration_name(iteration)}.jsonl")
        ]

    def close(self) -> None:
        """Let other processes write; the run is read-only until it is resumed."""
        self._is_writable, self._scalars = False, None
        self._end_tracking()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunDir":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_iteration(self) -> int | None:
        """The last iteration that was written, or resumed from; None before the first."""
        return self._last_iteration

    def check_writable(self) -> None:
        """Raise if the run cannot be written.

        Raises:
            CheckpointError: It was only opened, or its directory or its metrics are gone.
        """
        if not self._is_writable:
            raise CheckpointError(
                f"an opened run must be resumed before it is written, got '{self.path}'; "
                "call resume(iteration)"
            )
        assert self._lock is not None, "a run that can be written is locked"
        metrics = self.path / "metrics.jsonl"
        if not self._lock.is_in_place or (self._last_iteration and not metrics.is_file()):
            raise CheckpointError(
                f"the files of a run must stay while it goes on, got '{self.path}' removed, moved "
                "or replaced; put them back and resume, or start again"
            )

    def _track(
        self, trackers: Sequence[str], *, purge_step: int | None, is_changed: bool = False
    ) -> None:
        """Begin to track, or go on; the run's own files are complete then."""
        self._end_tracking()
        self._scalars = None
        if TENSORBOARD in trackers:
            self._scalars = ScalarFile(self.path / "tensorboard", purge_step=purge_step)
        others = [name for name in trackers if name != TENSORBOARD]
        if others:
            self._tracking = Tracking(
                self.path,
                others,
                json.loads(read_text(self.path / "config.json")),
                rows=self.read_metrics(),
                is_changed=is_changed,
            )

    def _end_tracking(self) -> None:
        if self._tracking is not None:
            tracking, self._tracking = self._tracking, None
            tracking.close(self.read_metrics)

    def _kept_lines(self, iteration: int) -> dict[str, list[str]]:
        kept: dict[str, list[str]] = {}
        last = 0
        for name in ("metrics.jsonl", "timings.jsonl"):
            lines = read_lines(self.path / name)
            kept[name] = [line for line, row in lines if row["iteration"] <= iteration]
            if name == "metrics.jsonl":
                last = max((row["iteration"] for _, row in lines), default=0)
        if last < iteration:
            raise CheckpointError(
                f"metrics.jsonl of '{self.path}' must reach iteration {iteration} to resume from "
                f"there, got {last} as its last; remove the newer checkpoints and resume again"
            )
        return kept

    def _remove_after(self, iteration: int, recordings: Mapping[str, int]) -> None:
        """Remove what was written after `iteration`, except lines of metrics."""
        # Checkpoints first, newest first: after a kill here, the newest one left is complete and
        # the metrics still reach it.
        for folder in (self.path / "checkpoints", self.path / "episodes"):
            remove_partial(folder)
            for number, path in reversed(iteration_paths(folder).items()):
                if number > iteration:
                    remove(path)
        if not iteration_paths(self.path / "checkpoints"):
            for name, size in recordings.items():
                cut_file(Path(name), size)
        if (self.path / MODEL).is_dir():
            remove(self.path / MODEL)


def _changed_sets(
    facts: Mapping[str, Any], sets: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """Find the problem sets that are not the run's: name -> content hash before and now."""
    known: Mapping[str, str] = facts.get("problem_sets") or {}
    if not known:
        return {}
    names = [name for name in {**known, **sets} if known.get(name) != sets.get(name)]
    return {f"{name} problems": (known.get(name), sets.get(name)) for name in names} if sets else {}


def _number(name: str, value: object) -> Number:
    metric(name)
    if value is None:
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    if not isinstance(value, numbers.Real):
        raise ConfigError(
            f"metric {name!r} must be a number, got {shown(value)}; call .item() on it"
        )
    number = float(value)
    if math.isfinite(number):
        return number
    _log.warning("metric %s is %s; writing null", name, number)
    return None
