"""Prefix Sampling: skewed groups are sampled again from a place where about half succeed.

    p        pass rate of a problem's group of G episodes
    p < low  again after the first part of a success: a head start
    p > high again after the first part of a failure: a handicap; otherwise nothing
    share    of the chain's steps that is kept, one number for each of both roles:
             +step if the prefixed groups of an iteration are further from the target than wanted
             (head starts below it, handicaps above it), -step if they are on its other side
    train    both groups, each on its own; the prefix is masked

A success or failure is the group's own if it has one, else the newest one of that problem that an
earlier iteration sampled. A group of binary returns has most signal at a pass rate of 0.5: then the
variance p (1 - p) of its returns, and with it the energy of leave-one-out advantages, is largest.

Source: arXiv 2605.05112, "Rollout Pass-Rate Control: Steering Binary-Reward RL Toward Its Most
Informative Regime". No released code was found, and the text that could be read gives the target
(0.5), both directions, masking and "adaptive control" of the prefix, but no numbers: the band, the
rule of the share, and sampling again in the same iteration are our choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.own_chains import (
    can_be_cut,
    chain_of,
    pass_rate,
    start_after,
    steps_kept,
)
from reason_env.agents.methods.pipeline import Part, is_problem_group, role_of
from reason_env.agents.methods.protocol import MethodBase, MethodConfig, problem_starts
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.metrics import Number, mean
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState, checked_fraction

HEAD_START, HANDICAP = "head_start", "handicap"
ROLES = (HEAD_START, HANDICAP)
LEAST_SHARE, MOST_SHARE = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixSamplingConfig(MethodConfig):
    """The numbers of Prefix Sampling."""

    kind: Annotated[Literal["prefix-sampling"], tyro.conf.Suppress] = "prefix-sampling"
    group_size: int = 8
    """Episodes a problem (G), and as many again after a prefix."""
    target: float = 0.5
    """Wanted pass rate of prefixed groups, 0..1."""
    band: tuple[float, float] = (0.25, 0.75)
    """Groups with a pass rate below the first or above the second are sampled again [not known]."""
    share: float = 0.5
    """Share of a chain that prefixes keep at first [not known]."""
    share_step: float = 0.05
    """Change of a share after an iteration, 0..1 [not known]."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        for name in ("target", "share", "share_step"):
            checked_fraction(getattr(self, name), name)
        low, high = (checked_fraction(item, "band") for item in self.band)
        if not low <= self.target <= high:
            raise ConfigError(f"band must hold the target {self.target!r}, got {self.band!r}")


