"""RayActors: the samplers of an engine, or graders, as actors of a Ray cluster.

Ray places the actors, carries weights and completions, and reports what died. An actor that dies
stays dead: Ray restarts none by itself, because only the engine knows which share is missing. The
replacement may run on any node that has room.

Without an address the cluster is one of this process and ends with it. The driver of a cluster
does not survive its head: docs/scale.md says what to do then.
"""

import importlib
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.ray.graders import DECIDING as GRADING
from reason_env.agents.engines.ray.graders import Grader, Jobs, Verdicts
from reason_env.agents.engines.ray.rounds import ActorFacts
from reason_env.agents.engines.ray.sampler import DECIDING as SAMPLING
from reason_env.agents.engines.ray.sampler import (
    Answer,
    Sampler,
    SampleRequest,
    SamplerSettings,
)
from reason_env.agents.engines.ray.weights import Arrays, skeleton
from reason_env.errors import ConfigError, EngineError, ReasonEnvError

R = TypeVar("R")
A = TypeVar("A")
_log = logging.getLogger(__name__)
GRACE_S = 5.0
"""Seconds for an answer that is complete to reach this process."""


def check_installed() -> None:
    """Check that Ray is installed.

    Raises:
        ConfigError: It is not.
    """
    try:
        metadata.version("ray")
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            "engine ray must have the package ray installed, got none; "
            "pip install 'reason-env[ray]', or use --engine torch"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What the actors of a group do."""

    program: type
    """The class that runs in each."""
    operation: str
    """Its method that answers a request."""
    packages: tuple[str, ...]
    """Those whose version must be this process's."""
    arguments: Callable[[Any], tuple[Any, ...]]
    """Those of the class, from the package ray."""
    cpus: int
    gpus: float


class RayActors(Generic[R, A]):
    """Starts, asks and replaces the actors of one group."""

    def __init__(self, role: Role, config: EngineConfig) -> None:
        """Store what actors are started with; `start` starts them.

        Args:
            role: What they do.
            config: Time limits, and the cluster.
        """
        self.role, self.config = role, config
        self._actors: dict[int, Any] = {}
        self._pids: dict[int, int] = {}
        self._arguments: tuple[Any, ...] = ()
        self._remote: Any = None
        self._finalizer = weakref.finalize(self, _kill_all, self._actors)

    @property
    def pids(self) -> dict[int, int]:
        """Process of each actor that has started."""
        return dict(self._pids)

    def put(self, arrays: Arrays) -> Any:
        """Store arrays for the actors; they are dropped with the last reference to the result."""
        return [self._connected().put(dict(arrays))]

    def start(self, places: Iterable[int]) -> dict[int, str]:
        """Start the actors of these places and wait for them; return what failed, by place.

        Raises:
            EngineError: An actor runs other versions than this process.
        """
        missing = [place for place in places if place not in self._actors]
        if not missing:
            return {}
        ray = self._connected()
        for place in missing:
            self._actors[place] = self._remote.remote(*self._arguments)
        asked = {place: self._actors[place].facts.remote() for place in missing}
        facts, lost = self._gather(ray, asked, self.config.start_s, "start")
        here = ActorFacts.here(*self.role.packages).versions
        for place, own in facts.items():
            if own.versions != here:
                self.stop()
                raise EngineError(
                    f"every node must have this process's versions, {', '.join(here)}, got "
                    f"{', '.join(own.versions)}; install them there"
                )
            self._pids[place] = own.pid
        return lost

    def ask(self, requests: Mapping[int, R]) -> tuple[dict[int, A], dict[int, str]]:
        """Send each request to the actor of its place; return the answers, and what failed."""
        ray = self._connected()
        operation = self.role.operation
        asked = {
            place: getattr(self._actors[place], operation).remote(request)
            for place, request in requests.items()
        }
        return self._gather(ray, asked, self.config.deadline_s, operation)

    def drop(self, places: Iterable[int]) -> None:
        """Kill the actors of these places."""
        dropped = {place: self._actors.pop(place) for place in places if place in self._actors}
        for place in dropped:
            self._pids.pop(place, None)
        _kill_all(dropped)

    def stop(self) -> None:
        """Kill all actors."""
        self.drop(list(self._actors))

    def _connected(self) -> Any:
        """Return the package, connected to a cluster."""
        ray = _connect(self.config)
        if self._remote is None:
            own = self.role
            self._remote = ray.remote(
                num_cpus=own.cpus, num_gpus=own.gpus, max_restarts=0, max_task_retries=0
            )(own.program)
            self._arguments = own.arguments(ray)
        return ray

    def _gather(
        self, ray: Any, asked: Mapping[int, Any], limit_s: float, operation: str
    ) -> tuple[dict[int, Any], dict[int, str]]:
        """Wait for replies; return them, and a sentence for each that did not come."""
        deadline = time.monotonic() + limit_s
        replies: dict[int, Any] = {}
        lost: dict[int, str] = {}
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=limit_s)
        for place, reference in asked.items():
            left_s = max(0.0, deadline - time.monotonic())
            ready, _ = ray.wait([reference], timeout=left_s)
            if not ready:
                lost[place] = f"no reply to {operation!r} within {limit_s:g} s"
                continue
            try:
                replies[place] = ray.get(reference, timeout=left_s + GRACE_S)
            except ray.exceptions.RayTaskError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, ReasonEnvError):
                    # Of the request, not of the actor: another one would raise it too.
                    raise cause from error
                lost[place] = f"{operation!r} raised {_last_line(error)}"
            except ray.exceptions.RayError as error:
                lost[place] = f"{type(error).__name__}: {_first_line(error)}"
        return replies, lost


