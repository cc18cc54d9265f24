"""ExPO (ExP-GRPO): the policy explains the given answer, and learns to say that without it.

    c ~ pi_theta(. | x, answer)                      # one for every problem
    J = J_GRPO + beta log pi_theta(c, answer | x)    # the answer is hidden from the prompt

The explanation is not in the group: it has no advantage, no ratio and no clip. It is an added
term, averaged over the explanations alone. Explanations are kept only if they end in the reference
answer and do not betray that it was given; without that filter, the reference answer replaces a
wrong one, so that the trained text always ends right (`explanation.py`).

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization"; beta 0.04 is the paper's (0.5 is
worse than GRPO). One explanation a problem, a new one each iteration, the mean over its tokens and
the filter are our choice. ExP-DPO is in `exp_dpo.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.explanation import (
    BETRAYALS,
    EXPLANATION,
    ExplanationRule,
    Explanations,
)
from reason_env.agents.methods.pipeline import Part, role_of
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import (
    check_temperature,
    likelihood,
    reference_sample,
    with_reference,
)
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Group, Start, TrainingSample
from reason_env.errors import ConfigError
from reason_env.problem import Problem, StepChecker
from reason_env.state import Guidance, ReasonState, answer_guidance

Refresh = Literal["every_iteration", "once"]
Length = Literal["token_mean", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExPOConfig(MethodConfig):
    """ExPO's numbers."""

    kind: Annotated[Literal["expo"], tyro.conf.Suppress] = "expo"
    group_size: int = 8
    """Episodes a problem (G)."""
    beta: float = 0.04
    """Weight of the explanations' log-likelihood, in reward units per nat (a token)."""
    beta_iterations: int | None = None
    """Iterations over which beta falls to 0, linearly; None: beta is constant."""
    explanations: Explanations = "self"
    """expert: the reference solution replaces the explanation, the paper's control arm."""
    refresh: Refresh = "every_iteration"
    """How often a problem's explanation is sampled [the paper does not say]."""
    length: Length = "token_mean"
    """Mean over an explanation's tokens, or their sum over the response budget [the paper does not
    say]. For beta times the plain sum, use `sum` and multiply beta by `max_tokens`."""
    likelihood_temperature: float | None = 1.0
    """Temperature of the explanations' likelihood; 1 is the model's own distribution. None: that of
    sampling."""
    filter_answers: bool = True
    """Keep only explanations that end in the reference answer and do not betray that it was given
    [the paper does not say]. False: keep all; the reference answer replaces one that is wrong or
    missing, as the paper appends it."""
    betrayals: tuple[str, ...] = BETRAYALS
    """Phrases (in any case) that betray that the answer was given."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        check_names(
            self,
            {
                "explanations": get_args(Explanations),
                "refresh": get_args(Refresh),
                "length": get_args(Length),
            },
        )
        self.advantage.check_size(self.group_size, "group_size")
        if not 0 <= self.beta < math.inf:
            raise ConfigError(f"beta must be finite and at least 0, got {self.beta!r}")
        check_temperature(self.likelihood_temperature)
        if self.beta_iterations is not None and self.beta_iterations < 1:
            raise ConfigError(f"beta_iterations must be at least 1, got {self.beta_iterations!r}")

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The reference answer, before the policy's own explanations."""
        answer = answer_guidance(problem) if self.explanations == "self" else None
        return () if answer is None else (answer,)


