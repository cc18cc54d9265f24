"""AdaBack: GRPO after a prefix of the reference solution that shrinks as its problem is solved.

    share ~ uniform(low, high), at first (0, 1), for each problem
    G episodes after the solution's first share * T steps; the prefix is masked
    mean return >= threshold: (low, high) = (0, share);  otherwise (share, 1)

The method is GRPO in a wrapped environment: `PrefixRollin` with the schedule `stochastic_search`,
one draw a group. So it combines with what acts after that start (`adaback+lte`), and with the
wrappers of the run's own stack.

Source: arXiv 2506.18110, "RL for Reasoning by Adaptively Revealing Rationales" (a stochastic binary
search on the revealed share, driven by a group's mean return). No released code was found, and the
text that could be read has no numbers: the threshold, and that the interval's other end opens again
after each group, are our choice. The paper cuts at tokens; prefixes here are whole steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from gymnasium.envs.registration import WrapperSpec

from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.protocol import Collect
from reason_env.agents.methods.reference import with_solution
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.problem import Problem
from reason_env.state import ReasonState, checked_fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaBackConfig(GRPOConfig):
    """AdaBack's numbers."""

    kind: Annotated[Literal["adaback"], tyro.conf.Suppress] = "adaback"  # pyright: ignore[reportIncompatibleVariableOverride]
    threshold: float = 0.5
    """Pass rate of a group from which on its problem gets shorter prefixes, 0..1 [the paper's
    number is not known]."""

    def __post_init__(self) -> None:
        GRPOConfig.__post_init__(self)
        checked_fraction(self.threshold, "threshold")

    @property
    def wrappers(self) -> tuple[WrapperSpec, ...]:
        """Prefixes of the reference by a search of each problem's share."""
        schedule = {
            "kind": "stochastic_search",
            "samples": self.group_size,
            "pass_rate": self.threshold,
        }
        return (
            WrapperSpec(
                name="PrefixRollin",
                entry_point="reason_env.wrappers.prefix_rollin:PrefixRollin",
                kwargs={"schedule": schedule},
            ),
        )

    def longest_prefix(self, problem: Problem) -> int:
        """The whole solution: a share may rise to 1."""
        return len(problem.solution)


class AdaBack(GRPO):
    """GRPO after prefixes of the reference."""

    config: AdaBackConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    row = Row(
        starts="after a prefix of the reference solution, whose share is searched for each problem",
        context="the same; the prefix is masked",
        paper='arXiv 2506.18110, "RL for Reasoning by Adaptively Revealing Rationales"',
        numbers={"threshold": UNSAID, "group_size": UNSAID},
        differences=(
            "Prefixes are whole steps; problems without a reference solution, or with one that "
            "fills a response, are left out.",
            "Which end of the interval opens again after a group was not in the text that could be "
            "read: after a solved group the lower one returns to 0, after another one the upper "
            "one to 1. No released code was found.",
            'It is GRPO in an environment with `PrefixRollin(schedule="stochastic_search")`: '
            "`rollout/pass_rate` is of episodes after prefixes; evaluation has none.",
        ),
    )

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems with a reference solution.

        Raises:
            ProblemError: No problem has one.
        """
        return with_solution(states, "AdaBack")
