"""What is true of a model on some problems, in minutes: figures, judgements and a page."""

from reason_env.agents.probe.config import SECTIONS, ProbeConfig
from reason_env.agents.probe.energy import token_energies
from reason_env.agents.probe.figure import (
    Figure,
    Findings,
    Section,
    difference_figure,
    mean_figure,
    rate_figure,
)
from reason_env.agents.probe.gates import Gate, GateResult, Judgement, judged
from reason_env.agents.probe.page import page
from reason_env.agents.probe.preconditions import preconditions, register_preconditions
from reason_env.agents.probe.probe import probe
from reason_env.agents.probe.report import ProbeReport
from reason_env.agents.probe.subject import Subject

__all__ = [
    "SECTIONS",
    "Figure",
    "Findings",
    "Gate",
    "GateResult",
    "Judgement",
    "ProbeConfig",
    "ProbeReport",
    "Section",
    "Subject",
    "difference_figure",
    "judged",
    "mean_figure",
    "page",
    "preconditions",
    "probe",
    "rate_figure",
    "register_preconditions",
    "token_energies",
]