class PrefixSampling(MethodBase):
    """Sample skewed groups again, from prefixes of own successes or failures."""

    config: PrefixSamplingConfig
    roles = frozenset(ROLES)
    row = Row(
        starts="the problem; if most fail, after a prefix of a success; if most succeed, of a "
        "failure",
        context="the same; the prefix is masked",
        paper='arXiv 2605.05112, "Rollout Pass-Rate Control: Steering Binary-Reward RL Toward Its '
        'Most Informative Regime"',
        numbers={
            "target": 0.5,
            "group_size": UNSAID,
            "band": UNSAID,
            "share": UNSAID,
            "share_step": UNSAID,
        },
        result="SWE-bench Verified, the same score 2.01 times (Qwen3-14B) and 1.55 times (32B) "
        "sooner in wall-clock time; the 14B peak 0.295, where the baseline has 0.274.",
        differences=(
            "A skewed group is sampled again in the same iteration, and both groups are trained; "
            "when the paper replays was not in the text that could be read.",
            "One share for all head starts and one for all handicaps, moved by a constant after "
            "each iteration; the paper's rule is not known. Prefixes are whole steps.",
            "A problem with no success at all so far has nothing to start from.",
        ),
    )

    def __init__(self, config: PrefixSamplingConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.shares: dict[str, float] = dict.fromkeys(ROLES, config.share)
        """Role -> the share of a chain that its prefixes keep."""
        self.archive: dict[str, dict[str, tuple[int, ...]]] = {role: {} for role in ROLES}
        """Role -> problem id -> the newest chain to begin with."""

    @property
    def part(self) -> Part:
        """Prefixed groups are compared with themselves; the controller sees every group."""
        return replace(super().part, add=self.learned)

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem, as GRPO does."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Start each skewed group again, once, after a prefix."""
        known = {group.key for group in groups}
        starts: list[Start] = []
        for group in groups:
            role = self.role_for(group) if is_problem_group(group) else None
            if role is None or f"{group.key}/{role}" in known:
                continue
            first = group.trajectories[0].start
            ids = self.chain(group, role)
            if ids is not None:
                chain = chain_of(first.state, ids)
                kept = steps_kept(self.shares[role], chain)
                # The group may hold several starts (tries, episodes of another method).
                start = replace(first, num_samples=self.config.group_size)
                starts.append(start_after(start, chain, kept, role))
        return starts

    def role_for(self, group: Group) -> str | None:
        """Return what a problem's group needs; None if its pass rate is in the band."""
        rate = pass_rate(group)
        low, high = self.config.band
        if rate is None or low <= rate <= high:
            return None
        return HEAD_START if rate < low else HANDICAP

    def chain(self, group: Group, role: str) -> tuple[int, ...] | None:
        """Return the chain to begin with: the group's first, else the newest one before."""
        own = _first(group, role)
        if own is not None:
            return own.final_state.response
        name = group.trajectories[0].start.state.problem.problem_id
        return self.archive[role].get(name)

    def learned(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Move the shares, and keep the chains of this iteration; add no samples."""
        rates: dict[str, list[float]] = {role: [] for role in ROLES}
        for group in groups:
            if is_problem_group(group):
                name = group.trajectories[0].start.state.problem.problem_id
                for role in ROLES:
                    own = _first(group, role)
                    if own is not None:
                        self.archive[role][name] = own.final_state.response
            elif (rate := pass_rate(group)) is not None:
                rates[role_of(group)].append(rate)
        for role, found in rates.items():
            if found:
                self.shares[role] = self.moved(role, float(np.mean(found)))
        return []

    def moved(self, role: str, rate: float) -> float:
        """Return a role's share after prefixed groups of this mean pass rate."""
        # A longer prefix of a success raises the pass rate, one of a failure lowers it.
        error = self.config.target - rate if role == HEAD_START else rate - self.config.target
        moved = self.shares[role] + self.config.share_step * float(np.sign(error))
        return min(max(moved, LEAST_SHARE), MOST_SHARE)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Measure how far prefixed groups are from the target, and how many there are."""
        prefixed = [group for group in groups if not is_problem_group(group)]
        rates = [rate for group in prefixed if (rate := pass_rate(group)) is not None]
        return {
            "rollout/prefixed_groups": len(prefixed),
            "rollout/distance_to_target": mean(abs(rate - self.config.target) for rate in rates),
            "rollout/head_start_share": self.shares[HEAD_START],
            "rollout/handicap_share": self.shares[HANDICAP],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the shares and the chains."""
        archive = {
            role: {name: list(ids) for name, ids in own.items()}
            for role, own in self.archive.items()
        }
        return {"shares": dict(self.shares), "archive": archive}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.shares = {role: float(state["shares"][role]) for role in ROLES}
        self.archive = {
            role: {str(name): tuple(ids) for name, ids in state["archive"][role].items()}
            for role in ROLES
        }


def _first(group: Group, role: str) -> Trajectory | None:
    """Return a group's first success for a head start, or its first failure for a handicap."""
    return next(
        (
            item
            for item in group.graded
            if not item.is_undecided
            and item.is_success == (role == HEAD_START)
            and can_be_cut(item)
        ),
        None,
    )
