"""`reason-env probe`: what is true of a model on some problems, and which methods to run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reason_env.agents.probe import Judgement, ProbeConfig, ProbeReport, Section, page, probe
from reason_env.agents.runs import FLAT, write_text
from reason_env.agents.train import TrainConfig, build_session
from reason_env.cli.flags import out, parsed, trust
from reason_env.cli.measured import Measured


def run(words: list[str]) -> None:
    """Probe a model on some problems."""

    @dataclass(frozen=True, kw_only=True)
    class Probe(Measured):
        """Measure a model on some problems; say which methods' preconditions hold, and why."""

        probe: Annotated[ProbeConfig, FLAT] = field(default_factory=ProbeConfig)
        out: Path | None = None
        """Directory of probe.html and probe.json; None: named by model and problems, under runs/.
        An earlier probe there is replaced."""

    trust(words)
    given = parsed(Probe, words, prog="probe")
    config = given.config()
    with out.status("loading ...") as status:
        session = build_session(config)
        out.print(Text(config.env.template_line(session.policy.codec)))
        report = probe(
            session,
            given.probe,
            given=config,
            on_progress=lambda text: status.update(f"{text} ..."),
        )
    _show(report)
    place = given.out or Path("runs") / _name(given.model, config)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / "probe.json", report.to_json())
    write_text(place / "probe.html", page(report))
    out.print(Text(f"page: {place / 'probe.html'}\nfigures: {place / 'probe.json'}"))


def _show(report: ProbeReport) -> None:
    out.print(
        Text(
            f"{report.model} on {report.problems}: {report.sampled_tokens:,} generated tokens, "
            f"{report.minutes:.1f} minutes"
        )
    )
    for section in report.sections:
        out.print(_section_table(section))
    out.print(_gate_table(report.judgements))
    if report.undeclared:
        out.print(Text(f"no precondition declared: {', '.join(report.undeclared)}"))
    for note in report.notes:
        out.print(Text(note))
    for judgement in report.judgements:
        if judgement.command is not None:
            out.print(Text(f"{judgement.method} ({judgement.status}):\n  {judgement.command}"))


def _section_table(section: Section) -> Table:
    """Tabulate the figures of one measurement, with their cost."""
    cost = f"{section.num_problems} problems, {section.sampled_tokens:,} generated tokens"
    left_out = f", {section.num_left_out} left out" if section.num_left_out else ""
    table = _table(f"{section.title} ({cost}, {section.seconds:.0f} s{left_out})")
    for name in ("figure", "value", "problems"):
        table.add_column(name, justify="left" if name == "figure" else "right", overflow="fold")
    for figure in section.figures:
        number = str(figure.num_problems) if figure.num_problems else ""
        table.add_row(Text(figure.label), Text(figure.text()), number)
    for name, why in section.missing.items():
        table.add_row(Text(f"not measured: {name}"), Text(why), "")
    return table


def _gate_table(judgements: Sequence[Judgement]) -> Table:
    """Tabulate the methods and their preconditions, each with its figure."""
    table = _table("Preconditions")
    for name in ("method", "status", "precondition", "measured"):
        table.add_column(name, overflow="fold")
    for judgement in judgements:
        table.add_row(Text(judgement.method, style="bold"), Text(judgement.status, style="bold"))
        for gate in judgement.gates:
            table.add_row("", Text(gate.status), Text(gate.rule), Text(gate.evidence))
        if judgement.place is not None:
            table.add_row("", "", Text("on the map (docs/boundary.md)"), Text(judgement.place))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1))


def _name(model: str, config: TrainConfig) -> str:
    model = Path(model.rstrip(os.sep)).name
    source = Path(config.env.source.rpartition(":")[2]).stem or "problems"
    return f"probe-{model}-{source}"
