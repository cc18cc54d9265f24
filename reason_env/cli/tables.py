"""Tables and lines that the commands print, as text and rich renderables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reason_env.errors import shown, visible
from reason_env.problem import Problem
from reason_env.problems import ProblemCheck
from reason_env.verdict import Outcome, Verdict

Row = Mapping[str, Any]


def row_line(row: Row, iterations: int) -> str:
    """Format one iteration as one line.

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
        ("cpi/alpha", "step size"),
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


def counted(number: int, noun: str) -> str:
    """Format a number of things.

    >>> counted(1, "problem"), counted(4000, "problem")
    ('1 problem', '4,000 problems')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size_text(number: int) -> str:
    """Format a number of bytes.

    >>> size_text(3_283_456), size_text(2_500_000_000)
    ('3.3 MB', '2.50 GB')
    """
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def duration_text(seconds: float) -> str:
    """Format a duration.

    >>> duration_text(3.21), duration_text(150.0), duration_text(9000.0)
    ('3.2 s', '2.5 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def interval(row: Row, name: str) -> str:
    """Format an estimate with its 95 % limits.

    >>> interval({"eval/pass_at_1": 0.5, "eval/pass_at_1_low": 0.4, "eval/pass_at_1_high": 0.6},
    ...          "eval/pass_at_1")
    '0.500 [0.400, 0.600]'
    """
    if row.get(name) is None:
        return "-"
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def before_and_after(rows: Sequence[Row]) -> Table:
    """Tabulate the first and the last evaluation of a run, with 95 % intervals."""
    evaluated = [row for row in rows if row.get("eval/pass_at_1") is not None]
    first, last = evaluated[0], evaluated[-1]
    table = _table(
        f"Evaluation on {counted(first['eval/num_problems'], 'problem')}, iterations "
        f"{first['iteration']} and {last['iteration']}, 95 % intervals"
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
    """Tabulate pass@1 and pass@k by level."""
    table = _table("By level")
    for name in ("level", "problems", "pass@1", f"pass@{k}"):
        table.add_column(name, justify="right")
    for level, (count, first, at_k) in by_level.items():
        table.add_row(str(level), str(count), f"{first:.3f}", f"{at_k:.3f}")
    return table


def arm_table(source: str, part: dict[str, Any], baseline: str) -> Table:
    """Tabulate one problem source of a comparison, with 95 % bootstrap intervals over seeds.

    Cells fold on a narrow terminal: a number that is cut off is a wrong number.
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
        differences: dict[str, Any] = arm["differences"] or {}
        against = differences.get("final_pass_at_1")
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
    """Format a mean with its limits on a second line; no limits if there are too few seeds.

    >>> print(estimate_text({"mean": 0.5, "low": 0.25, "high": 0.75}, sign="+"))
    +0.500
    [+0.250, +0.750]
    """
    mean = f"{estimate['mean']:{sign}.3f}"
    if estimate["low"] is None:
        return mean
    return f"{mean}\n[{estimate['low']:{sign}.3f}, {estimate['high']:{sign}.3f}]"


def outcome_table(counts: Mapping[Outcome, int]) -> Table:
    """Tabulate the number of responses with each outcome."""
    table = _table("Outcomes")
    for name in ("outcome", "responses", "share"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    total = sum(counts.values())
    for outcome, count in counts.items():
        table.add_row(outcome.value, f"{count:,}", f"{count / total:.3f}" if total else "-")
    return table


def graded_line(line: int, verdict: Verdict, answer: str, other: bool | None) -> str:
    """Format one graded row as one line.

    >>> graded_line(3, Verdict(Outcome.INCORRECT, "35", "different integers"), "36", None)
    "line 3: incorrect, '35' for '36' (different integers)"
    """
    peer = "" if other is None else f"; the other grader {'accepts' if other else 'refuses'} it"
    found = "no answer" if verdict.extracted is None else shown(verdict.extracted, 60)
    return (
        f"line {line}: {verdict.outcome.value}, {found} for {shown(answer, 60)} "
        f"({verdict.reason}){peer}"
    )


def problem_text(problem: Problem) -> Text:
    """Format a problem with its reference, as plain text: its brackets are not markup."""
    lines = [f"{problem.problem_id}  (level {problem.level})", problem.question, ""]
    lines += [f"  {index:>2}  {step}" for index, step in enumerate(problem.solution, 1)]
    lines.append(f"  answer: {problem.answer}")
    return Text("\n".join(lines))


def check_lines(check: ProblemCheck, most: int) -> list[str]:
    """Format a check of problems, without its failed rows, as lines."""
    chosen = ", ".join(
        field if field == name else f"{field} from {name}" for field, name in check.columns.items()
    )
    lines = [
        f"{check.name}: {counted(check.num_rows, 'row')}, {counted(check.num_problems, 'problem')}",
        *([f"columns: {chosen}"] if chosen else []),
    ]
    if check.budget is not None and check.budget.num_solutions:
        fits = f"all {check.budget.num_solutions:,} reference solutions fit"
        lines.append(check.budget.line or f"{fits} max_tokens={check.budget.max_tokens}")
    if check.probe is not None:
        probe, best = check.probe, check.probe.best
        undecided = f"; {probe.num_undecided:,} pairs undecided" if probe.num_undecided else ""
        lines.append(
            f"constants: {len(probe.shares)} tried, the best is {shown(best.constant)} with "
            f"{best.earned:,} of {probe.num_problems:,} problems{undecided}; "
            f"{len(probe.above) or 'none'} above their share"
        )
        lines += [
            f"  {shown(one.constant, 60)} earns {one.earned:,}, its share is {one.honest:,}: also "
            f"{', '.join(shown(text, 60) for text in one.examples)}"
            for one in probe.above[:most]
        ]
    failed = counted(len(check.failed), "row")
    lines.append(f"{failed} failed:" if check.failed else "every row passed")
    return lines


def failed_table(check: ProblemCheck, most: int) -> Table:
    """Build the table of the rows that failed a check."""
    table = Table(box=SIMPLE)
    for name in ("file", "row", "reason"):
        # A name is never cut: it is what a person looks for.
        table.add_column(name, overflow="fold", no_wrap=name == "row")
    for row in check.failed[:most]:
        cells = (Path(check.name).name, row.place, row.reason)
        # Escaped here, so that the table is as wide as what it shows.
        table.add_row(*(Text(visible(cell)) for cell in cells))
    if len(check.failed) > most:
        table.add_row(Text(""), Text("..."), Text(f"{len(check.failed) - most:,} more"))
    return table
