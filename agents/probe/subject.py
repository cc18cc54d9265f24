"""Subject: the model and the problems that a probe measures, through the objects of a run.

Everything is sampled, graded and trained as `reason-env train` would do it with the same flags:
the subject holds a session that was built and never advanced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reason_env.agents.methods import MethodBase, MethodConfig, build_method
from reason_env.agents.rollout import Group, RolloutBatch, Start, collect
from reason_env.agents.train import Session
from reason_env.codec import Codec
from reason_env.env import ReasonEnv, reason_env_of
from reason_env.problem import StepChecker
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured."""

    session: Session
    """Built with GRPO and not advanced; its config gives sampling, group size and seed."""
    again: int
    """Episodes a problem with guidance, with a list of wrong answers, and without either."""

    @property
    def inner(self) -> ReasonEnv:
        """The environment without its wrappers."""
        return reason_env_of(self.session.env)

    @property
    def codec(self) -> Codec:
        """The policy's codec."""
        return self.session.policy.codec

    @property
    def checker(self) -> StepChecker | None:
        """The problems' step checker."""
        return self.inner.problems.checker

    def fits(self, state: ReasonState) -> bool:
        """Whether an episode can begin at a state."""
        method = self.session.method
        assert isinstance(method, MethodBase), "a probe's session has a single method"
        return method.fits(state)

    def reference_ids(self, state: ReasonState) -> tuple[int, ...]:
        """Encode the reference solution of a state's problem as a response, end token included."""
        return self.inner.reference_ids(state.problem)

    def method(self, config: MethodConfig) -> MethodBase:
        """Build a method that follows up groups which the probe has sampled."""
        method = build_method(
            config,
            self.checker,
            self.fits,
            max_response_tokens=self.inner.rules.max_tokens,
            reference_ids=self.reference_ids,
            grade_options=self.inner.grade_options,
            prompt_ids=self.prompt_ids,
        )
        assert isinstance(method, MethodBase), "a single config gives a single method"
        method.is_first = False
        return method

    def collect(self, starts: Sequence[Start], seed: int) -> RolloutBatch:
        """Run the episodes of some starts with the session's sampling."""
        return collect(
            starts,
            env=self.session.env,
            policy=self.session.policy,
            sampling=self.session.config.sampling,
            seed=seed,
        )

    def prompt_ids(self, state: ReasonState) -> tuple[int, ...]:
        """The prompt of a state."""
        return self.inner.prompt.token_ids(state)


def state_of(group: Group) -> ReasonState:
    """Return the state that a group's episodes began at."""
    return group.trajectories[0].start.state


def problem_id_of(group: Group) -> str:
    """Return the id of a group's problem."""
    return state_of(group).problem.problem_id


def success_rate(group: Group) -> float | None:
    """Return the share of graded episodes that succeeded; None if the verifier graded none."""
    graded = group.graded
    return sum(item.is_success for item in graded) / len(graded) if graded else None


def has_failed(group: Group) -> bool:
    """Return whether a group has graded episodes and none succeeded."""
    return success_rate(group) == 0
