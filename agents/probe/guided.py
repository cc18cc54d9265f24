"""POPE's precondition: on unsolved problems, part of the reference solution makes success possible.

Problems are chosen for having no success in their first samples, so some succeed by chance when
they are sampled again. Guidance is therefore compared with fresh unguided episodes of the same
problems, not with the zero that they were chosen for.

    prompt      the steps are guidance in the prompt (POPE)
    response    the steps begin the response (a prefix)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reason_env.agents.methods import POPEConfig
from reason_env.agents.probe.figure import Figure, Findings, difference_figure, rate_figure
from reason_env.agents.probe.subject import Subject, problem_id_of, state_of, success_rate
from reason_env.agents.rollout import Group, Start
from reason_env.state import (
    Guidance,
    ReasonState,
    partial_solution_guidance,
    with_reference_prefix,
)

PLACES = ("prompt", "response")


@dataclass(frozen=True, slots=True)
class GuidedRow:
    """The success rates of one unsolved problem, sampled again."""

    problem_id: str
    rates: Mapping[str, float]
    """"none", "prompt_0.25", "response_0.25", ... -> share of graded episodes that succeeded."""


def guided_rows(
    subject: Subject, groups: Sequence[Group], seed: int, shares: Sequence[float]
) -> list[GuidedRow]:
    """Sample unsolved problems without and with parts of their reference solutions.

    Args:
        subject: The model and the problems.
        groups: Groups of problems with a reference solution.
        seed: Determines the episodes.
        shares: Shares of the solution's steps, rounded up to whole steps.
    """
    starts: list[Start] = []
    for group in groups:
        state = state_of(group)
        arms = {"none": state}
        for share in shares:
            for place, given in zip(PLACES, _guided(state, share), strict=True):
                if given is not None and subject.fits(given):
                    arms[f"{place}_{share:g}"] = given
        starts += [
            Start(
                state=given,
                num_samples=subject.again,
                learn_from=given,
                group=f"{arm}:{group.key}",
                role="probe",
            )
            for arm, given in arms.items()
        ]
    found = {group.key: group for group in subject.collect(starts, seed).groups}
    return [
        GuidedRow(
            problem_id_of(group),
            {
                arm: rate
                for arm in ("none", *(f"{place}_{share:g}" for share in shares for place in PLACES))
                if (own := found.get(f"{arm}:{group.key}")) is not None
                and (rate := success_rate(own)) is not None
            },
        )
        for group in groups
    ]


def guided_findings(rows: Sequence[GuidedRow], shares: Sequence[float]) -> Findings:
    """Average success with each part shown, and its difference from fresh unguided episodes."""
    plain = [row.rates["none"] for row in rows if "none" in row.rates]
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    if plain:
        figures.append(rate_figure("guided/none", "sampled again without guidance", plain))
    for place, words in zip(PLACES, ("in the prompt", "as the response's beginning"), strict=True):
        for share in shares:
            arm = f"{place}_{share:g}"
            both = [
                (row.rates[arm], row.rates["none"])
                for row in rows
                if arm in row.rates and "none" in row.rates
            ]
            if not both:
                missing[f"guided/{arm}"] = "the guided prompts do not fit"
                continue
            guided, unguided = zip(*both, strict=True)
            part = f"{share:.0%} of the solution {words}"
            figures += [
                rate_figure(f"guided/{arm}", part, guided),
                difference_figure(f"guided/{arm}_gain", f"gain by {part}", guided, unguided),
                rate_figure(
                    f"guided/{arm}_unlocked",
                    f"problems with a success, {part}",
                    [float(rate > 0) for rate in guided],
                ),
            ]
    return Findings(figures=tuple(figures), missing=missing)


def _guided(state: ReasonState, share: float) -> tuple[ReasonState | None, ReasonState | None]:
    """Return the state with the part in the prompt, and with the part as its response's beginning.

    None for a part that is the whole solution: nothing would be left to do.
    """
    piece = partial_solution_guidance(state.problem, share, delimiter=state.codec.step_delimiter)
    if piece is None or len(piece.pieces) >= len(state.problem.solution):
        return None, None
    instruction = POPEConfig().instruction
    pieces = (piece, Guidance("instruction", (instruction,))) if instruction else (piece,)
    return state.with_guidance(*pieces), with_reference_prefix(state, len(piece.pieces))
