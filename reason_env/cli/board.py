"""The live board of a comparison: every running run, and a line for each event."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reason_env.agents.compare import Progress, Run, tokens_of


class Board:
    """The live display of a comparison: running runs, their tokens, and the time left."""

    def __init__(self, runs: Sequence[Run], budget: int) -> None:
        self.budget = budget
        self.total = len(runs)
        self.began = time.monotonic()
        self.tokens = {_key(run): tokens_of(run.metrics()) for run in runs}
        self.at_start = self.done_fraction
        self.ended = {_key(run) for run in runs if run.is_finished}
        self.running: dict[tuple[Any, ...], Progress] = {}
        self._last_line: dict[tuple[Any, ...], int] = {}
        """Tokens of each run when its last line was printed."""

    @property
    def done_fraction(self) -> float:
        """Fraction 0..1 of all tokens that have been generated."""
        done = sum(min(tokens, self.budget) for tokens in self.tokens.values())
        return done / (self.budget * max(1, self.total))

    def note(self, progress: Progress) -> Text | None:
        """Record a run's progress; return a line to print if it was evaluated or ended."""
        key = _key(progress.run)
        self.tokens[key] = max(progress.tokens, self.tokens.get(key, 0))
        value = "" if progress.pass_at_1 is None else f"pass@1 {progress.pass_at_1:.3f}"
        if progress.status == "running":
            self.running[key] = progress
            if progress.pass_at_1 is None or not self._is_due(key, progress.tokens):
                return None
            self._last_line[key] = progress.tokens
            return Text(f"  {_name(progress.run)}  {progress.tokens:>11,} tokens  {value}")
        self.running.pop(key, None)
        self.ended.add(key)
        head = f"[{len(self.ended)}/{self.total}] {progress.status}: {_name(progress.run)}"
        if progress.status == "failed":
            return Text(f"{head}; log: {progress.run.log}\n{progress.run.log_tail()}")
        return Text(f"{head}  {progress.tokens:,} tokens  {value}{self._left()}")

    def _is_due(self, key: tuple[Any, ...], tokens: int) -> bool:
        # A line at the first evaluation, then every fifth of the budget: progress, not a flood.
        last = self._last_line.get(key)
        return last is None or (tokens != last and tokens >= last + self.budget / 5)

    def _left(self) -> str:
        done = self.done_fraction - self.at_start
        if done <= 0:
            return ""
        left = (time.monotonic() - self.began) / done * (1 - self.done_fraction)
        return f"  about {left / 60:.1f} minutes left" if self.done_fraction < 1 else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the board, on a terminal only, where it is redrawn in place."""
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


def _key(run: Run) -> tuple[Any, ...]:
    return (run.source, run.arm, run.seed)


def _name(run: Run) -> str:
    return f"{run.source}  {run.arm}  seed {run.seed}"
