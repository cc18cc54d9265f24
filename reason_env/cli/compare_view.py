"""What `compare` shows: a board of what runs, a line for each event, and the table that ends it."""

import time
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reason_env.agents.compare import Progress, Run, tokens_of


class Board:
    """The live picture of a comparison: every running run, and how much is done."""

    def __init__(self, runs: Sequence[Run], budget: int) -> None:
        self.budget = budget
        self.total = len(runs)
        self.began = time.monotonic()
        self.tokens = {_key(run): tokens_of(run.metrics()) for run in runs}
        self.at_start = self.done_fraction
        self.ended = {_key(run) for run in runs if run.is_finished}
        self.running: dict[tuple[Any, ...], Progress] = {}
        self._said: dict[tuple[Any, ...], float | None] = {}

    @property
    def done_fraction(self) -> float:
        """Of all tokens, 0..1."""
        done = sum(min(tokens, self.budget) for tokens in self.tokens.values())
        return done / (self.budget * max(1, self.total))

    def note(self, progress: Progress) -> Text | None:
        """Takes what has changed; returns a line where a run was evaluated or ended."""
        key = _key(progress.run)
        self.tokens[key] = max(progress.tokens, self.tokens.get(key, 0))
        value = "" if progress.pass_at_1 is None else f"pass@1 {progress.pass_at_1:.3f}"
        if progress.status == "running":
            self.running[key] = progress
            is_new = progress.pass_at_1 is not None and self._said.get(key) != progress.tokens
            if progress.pass_at_1 is None or not is_new:
                return None
            if self._said.get(key) is not None and progress.tokens < self._next(key):
                return None
            self._said[key] = progress.tokens
            return Text(f"  {_name(progress.run)}  {progress.tokens:>11,} tokens  {value}")
        self.running.pop(key, None)
        self.ended.add(key)
        head = f"[{len(self.ended)}/{self.total}] {progress.status}: {_name(progress.run)}"
        if progress.status == "failed":
            return Text(f"{head}; log: {progress.run.log}\n{progress.run.log_tail()}")
        return Text(f"{head}  {progress.tokens:,} tokens  {value}{self._left()}")

    def _next(self, key: tuple[Any, ...]) -> float:
        # A line every fifth of a budget: enough to see that it goes on, not a flood.
        return (self._said[key] or 0) + self.budget / 5

    def _left(self) -> str:
        done = self.done_fraction - self.at_start
        if done <= 0:
            return ""
        left = (time.monotonic() - self.began) / done * (1 - self.done_fraction)
        return f"  about {left / 60:.1f} minutes left" if self.done_fraction < 1 else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the board; only on a terminal, where it is drawn over again."""
        if not console.is_terminal:
            return
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        for progress in self.running.values():
            share = progress.tokens / self.budget
            table.add_row(
                Text(_name(progress.run)),
                ProgressBar(total=1.0, completed=min(1.0, share), width=24),
                Text(f"{progress.tokens:,}"),
                Text("-" if progress.pass_at_1 is None else f"pass@1 {progress.pass_at_1:.3f}"),
            )
        yield table
        yield Text(
            f"{len(self.ended)} of {self.total} runs, {self.done_fraction:.0%} of the tokens"
            f"{self._left()}"
        )


def arm_table(source: str, part: dict[str, Any], baseline: str) -> Table:
    """Returns the table of one problem source: 95 % bootstrap intervals over seeds.

    Cells fold where the terminal is narrow: a number that is cut is a wrong number.
    """
    table = Table(
        title=f"{source}: means over seeds, 95 % bootstrap intervals; differences to {baseline}",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    level = part["level"]
    reach = "tokens to reach" if level is None else f"tokens to {level:.3f}"
    for name in ("arm", "seeds", "pass@1", f"pass@{part['k']}", "area", reach, "difference"):
        table.add_column(name, justify="left" if name == "arm" else "right", overflow="fold")
    for label, arm in part["arms"].items():
        found = arm["tokens_to_level"]
        middle = "-" if found["median"] is None else f"{found['median']:,.0f}"
        against = (arm["differences"] or {}).get("final_pass_at_1")
        table.add_row(
            Text(label),
            str(arm["num_seeds"]),
            estimate_text(arm["final_pass_at_1"]),
            estimate_text(arm["final_pass_at_k"]),
            estimate_text(arm["area"]),
            middle if level is None else f"{middle}\n({found['num_reached']}/{arm['num_seeds']})",
            "" if against is None else estimate_text(against, sign="+"),
        )
    return table


def estimate_text(estimate: dict[str, Any], sign: str = "") -> str:
    """Returns a mean above its limits; without limits where there are too few seeds.

    >>> print(estimate_text({"mean": 0.5, "low": 0.25, "high": 0.75}, sign="+"))
    +0.500
    [+0.250, +0.750]
    """
    mean = f"{estimate['mean']:{sign}.3f}"
    if estimate["low"] is None:
        return mean
    return f"{mean}\n[{estimate['low']:{sign}.3f}, {estimate['high']:{sign}.3f}]"


def _key(run: Run) -> tuple[Any, ...]:
    return (run.source, run.arm, run.seed)


def _name(run: Run) -> str:
    return f"{run.source}  {run.arm}  seed {run.seed}"
