# pyright: reportMissingImports=false
# OpenEnv is in the environment of `make test-interop` only.
"""OpenEnv: the environment as a server of that protocol, and the client for it.

An OpenEnv session is a WebSocket that holds one environment. `reset` takes what `Session.reset`
takes, so that a client begins anywhere: at a problem, a state, a prefix, with a hint. `state`
returns the state and a snapshot; another session that begins with the snapshot is a fork.

The protocol, its routes and its schemas are OpenEnv's own; `Session` does the work and `Gate`
stands before it. Resets run on the server's event loop, and steps, which grade, on a thread a
session.

Not covered: tools over MCP (there are none), and OpenEnv's web page, which is off.
"""

import contextlib
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from reason_env.agents.integrations.installed import check_installed
from reason_env.errors import ActionError, ConfigError, ReasonEnvError, UnknownNameError, shown
from reason_env.serving import Gate, ServingConfig, Sessions

check_installed("openenv", "uvicorn", extra="openenv")

import uvicorn  # noqa: E402 - after the check
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from openenv.core.client_types import StepResult  # noqa: E402
from openenv.core.env_client import EnvClient  # noqa: E402
from openenv.core.env_server.http_server import HTTPEnvServer  # noqa: E402
from openenv.core.env_server.interfaces import Environment  # noqa: E402
from openenv.core.env_server.types import (  # noqa: E402
    Action,
    ConcurrencyConfig,
    EnvironmentMetadata,
    Observation,
    ServerMode,
    State,
)
from pydantic import Field, StrictInt  # noqa: E402

NAME = "reason_env"
MESSAGES = frozenset({"reset", "step", "state", "close"})
"""Types of the messages of a session."""
SPARE_CONNECTIONS = 32
"""Connections beyond the sessions: requests over HTTP, and those that are told there is no room."""
TASKS_SHOWN = 100
"""Problems in the list of a split; OpenEnv asks for a bounded one, and ranges give the rest."""


class ReasonAction(Action):
    """One action: a text, or token ids where the server's format is "tokens"."""

    text: str | None = None
    token_ids: list[StrictInt] | None = None


GivenAction = ReasonAction | str | Sequence[int]
"""What a client may give as an action."""


class ReasonObservation(Observation):
    """What the policy sees, and what Gymnasium's `step` returns beside it."""

    text: str | None = None
    """Prompt and response so far; None where the format is "tokens"."""
    token_ids: list[int] | None = None
    """Their ids, without padding; None where the format is "text"."""
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = Field(default_factory=dict)
    """The environment's info."""


class ReasonServerState(State):
    """The episode as values."""

    reason_state: dict[str, Any] | None = None
    """The state, with its problem's id in place of the problem; None before the first reset."""
    snapshot: str | None = None
    """The whole stack with its random generators; `reset(snapshot=...)` continues exactly here."""


class ReasonServer(Environment[ReasonAction, ReasonObservation, ReasonServerState]):
    """One session, as OpenEnv asks for it."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, sessions: Sessions) -> None:
        """Make a session."""
        super().__init__()
        self._sessions = sessions
        self._session = sessions()

    def reset(
        self, /, seed: Any = None, episode_id: Any = None, **arguments: Any
    ) -> ReasonObservation:
        """Begin an episode; see `Session.reset`."""
        message = {"seed": seed, "episode_id": episode_id, **arguments}
        return _observation(self._session.reset(message))

    async def reset_async(
        self, /, seed: Any = None, episode_id: Any = None, **arguments: Any
    ) -> ReasonObservation:
        """Begin an episode; no names of arguments collide on the way here."""
        return self.reset(seed=seed, episode_id=episode_id, **arguments)

    def step(
        self, action: ReasonAction, timeout_s: float | None = None, **_: Any
    ) -> ReasonObservation:
        """Take one action; grading has its own limit, so `timeout_s` is not needed."""
        del timeout_s
        if (action.text is None) == (action.token_ids is None):
            raise ActionError("an action must hold either text or token_ids, got both or none")
        given = action.token_ids if action.text is None else action.text
        return _observation(self._session.step(given))

    @property
    def state(self) -> ReasonServerState:
        """The episode as values."""
        return ReasonServerState(**self._session.state())

    def get_metadata(self) -> EnvironmentMetadata:
        """Name, version and problems of the server."""
        problems = self._sessions.problems
        return EnvironmentMetadata(
            name=NAME,
            description=f"reasoning as a resettable MDP: {len(problems)} problems of "
            f"{problems.name!r}, content hash {problems.content_hash}",
            version=version("reason-env"),
        )

    def list_splits(self) -> list[str]:
        """The one split that is served."""
        return [self._sessions.split]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """The first problems of the split."""
        return self._sessions.tasks(split, 0, TASKS_SHOWN)

    def num_tasks(self, split: str) -> int:
        """The number of problems."""
        self._sessions.check_split(split)
        return len(self._sessions.problems)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """One problem, by its place."""
        return self._sessions.task(split, index)

    def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """The problems of a slice."""
        return self._sessions.tasks(split, start, stop)

    def close(self) -> None:
        """Close the session's environment."""
        self._session.close()


