"""`reason-env export verl`: problems as the data of another trainer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.text import Text

from reason_env.agents.runs import FLAT
from reason_env.cli.flags import HELP_FLAGS, out, parsed, trust
from reason_env.cli.problems import codec_of
from reason_env.cli.tables import counted
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Verl:
    """Write problems as a Parquet file for verl: prompt, problem, environment and start state."""

    env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
    model: str = "base"
    """Model that is to be trained, whose tokens limits are counted in: a directory, or a hub name,
    as verl's actor_rollout_ref.model.path."""
    out: Path = Path("problems.parquet")
    """The file."""
    evaluation: bool = False
    """Write rows for verl's validation: one episode of each, whose return is the reward."""
    seed: int = 0
    """Seed of the starts that the wrappers of a spec draw."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code runs."""


def run(words: list[str]) -> None:
    """Write the file."""
    if words[:1] != ["verl"] and words[:1] not in HELP_FLAGS:
        raise ConfigError(
            "export must name a trainer, verl; for example: reason-env export verl --problems "
            "chain --out train.parquet"
        )
    trust(words)
    given: Verl = parsed(Verl, words[1:] if words[:1] == ["verl"] else words, prog="export verl")
    from reason_env.agents.integrations.export import (
        EVALUATION,
        TRAINING,
        verl_rows,
        write_parquet,
    )

    loop = EVALUATION if given.evaluation else TRAINING
    codec = codec_of(given.model)
    rows = verl_rows(given.env, codec, agent_loop=loop, seed=given.seed)
    write_parquet(rows, given.out)
    out.print(Text(given.env.template_line(codec)))
    out.print(Text(f"{given.out}: {counted(len(rows), 'problem')} for the agent loop {loop}"))
