"""Ask actors until every one has answered its request, whatever is lost on the way."""

import logging
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol, TypeVar

from reason_env.errors import EngineError

Request_contra = TypeVar("Request_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)
R = TypeVar("R")
A = TypeVar("A")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFacts:
    """What an actor says of itself once it has started."""

    pid: int
    versions: tuple[str, ...]
    """Of what its answers depend on."""

    @classmethod
    def here(cls, *packages: str) -> "ActorFacts":
        """Of this process, with the versions of Python and of these packages."""
        found = [f"{name} {metadata.version(name)}" for name in packages]
        return cls(pid=os.getpid(), versions=(*found, f"Python {platform.python_version()}"))


class Asked(Protocol[Request_contra, Answer_co]):
    """Actors elsewhere, each at a place 0, 1, ..."""

    def start(self, places: Iterable[int]) -> Mapping[int, str]:
        """Start the actors that are missing; return what failed, by place."""
        ...

    def ask(
        self, requests: Mapping[int, Request_contra]
    ) -> tuple[Mapping[int, Answer_co], Mapping[int, str]]:
        """Let the actor of each place answer its request; return answers, and what failed."""
        ...

    def drop(self, places: Iterable[int]) -> None:
        """Kill the actors of these places."""
        ...

    def stop(self) -> None:
        """Kill all actors."""
        ...


def answers_of(
    actors: Asked[R, A],
    requests: Mapping[int, R],
    *,
    max_restarts: int,
    problem_with: Callable[[A, R], str | None],
    on_lost: Callable[[int], None],
) -> dict[int, A]:
    """Return the answer to each request, by place; those of lost actors come from other ones.

    Args:
        actors: Asked in rounds; those that fail are replaced.
        requests: By place.
        max_restarts: Rounds with failures that are allowed.
        problem_with: Says why an answer cannot be used; None if it can.
        on_lost: Called with the number of actors of each round that are replaced.

    Raises:
        EngineError: More rounds had failures.
    """
    answers: dict[int, A] = {}
    failures: list[str] = []
    try:
        while len(answers) < len(requests):
            missing = {place: own for place, own in requests.items() if place not in answers}
            lost = dict(actors.start(missing))
            started = {place: own for place, own in missing.items() if place not in lost}
            if started:
                found, failed = actors.ask(started)
                lost |= failed
                for place, answer in found.items():
                    problem = problem_with(answer, requests[place])
                    if problem is None:
                        answers[place] = answer
                    else:
                        lost[place] = problem
            if lost:
                failures.append(_sentence(lost))
                actors.drop(lost)
                _check(failures, max_restarts)
                on_lost(len(lost))
                _log.warning("actors failed; starting others for their shares: %s", failures[-1])
    except BaseException:
        # After an interrupt the actors would still work on this call when the next one comes.
        actors.stop()
        raise
    return answers


def _sentence(lost: Mapping[int, str]) -> str:
    return "; ".join(f"actor {place}: {lost[place]}" for place in sorted(lost))


def _check(failures: list[str], max_restarts: int) -> None:
    if len(failures) > max_restarts:
        raise EngineError(
            f"every actor must answer within {max_restarts} restarts, got {len(failures)} "
            f"failures: {' | '.join(failures)[:2_000]}"
        )
