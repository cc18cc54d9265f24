"""LTE's precondition: a list of its wrong answers keeps the policy from giving them again.

    repeating   share of episodes that give a listed answer, with the list and without it
    success     share of episodes that succeed, with LTE's hints and without them

Both sides are fresh episodes of the same failed problems, so the problems' selection (no success in
a group) favours neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reason_env.agents.methods import LTEConfig
from reason_env.agents.probe.figure import Findings, difference_figure, rate_figure
from reason_env.agents.probe.subject import Subject, problem_id_of, success_rate
from reason_env.agents.rollout import Group
from reason_env.state import Guidance, mistakes_guidance


@dataclass(frozen=True, slots=True)
class MistakesRow:
    """One failed problem, sampled again with its wrong answers listed and without."""

    problem_id: str
    repeated_hinted: float
    repeated_plain: float
    success_hinted: float
    success_plain: float


def mistakes_rows(subject: Subject, groups: Sequence[Group], seed: int) -> list[MistakesRow]:
    """Sample failed groups again, as LTE does and unhinted; skips groups without a listed answer.

    Args:
        subject: The model and the problems.
        groups: Groups without success.
        seed: Determines the episodes.
    """
    lte = subject.method(LTEConfig(group_size=subject.again))
    hinted = [
        start for start in lte.follow_up(groups, np.random.default_rng(seed))
        if start.role == "hinted" and listed_answers_of(start.state.guidance)
    ]  # fmt: skip
    plain = [
        replace(start, state=start.learn_from, role="extra", group=f"plain:{start.group}")
        for start in hinted
    ]
    if not hinted:
        return []
    found = {group.key: group for group in subject.collect([*hinted, *plain], seed).groups}
    rows: list[MistakesRow] = []
    for start in hinted:
        with_list, without = found[start.group], found[f"plain:{start.group}"]
        rates = (success_rate(with_list), success_rate(without))
        if rates[0] is None or rates[1] is None:
            continue
        listed = listed_answers_of(start.state.guidance)
        rows.append(
            MistakesRow(
                problem_id=problem_id_of(with_list),
                repeated_hinted=_repeated(with_list, listed),
                repeated_plain=_repeated(without, listed),
                success_hinted=rates[0],
                success_plain=rates[1],
            )
        )
    return rows


def mistakes_findings(rows: Sequence[MistakesRow]) -> Findings:
    """Average both rates with and without the list, and their paired differences."""
    if not rows:
        return Findings(missing={"mistakes": "no failed problem has a wrong answer to list"})
    repeated = [row.repeated_plain for row in rows], [row.repeated_hinted for row in rows]
    success = [row.success_hinted for row in rows], [row.success_plain for row in rows]
    return Findings(
        figures=(
            rate_figure("mistakes/repeated_plain", "listed answers, given without the list",
                        repeated[0]),
            rate_figure("mistakes/repeated_hinted", "listed answers, given despite the list",
                        repeated[1]),
            difference_figure("mistakes/avoided", "listed answers avoided by the list", *repeated),
            rate_figure("mistakes/success_plain", "success of unhinted retries", success[1]),
            rate_figure("mistakes/success_hinted", "success of hinted retries", success[0]),
            difference_figure("mistakes/gain", "gain of hinted over unhinted retries", *success),
        )
    )  # fmt: skip


def listed_answers_of(guidance: Sequence[Guidance]) -> frozenset[str]:
    """Return the wrong answers that some guidance lists."""
    return frozenset(
        answer for piece in guidance if piece.kind == "mistakes" for answer in piece.pieces
    )


def _repeated(group: Group, listed: frozenset[str]) -> float:
    """Return the share of graded episodes whose answer is listed, in the list's own form."""
    same: list[bool] = []
    for item in group.graded:
        verdict = item.final_state.verdict
        answer = None if verdict is None else verdict.extracted
        own = None if answer is None else mistakes_guidance([answer])
        same.append(own is not None and own.pieces[0] in listed)
    return sum(same) / len(same)
