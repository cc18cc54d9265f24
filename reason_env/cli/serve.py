"""`reason-env serve`: the environment for clients of other processes, by OpenEnv's protocol."""

from dataclasses import dataclass, field
from typing import Annotated

from reason_env.agents.runs import FLAT
from reason_env.cli.flags import out, parsed, trust
from reason_env.cli.problems import codec_of
from reason_env.cli.tables import counted
from reason_env.env import EnvConfig, Format, Granularity
from reason_env.serving import ServingConfig, Sessions


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve the environment to OpenEnv clients, each with a session of its own."""

    env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
    serving: Annotated[ServingConfig, FLAT] = field(default_factory=ServingConfig)
    granularity: Granularity = "step"
    """What one action is: a token, a reasoning step, or the whole response."""
    format: Format = "text"
    """Actions and observations as text, or as tokens (ids)."""
    model: str = "base"
    """Model whose tokens actions and limits are counted in: base (bytes), smollm2, a run, a
    directory or a hub name."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code is imported and
    runs."""


def run(words: list[str]) -> None:
    """Serve until interrupted."""
    trust(words)
    given: Serve = parsed(Serve, words, prog="serve")
    from reason_env.agents.integrations import openenv

    sessions = Sessions(
        given.env, codec_of(given.model), granularity=given.granularity, format=given.format
    )
    asked = "no token" if given.serving.token_file is None else "a token"

    def ready(url: str) -> None:
        out.print(
            f"{url}: {counted(len(sessions.problems), 'problem')} of {sessions.problems.name}, "
            f"{asked} asked for; Ctrl-C ends it"
        )

    openenv.serve(sessions, given.serving, ready=ready)
