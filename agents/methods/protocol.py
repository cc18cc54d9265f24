"""What a method is: where episodes start, what is sampled next, and what is trained.

The training loop calls `prepare` once a run. In each iteration it calls `measure` with the drawn
problems, then `plan`, then `follow_up` with all groups so far until that returns nothing, then
`training_samples`. In these last three a method may ask its `services` for more (`services.py`).

`MethodBase` is the base class of every method. It needs only a config and `plan`, and trains every
group with the group's own advantages. A method that trains more or less overrides `part`, a value
that says what it removes, swaps and adds (`pipeline.py`); because of it, methods compose
(`compose.py`).
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from gymnasium.envs.registration import WrapperSpec

from reason_env.agents.learning import AdvantageConfig, LossConfig, PairLossConfig
from reason_env.agents.methods.pipeline import Part, training_samples
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.services import NumberedState, Services, Unserved
from reason_env.agents.metrics import Number
from reason_env.agents.policy import JudgeConfig
from reason_env.agents.rollout import Group, Start, TrainingSample
from reason_env.errors import ConfigError, did_you_mean
from reason_env.problem import Problem, StepChecker
from reason_env.problems import reference_response
from reason_env.state import Guidance, PromptTemplate, ReasonState
from reason_env.verify import GradeOptions

Fits = Callable[[ReasonState], bool]
"""Whether the environment and the model can begin an episode at a state."""
ReferenceIds = Callable[[ReasonState], tuple[int, ...]]
"""Encodes the reference solution of a state's problem as a whole response, end token included."""
PromptIds = Callable[[ReasonState], tuple[int, ...]]
"""The prompt of a state, as the environment's template writes it."""
Fingerprint = Callable[[], str]
"""Hash of everything except the states that a measurement of the policy depends on."""
Collect = Callable[[Sequence[Start]], Sequence[Group]]
"""Samples some starts with the current policy; the run counts the tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """Base class of the methods' configs.

    A subclass gives `kind` a default, the method's name, and adds the method's numbers.
    """

    kind: str

    @property
    def wrappers(self) -> tuple[WrapperSpec, ...]:
        """Wrappers of the environment that the method trains in, the innermost first.

        They are put around the run's own stack; evaluation is without them. A method that is a
        wrapper with a name needs nothing else.
        """
        return ()

    @property
    def least_shaping(self) -> float:
        """The least that these wrappers add to an episode's return, at most 0, in reward units."""
        return 0.0

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The longest guidance that the method may show with a problem; empty if it shows none.

        A run checks before it begins that the prompt has room for it.
        """
        return ()

    def longest_prefix(self, problem: Problem) -> int:
        """Most steps of the reference solution that the method's wrappers begin a response with.

        A run leaves out problems whose response has no room after them.
        """
        return 0


class Method(Protocol):
    """What the training loop needs of a method."""

    @property
    def loss(self) -> LossConfig:
        """The loss of the update."""
        ...

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Role -> the loss of its samples, for roles whose loss is not `loss`."""
        ...

    @property
    def pair_loss(self) -> PairLossConfig | None:
        """The loss of pairs of responses, which replaces all other losses; None for no pairs."""
        ...

    @property
    def has_follow_up(self) -> bool:
        """False promises that `follow_up` always returns nothing."""
        ...

    @property
    def needs_entropies(self) -> bool:
        """Whether trajectories keep entropies; vLLM gives none."""
        ...

    @property
    def judges(self) -> Sequence[JudgeConfig]:
        """The judges that the method may ask; they are loaded with the run."""
        ...

    @contextmanager
    def served_by(self, services: Services) -> Generator[None]:
        """Give the method its services inside the block."""
        ...

    @property
    def prepared_tokens(self) -> int:
        """Generated tokens of a preparation that was read from a file."""
        ...

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Measure what must be measured before training; return the problems to train on."""
        ...

    @property
    def measured_tokens(self) -> int:
        """Generated tokens of the last `measure` that were read from a file."""
        ...

    def measure(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Measure drawn problems that are not known yet; return those to train on."""
        ...

    def trained_problems(self, problem_ids: Sequence[str]) -> Sequence[str]:
        """Return those of the run's problems that iterations train on, as far as is known."""
        ...

    def prepared_responses(self, num_problems: int) -> int:
        """Count the responses that `prepare` samples at least for this many problems."""
        ...

    @property
    def planned_responses(self) -> int:
        """Responses that an iteration samples at least for each problem."""
        ...

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Return the first starts of an iteration.

        Args:
            states: Where the environment starts each problem of the iteration.
            rng: Makes the method's random choices.
        """
        ...

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Return further starts, given all groups so far; empty if there are none."""
        ...

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Return which tokens are trained, under which context, with which advantage."""
        ...

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Return the method's own metrics of an iteration, by names of `METRICS`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the method remembers between iterations, as a JSON object."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


def every_state_fits(state: ReasonState) -> bool:
    """Return True."""
    return True


def plain_reference_ids(state: ReasonState) -> tuple[int, ...]:
    """Encode the reference solution with an answer line, and the end token.

    >>> from reason_env import ByteCodec
    >>> problem = Problem(problem_id="toy/train/0", question="1+1=?", answer="2", solution=("1+1",))
    >>> state = ReasonState(problem=problem, codec=ByteCodec())
    >>> len(plain_reference_ids(state))  # 1+1, a line break, #### 2, and the end
    11
    """
    text = reference_response(state.problem, state.codec.step_delimiter)
    return (*state.codec.encode(text), state.codec.eos_id)


def plain_prompt_ids(state: ReasonState) -> tuple[int, ...]:
    r"""Encode the prompt of a state by the built-in template.

    >>> from reason_env import ByteCodec
    >>> problem = Problem(problem_id="toy/train/0", question="1+1=?", answer="2")
    >>> state = ReasonState(problem=problem, codec=ByteCodec())
    >>> state.codec.decode(plain_prompt_ids(state))
    '1+1=?\n>'
    """
    return PromptTemplate().token_ids(state)


class MethodBase:
    """A method that trains every group as it is; a subclass adds `plan` and whatever differs."""

    row: Row = Row()
    """What the method says of itself in the table (`reason-env methods`)."""
    roles: frozenset[str] = frozenset()
    """Roles of the method's starts and samples, "base" excluded. Two methods of a composition have
    no role in common."""
    has_follow_up = True
    """False promises that `follow_up` always returns nothing: CPI then finds the states that the
    method starts from without sampling."""
    needs_entropies = False
    """Whether trajectories keep the entropy of each token's distribution (`Trajectory.entropies`).
    vLLM gives none, so that a run with it is then refused."""
    services: Services = Unserved()
    """Further problems, scores and judges; given for each iteration."""
    fits: Fits = staticmethod(every_state_fits)
    """Whether an episode can begin at a state; set by `build_method`. Check it before a start gets
    guidance that may be too long for the prompt or the model."""
    reference_ids: ReferenceIds = staticmethod(plain_reference_ids)
    """A problem's reference solution as a response, end token included; set by `build_method`."""
    prompt_ids: PromptIds = staticmethod(plain_prompt_ids)
    """A state's prompt; set by `build_method`. For samples that no episode gives, and for what a
    teacher sees."""
    grade_options: GradeOptions = GradeOptions()
    """Where a response states its answer; set by `build_method`."""
    max_response_tokens: int | None = None
    """The environment's response budget, set by `build_method`; text that was not sampled is not
    trained beyond it. None: unknown."""
    fingerprint: Fingerprint | None = None
    """Hash of what a measurement of the policy depends on (weights, sampling, budgets, seed); set
    by `build_method`. None if it is unknown, and then nothing is kept between runs."""
    prepared_tokens: int = 0
    """Generated tokens of a preparation that was read from a file; the run counts them."""
    measured_tokens: int = 0
    """Generated tokens of the last `measure` that were read from a file; the run counts them."""
    to_sample_problems: str = "a method that samples them"
    """The setting with which `samples_problems` is True, for a message."""
    adds_only = False
    """True if the method compares no episodes: alone it trains only what it adds, and in a
    composition it comes after another method."""
    is_first = True
    """False after another method in a composition, which then samples the problem groups."""

    def __init__(self, config: Any, checker: StepChecker | None = None) -> None:
        self.config = config
        self.checker = checker
        """The problems' step checker; None if they have none."""

    @property
    def advantage(self) -> AdvantageConfig:
        """The estimator of the problem groups and of the method's further groups."""
        return self.config.advantage

    @property
    def loss(self) -> LossConfig:
        """The loss of the problem groups."""
        return self.config.loss

    @property
    def pair_loss(self) -> PairLossConfig | None:
        """No pairs."""
        return None

    @property
    def judges(self) -> Sequence[JudgeConfig]:
        """The judges that the method asks: none."""
        return ()

    @contextmanager
    def served_by(self, services: Services) -> Generator[None]:
        """Give the method its services inside the block."""
        before = self.services
        self.services = services
        try:
            yield
        finally:
            self.services = before

    @property
    def samples_problems(self) -> bool:
        """Whether the method plans problem groups, which other methods can share."""
        return True

    @property
    def part(self) -> Part:
        """Its share of the pipeline: all groups are trained, and nothing else."""
        return Part(roles=self.roles, compared=self.roles, advantage=self.advantage)

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Return the loss of each of its roles in a run whose problem groups have `loss`.

        A role that is left out has `loss`.
        """
        return dict.fromkeys(sorted(self.roles), self.loss)

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Role -> the loss of its samples, for roles whose loss is not `loss`."""
        own = self.losses_with(self.loss)
        return {role: loss for role, loss in own.items() if loss != self.loss}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Train on every problem."""
        return states

    def measure(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Measure nothing; train on every drawn problem."""
        return states

    def trained_problems(self, problem_ids: Sequence[str]) -> Sequence[str]:
        """Return all of them."""
        return problem_ids

    def prepared_responses(self, num_problems: int) -> int:
        """Return 0: `prepare` samples nothing."""
        return 0

    @property
    def planned_responses(self) -> int:
        """Return the config's `group_size`, or 1 if it has none."""
        return getattr(self.config, "group_size", 1)

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Return the first starts of an iteration."""
        raise NotImplementedError(f"{type(self).__name__} must plan")

    def plan_further(
        self, states: Sequence[ReasonState], num_known: int, rng: np.random.Generator
    ) -> list[Start]:
        """Return the first starts of problems that another method of a composition asked for.

        Args:
            states: All states of the iteration.
            num_known: How many of them the method has planned for.
            rng: Makes the method's random choices.
        """
        starts = self.plan(states, rng)
        return [start for start in starts if start.draw is not None and start.draw >= num_known]

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Return no further starts."""
        return []

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Run the pipeline with this method alone."""
        return training_samples([self.part], groups, rng)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Return no metrics."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""


class AddingMethod(MethodBase):
    """A method that compares no episodes: it trains only the samples that it adds.

    A subclass makes them (`added`).
    """

    adds_only = True

    @property
    def advantage(self) -> AdvantageConfig:
        """Unused: no episodes are compared."""
        return AdvantageConfig()

    @property
    def part(self) -> Part:
        """Nothing of what was sampled is trained as it is; `added` is."""
        return replace(super().part, compared=frozenset(), trains_problems=False, add=self.added)

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Return the samples of an iteration, given the groups that the method sees."""
        raise NotImplementedError(f"{type(self).__name__} must say what it adds")


def problem_starts(states: Sequence[ReasonState], num_samples: int) -> list[Start]:
    """Make one start a problem, each with its own group, trained under the sampled prompt."""
    return numbered_starts(enumerate(states), num_samples)


def numbered_starts(states: Iterable[NumberedState], num_samples: int) -> list[Start]:
    """Make the starts of `problem_starts` for states with their numbers, as services give them."""
    return [
        Start(
            state=state,
            num_samples=num_samples,
            learn_from=state,
            group=group_key(draw, state),
            draw=draw,
        )
        for draw, state in states
    ]


def group_key(draw: int, state: ReasonState) -> str:
    """Return the key of a problem group: one problem may be drawn twice in an iteration."""
    return f"{draw}:{state.problem.problem_id}"


def check_names(config: object, choices: Mapping[str, Sequence[str]]) -> None:
    """Check that fields of a config hold one of their names.

    Args:
        config: A method's config.
        choices: Field -> the names that it may hold.

    Raises:
        ConfigError: A field holds another name; the message has the nearest one.
    """
    for name, known in choices.items():
        value = getattr(config, name)
        if value not in known:
            raise ConfigError(
                f"{name} must be one of {', '.join(known)}, got {value!r}"
                f"{did_you_mean(str(value), known)}"
            )
