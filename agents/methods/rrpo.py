"""RRPO: resets to a uniformly random step of the policy's own failed chain.

Per problem (1x4 of the released code):

    base = [], source = None
    while (len(base) < 4 or source is None) and tries < 12:
        y ~ pi(. | x)
        if source is None and y is wrong: source = y    # the first failure: not trained
        elif len(base) < 4: base.append(y)
    k = Uniform{1..T}                                   # T steps of the source
    reset = 4 suffixes ~ pi(. | x, source steps 1..k-1) # step k itself is sampled again
    A = (r - mean) / population std, each group on its own;  L = - mean_i A_i mean_t log pi

The prefix is context: its tokens never carry gradient. Without a failure in 12 tries the base group
is topped up to 8 and trained alone. A try without a reasoning step (an end token at once) is no
source, because there is no step to reset to: it joins the base group. Several tries are sampled at
once, and read in the order of the loop above: tries that the loop would not have sampled are
discarded, but their tokens count.

The release's other arms are settings: 1x8, one reset group and no base group (`num_base=0,
num_reset=8`; without a failure, the first 8 tries are trained), and nomask (`mask_prefix=False`).
The release takes four optimizer steps a batch (`LearnerConfig.updates_per_iteration`).

Source: arXiv 2605.25507, "Credit Assignment with Resets in Language Model Reasoning", section on
RRPO and the released code (github.com/Ankur-Samanta/SRPO, commit 67f4a26, which calls the source
`group2_parent`). `tries_per_round` is our choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.pipeline import (
    BASE,
    Episodes,
    Part,
    is_problem_group,
    samples_of,
)
from reason_env.agents.methods.protocol import (
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reset_metrics import prefix_metrics
from reason_env.agents.methods.row import Row
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    training_sample,
)
from reason_env.errors import ConfigError
from reason_env.state import ReasonState, uniform_cut, with_response_of

RESET = "/reset"
SourceChoice = Literal["first_failure", "extra"]

RELEASED: Mapping[str, object] = {
    "num_base": 4,
    "num_reset": 4,
    "max_tries": 12,
    "tries_per_round": 1,
    "source_choice": "first_failure",
    "advantage.std": "population",
    "advantage.eps": 0.0,
    "loss.surrogate": "reinforce",
    "loss.aggregation": "seq_mean_token_mean",
}
RELEASED_RUN: Mapping[str, object] = {
    "problems_per_iteration": 32,
    "sampling.temperature": 0.7,
    "sampling.top_p": 0.95,
    "env.max_steps": 20,
    "learner.updates_per_iteration": 4,
    "learner.learning_rate": 5e-5,
    "lora.rank": 64,
}
DIFFERENCES = (
    "Tries that the paper's loop, which samples one by one, would not sample are discarded, and "
    'counted. `source_choice="extra"` leaves the base group unbiased.',
    "A chain is limited by the environment's `--max-steps` and `--max-tokens`, not by 20 steps of "
    "256 tokens.",
    "A try without a reasoning step (an end token at once) joins the base group, and is no source "
    "of a reset. An episode whose verifier failed is a try, but neither base nor source. If so "
    "many verifiers fail that the base group is short after twelve tries, it is topped up and "
    "there is no reset.",
    "The release's other arms are settings: `--num-base 0` `--num-reset 8` (1x8: one reset group, "
    "no base group), `--mask-prefix False` (nomask). The clipped loss is `--loss.surrogate clip`.",
)


def paper_advantage() -> AdvantageConfig:
    """Return (r - mean) / population std, without eps: 0 if all returns are equal."""
    return AdvantageConfig(kind="grpo", std="population", eps=0.0)


def paper_loss() -> LossConfig:
    """Return REINFORCE with a mean over each sequence: no ratio, no weight, no clip, no KL."""
    return LossConfig(
        surrogate="reinforce", aggregation="seq_mean_token_mean", importance_weight_cap=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RRPOConfig(MethodConfig):
    """RRPO's numbers; the defaults are the released code's."""

    kind: Annotated[Literal["rrpo"], tyro.conf.Suppress] = "rrpo"
    num_base: int = 4
    """Base episodes a problem that are trained; 0: the resets alone are (the release's arm 1x8)."""
    num_reset: int = 4
    """Episodes from the reset."""
    max_tries: int = 12
    """Most episodes from the problem in search of a failure."""
    tries_per_round: int = 4
    """Further tries sampled at once (the paper samples one by one; this trades discarded tokens
    for fewer rounds of sampling)."""
    source_choice: SourceChoice = "first_failure"
    """Which failure is the source of the reset. first_failure: the first wrong episode, which
    leaves the base group (the paper); the base group is then better than the policy. extra: the
    first wrong episode after the first `num_base`, which stay in the base group as they come."""
    mask_prefix: bool = True
    """False: the prefix of a reset is trained too, with the suffix's advantage (nomask)."""
    advantage: AdvantageConfig = field(default_factory=paper_advantage)
    loss: LossConfig = field(default_factory=paper_loss)

    def __post_init__(self) -> None:
        check_names(self, {"source_choice": get_args(SourceChoice)})
        for name in ("num_base", "num_reset") if self.num_base else ("num_reset",):
            self.advantage.check_size(getattr(self, name), name)
        if self.max_tries <= self.num_base:
            raise ConfigError(
                f"max_tries must be above num_base, got {self.max_tries!r} and {self.num_base!r}; "
                "one more try is needed to find a failure"
            )
        if self.tries_per_round < 1:
            raise ConfigError(f"tries_per_round must be at least 1, got {self.tries_per_round!r}")


@dataclass(frozen=True, slots=True)
class Tries:
    """One problem's episodes, as the loop of the paper reads them."""

    base: Episodes
    source: Trajectory | None
    """The failure that the reset starts from; None if there is none."""
    num_read: int
    """Episodes that the loop would have sampled; later ones are discarded."""


def read_tries(trajectories: Sequence[Trajectory], config: RRPOConfig) -> Tries:
    """Read episodes in the order in which they were sampled, as the loop of the paper does.

    Episodes whose verifier failed are tries, but neither base nor source.
    """
    base: list[Trajectory] = []
    beyond: list[Trajectory] = []
    source: Trajectory | None = None
    num_read = 0
    for item in trajectories:
        if (len(base) == config.num_base and source) or num_read == config.max_tries:
            break
        num_read += 1
        if not item.is_graded:
            continue
        may_be_source = config.source_choice == "first_failure" or len(base) == config.num_base
        if source is None and may_be_source and _can_be_source(item):
            source = item
        elif len(base) < config.num_base:
            base.append(item)
        else:
            beyond.append(item)
    if not config.num_base and source is None:
        base = beyond[: config.num_reset]
    return Tries(tuple(base), source, num_read)


def read_shared(trajectories: Sequence[Trajectory], config: RRPOConfig) -> Tries:
    """Read a group that another method sampled: nothing is discarded.

    The source is the first failure; with `source_choice="extra"` it stays in the group.
    """
    graded = [item for item in trajectories if item.is_graded]
    source = next((item for item in graded if _can_be_source(item)), None)
    is_taken = config.source_choice == "first_failure"
    base = [item for item in graded if not (is_taken and item is source)]
    return Tries(tuple(base), source, len(trajectories))


def _can_be_source(item: Trajectory) -> bool:
    """Return whether a reset can begin at a step of this episode: wrong, with a step."""
    return not item.is_success and item.final_state.num_steps > 0


class RRPO(MethodBase):
    """Resets to a uniform step of the first failure; each start has its own group."""

    config: RRPOConfig
    row = Row(
        starts="the problem; then a uniform step of the first failed chain",
        context="the same; the prefix is masked",
        paper='arXiv 2605.25507, "Credit Assignment with Resets in Language Model Reasoning"',
        numbers=RELEASED,
        run_numbers=RELEASED_RUN,
        result="Average of ten benchmarks (Qwen2.5-14B): 44.3, where GRPO has 42.8 and SRPO 46.3.",
        differences=DIFFERENCES,
    )
    roles = frozenset({"reset", "top_up"})
    to_sample_problems = "a num_base of 2 or more"

    @property
    def part(self) -> Part:
        """The source is removed from the problem's group; of a reset the suffix is trained."""
        part = replace(super().part, compared=frozenset({"reset"}), remove=self.without_source)
        if self.config.mask_prefix:
            return part
        return replace(part, compared=frozenset(), add=self.unmasked_resets)

    @property
    def samples_problems(self) -> bool:
        """False if the resets alone are trained."""
        return self.config.num_base > 0

    @property
    def planned_responses(self) -> int:
        """The fewest tries that the loop can end with."""
        return self.config.num_base + 1

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `num_base` + 1 tries at each problem, the fewest that the loop can end with."""
        return problem_starts(states, self.config.num_base + 1)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Start further tries, then the reset or a topped-up base group, one each a problem."""
        known = {group.key: group for group in groups}
        starts: list[Start] = []
        for group in groups:
            if is_problem_group(group):
                starts += self._next(group, known, rng)
        return starts

    def read(self, episodes: Sequence[Trajectory]) -> Tries:
        """Read the tries of one problem: by the paper's loop, or all of a shared group."""
        tries = [item for item in episodes if item.start.role == BASE]
        return read_tries(tries, self.config) if self.is_first else read_shared(tries, self.config)

    def without_source(self, episodes: Episodes, own: Episodes) -> Episodes:
        """Return the base episodes and those that topped them up, without the source."""
        added = [item for item in own if item.start.role == "top_up"]
        return (*self.read(episodes).base, *added)

    def kept_steps(
        self, source: Trajectory, groups: dict[str, Group], rng: np.random.Generator
    ) -> int:
        """Draw how many steps of the source a reset keeps: k - 1 for k uniform over 1..T."""
        return uniform_cut(source.final_state, rng)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Measure how clean the resets' prefixes are, if the problems have a step checker."""
        return {} if self.checker is None else prefix_metrics(self.resets(groups), self.checker)

    def resets(self, groups: Sequence[Group]) -> list[tuple[Trajectory, Group]]:
        """Pair each source with the group that was reset to a prefix of it."""
        known = {group.key: group for group in groups}
        sources = {
            group.key: self.read(group.trajectories).source
            for group in groups
            if is_problem_group(group)
        }
        return [
            (source, known[key + RESET])
            for key, source in sources.items()
            if source is not None and key + RESET in known
        ]

    def unmasked_resets(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make the samples of the resets, with gradient on the source's tokens in the prefix."""
        samples: list[TrainingSample] = []
        for source, group in self.resets(groups):
            whole = training_sample(source, 0.0)
            for sample in samples_of(group.trajectories, self.advantage):
                kept = len(group.trajectories[0].start.state.response)
                log_probs = whole.behavior_log_probs[:kept] + sample.behavior_log_probs[kept:]
                mask = whole.action_mask[:kept] + sample.action_mask[kept:]
                samples.append(replace(sample, action_mask=mask, behavior_log_probs=log_probs))
        return samples

    def _next(self, group: Group, known: dict[str, Group], rng: np.random.Generator) -> list[Start]:
        """Return what follows for one problem; nothing once it has its reset or top-up."""
        config = self.config
        start = group.trajectories[0].start
        if group.key + RESET in known or any(
            item.start.role == "top_up" for item in group.trajectories
        ):
            return []
        tries = self.read(group.trajectories)
        if not self.is_first and tries.source is None:
            return []
        if tries.source is not None and (not self.is_first or len(tries.base) == config.num_base):
            kept = self.kept_steps(tries.source, known, rng)
            state = with_response_of(start.state, tries.source.final_state, kept)
            return [
                replace(
                    start,
                    state=state,
                    learn_from=state,
                    num_samples=config.num_reset,
                    group=group.key + RESET,
                    role="reset",
                )
            ]
        if tries.num_read < config.max_tries:
            count = min(config.tries_per_round, config.max_tries - len(group.trajectories))
            return [replace(start, num_samples=count)]
        missing = config.num_base + config.num_reset - len(tries.base)
        if not missing:
            return []
        return [replace(start, num_samples=missing, role="top_up")]