class ExPO(MethodBase):
    """GRPO plus the log-likelihood of self-explanations."""

    config: ExPOConfig
    row = Row(
        starts="the problem; one explanation of the answer",
        context="the problem alone, without the answer",
        paper='arXiv 2507.02834, "Self-Explanation Policy Optimization"',
        numbers={
            "beta": 0.04,
            "filter_answers": False,
            "refresh": UNSAID,
            "length": UNSAID,
            "likelihood_temperature": UNSAID,
            "betrayals": UNSAID,
        },
        result="pass@4 on MATH level 5: 2 with GRPO, 12 with an expert SFT term, 23.",
        differences=(
            "All tokens are averaged together and there is no KL term, as in DAPO.",
            "The explanations' term is a mean over the explanations that pass the filter, not "
            'over all problems. With `refresh="once"`, an explanation that fails is sampled again '
            "when the problem is next drawn. An explanation whose prompt does not fit is left out.",
            "With `--filter-answers False`, an explanation that ends in a wrong answer or in none "
            "is trained with the reference answer in its place, as the paper appends it; it is "
            "left out if it is then longer than a response may be. The filter stays the default "
            "because the figures here were measured with it.",
            "`--explanations expert` is the control arm. No policy sampled the reference "
            "solutions: `update/behavior_gap_*/explanation` then means nothing.",
        ),
    )
    roles = frozenset({"explanation"})
    has_follow_up = False

    def __init__(self, config: ExPOConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.known: dict[str, TrainingSample] = {}
        """Problem id -> its explanation, if `refresh` is "once"."""
        self.iterations = 0
        """Iterations planned so far."""

    @property
    def part(self) -> Part:
        """Explanations are compared with no other episode; they are added."""
        return replace(super().part, compared=frozenset(), add=self.explanation_samples)

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train explanations by -log pi, averaged over the explanations alone."""
        length = self.config.length
        mean = "seq_mean_token_mean" if length == "token_mean" else "seq_mean_token_sum"
        return {"explanation": likelihood(mean, self.config.likelihood_temperature)}

    @property
    def beta(self) -> float:
        """The weight in the iteration that was planned last."""
        if self.config.beta_iterations is None:
            return self.config.beta
        left = 1.0 - (self.iterations - 1) / self.config.beta_iterations
        return self.config.beta * max(0.0, left)

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep every problem, or those with a reference solution for expert explanations.

        Raises:
            ProblemError: Explanations are the expert's, and no problem has a reference solution.
        """
        if self.config.explanations == "self":
            return states
        return with_reference(
            states,
            "ExPO with explanations 'expert'",
            fits=self.fits,
            reference_ids=self.reference_ids,
            max_tokens=self.max_response_tokens,
        )

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start each problem's group, and one explanation if the problem still needs one."""
        self.iterations += 1
        return self._starts(states)

    def plan_further(
        self, states: Sequence[ReasonState], num_known: int, rng: np.random.Generator
    ) -> list[Start]:
        """Plan for further problems; they belong to the iteration that goes on."""
        return [start for start in self._starts(states) if (start.draw or 0) >= num_known]

    def _starts(self, states: Sequence[ReasonState]) -> list[Start]:
        starts: list[Start] = []
        for start in problem_starts(states, self.config.group_size):
            starts.append(start)
            state = start.state
            answer = answer_guidance(state.problem)
            assert answer is not None, "a problem has an answer"
            shown = state.with_guidance(answer)
            if self._needs_explanation(state.problem.problem_id) and self.fits(shown):
                starts.append(
                    Start(
                        state=shown,
                        num_samples=1,
                        learn_from=state,
                        group=start.group + EXPLANATION,
                        role="explanation",
                        draw=start.draw,
                    )
                )
        return starts

    def explanation_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each explanation that is kept, with beta as its advantage."""
        explanations: list[TrainingSample] = []
        # As it was before this iteration, so that an explanation sampled now is added once.
        known = dict(self.known)
        for group in groups:
            first = group.trajectories[0]
            name = first.start.learn_from.problem.problem_id
            if role_of(group) == "explanation":
                sample = self._rule.sample(first)
                if sample is not None:
                    explanations.append(sample)
                    if self.config.refresh == "once":
                        self.known[name] = explanations[-1]
                continue
            if self.config.explanations == "expert":
                explanations.append(reference_sample(first, "explanation", self.reference_ids))
            elif name in known:
                explanations.append(known[name])
        if self.beta == 0:
            return []
        return [replace(sample, advantage=self.beta) for sample in explanations]

    @property
    def _rule(self) -> ExplanationRule:
        return ExplanationRule(
            filter_answers=self.config.filter_answers,
            betrayals=self.config.betrayals,
            reference_ids=self.reference_ids,
            grade_options=self.grade_options,
            max_tokens=self.max_response_tokens,
        )

    def _needs_explanation(self, problem_id: str) -> bool:
        is_self = self.config.explanations == "self"
        return is_self and self.beta > 0 and problem_id not in self.known

    def state_dict(self) -> dict[str, Any]:
        """Return the number of iterations and the explanations that are kept."""
        return {
            "iterations": self.iterations,
            "known": {name: sample.to_dict() for name, sample in self.known.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.iterations = int(state["iterations"])
        self.known = {
            str(name): TrainingSample.from_dict(own) for name, own in state["known"].items()
        }
