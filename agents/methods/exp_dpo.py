"""ExP-DPO: the policy's explanation of the answer is preferred to its own wrong chain.

    chosen    c ~ pi(. | x, answer), which ends in the answer without betraying that it was given
    rejected  y ~ pi(. | x), a wrong chain
    loss      DPO's (`dpo.py`), both under the prompt x alone

Online, explanation and chain are sampled anew for each problem of each iteration; offline, once for
all problems by the starting policy, before training: then iterations sample nothing, and their
number decides how long a run is.

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization". beta, the number of samples that a
pair is sought in, and the filter are our choice [the paper does not tell]. The control arm puts the
reference solution into the explanation's place.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import PairLossConfig
from reason_env.agents.methods.expo import BETRAYALS, EXPLANATION, Explanations, explains
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    check_names,
    group_key,
    is_own_group,
    problem_starts,
)
from reason_env.agents.methods.sft import reference_sample, with_solution
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError, ProblemError
from reason_env.state import ReasonState, answer_guidance

Sampled = Literal["online", "offline"]
Pair = tuple[TrainingSample, TrainingSample]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExPDPOConfig:
    """ExP-DPO's numbers."""

    kind: Annotated[Literal["exp-dpo"], tyro.conf.Suppress] = "exp-dpo"
    sampled: Sampled = "online"
    """online: each iteration, by the policy as it is. offline: once, before training."""
    chains: int = 4
    """Episodes from the problem in which a wrong one is sought [the paper does not say]."""
    explanation_samples: int = 2
    """Explanations of which the first good one is taken [the paper does not say]."""
    explanations: Explanations = "self"
    """expert puts the reference solution into the explanation's place: the paper's control arm."""
    filter_answers: bool = True
    """Keep only explanations that end in the reference answer and do not betray it [not said]."""
    betrayals: tuple[str, ...] = BETRAYALS
    """An explanation that holds one of these (in any case) betrays that the answer was given."""
    loss: PairLossConfig = field(default_factory=PairLossConfig)

    def __post_init__(self) -> None:
        check_names(self, {"sampled": get_args(Sampled), "explanations": get_args(Explanations)})
        for name in ("chains", "explanation_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")


class ExPDPO(MethodBase):
    """Pairs of an explanation and the policy's own wrong chain."""

    roles = frozenset({"explanation", "chosen", "rejected"})
    has_follow_up = False

    def __init__(self, config: ExPDPOConfig) -> None:
        self.config = config
        self.known: dict[str, Pair] = {}
        """problem id -> its pair, where pairs are sampled offline."""
        self.planned: tuple[str, ...] = ()
        """The problems of the iteration."""

    @property
    def pair_loss(self) -> PairLossConfig:
        """DPO's."""
        return self.config.loss

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns the problems to train on; offline, those for which a pair was found.

        Raises:
            ProblemError: There is none, or none with a reference solution where these are asked
                for.
        """
        if self.config.explanations == "expert":
            states = with_solution(states, "ExP-DPO with explanations 'expert'")
        if self.config.sampled == "online":
            return states
        if not self.known:
            pairs = self._pairs(collect(self._starts(states)))
            self.known = {
                state.problem.problem_id: pairs[key]
                for index, state in enumerate(states)
                if (key := group_key(index, state)) in pairs
            }
        kept = [state for state in states if state.problem.problem_id in self.known]
        if not kept:
            raise ProblemError(
                f"offline pairs must be found for a problem, got none in {len(states)}: a pair "
                "needs a good explanation and a wrong chain; raise chains or explanation_samples, "
                "or take other problems"
            )
        if len(kept) < len(states):
            missing = len(states) - len(kept)
            _log.warning("ExP-DPO found no pair for %d of %d problems", missing, len(states))
        return kept

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns chains and explanations of each problem; nothing where pairs are known."""
        self.planned = tuple(state.problem.problem_id for state in states)
        return [] if self.config.sampled == "offline" else self._starts(states)

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns the pairs: chosen, rejected, chosen, ..."""
        if self.config.sampled == "online":
            return [sample for pair in self._pairs(groups).values() for sample in pair]
        numbered = enumerate(self.planned)
        # A problem that comes twice in an iteration has two pairs of other groups.
        return [
            replace(sample, group=f"{index}:{name}")
            for index, name in numbered
            for sample in self.known[name]
        ]

    def state_dict(self) -> dict[str, Any]:
        """Returns the pairs that were sampled before training."""
        return {
            "known": {name: [own.to_dict() for own in pair] for name, pair in self.known.items()}
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value, so that a resumed run does not sample them again."""
        self.known = {}
        for name, pair in state["known"].items():
            chosen, rejected = (TrainingSample.from_dict(own) for own in pair)
            self.known[str(name)] = (chosen, rejected)

    def _starts(self, states: Sequence[ReasonState]) -> list[Start]:
        starts = problem_starts(states, self.config.chains)
        if self.config.explanations == "expert":
            return starts
        for draw, state in enumerate(states):
            answer = answer_guidance(state.problem)
            assert answer is not None, "a problem has an answer"
            shown = state.with_guidance(answer)
            if self.fits(shown):
                start = Start(
                    state=shown,
                    num_samples=self.config.explanation_samples,
                    learn_from=state,
                    group=group_key(draw, state) + EXPLANATION,
                    draw=draw,
                    role="explanation",
                )
                starts.append(start)
        return starts

    def _pairs(self, groups: Sequence[Group]) -> dict[str, Pair]:
        """Returns the pair of each own group that has both sides, by the group's key."""
        explained = {group.key: group for group in groups if not is_own_group(group)}
        pairs: dict[str, Pair] = {}
        for group in groups:
            if not is_own_group(group):
                continue
            wrong = next((item for item in group.graded if _is_wrong(item)), None)
            chosen = self._chosen(group, explained.get(group.key + EXPLANATION))
            if wrong is not None and chosen is not None:
                rejected = training_sample(wrong, 1.0)
                pairs[group.key] = (
                    replace(chosen, role="chosen", group=group.key),
                    replace(rejected, role="rejected", group=group.key),
                )
        return pairs

    def _chosen(self, group: Group, explanations: Group | None) -> TrainingSample | None:
        if self.config.explanations == "expert":
            return reference_sample(group.trajectories[0], "chosen")
        config = self.config
        for item in explanations.trajectories if explanations is not None else ():
            if explains(item, betrayals=config.betrayals, is_filtered=config.filter_answers):
                return training_sample(item, 1.0)
        return None


def _is_wrong(item: Trajectory) -> bool:
    return not item.is_success and bool(item.behavior_log_probs)
