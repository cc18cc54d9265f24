"""The numbers of `benchmarks.families.hosts` as figures of gates."""

from benchmarks.families import hosts
from reason_env.agents.probe import Figure, Findings, Subject


def host_figures(subject: Subject, measure: hosts.Measure) -> Findings:
    """Measure whether a model hosts a family's mechanism; "guided success" is `own/guided_success`.

    Args:
        subject: Model and problems.
        measure: One of `hosts.MEASURES`.
    """
    inner = hosts.Subject(policy=subject.session.policy, env=subject.session.env)
    return Findings(
        figures=tuple(
            Figure(name=f"own/{label.replace(' ', '_')}", label=label, estimate=number)
            for label, number in measure(inner).items()
        )
    )
