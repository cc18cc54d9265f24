"""`reason-env bench`: what this machine does with a model, and what would make it faster."""

import json as json_text
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reason_env.agents.bench import BenchReport, Speed, bench
from reason_env.agents.runs import FLAT, write_text
from reason_env.agents.train import build_session
from reason_env.cli.flags import given_flags, out, parsed, trust
from reason_env.cli.measured import Measured
from reason_env.cli.tables import counted
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError


def run(words: list[str]) -> None:
    """Measure this machine."""

    @dataclass(frozen=True, kw_only=True)
    class Bench(Measured):
        """Measure sampling, learning, grading and an iteration of GRPO against the limit."""

        env: Annotated[EnvConfig, FLAT] = field(default_factory=lambda: EnvConfig(max_tokens=64))
        problems_per_iteration: int = 8
        """Problems of an iteration."""
        seconds: float = 120.0
        """No turn of measurements begins later; there are at least three."""
        threads: int | None = None
        """Threads of torch; None: as OMP_NUM_THREADS says, else one a core."""
        json: Path | None = None
        """File that the figures are written to as JSON."""

    trust(words)
    # A spec allows no other setting of the environment, the default's included.
    default = Bench(env=EnvConfig()) if given_flags(words, {"stack"}) else Bench()
    given = parsed(Bench, words, prog="bench", default=default)
    if given.threads is not None:
        if given.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {given.threads}; give 1")
        torch.set_num_threads(given.threads)
    config = given.config()
    with out.status("loading ...") as status:
        session = build_session(config)
        out.print(Text(config.env.template_line(session.policy.codec)))
        report = bench(
            session,
            seconds=given.seconds,
            on_turn=lambda turn: status.update(f"turn {turn} ..." if turn else "warming up ..."),
        )
    _show(report)
    if given.json is not None:
        write_text(given.json, json_text.dumps(asdict(report), indent=1))
        out.print(Text(f"figures: {given.json}"))


def _show(report: BenchReport) -> None:
    out.print(
        Text(
            f"{report.model} on {report.problems}: {report.num_parameters / 1e6:.1f} M parameters, "
            f"{report.precision}, {report.device}, {counted(report.num_threads, 'thread')}; "
            f"{report.num_rows} responses of {report.max_tokens} tokens after prompts of "
            f"{report.prompt_tokens}"
        )
    )
    table = Table(
        title=f"medians of {counted(report.num_turns, 'turn')}, {report.seconds:.0f} s",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1),
    )
    for name in ("", "median", "range", "unit", "of the limit"):
        table.add_column(name, justify="right" if name not in ("", "unit") else "left")
    for speed in report.speeds:
        share = "" if speed.share is None else f"{speed.share:.0%}"
        spread = f"{_digits(speed, speed.low)} to {_digits(speed, speed.high)}"
        table.add_row(speed.label, _digits(speed, speed.median), spread, speed.unit, share)
    out.print(table)
    for text in report.advice or ("nothing was found that would raise the limit",):
        out.print(Text(text))


def _digits(speed: Speed, value: float) -> str:
    return f"{value:,.1f}" if speed.unit in ("s", "%") else f"{value:,.0f}"
