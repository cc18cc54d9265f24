"""The numbers of `benchmarks.families.hosts` as figures of gates."""

from collections.abc import Mapping

from benchmarks.families import hosts
from reason_env.agents.probe import Figure, Findings, Subject


def host_figures(subject: Subject, measure: hosts.Measure) -> Findings:
    """Measure whether a model hosts a family's mechanism; "guided success" is `own/guided_success`.

    Args:
        subject: Model and problems.
        measure: One of `hosts.MEASURES`.
    """
    return found_figures(
        measure(hosts.Subject(policy=subject.session.policy, env=subject.session.env))
    )


def found_figures(found: Mapping[str, float]) -> Findings:
    """Convert plain numbers to figures without limits, which gates compare themselves."""
    return Findings(
        figures=tuple(
            Figure(name=f"own/{label.replace(' ', '_')}", label=label, estimate=number)
            for label, number in found.items()
        )
    )
