"""What is true of a model on some problems, in minutes: figures, judgements and a page."""

from reason_env.agents.probe.config import ProbeConfig
from reason_env.agents.probe.figure import Figure, Findings, Section
from reason_env.agents.probe.gates import Gate, GateResult, Judgement
from reason_env.agents.probe.page import page
from reason_env.agents.probe.preconditions import preconditions, register_preconditions
from reason_env.agents.probe.probe import probe
from reason_env.agents.probe.report import ProbeReport

__all__ = [
    "Figure",
    "Findings",
    "Gate",
    "GateResult",
    "Judgement",
    "ProbeConfig",
    "ProbeReport",
    "Section",
    "page",
    "preconditions",
    "probe",
    "register_preconditions",
]
