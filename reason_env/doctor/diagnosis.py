"""diagnose: everything that is looked at, in order. Nothing is sent, and nothing is downloaded."""

from importlib.util import find_spec
from pathlib import Path

from reason_env.doctor import machine
from reason_env.doctor.finding import Finding
from reason_env.doctor.requirements import (
    DISTRIBUTION,
    INSTALL,
    PURPOSE,
    extras,
    installed,
    module_of,
    required,
    requirements,
    try_imports,
)
from reason_env.verdict import Outcome
from reason_env.verify import grade

BY_ALGEBRA = ("#### 1", r"\int_0^1 2x dx")
"""A response and a reference that only a worker process can compare."""


def diagnose() -> tuple[Finding, ...]:
    """Look at the machine; something is wrong if a finding's status is `broken`."""
    asked = requirements()
    there = [name for name in map(module_of, PURPOSE) if find_spec(name) is not None]
    imports = try_imports(there)
    return (
        _own(is_installed=asked is not None),
        *machine.system(),
        *required(asked or (), imports.failed),
        *extras(asked or ()),
        *machine.processors(),
        *machine.devices(imports.torch),
        *machine.folders(),
        *machine.settings(),
        _grading(can_algebra={"sympy", "math_verify"} <= set(there)),
    )


def _own(*, is_installed: bool) -> Finding:
    place = repr(str(Path(__file__).parents[1]))
    if is_installed:
        value = f"{installed(DISTRIBUTION)} in {place}"
        return Finding(topic="system", name=DISTRIBUTION, value=value)
    return Finding(
        topic="system",
        name=DISTRIBUTION,
        status="missing",
        value=f"{place} is not installed, so that no version of a package can be checked",
        advice=INSTALL,
    )


def _grading(*, can_algebra: bool) -> Finding:
    """Grade one answer by a worker process."""
    if not can_algebra:
        return Finding(
            topic="grading",
            name="worker",
            status="missing",
            value="answers that need algebra stay undecided without sympy and math-verify",
            advice=INSTALL,
        )
    verdict = grade(*BY_ALGEBRA)
    if verdict.outcome is Outcome.CORRECT:
        return Finding(topic="grading", name="worker", value="started, and decided an integral")
    return Finding(
        topic="grading",
        name="worker",
        status="broken",
        value=f"must decide an integral, got {verdict.outcome.value} ({verdict.reason})",
        advice="grading needs Linux or macOS, and the right to start processes",
    )
