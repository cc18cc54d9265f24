"""InT: the policy replaces the first wrong step of its failed chain, and learns the replacement.

    y ~ pi(. | x), wrong                                # G episodes a problem, as GRPO's
    k        first wrong step of y, named by a localiser that sees the reference solution
    z ~ pi(. | x, solution, y steps 1..k-1)             # its first step is the intervention
    J = J_GRPO + weight log pi(y steps 1..k-1, z_1 | x) # the solution is hidden from the prompt

The intervention is one step: what z says after it decides only whether it is kept, and is not
trained. With `keep="successes"` an intervention is kept if z ends in the right answer.

The paper trains the likelihood alone on many interventions, and then runs RL from that model; here
both share one update. `--train-problems False` is the first stage; the second is a run of `grpo`
from its directory.

Source: Yang et al. 2026, "InT: Self-Proposed Interventions Enable Credit Assignment in LLM
Reasoning", arXiv 2601.14209. No released code was found; of the paper the abstract and reviews
could be read. Known: the same model verifies its chain against a reference solution, finds the
first error and proposes a single corrective step; the likelihood is of the chain up to the error
and that step, without what follows. There one reply holds verification and correction; here the
localiser's reply names the step, and the correction is sampled as the chain's next step, so that
its tokens are those that the policy would write there. Which interventions are kept, how many a
problem, the weight and the words are our choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.localiser import (
    chain_key,
    check_localiser,
    check_step_checker,
    failed_chains,
    localisation_start,
    replied_step,
    steps_before_error,
)
from reason_env.agents.methods.pipeline import Part, is_problem_group
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import (
    check_temperature,
    kept_states,
    likelihood,
    with_solution,
)
from reason_env.agents.methods.reset_metrics import localisation_metrics
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.methods.teaching import check_wording, solution_shown
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError
from reason_env.problem import Problem, StepChecker
from reason_env.problems import reference_response
from reason_env.state import Guidance, ReasonState, with_response_of

REVIEW, INTERVENTION = "review", "intervention"
"""Roles of the replies that name a wrong step, and of the episodes that begin with another one."""
LOCALISERS = ("self", "checker")
Keep = Literal["successes", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InTConfig(MethodConfig):
    """The numbers of InT."""

    kind: Annotated[Literal["int"], tyro.conf.Suppress] = "int"
    group_size: int = 8
    """Episodes a problem (G)."""
    interventions: int = 1
    """Failed chains of a problem that are corrected, at most [not known]."""
    weight: float = 1.0
    """Weight of the interventions' log-likelihood, in reward units per nat (a token) [not
    known]."""
    keep: Keep = "successes"
    """successes: train interventions that a right answer followed. all: train every one [not
    known]."""
    train_prefix: bool = True
    """Train the chain before the error too, as the paper; False: the intervention alone."""
    train_problems: bool = True
    """Train the problems' episodes too, compared with each other; False: the likelihood alone."""
    localiser: Literal["self", "checker"] = "self"
    """What names the first wrong step: the policy, or the family's step checker."""
    localiser_temperature: float = 0.3
    """Sampling temperature of the policy's reply."""
    max_localiser_tokens: int = 224
    """Most tokens of that reply."""
    question: str | None = None
    """Asked after the numbered steps; None: the template's wording of a localisation."""
    wording: str = ""
    """Words that show the solution, with {solution}; empty: the template's for a partial one."""
    likelihood_temperature: float | None = 1.0
    """Temperature of the likelihood; 1 is the model's own distribution. None: that of sampling."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        check_localiser(self, LOCALISERS)
        check_names(self, {"keep": get_args(Keep)})
        check_temperature(self.likelihood_temperature)
        check_wording(self.wording)
        if self.interventions < 1:
            raise ConfigError(f"interventions must be at least 1, got {self.interventions!r}")
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The whole reference solution."""
        return (self.solution(problem),) if problem.solution else ()

    def solution(self, problem: Problem, delimiter: str = "\n") -> Guidance:
        """Show the whole reference solution."""
        text = reference_response(problem, delimiter)
        # Own words are closed by the template; the pieces of a solution end in a delimiter.
        return solution_shown(text if self.wording else text + delimiter, self.wording)


