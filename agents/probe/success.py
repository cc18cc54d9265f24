"""How often the policy succeeds, by level, and how many groups give GRPO a signal.

signal at G     1 - C(c, G) / C(n, G) - C(n - c, G) / C(n, G), averaged over problems: the
                probability that G of n samples, of which c are correct, do not all agree
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.methods import ReferenceIds
from reason_env.agents.probe.figure import Figure, Findings, mean_figure, rate_figure
from reason_env.agents.probe.subject import state_of
from reason_env.agents.rollout import Group, Trajectory
from reason_env.agents.statistics import pass_at_k_per_problem
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

NO_SOLUTION = "the problems have no reference solutions; give a solution column"


def success_findings(groups: Sequence[Group], group_size: int) -> Findings:
    """Measure pass@1, pass@G, signal, endings and lengths of sampled groups.

    Args:
        groups: One of each problem; groups with fewer than `group_size` graded episodes are left
            out of the first three.
        group_size: G, and the k of pass@k.
    """
    full = [group for group in groups if len(group.graded) >= group_size]
    missing: dict[str, str] = {}
    figures: list[Figure] = []
    if full:
        figures += _passes(full, group_size)
        sizes = [size for size in (2, 4, 8, 16, 32, 64) if size < group_size]
        figures += [_signal(full, size, f"success/signal_at_{size}") for size in sizes]
        figures.append(_signal(full, group_size, "success/signal"))
        figures.append(
            rate_figure(
                "success/unsolved",
                f"problems without success in {group_size} samples",
                [float(_counts(group)[0] == 0) for group in full],
            )
        )
        figures.append(
            rate_figure(
                "success/failed_chain",
                "problems with a failed response of several steps",
                [float(failed_chain(group) is not None) for group in full],
            )
        )
        figures.append(_cpi_resolution(full))
    else:
        missing["success"] = "the verifier failed on an episode of every problem"
    return Findings(figures=(*figures, *_endings(groups)), missing=missing)


def signal_probability(num_correct: int, num_samples: int, size: int) -> float:
    """Estimate the probability that `size` samples of a problem do not all agree, unbiased.

    >>> signal_probability(1, 4, 2), signal_probability(0, 4, 2)  # 1 - 0/6 - 3/6
    (0.5, 0.0)
    """
    if not 0 <= num_correct <= num_samples or not 1 <= size <= num_samples:
        raise ConfigError(
            f"size and num_correct must lie within num_samples, got {size!r}, {num_correct!r} and "
            f"{num_samples!r}"
        )
    agree = math.comb(num_correct, size) + math.comb(num_samples - num_correct, size)
    return 1 - agree / math.comb(num_samples, size)


def failed_chain(group: Group) -> Trajectory | None:
    """Return a group's first failed episode; None if there is none, or it has only one step."""
    source = next((item for item in group.graded if not item.is_success), None)
    return source if source is not None and source.final_state.num_steps > 1 else None


def resolution(counts: Sequence[tuple[int, int]], num_restarts: int, samples: int) -> float:
    """Compute the half-width of the 95 % interval of a mean return, over fresh restarts.

    Var of a restart's mean = p (1 - p) - E[q (1 - q)] (1 - 1 / samples), with p the mean success
    and q that of one problem, E[q (1 - q)] unbiased from c of n as c (n - c) / (n (n - 1)).

    Args:
        counts: (correct, samples) of each problem, at least two samples.
        num_restarts: Restarts, each from a problem drawn at random.
        samples: Episodes of each restart.

    >>> round(resolution([(2, 4), (2, 4)], 100, 2), 3)  # 1.96 sqrt((1/4 - 1/3 / 2) / 100)
    0.057
    """
    mean = float(np.mean([c / n for c, n in counts]))
    within = float(np.mean([c * (n - c) / (n * (n - 1)) for c, n in counts]))
    variance = max(0.0, mean * (1 - mean) - within * (1 - 1 / samples))
    return NormalDist().inv_cdf(0.975) * (variance / num_restarts) ** 0.5