class ReasonClient(EnvClient[GivenAction, ReasonObservation, ReasonServerState]):
    """A session with a server, synchronous or asynchronous as OpenEnv's clients are.

    An action is a text, ids, or a `ReasonAction`. For a server with a token:
    `ReasonClient(url, headers=bearer(token))`.
    """

    def _step_payload(self, action: GivenAction) -> dict[str, Any]:
        if isinstance(action, ReasonAction):
            return action.model_dump(exclude_none=True)
        return {"text": action} if isinstance(action, str) else {"token_ids": list(action)}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ReasonObservation]:
        reward, done = payload["reward"], payload["done"]
        seen = ReasonObservation(**payload["observation"], reward=reward, done=done)
        return StepResult(observation=seen, reward=reward, done=done)

    def _parse_state(self, payload: dict[str, Any]) -> ReasonServerState:
        return ReasonServerState(**payload)


def bearer(token: str) -> dict[str, str]:
    """The headers of a client whose server asks for a token."""
    return {"Authorization": f"Bearer {token}"}


def build_app(sessions: Sessions, config: ServingConfig) -> Gate:
    """Build the server as an ASGI application.

    Args:
        sessions: Makes the environment of each session.
        config: Who may use it, and the limits; host and port are not used.

    Raises:
        ConfigError: The token cannot be read.
    """
    # Without the pages /docs and /redoc, which load scripts of other hosts.
    app = FastAPI(title="reason-env", version="1.0.0", docs_url=None, redoc_url=None)
    app.add_exception_handler(ReasonEnvError, _refused)
    server = HTTPEnvServer(
        lambda: ReasonServer(sessions),
        ReasonAction,
        ReasonObservation,
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=config.max_sessions,
            # Only for sessions that no socket holds: the gate ends the others sooner.
            session_timeout=2 * config.idle_s,
        ),
        env_name=NAME,
        state_cls=ReasonServerState,
    )
    server.register_routes(app, mode=ServerMode.SIMULATION)
    return Gate(app, config, sockets={"/ws": MESSAGES})


def serve(sessions: Sessions, config: ServingConfig, *, ready: Callable[[str], None]) -> None:
    """Serve until the process is interrupted or terminated.

    Args:
        sessions: Makes the environment of each session.
        config: Address and limits.
        ready: Called with the server's address when connections are accepted.

    Raises:
        ConfigError: The address is in use or not of this machine, or the token cannot be read.
    """
    app = build_app(sessions, config)
    with contextlib.closing(_listener(config)) as listener:
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=config.max_message_bytes,
            limit_concurrency=config.max_sessions + SPARE_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        ready(f"http://{_shown_host(config.host)}:{listener.getsockname()[1]}")
        uvicorn.Server(settings).run(sockets=[listener])


def _listener(config: ServingConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(
            "host and port must be free and of this machine, got "
            f"{shown(config.host)}, {config.port}: {error.strerror}; give another port, or 0 for "
            "any free one"
        ) from error


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = 404 if isinstance(error, UnknownNameError) else 422
    return JSONResponse({"detail": str(error)}, status_code=status)


def _observation(seen: dict[str, Any]) -> ReasonObservation:
    return ReasonObservation(**seen, done=seen["terminated"] or seen["truncated"])
