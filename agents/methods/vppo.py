"""VPPO: in a failed chain, the steps before the first error are rewarded, the others penalised.

    k         first wrong step of a failed chain, named by a localiser
    pieces    a success as a whole, with its return r
              of a failure the prefix before step k, with r + prefix_reward; the rest, with r
    A         (return - mean) / (std + eps) over the pieces of the problem's group
    tokens    each has the advantage of its piece; that of a prefix is at least 0
    L         clipped surrogate

So a group of failures has a signal as soon as one of them begins well, and a penalty falls only on
what follows an error. Where step 1 is wrong there is no prefix.

The paper's localiser is a process reward model, used for nothing else. Here it is SRPO's: the
policy itself is asked (`localiser="self"`), which costs a reply for each failed chain of more than
one step, or the family's step checker answers ("checker"). A chain in which the checker finds no
wrong step (a budget ended it) counts as wrong in its last one.

Source: Liu et al. 2026, "Save the Good Prefix: Precise Error Penalization via Process-Supervised RL
to Enhance LLM Reasoning", arXiv 2601.18984. No released code was found, and the text that could be
read has no formulas: it says that a failure is split at its first error, that the prefix is
rewarded at its last token, and that penalties apply only after the mistake. The size of the reward,
the baseline over pieces, and 0 as the least advantage of a prefix are our choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig, group_advantages
from reason_env.agents.methods.localiser import (
    chain_key,
    check_localiser,
    check_step_checker,
    failed_chains,
    localisation_start,
    replied_step,
    steps_before_error,
)
from reason_env.agents.methods.pipeline import BASE, is_problem_group
from reason_env.agents.methods.protocol import AddingMethod, MethodConfig, problem_starts
from reason_env.agents.methods.reset_metrics import localisation_metrics
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.methods.vineppo import STEPWISE, token_advantages
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

VERIFY = "verify"
"""Role of the replies that name a wrong step."""
LOCALISERS = ("self", "checker")


@dataclass(frozen=True, slots=True, kw_only=True)
class VPPOConfig(MethodConfig):
    """VPPO's numbers."""

    kind: Annotated[Literal["vppo"], tyro.conf.Suppress] = "vppo"
    group_size: int = 8
    """Episodes a problem (G)."""
    prefix_reward: float = 0.5
    """What the prefix before an error earns more than the failed episode, reward units; at least 0
    [not known]."""
    localiser: Literal["self", "checker"] = "self"
    """What names the first wrong step: the policy, or the family's step checker."""
    localiser_temperature: float = 0.3
    """Sampling temperature of the policy's reply."""
    max_localiser_tokens: int = 224
    """Most tokens of that reply."""
    question: str | None = None
    """Asked after the numbered steps; None: the template's wording of a localisation."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    """Of the pieces of a group."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        check_localiser(self, LOCALISERS)
        if not 0 <= self.prefix_reward < float("inf"):
            raise ConfigError(
                f"prefix_reward must be finite and at least 0, got {self.prefix_reward!r}"
            )


class VPPO(AddingMethod):
    """Reward the prefix before the first error of a failure, penalise the rest."""

    config: VPPOConfig
    row = Row(
        starts="the problem",
        estimator="{formula}, of successes and of failures in two pieces, cut before the step that "
        "the policy itself calls wrong",
        paper='arXiv 2601.18984, "Save the Good Prefix: Precise Error Penalization via '
        'Process-Supervised RL to Enhance LLM Reasoning"',
        numbers={"group_size": UNSAID, "prefix_reward": UNSAID, "localiser": UNSAID},
        result="Above GRPO and other uses of a process reward model in pass@1 and pass@k on "
        "several benchmarks; 88 % of failed responses have a right first step.",
        differences=(
            "The policy itself names the first wrong step, as in SRPO (`--localiser checker`: the "
            "family's step checker); the paper's localiser is a process reward model.",
            "Reward of a prefix, baseline and least advantage of a prefix are our choice: the text "
            "that could be read has no formulas, and no released code was found.",
        ),
    )
    roles = frozenset({VERIFY, STEPWISE})

    def __init__(self, config: VPPOConfig, checker: StepChecker | None = None) -> None:
        """Check that `localiser="checker"` has a step checker.

        Raises:
            ConfigError: The problems have no step checker.
        """
        check_step_checker(config, checker)
        super().__init__(config, checker)

    @property
    def advantage(self) -> AdvantageConfig:
        """The estimator of the pieces, which are compared in place of episodes."""
        return self.config.advantage

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the samples by the method's own loss."""
        return {STEPWISE: self.loss}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Ask for the wrong step of each failed chain of more than one step."""
        if self.config.localiser != "self":
            return []
        known = {group.key for group in groups}
        return [
            start
            for group in groups
            if is_problem_group(group)
            for item in failed_chains(group)
            if chain_key(item, VERIFY) not in known and item.final_state.num_steps > 1
            if self.fits((start := self._asked(item)).state)
        ]

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode, its tokens credited by piece."""
        known = {group.key: group for group in groups}
        samples: list[TrainingSample] = []
        for group in groups:
            if is_problem_group(group):
                samples += self._credited(group, known)
        return samples

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Measure how often the policy names the first wrong step, if there is a step checker."""
        if self.checker is None or self.config.localiser != "self":
            return {}
        known = {group.key: group for group in groups}
        named = [
            (item.final_state, replied_step(item.final_state, known[chain_key(item, VERIFY)]))
            for group in groups
            if is_problem_group(group)
            for item in failed_chains(group)
            if chain_key(item, VERIFY) in known
        ]
        return localisation_metrics(named, self.checker) if named else {}

    def good_steps(self, item: Trajectory, known: Mapping[str, Group]) -> int:
        """Count the steps of a failed chain before its first error."""
        reply = known.get(chain_key(item, VERIFY))
        return steps_before_error(item.final_state, self.config, self.checker, reply)

    def _credited(self, group: Group, known: Mapping[str, Group]) -> list[TrainingSample]:
        items = [item for item in group.graded if item.start.role == BASE]
        if not items:
            return []
        failed = {item.trajectory_id for item in failed_chains(group)}
        ends: list[list[int]] = []
        returns: list[float] = []
        for item in items:
            size = len(item.final_state.response)
            cut = 0
            if item.trajectory_id in failed:
                cut = len(item.final_state.cut(self.good_steps(item, known)).response)
            if cut > item.prefix_length:
                ends.append([cut, size])
                returns += [item.episode_return + self.config.prefix_reward, item.episode_return]
            else:
                ends.append([size])
                returns.append(item.episode_return)
        advantages = iter(group_advantages(returns, self.advantage).tolist())
        samples: list[TrainingSample] = []
        for item, own in zip(items, ends, strict=True):
            gains = [next(advantages) for _ in own]
            if len(own) > 1:
                gains[0] = max(0.0, gains[0])
            sample = training_sample(item, token_advantages(item, own, gains))
            samples.append(replace(sample, role=STEPWISE))
        return samples

    def _asked(self, item: Trajectory) -> Start:
        asking = item.start.learn_from.cut(0).without_guidance()
        return localisation_start(
            item, self.config, asking=asking, group=chain_key(item, VERIFY), role=VERIFY
        )