def reference_findings(
    states: Sequence[ReasonState], reference_ids: ReferenceIds, max_tokens: int
) -> Findings:
    """Measure how many problems have a reference solution that fits a response, and its length."""
    lengths = [len(reference_ids(state)) if state.problem.solution else None for state in states]
    known = [float(length) for length in lengths if length is not None]
    if not known:
        return Findings(missing={"success/solutions": NO_SOLUTION})
    fitting = [float(length is not None and length <= max_tokens) for length in lengths]
    label = "problems with a reference solution that fits a response"
    return Findings(
        figures=(
            rate_figure("success/solutions", label, fitting),
            mean_figure(
                "success/solution_tokens",
                "length of a reference solution",
                known,
                unit="tokens",
            ),
        )
    )


def level_rows(groups: Sequence[Group], group_size: int) -> list[tuple[int, Figure, Figure]]:
    """Return (level, pass@1, pass@G) of each level, lowest first."""
    levels: dict[int, list[Group]] = {}
    for group in groups:
        if len(group.graded) >= group_size:
            levels.setdefault(state_of(group).problem.level, []).append(group)
    return [
        (
            level,
            _pass_figure(own, 1, f"success/level_{level}/pass_at_1", f"level {level}: pass@1"),
            _pass_figure(
                own,
                group_size,
                f"success/level_{level}/pass_at_{group_size}",
                f"level {level}: pass@{group_size}",
            ),
        )
        for level, own in sorted(levels.items())
    ]


def _passes(groups: Sequence[Group], group_size: int) -> list[Figure]:
    figures = [
        _pass_figure(groups, 1, "success/pass_at_1", "pass@1"),
        _pass_figure(groups, group_size, "success/pass_at_k", f"pass@{group_size}"),
    ]
    by_level = level_rows(groups, group_size)
    if len(by_level) > 1:
        figures += [figure for _, *own in by_level for figure in own]
    return figures


def _signal(groups: Sequence[Group], size: int, name: str) -> Figure:
    values = [signal_probability(*_counts(group), size) for group in groups]
    return rate_figure(name, f"groups with signal at G = {size}", values)


def _cpi_resolution(groups: Sequence[Group]) -> Figure:
    config = CPIConfig()
    counts = [_counts(group) for group in groups]
    return Figure(
        name="success/cpi_resolution",
        label=f"advantage that CPI's test sees with {config.num_restarts} restarts x "
        f"{config.samples} episodes",
        estimate=resolution(counts, config.num_restarts, config.samples),
        unit="reward",
        num_problems=len(groups),
    )


def _pass_figure(groups: Sequence[Group], k: int, name: str, label: str) -> Figure:
    correct, graded = zip(*map(_counts, groups), strict=True)
    return rate_figure(name, label, pass_at_k_per_problem(correct, graded, k=k).tolist())


def _endings(groups: Sequence[Group]) -> list[Figure]:
    def share(outcomes: set[str]) -> list[float]:
        return [
            sum(item.outcome in outcomes for item in group.trajectories) / len(group.trajectories)
            for group in groups
        ]

    return [
        rate_figure("success/truncated", "episodes that a budget ended", share({"truncated"})),
        rate_figure("success/no_answer", "episodes that end without an answer",
                    share({"no_answer"})),
        rate_figure("success/unfinished", "episodes truncated or without an answer",
                    share({"truncated", "no_answer"})),
        rate_figure("success/ungraded", "episodes that the verifier failed on",
                    share({"timeout", "error"})),
        mean_figure(
            "success/response_tokens",
            "length of a response",
            [
                float(np.mean([item.num_sampled_tokens for item in group.trajectories]))
                for group in groups
            ],
            unit="tokens",
        ),
    ]  # fmt: skip


def _counts(group: Group) -> tuple[int, int]:
    return sum(item.is_success for item in group.graded), len(group.graded)
