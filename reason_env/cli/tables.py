"""What the command line shows: run rows, reports and problems as rich renderables, not printed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reason_env.errors import shown
from reason_env.problem import Problem
from reason_env.verdict import Outcome, Verdict

Row = Mapping[str, Any]


def row_line(row: Row, iterations: int) -> str:
    """Returns one iteration as one line.

    >>> row_line({"iteration": 3, "rollout/pass_rate": 0.25, "rollout/sampled_tokens_total": 4096,
    ...           "time/iteration_s": 2.0}, 40)
    'iteration   3/40  pass rate 0.250  tokens 4,096  2.0 s'
    """
    parts = [f"iteration {row['iteration']:>3}/{iterations}"]
    for name, label in (
        ("rollout/pass_rate", "pass rate"),
        ("advantage/groups_without_signal_fraction", "no signal"),
        ("update/entropy", "entropy"),
        ("update/grad_norm", "grad"),
        ("cpi/advantage", "advantage"),
        ("cpi/alpha", "alpha"),
    ):
        if row.get(name) is not None:
            parts.append(f"{label} {row[name]:.3f}")
    if row.get("rollout/sampled_tokens_total") is not None:
        parts.append(f"tokens {row['rollout/sampled_tokens_total']:,}")
    if row.get("time/iteration_s") is not None:
        parts.append(f"{row['time/iteration_s']:.1f} s")
    if row.get("eval/pass_at_1") is not None:
        parts.append(f"| eval pass@1 {interval(row, 'eval/pass_at_1')}")
    return "  ".join(parts)


def interval(row: Row, name: str) -> str:
    """Returns an estimate with its 95 % limits.

    >>> interval({"eval/pass_at_1": 0.5, "eval/pass_at_1_low": 0.4, "eval/pass_at_1_high": 0.6},
    ...          "eval/pass_at_1")
    '0.500 [0.400, 0.600]'
    """
    if row.get(name) is None:
        return "-"
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def before_and_after(rows: Sequence[Row]) -> Table:
    """Returns the table that ends a run: the first and the last evaluation, with 95 % intervals."""
    evaluated = [row for row in rows if row.get("eval/pass_at_1") is not None]
    first, last = evaluated[0], evaluated[-1]
    table = _table(
        f"Evaluation on {first['eval/num_problems']} problems, iterations {first['iteration']} and "
        f"{last['iteration']}, 95 % intervals"
    )
    for name in ("", "pass@1", f"pass@{first['eval/k']}", "greedy"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for label, row in (("before", first), ("after", last)):
        table.add_row(
            label,
            interval(row, "eval/pass_at_1"),
            interval(row, "eval/pass_at_k"),
            interval(row, "eval/greedy_pass_rate"),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1))


def level_table(by_level: Mapping[int, tuple[int, float, float]], k: int) -> Table:
    """Returns pass@1 and pass@k by level."""
    table = _table("By level")
    for name in ("level", "problems", "pass@1", f"pass@{k}"):
        table.add_column(name, justify="right")
    for level, (count, first, at_k) in by_level.items():
        table.add_row(str(level), str(count), f"{first:.3f}", f"{at_k:.3f}")
    return table


def outcome_table(counts: Mapping[Outcome, int]) -> Table:
    """Returns how many responses had each outcome."""
    table = _table("Outcomes")
    for name in ("outcome", "responses", "share"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    total = sum(counts.values())
    for outcome, count in counts.items():
        table.add_row(outcome.value, f"{count:,}", f"{count / total:.3f}" if total else "-")
    return table


def graded_line(line: int, verdict: Verdict, answer: str, other: bool | None) -> str:
    """Returns one graded row as one line.

    >>> graded_line(3, Verdict(Outcome.INCORRECT, "35", "different integers"), "36", None)
    "line 3: incorrect, '35' for '36' (different integers)"
    """
    said = "" if other is None else f"; the other grader {'accepts' if other else 'refuses'} it"
    found = "no answer" if verdict.extracted is None else shown(verdict.extracted, 60)
    return (
        f"line {line}: {verdict.outcome.value}, {found} for {shown(answer, 60)} "
        f"({verdict.reason}){said}"
    )


def problem_text(problem: Problem) -> Text:
    """Returns one problem with its reference, as plain text: brackets in it are not markup."""
    lines = [f"{problem.problem_id}  (level {problem.level})", problem.question, ""]
    lines += [f"  {index:>2}  {step}" for index, step in enumerate(problem.solution, 1)]
    lines.append(f"  answer: {problem.answer}")
    return Text("\n".join(lines))
