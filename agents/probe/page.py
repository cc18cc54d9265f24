"""The page of a probe: one HTML file without scripts, in the look of report.html.

Every text is escaped, and a content security policy forbids scripts and loading anything. The page
is written for narrow screens too: rows stack, nothing scrolls sideways.
"""

from collections.abc import Sequence
from html import escape

from reason_env.agents.probe.figure import BARE, Figure, Section
from reason_env.agents.probe.gates import Judgement, Status
from reason_env.agents.probe.report import ProbeReport
from reason_env.agents.report import stylesheet

STATUS_CLASS: dict[Status, str] = {
    "holds": "holds",
    "does not hold": "fails",
    "undecided": "open",
    "not measurable": "unknown",
}
STYLE = """
main { overflow-wrap: anywhere; }
nav ol { flex-wrap: wrap; gap: 0 22px; }
.judged { border-top: 1px solid var(--rule); padding: 14px 0 6px; }
.judged h3 { margin: 0 0 6px; display: flex; flex-wrap: wrap; gap: 4px 12px; }
.status { font: 600 13px/1.3 var(--sans); color: var(--s); }
.status::before, .gates li::before { content: var(--mark); color: var(--s); margin-right: 7px; }
.holds { --s: var(--good); --mark: "\\2713"; } .fails { --s: var(--bad); --mark: "\\2717"; }
.open { --s: var(--muted); --mark: "?"; } .unknown { --s: var(--muted); --mark: "\\2013"; }
.gates { margin: 0 0 10px; padding: 0; list-style: none; font: 14px/1.5 var(--sans); }
.gates li { display: grid; grid-template-columns: 16px minmax(0, 1fr); padding: 3px 0; }
.gates .evidence { display: block; color: var(--muted); overflow-wrap: anywhere; }
.place { font: 14px/1.5 var(--sans); margin: 0 0 10px; }
.figures { margin: 0; font: 14px/1.4 var(--sans); font-variant-numeric: tabular-nums; }
.figures > div { display: grid; grid-template-columns: minmax(0, 1fr) 20em 9em; gap: 2px 18px;
  align-items: center; padding: 6px 0; border-bottom: 1px solid var(--rule); }
.figures dt { overflow-wrap: anywhere; }
.figures dd { margin: 0; text-align: right; }
.range { position: relative; height: 14px; background: var(--wash); border-radius: 3px; }
.range i { position: absolute; top: 5px; height: 4px; border-radius: 2px; background: var(--a6); }
.range b { position: absolute; top: 1px; width: 3px; height: 12px; margin-left: -1px; }
.range b { background: var(--a1); } .range u { background: var(--muted); }
.range u { position: absolute; top: 0; width: 1px; height: 14px; left: 50%; }
.notes { font: 14px/1.5 var(--sans); color: var(--muted); padding-left: 1.2em; }
@media screen and (max-width: 800px) {
  .figures > div { grid-template-columns: minmax(0, 1fr) auto; }
  .figures .range { grid-column: 1 / -1; }
}
"""


def page(report: ProbeReport) -> str:
    """Write the page of a report."""
    title = f"{report.model} on {report.problems}"
    sections = [
        _section("methods", "Which methods' preconditions hold", _judgements(report)),
        *(_section(own.name, own.title, _measured(own)) for own in report.sections),
    ]
    links = [("methods", "Methods"), *((own.name, own.name) for own in report.sections)]
    contents = "".join(
        f'<li><a href="#{escape(name)}">{escape(label.capitalize())}</a></li>'
        for name, label in links
    )
    measured = max((own.num_problems for own in report.sections), default=0)
    facts = (
        f"{measured:,} of {report.num_problems:,} problems, {report.group_size} responses of each, "
        f"seed {report.seed}; {report.sampled_tokens:,} generated tokens, "
        f"{report.minutes:.1f} minutes. Brackets are 95 % intervals over problems."
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)} - reason-env probe</title>\n"
        f"<style>\n{stylesheet()}{STYLE}</style>\n</head>\n<body>\n"
        '<header class="masthead"><p class="kicker">reason-env probe</p>'
        f'<h1>{escape(title)}</h1><p class="facts">{escape(facts)}</p></header>\n'
        f'<nav aria-label="Sections"><ol>{contents}</ol></nav>\n'
        f"<main>\n{''.join(sections)}</main>\n"
        "<footer><p>Written by <code>reason-env</code>. This file is self-contained and loads "
        "nothing from the network.</p></footer>\n</body>\n</html>\n"
    )


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{escape(name)}"><h2>{escape(title)}</h2>\n{body}</section>\n'


def _judgements(report: ProbeReport) -> str:
    lead = (
        "A precondition holds if the whole interval lies on the right side of its threshold. "
        "Undecided ones need more problems: give more minutes."
    )
    undeclared = (
        f"<p>No precondition declared: {escape(', '.join(report.undeclared))}.</p>\n"
        if report.undeclared
        else ""
    )
    judgements = "".join(map(_judgement, report.judgements))
    return f'<p class="lead">{lead}</p>\n{_list(report.notes)}{judgements}{undeclared}'


def _judgement(judgement: Judgement) -> str:
    kind = STATUS_CLASS[judgement.status]
    gates = "".join(
        f'<li class="{STATUS_CLASS[gate.status]}"><span>{escape(gate.rule)} '
        f"({escape(gate.status)})"
        f'<span class="evidence">{escape(gate.evidence)}</span></span></li>'
        for gate in judgement.gates
    )
    command = f"<pre>{escape(judgement.command)}</pre>" if judgement.command else ""
    place = (
        f'<p class="place">On the map: {escape(judgement.place)}.</p>' if judgement.place else ""
    )
    return (
        f'<article class="judged" data-method="{escape(judgement.method)}">'
        f"<h3>{escape(judgement.method)} "
        f'<span class="status {kind}">{escape(judgement.status)}</span></h3>'
        f'<ul class="gates">{gates}</ul>{place}{command}</article>\n'
    )


def _measured(section: Section) -> str:
    cost = (
        f"{section.num_problems:,} problems, {section.sampled_tokens:,} generated tokens, "
        f"{section.seconds:.0f} s"
    )
    if section.num_left_out:
        cost += f"; {section.num_left_out:,} more were left out for lack of time"
    rows = "".join(map(_figure, section.figures))
    missing = [f"Not measured: {name}, because {why}." for name, why in section.missing.items()]
    figures = f'<dl class="figures">{rows}</dl>\n' if rows else ""
    return f'<p class="lead">{escape(cost)}.</p>\n{figures}{_list(missing)}'


def _figure(figure: Figure) -> str:
    problems = f", {figure.num_problems:,} problems" if figure.num_problems else ""
    return (
        f'<div data-figure="{escape(figure.name)}"><dt>{escape(figure.label)}</dt>'
        f'<dd title="{escape(figure.name + problems)}">{escape(figure.text())}</dd>'
        f"{_range(figure)}</div>\n"
    )


def _range(figure: Figure) -> str:
    """Draw the interval of a fraction: in 0..1, or in -1..1 with a line at 0 for a difference."""
    if figure.unit not in BARE or figure.low is None or figure.high is None:
        return ""
    is_difference = figure.unit == "difference"

    def place(value: float) -> float:
        return 100 * ((value + 1) / 2 if is_difference else value)

    low, high, at = map(place, (figure.low, figure.high, figure.estimate))
    zero = "<u></u>" if is_difference else ""
    return (
        f'<dd class="range" aria-hidden="true">{zero}'
        f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b style="left:{at:.1f}%"></b></dd>'
    )


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>\n' if items else ""