def sampler_actors(
    model: Any, config: EngineConfig, settings: SamplerSettings
) -> RayActors[SampleRequest, Answer]:
    """Build the group of an engine's samplers.

    Args:
        model: Its copies sample; the copies get their weights with each request.
        config: Their resources and time limits.
        settings: What their engines are built with.
    """
    role = Role(
        program=Sampler,
        operation="sample",
        packages=SAMPLING,
        arguments=lambda ray: (ray.put(skeleton(model)), settings, _get),
        cpus=config.threads,
        gpus=config.actor_gpus,
    )
    return RayActors(role, config)


def grader_actors(config: EngineConfig) -> RayActors[Jobs, Verdicts]:
    """Build the group of a run's graders."""
    role = Role(
        program=Grader,
        operation="grade",
        packages=GRADING,
        arguments=lambda ray: (),
        cpus=1,
        gpus=0.0,
    )
    return RayActors(role, config)


def _connect(config: EngineConfig) -> Any:
    """Return the package, connected to the cluster of the config, or to one of this process."""
    # No reports about the use of Ray leave the machine.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _package()
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.ray_address is None:
        where: dict[str, Any] = {
            "num_cpus": config.actors * config.threads + config.graders,
            "include_dashboard": False,
        }
    else:
        where = {"address": config.ray_address}
    try:
        ray.init(**where, **quiet)
    # Ray raises the bare class when a part of a cluster is not up within its own 30 seconds.
    except Exception as error:
        raise EngineError(
            f"Ray must connect with {where}, got {_first_line(error)}; a cluster elsewhere is "
            "started by: ray start --head"
        ) from error
    _warn_if_small(ray.cluster_resources(), config)
    return ray


def _warn_if_small(resources: Mapping[str, float], config: EngineConfig) -> None:
    cpus = config.actors * config.threads + config.graders
    asked = {"CPU": cpus, "GPU": config.actors * config.actor_gpus}
    for name, number in asked.items():
        found = resources.get(name, 0)
        if number > found:
            _log.warning(
                "%d actors need %g %s, and the cluster has %g; waiting %g s for more",
                config.actors + config.graders, number, name, found, config.start_s,
            )  # fmt: skip


def _get(stored: Any) -> Arrays:
    """Find the arrays that `RayActors.put` stored; called in the actor."""
    # In a list, because Ray would fetch a bare reference before the actor asks for it.
    return _package().get(stored[0])


def _kill_all(actors: Mapping[int, Any]) -> None:
    ray = _package() if actors else None
    if ray is not None and ray.is_initialized():
        for actor in actors.values():
            ray.kill(actor)


def _package() -> Any:
    """Import Ray, which takes a second, only where it is used."""
    return importlib.import_module("ray")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2][:200]
