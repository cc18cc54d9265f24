"""Chains that the policy sampled itself, as prefixes to start from; one for each problem.

A problem is measured when an iteration first draws it: `attempts` episodes by the policy of that
time, whose tokens count. They decide whether the problem is trained, and which chain its prefixes
come from. Others are left out, and further problems are drawn in their place
(`agents/train/collecting.py` says up to which limit). Chains are kept as token ids, in checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from reason_env.agents.methods.protocol import Collect, MethodBase, problem_starts
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ProblemError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState, last_cut, steps_of_fraction, with_response_of

Copies = Literal["both", "prefixed_only"]
"""Whether a problem is sampled itself too, or only after a prefix."""


def steps_kept(share: float, chain: ReasonState) -> int:
    """Round a share of a chain to steps: at least one, and at most all but the last.

    The chain must have two steps.
    """
    return min(max(1, steps_of_fraction(share, chain.num_steps)), last_cut(chain))


def chain_of(state: ReasonState, token_ids: Sequence[int]) -> ReasonState:
    """Give a problem's state the tokens of a chain as its response."""
    return state.cut(0).extend(tuple(token_ids), "reset")


def start_after(start: Start, chain: ReasonState, kept: int, role: str) -> Start:
    """Begin where `start` does, after the first steps of a chain, as a group of its own."""
    state = with_response_of(start.state, chain, kept)
    group = f"{start.group}/{role}"
    return replace(start, state=state, learn_from=state, group=group, role=role)


def can_be_cut(item: Trajectory) -> bool:
    """Whether a prefix of an episode's chain leaves a step to be written again."""
    return item.final_state.num_steps > 1


class OwnChains(MethodBase):
    """Measures drawn problems, and keeps a chain of each one that is trained.

    A subclass says which chain (`choose`), and how much of it to keep (`steps`). Its config has
    `attempts`, `group_size` and `copies`.
    """

    roles = frozenset({"prefixed"})
    has_follow_up = False
    to_sample_problems = "copies 'both'"
    wanted = ""
    """What a trained problem must have, for a message."""

    def __init__(self, config: Any, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.chains: dict[str, tuple[int, ...]] = {}
        """Problem id -> the ids of its chain; empty for a problem that is not trained."""
        self.num_problems = 0
        """Problems that can be drawn; set by `prepare`."""

    def choose(self, episodes: Sequence[Trajectory]) -> Trajectory | None:
        """Choose the chain of a problem among its attempts; None: the problem is not trained."""
        raise NotImplementedError(f"{type(self).__name__} must choose a chain")

    def steps(self, name: str, chain: ReasonState, rng: np.random.Generator) -> int:
        """Return how many steps of a problem's chain its episodes begin after."""
        raise NotImplementedError(f"{type(self).__name__} must say how much to keep")

    @property
    def samples_problems(self) -> bool:
        """False if only prefixed copies are sampled."""
        return self.config.copies == "both"

    @property
    def planned_responses(self) -> int:
        """One or both copies of a problem."""
        return self.config.group_size * (2 if self.samples_problems else 1)

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Measure nothing yet."""
        self.num_problems = len({state.problem.problem_id for state in states})
        return states

    def measure(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Sample the drawn problems that are not known; return those to train on.

        Raises:
            ProblemError: Every problem is known, and none is trained.
        """
        unknown = {
            state.problem.problem_id: state
            for state in states
            if state.problem.problem_id not in self.chains
        }
        if unknown:
            self.note(unknown, collect)
        kept = [state for state in states if self.chains[state.problem.problem_id]]
        if not kept and len(self.chains) >= self.num_problems and not any(self.chains.values()):
            raise ProblemError(
                f"{self.config.kind} must have problems with {self.wanted}, got none among "
                f"{len(self.chains)}; take others, or another method"
            )
        return kept

    def note(self, unknown: Mapping[str, ReasonState], collect: Collect) -> None:
        """Sample problems, by id, and keep their chains."""
        attempts = [attempt(state, name, self.config.attempts) for name, state in unknown.items()]
        for group in collect(attempts):
            chosen = self.choose([item for item in group.graded if not item.is_undecided])
            self.chains[group.key] = () if chosen is None else chosen.final_state.response

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start at each problem, unless `copies` says otherwise, and after its prefix."""
        starts: list[Start] = []
        for start in problem_starts(states, self.config.group_size):
            if self.samples_problems:
                starts.append(start)
            name = start.state.problem.problem_id
            chain = chain_of(start.state, self.chains[name])
            starts.append(start_after(start, chain, self.steps(name, chain, rng), "prefixed"))
        return starts

    def trained_problems(self, problem_ids: Sequence[str]) -> Sequence[str]:
        """Return the problems with a chain, as far as they are known."""
        return [name for name in problem_ids if self.chains.get(name)]

    def state_dict(self) -> dict[str, Any]:
        """Return the chains."""
        return {"chains": {name: list(ids) for name, ids in self.chains.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the chains, so that a resumed run measures no problem again."""
        self.chains = {str(name): tuple(ids) for name, ids in state["chains"].items()}


def attempt(state: ReasonState, key: str, count: int) -> Start:
    """Sample from a state to measure it."""
    return Start(state=state, num_samples=count, learn_from=state, group=key, role="probe")


def pass_rate(group: Group | Sequence[Trajectory]) -> float | None:
    """Return the share of successes among decided episodes; None if there is none."""
    items = group.trajectories if isinstance(group, Group) else group
    decided = [item for item in items if not item.is_undecided]
    return sum(item.is_success for item in decided) / len(decided) if decided else None
