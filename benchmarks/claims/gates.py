"""Gates of a claim: what it presumes, measured on the base model before anything is trained.

A gate is a measured number with a bound. The numbers are the figures of `reason-env probe`, with a
claim's own ones beside them (names that begin with `own/`), on training problems that no run has.
A plain number, a `Figure` without limits, is compared itself. Of a figure with an interval the
whole interval must hold; a gate that stays undecided does not hold. A claim whose
gates do not all hold is "not testable here", and its arms are not run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.claims.design import Plan
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.probe import (
    SECTIONS,
    Figure,
    Findings,
    Gate,
    GateResult,
    ProbeConfig,
    Subject,
    judged,
    probe,
)
from reason_env.agents.train import Session, TrainConfig, build_session
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

SEED = 999
"""Seed of the problems and samples that gates are measured on; no run has it."""
GROUP_SIZE = 8
OWN = "own/"
OwnFigures = Callable[[Subject, int], Findings]
"""(model and problems, seed) -> a claim's own figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """The gates of a plan as they were measured."""

    gates: str
    """Hash of the gates and of what they were measured on."""
    started: str
    """When the measurement began, ISO 8601."""
    results: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that do not hold."""
        return tuple(result for result in self.results if result.status != "holds")

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able object."""
        results = [
            {"rule": own.rule, "status": own.status, "evidence": own.evidence, "reason": own.reason}
            for own in self.results
        ]
        return {"gates": self.gates, "started": self.started, "results": results}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Precondition":
        """Read what `to_dict` wrote."""
        results = tuple(GateResult(**own) for own in data["results"])
        return cls(gates=data["gates"], started=data["started"], results=results)


def measured(plan: Plan, own: OwnFigures | None = None) -> Precondition:
    """Measure the gates of a plan on the base model.

    Args:
        plan: Its source, gates and number of problems.
        own: The claim's own figures; None: the gates read only the probe's.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    found = figures(plan, own)
    return Precondition(gates=plan.gates_hash, started=started, results=judge(plan.gates, found))


def figures(plan: Plan, own: OwnFigures | None) -> Findings:
    """Measure what the gates of a plan read.

    Raises:
        ConfigError: A gate reads an own figure of the claim, and there is no function for it.
    """
    names = {name for gate in plan.gates for name in gate.figures}
    theirs = {name for name in names if name.startswith(OWN)}
    found: list[Figure] = []
    missing: dict[str, str] = {}
    if names - theirs:
        sections = tuple(one for one in SECTIONS if any(name.startswith(one) for name in names))
        config = ProbeConfig(num_problems=plan.gate_problems, sections=sections)
        for section in probe(_session(plan), config).sections:
            found += section.figures
            missing |= section.missing
    if theirs:
        if own is None:
            raise ConfigError(
                f"a claim must measure its own figures, got a gate on {min(theirs)!r} and no "
                "function; define `figures` in its file"
            )
        subject = Subject(session=_session(plan), again=GROUP_SIZE)
        extra = own(subject, SEED)
        found += extra.figures
        missing |= extra.missing
    return Findings(figures=tuple(found), missing=missing)


def judge(gates: Sequence[Gate], found: Findings) -> tuple[GateResult, ...]:
    """Compare each gate's figure with its bound."""
    by_name = {figure.name: figure for figure in found.figures}
    return tuple(judged(gate, by_name, found.missing) for gate in gates)


def _session(plan: Plan) -> Session:
    env = EnvConfig(
        problems=plan.source,
        size=plan.gate_problems,
        problem_seed=SEED,
        max_tokens=plan.max_tokens,
    )
    method = GRPOConfig(group_size=GROUP_SIZE)
    return build_session(TrainConfig(model=plan.model, method=method, env=env, seed=SEED))
