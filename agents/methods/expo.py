"""ExPO (ExP-GRPO): the policy explains the reference answer, and learns to find the explanation.

    c ~ pi_theta(. | x, answer)                      # one for every problem
    J = J_GRPO + beta log pi_theta(c, answer | x)    # the answer is hidden from the prompt

The explanation is not in the group: it has no advantage, no ratio and no clip. It is an added
term, averaged among explanations alone. Only explanations that end in the reference answer without
betraying that it was given are kept.

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization"; beta 0.04 is the paper's (0.5 is
worse than GRPO). One explanation a problem, a new one each iteration, the mean over its tokens and
the filter are our choice. ExP-DPO is not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from reason_env.agents.advantage import AdvantageConfig
from reason_env.agents.loss import LossConfig
from reason_env.agents.methods.protocol import MethodBase, group_key, samples_of
from reason_env.agents.trajectory import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    training_sample,
)
from reason_env.errors import ConfigError
from reason_env.guidance import answer_guidance
from reason_env.problems import reference_response
from reason_env.state import ReasonState

EXPLANATION = "/explanation"
BETRAYALS = ("given answer", "answer given", "provided answer", "answer provided", "the hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExPOConfig:
    """ExPO's numbers."""

    kind: Annotated[Literal["expo"], tyro.conf.Suppress] = "expo"
    group_size: int = 8
    """Episodes a problem (G)."""
    beta: float = 0.04
    """Weight of the explanations' log-likelihood, in reward units per nat (a token)."""
    beta_iterations: int | None = None
    """Iterations over which beta falls to 0, linearly; None keeps it."""
    explanations: Literal["self", "expert"] = "self"
    """expert puts the reference solution into the slot: the paper's control arm."""
    refresh: Literal["every_iteration", "once"] = "every_iteration"
    """When a problem's explanation is sampled anew [the paper does not say]."""
    length: Literal["token_mean", "sum"] = "token_mean"
    """Mean over an explanation's tokens, or their sum over the response budget [not said]."""
    filter_answers: bool = True
    """Keep only explanations that end in the reference answer and do not betray it [not said]."""
    betrayals: tuple[str, ...] = BETRAYALS
    """An explanation that holds one of these (in any case) betrays that the answer was given."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ConfigError(f"group_size must be at least 2, got {self.group_size!r}")
        if not self.beta >= 0:
            raise ConfigError(f"beta must be at least 0, got {self.beta!r}")
        if self.beta_iterations is not None and self.beta_iterations < 1:
            raise ConfigError(f"beta_iterations must be at least 1, got {self.beta_iterations!r}")


class ExPO(MethodBase):
    """GRPO, and the log-likelihood of self-explanations."""

    def __init__(self, config: ExPOConfig) -> None:
        self.config = config
        self.known: dict[str, TrainingSample] = {}
        """problem id -> its explanation, where `refresh` is "once"."""
        self.iterations = 0

    @property
    def loss(self) -> LossConfig:
        """The loss of the groups."""
        return self.config.loss

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """- beta log pi of the explanations, averaged among themselves."""
        likelihood = LossConfig(
            policy_term="reinforce",
            aggregation=(
                "seq_mean_token_mean"
                if self.config.length == "token_mean"
                else "seq_mean_token_sum"
            ),
            importance_weight_cap=None,
            own_total=True,
        )
        return {"explanation": likelihood}

    @property
    def beta(self) -> float:
        """The weight in the iteration that is planned last."""
        if self.config.beta_iterations is None:
            return self.config.beta
        left = 1.0 - (self.iterations - 1) / self.config.beta_iterations
        return self.config.beta * max(0.0, left)

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns the group of each problem, and one explanation where it is not known yet."""
        self.iterations += 1
        starts: list[Start] = []
        for index, state in enumerate(states):
            key = group_key(index, state)
            starts.append(
                Start(state=state, num_samples=self.config.group_size, learn_from=state, group=key)
            )
            if self.config.explanations == "self" and state.problem.problem_id not in self.known:
                answer = answer_guidance(state.problem)
                assert answer is not None, "a problem has an answer"
                starts.append(
                    Start(
                        state=state.with_guidance(answer),
                        num_samples=1,
                        learn_from=state,
                        group=key + EXPLANATION,
                        role="explanation",
                    )
                )
        return starts

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns the groups' episodes, and the explanations with beta as their weight."""
        samples: list[TrainingSample] = []
        fresh: dict[str, TrainingSample] = {}
        for group in groups:
            first = group.trajectories[0]
            name = first.start.learn_from.problem.problem_id
            if first.start.role == "explanation":
                if self.is_kept(first):
                    fresh[group.key] = _explained(first)
                    if self.config.refresh == "once":
                        self.known[name] = fresh[group.key]
                continue
            samples += samples_of(group.trajectories, self.config.advantage)
            if self.config.explanations == "expert":
                fresh[group.key] = expert_sample(first)
            elif name in self.known:
                fresh[group.key] = self.known[name]
        if self.beta == 0:
            return samples
        return samples + [replace(sample, advantage=self.beta) for sample in fresh.values()]

    def is_kept(self, explanation: Trajectory) -> bool:
        """Returns whether an explanation ends in the reference answer without betraying it."""
        if not self.config.filter_answers:
            return bool(explanation.behavior_log_probs)
        text = explanation.final_state.text.lower()
        betrays = any(phrase.lower() in text for phrase in self.config.betrayals)
        return explanation.is_success and not betrays

    def state_dict(self) -> dict[str, Any]:
        """Returns the iterations so far and the explanations that are kept."""
        return {
            "iterations": self.iterations,
            "known": {
                name: {
                    "context_ids": list(sample.context_ids),
                    "token_ids": list(sample.token_ids),
                    "action_mask": list(sample.action_mask),
                    "group": sample.group,
                }
                for name, sample in self.known.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value."""
        self.iterations = int(state["iterations"])
        self.known = {
            str(name): _likelihood_sample(
                own["context_ids"], own["token_ids"], own["action_mask"], own["group"]
            )
            for name, own in state["known"].items()
        }


def _explained(trajectory: Trajectory) -> TrainingSample:
    sample = training_sample(trajectory, 1.0)
    return _likelihood_sample(
        sample.context_ids, sample.token_ids, sample.action_mask, sample.group
    )


def expert_sample(trajectory: Trajectory) -> TrainingSample:
    """Returns the reference solution of an episode's problem, as if it were an explanation."""
    state = trajectory.start.learn_from
    text = reference_response(state.problem, state.codec.step_delimiter)
    token_ids = (*state.codec.encode(text), state.codec.eos_id)
    return _likelihood_sample(
        trajectory.learn_prompt_ids, token_ids, [True] * len(token_ids), trajectory.start.group
    )


def _likelihood_sample(
    context_ids: Sequence[int], token_ids: Sequence[int], mask: Sequence[bool], group: str
) -> TrainingSample:
    """Returns tokens whose log-likelihood is raised; the sampler has no part in it."""
    return TrainingSample(
        context_ids=tuple(context_ids),
        token_ids=tuple(token_ids),
        action_mask=tuple(mask),
        behavior_log_probs=(0.0,) * len(token_ids),
        advantage=1.0,
        role="explanation",
        group=group,
    )