class InT(MethodBase):
    """Learn the step that should have been in place of the first wrong one."""

    config: InTConfig
    row = Row(
        starts="the problem; then before the step of a failed chain that the policy itself calls "
        "wrong",
        context="the problem alone, without the solution; the prefix is trained too",
        paper='arXiv 2601.14209, "InT: Self-Proposed Interventions Enable Credit Assignment in LLM '
        'Reasoning"',
        numbers={
            "localiser": "self",
            "train_prefix": True,
            "train_problems": False,
            "group_size": UNSAID,
            "interventions": UNSAID,
            "keep": UNSAID,
            "weight": UNSAID,
        },
        result="IMO-AnswerBench of a model of 4B parameters, with RL after it: nearly 14 points "
        "above the base model.",
        differences=(
            "The likelihood and RL share one update; the paper runs one after the other "
            "(`--train-problems False`, then `grpo` from that run).",
            "The policy names the wrong step in one reply, shown the solution, and then writes the "
            "step as the next one of its chain, shown the solution; in the paper one reply holds "
            "both. `--localiser checker` is a control arm.",
            "An intervention is trained if the response that it begins is right (`--keep all`: "
            "every one). Numbers and words are our choice: no released code was found.",
            "Problems without a reference solution that fits the prompt are left out. A chain that "
            "is too long to be reviewed is corrected from its beginning.",
        ),
    )
    roles = frozenset({REVIEW, INTERVENTION})

    def __init__(self, config: InTConfig, checker: StepChecker | None = None) -> None:
        """Check that `localiser="checker"` has a step checker.

        Raises:
            ConfigError: The problems have no step checker.
        """
        check_step_checker(config, checker)
        super().__init__(config, checker)

    @property
    def part(self) -> Part:
        """Interventions are added, and never compared."""
        return replace(
            super().part,
            compared=frozenset(),
            trains_problems=self.config.train_problems,
            add=self.interventions,
        )

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train interventions by -log pi, averaged over them alone."""
        own = likelihood("seq_mean_token_mean", self.config.likelihood_temperature)
        return {INTERVENTION: own}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems whose solution can be shown.

        Raises:
            ProblemError: There is none.
        """
        return kept_states(
            with_solution(states, "InT"),
            "InT",
            lambda state: self.fits(self._shown(state)),
            rule="a reference solution that fits the prompt",
            advice="raise max_prompt_tokens if the context allows it, or use another method",
        )

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Review the first failed chains, then correct each once."""
        known = {group.key: group for group in groups}
        starts: list[Start] = []
        for group in groups:
            for item in self.chains(group) if is_problem_group(group) else ():
                if chain_key(item, INTERVENTION) in known:
                    continue
                review = self._review(item)
                is_asked = chain_key(item, REVIEW) in known or not self._is_reviewed(item)
                if is_asked or not self.fits(review.state):
                    starts.append(self._correction(item, known))
                else:
                    starts.append(review)
        return starts

    def chains(self, group: Group) -> list[Trajectory]:
        """List the failed chains of a problem that are corrected."""
        return failed_chains(group)[: self.config.interventions]

    def interventions(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make the samples of the interventions that are kept."""
        sources = {
            chain_key(item, INTERVENTION): item
            for group in groups
            if is_problem_group(group)
            for item in self.chains(group)
        }
        samples: list[TrainingSample] = []
        for group in groups:
            source = sources.get(group.key)
            for item in group.graded if source is not None else ():
                if item.is_success or self.config.keep == "all":
                    samples += self._samples(item, source)
        return samples

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Measure how often the policy names the first wrong step, if there is a step checker."""
        if self.checker is None or self.config.localiser != "self":
            return {}
        known = {group.key: group for group in groups}
        named = [
            (item.final_state, replied_step(item.final_state, known[chain_key(item, REVIEW)]))
            for group in groups
            if is_problem_group(group)
            for item in self.chains(group)
            if chain_key(item, REVIEW) in known
        ]
        return localisation_metrics(named, self.checker) if named else {}

    def _samples(self, item: Trajectory, source: Trajectory | None) -> list[TrainingSample]:
        """Make the sample of one intervention; none if it holds no sampled token."""
        assert source is not None, "an intervention corrects a chain"
        begin = item.prefix_length
        whole = training_sample(item, self.config.weight)
        end = _end_of_step(item)
        if not any(whole.action_mask[begin:end]):
            return []
        mask, log_probs = whole.action_mask[:end], whole.behavior_log_probs[:end]
        if self.config.train_prefix:
            written = training_sample(source, 0.0)
            mask = written.action_mask[:begin] + mask[begin:]
            log_probs = written.behavior_log_probs[:begin] + log_probs[begin:]
        sample = replace(
            whole, token_ids=whole.token_ids[:end], action_mask=mask, behavior_log_probs=log_probs
        )
        return [sample]

    def _is_reviewed(self, item: Trajectory) -> bool:
        # A chain of one step is wrong in it.
        return self.config.localiser == "self" and item.final_state.num_steps > 1

    def _review(self, item: Trajectory) -> Start:
        asking = self._shown(item.start.learn_from.cut(0).without_guidance())
        return localisation_start(
            item, self.config, asking=asking, group=chain_key(item, REVIEW), role=REVIEW
        )

    def _correction(self, item: Trajectory, known: Mapping[str, Group]) -> Start:
        state = with_response_of(item.start.learn_from, item.final_state, self._kept(item, known))
        return replace(
            item.start,
            state=self._shown(state),
            learn_from=state,
            num_samples=1,
            group=chain_key(item, INTERVENTION),
            role=INTERVENTION,
        )

    def _kept(self, item: Trajectory, known: Mapping[str, Group]) -> int:
        """Count the steps before the one that is replaced."""
        review = known.get(chain_key(item, REVIEW))
        return steps_before_error(item.final_state, self.config, self.checker, review)

    def _shown(self, state: ReasonState) -> ReasonState:
        delimiter = state.codec.step_delimiter
        return state.with_guidance(self.config.solution(state.problem, delimiter))


def _end_of_step(item: Trajectory) -> int:
    """Count the response tokens up to the end of the first step after an episode's start."""
    final, begin = item.final_state, item.prefix_length
    closed = (end for end in final.step_ends if end > begin)
    return next(closed, len(final.response))
