"""Gates: a method's preconditions as measured figures against thresholds.

A gate holds if the whole 95 % interval lies on the right side of the threshold, does not hold if
the whole interval lies on the wrong side, and is undecided between: more problems decide. A figure
without an interval (a count, a timing) is compared itself. A figure of fewer than `LEAST_PROBLEMS`
problems decides nothing, because its interval is too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reason_env.agents.probe.figure import Figure
from reason_env.errors import ConfigError

Status = Literal["holds", "does not hold", "undecided", "not measurable"]
LEAST_PROBLEMS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One precondition of a method.

    Raises:
        ConfigError: There is no figure, or not exactly one threshold.
    """

    rule: str
    """What must hold, in words."""
    figures: tuple[str, ...]
    """Names of figures; the first one that was measured decides."""
    above: float | None = None
    """The figure must be above this threshold."""
    below: float | None = None
    """The figure must be below this threshold."""
    reason: str
    """Why the method needs it, and why this threshold."""
    is_needed: bool = True
    """False: if no figure was measured, the method's status ignores the gate."""

    def __post_init__(self) -> None:
        if not self.figures:
            raise ConfigError(f"the gate {self.rule!r} must name a figure, got none")
        if (self.above is None) == (self.below is None):
            raise ConfigError(
                f"the gate {self.rule!r} must have one threshold, got above={self.above!r} and "
                f"below={self.below!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate and what the measurements say about it."""

    rule: str
    status: Status
    evidence: str
    """The figure against its threshold, or why it was not measured."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a method's preconditions hold for this model on these problems."""

    method: str
    status: Status
    gates: tuple[GateResult, ...]
    command: str | None
    """What to run next; None if a precondition does not hold."""
    place: str | None = None
    """Where the model lies on the method's map (`boundary.py`); None off the map."""


def judged(gate: Gate, figures: Mapping[str, Figure], missing: Mapping[str, str]) -> GateResult:
    """Compare the first measured figure of a gate with its threshold.

    >>> figure = Figure(name="a", label="success", estimate=0.5, low=0.3, high=0.7, num_problems=20)
    >>> gate = Gate(rule="a is high", figures=("a",), above=0.25, reason="")
    >>> judged(gate, {"a": figure}, {}).status
    'holds'
    """
    status, evidence = _status(gate, figures, missing)
    return GateResult(rule=gate.rule, status=status, evidence=evidence, reason=gate.reason)


def combined(gates: Sequence[Gate], results: Sequence[GateResult]) -> Status:
    """Return the status of a method: the worst of its gates.

    One gate that does not hold decides; else one that could not be measured; else one that is
    undecided.
    """
    counted = {
        result.status
        for gate, result in zip(gates, results, strict=True)
        if gate.is_needed or result.status != "not measurable"
    }
    order: tuple[Status, ...] = ("does not hold", "not measurable", "undecided", "holds")
    return next(status for status in order if status in counted or status == "holds")


def _status(
    gate: Gate, figures: Mapping[str, Figure], missing: Mapping[str, str]
) -> tuple[Status, str]:
    figure = next((figures[name] for name in gate.figures if name in figures), None)
    if figure is None:
        return "not measurable", _why(gate.figures, missing)
    is_above = gate.above is not None
    threshold = gate.above if gate.above is not None else gate.below
    assert threshold is not None, "checked at construction"
    sign = ">" if is_above else "<"
    shown = f"{figure.label}: {figure.text()}; needs {sign} {threshold:g}"
    low = figure.estimate if figure.low is None else figure.low
    high = figure.estimate if figure.high is None else figure.high
    if 0 < figure.num_problems < LEAST_PROBLEMS:
        return "undecided", f"{shown}; only {figure.num_problems} problems"
    if (low > threshold) if is_above else (high < threshold):
        return "holds", shown
    if (high <= threshold) if is_above else (low >= threshold):
        return "does not hold", shown
    return "undecided", f"{shown}; {figure.num_problems} problems do not decide"


def _why(names: Sequence[str], missing: Mapping[str, str]) -> str:
    """Return the reason for the first figure: its own, or that of its section."""
    found = [
        missing[key] for name in names for key in (name, name.partition("/")[0]) if key in missing
    ]
    return "; ".join(dict.fromkeys(found)) or f"{names[0]} was not measured"
