"""ExP-DPO: prefer the policy's explanation of the answer to its own wrong chain.

    chosen    c ~ pi(. | x, answer), which ends in the answer and does not betray that it was given
    rejected  y ~ pi(. | x), a wrong chain
    L = - log sigmoid(beta (log pi(c|x) / pi_ref(c|x) - log pi(y|x) / pi_ref(y|x)))

Both are trained under the prompt x without the answer (`dpo.py`). Online, explanation and chain are
sampled in each iteration. Offline, the starting policy samples them once for all problems before
training: iterations then sample nothing, and their number decides the length of a run.

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization". beta, the number of samples among
which a pair is sought, and the filter are our choice [the paper does not say]. In the control arm
the reference solution replaces the explanation.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import PairLossConfig
from reason_env.agents.methods.explanation import (
    BETRAYALS,
    EXPLANATION,
    ExplanationRule,
    Explanations,
)
from reason_env.agents.methods.pipeline import is_problem_group
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    group_key,
    problem_starts,
)
from reason_env.agents.methods.reference import reference_sample, with_reference
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, StepChecker
from reason_env.state import Guidance, ReasonState, answer_guidance

Sampled = Literal["online", "offline"]
Pair = tuple[TrainingSample, TrainingSample]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExPDPOConfig(MethodConfig):
    """ExP-DPO's numbers."""

    kind: Annotated[Literal["exp-dpo"], tyro.conf.Suppress] = "exp-dpo"
    sampled: Sampled = "online"
    """online: in each iteration, by the current policy. offline: once, before training."""
    chains: int = 4
    """Episodes from the problem; the first wrong one is rejected [the paper gives no number]."""
    explanation_samples: int = 2
    """Explanations a problem; the first that passes the filter is chosen [the paper gives no
    number]."""
    explanations: Explanations = "self"
    """expert: the reference solution replaces the explanation, the paper's control arm."""
    filter_answers: bool = True
    """Keep only explanations that end in the reference answer and do not betray that it was given
    [the paper does not say]. False: keep all; the reference answer replaces one that is wrong or
    missing, as the paper appends it."""
    betrayals: tuple[str, ...] = BETRAYALS
    """Phrases (in any case) that betray that the answer was given."""
    loss: PairLossConfig = field(default_factory=PairLossConfig)

    def __post_init__(self) -> None:
        check_names(self, {"sampled": get_args(Sampled), "explanations": get_args(Explanations)})
        for name in ("chains", "explanation_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The reference answer, before the policy's own explanations."""
        answer = answer_guidance(problem) if self.explanations == "self" else None
        return () if answer is None else (answer,)


class ExPDPO(MethodBase):
    """Train on pairs of an explanation and the policy's own wrong chain."""

    config: ExPDPOConfig
    row = Row(
        starts="the problem; explanations of the answer",
        context="the problem alone, without the answer",
        teacher="the starting policy (DPO's reference)",
        paper='arXiv 2507.02834, "Self-Explanation Policy Optimization"',
        numbers={
            "loss.beta": UNSAID,
            "chains": UNSAID,
            "explanation_samples": UNSAID,
            "filter_answers": False,
        },
        result="Offline on MATH: 54.3, where expert chains give 43.7.",
        differences=(
            "One pair a problem: the first good explanation and the first wrong chain. Offline "
            "(`--sampled offline`), the chains are the starting policy's and iterations sample "
            "nothing, so `--iterations` and not `--max-generated-tokens` decides the length of a "
            "run.",
        ),
    )
    roles = frozenset({"explanation", "chosen", "rejected"})
    has_follow_up = False

    def __init__(self, config: ExPDPOConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.known: dict[str, Pair] = {}
        """Problem id -> its pair, if pairs are sampled offline."""
        self.planned: tuple[str, ...] = ()
        """The problems of the iteration."""

    @property
    def pair_loss(self) -> PairLossConfig:
        """DPO's loss."""
        return self.config.loss

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems to train on; offline, those for which a pair was found.

        Raises:
            ProblemError: There is no such problem, or explanations are the expert's and no problem
                has a reference solution.
        """
        if self.config.explanations == "expert":
            states = with_reference(
                states,
                "ExP-DPO with explanations 'expert'",
                fits=self.fits,
                reference_ids=self.reference_ids,
                max_tokens=self.max_response_tokens,
            )
        if self.config.sampled == "online":
            return states
        if not self.known:
            pairs = self._pairs(collect(self._starts(states)))
            self.known = {
                state.problem.problem_id: pairs[key]
                for draw, state in enumerate(states)
                if (key := group_key(draw, state)) in pairs
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

    def prepared_responses(self, num_problems: int) -> int:
        """Count the chains, and offline only."""
        return num_problems * self.config.chains if self.config.sampled == "offline" else 0

    @property
    def planned_responses(self) -> int:
        """The chains, and online only."""
        return self.config.chains if self.config.sampled == "online" else 0

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start chains and explanations of each problem; offline, nothing."""
        self.planned = tuple(state.problem.problem_id for state in states)
        return [] if self.config.sampled == "offline" else self._starts(states)

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Return the pairs, flattened: chosen, rejected, chosen, ..."""
        if self.config.sampled == "online":
            return [sample for pair in self._pairs(groups).values() for sample in pair]
        # A problem that is drawn twice in an iteration gives two pairs, with different group keys.
        return [
            replace(sample, group=f"{draw}:{name}")
            for draw, name in enumerate(self.planned)
            for sample in self.known[name]
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs that were sampled before training."""
        return {
            "known": {name: [own.to_dict() for own in pair] for name, pair in self.known.items()}
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the pairs, so that a resumed run does not sample them again."""
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
        """Return key -> pair, for each problem group with a chosen and a rejected response."""
        explained = {group.key: group for group in groups if not is_problem_group(group)}
        pairs: dict[str, Pair] = {}
        for group in groups:
            if not is_problem_group(group):
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
            return reference_sample(group.trajectories[0], "chosen", self.reference_ids)
        rule = ExplanationRule(
            filter_answers=self.config.filter_answers,
            betrayals=self.config.betrayals,
            reference_ids=self.reference_ids,
            grade_options=self.grade_options,
            max_tokens=self.max_response_tokens,
        )
        items = explanations.trajectories if explanations is not None else ()
        return next((sample for item in items if (sample := rule.sample(item)) is not None), None)


def _is_wrong(item: Trajectory) -> bool:
    return not item.is_success and bool(item.behavior_log_probs)
