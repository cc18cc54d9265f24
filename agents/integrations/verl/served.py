"""Which methods verl can run, and what its loss must know of one.

verl gives an agent loop one problem, in one of several processes, and nothing of the run. So a
method is served if one problem is all that it needs: its plan, its follow-ups and its groups. It is
refused if it remembers problems between iterations, chooses among them, needs another model, or has
a loss that verl's policy loss cannot hold. POPE chooses and remembers, and is served: a process
measures a problem when it first meets it (`search="first_draw"`), and keeps what it found.

A loss that is averaged over its own role's rows alone (ExPO's log-likelihood) needs their number in
the whole step, which no process of verl's knows. It is averaged over the step's problems instead,
as the paper writes it: the loop divides the advantages, and the loss sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import (
    ExPOConfig,
    Method,
    MethodBase,
    MethodConfig,
    POPEConfig,
    SB3Config,
    build_method,
    method_name,
    parts_of,
)
from reason_env.agents.rollout import TrainingSample
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean

PREFIX = "reason_env/"
"""Begins the names of the methods in verl, which are those of their losses."""
SERVED_METHODS = (
    "grpo", "rrpo", "srpo", "pope", "lte", "expo", "vineppo", "spo", "spo-tree", "treerl", "vppo",
    "srpo+lte",
)  # fmt: skip
"""Methods that have a name with their default numbers: `reason_env/grpo`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A method in verl."""

    name: str
    """Of its policy loss."""
    method: MethodConfig
    losses: tuple[LossConfig, ...]
    """The different losses; the first is the loss of every role that `numbers` does not name."""
    numbers: Mapping[str, int]
    """Role -> number of its loss."""

    @property
    def is_pope(self) -> bool:
        """Whether a process keeps what it measured of a problem."""
        return isinstance(self.method, POPEConfig)

    def number(self, role: str) -> int:
        """Number of a role's loss."""
        return self.numbers.get(role, 0)

    def advantages(
        self, sample: TrainingSample, *, num_problems: int, max_tokens: int
    ) -> tuple[float, ...]:
        """Give the advantage of each token [T], as verl's loss is to read it.

        Args:
            sample: One that the method trains.
            num_problems: Problems of an optimizer step.
            max_tokens: The environment's budget of a response.
        """
        loss = self.losses[self.number(sample.role)]
        if not loss.separate_normaliser:
            return sample.advantages
        is_mean = loss.aggregation == "seq_mean_token_mean"
        length = sum(sample.action_mask) if is_mean else max_tokens
        return sample.scaled(1 / (num_problems * length)).advantages


def served_method(name: str, method: MethodConfig) -> Served:
    """Describe a method to verl.

    Raises:
        ConfigError: verl cannot run it.
    """
    reason = refusal(method)
    if reason is not None:
        raise ConfigError(
            f"a method in verl must need one problem and its own policy, got {method_name(method)}"
            f": {reason}; train it with reason-env train"
        )
    built = _built(method)
    different = dict.fromkeys((built.loss, *built.role_losses.values()))
    losses = tuple(different)
    numbers = {role: losses.index(loss) for role, loss in built.role_losses.items()}
    return Served(name=name, method=method, losses=losses, numbers=numbers)


def refusal(method: MethodConfig) -> str | None:
    """Say why verl cannot run a method; None if it can.

    >>> from reason_env.agents.methods import method_config
    >>> refusal(method_config("srpo"))
    >>> refusal(method_config("dapo"))
    'dapo remembers problems between iterations, and a process of verl sees some of them'
    """
    parts = parts_of(method)
    for part in parts:
        reason = _of_part(part, is_alone=len(parts) == 1)
        if reason is not None:
            return reason
    built = _built(method)
    return _of_losses((built.loss, *built.role_losses.values()))


def find_served(name: str, known: Mapping[str, Served]) -> Served:
    """Find a method by the name of its loss.

    Raises:
        UnknownNameError: No method has the name.
    """
    if name not in known:
        raise UnknownNameError(
            f"actor.policy_loss.loss_mode must name a method, got {name!r}"
            f"{did_you_mean(name, known)}; known are {', '.join(sorted(known))}"
        )
    return known[name]


def _built(method: MethodConfig) -> Method:
    # A row has no step checker, so a method that needs one says so here.
    return build_method(method, None)


def _of_part(part: MethodConfig, *, is_alone: bool) -> str | None:
    if isinstance(part, SB3Config):
        return f"{part.kind} steps the environment itself"
    built: Any = _built(part)
    is_paired = built.pair_loss is not None
    losses = () if is_paired else (built.loss, *built.role_losses.values())
    knows = (POPEConfig, ExPOConfig)
    reasons = (
        (
            built.pair_loss is not None,
            "trains pairs of responses, and verl's loss has none",
        ),
        (
            built.needs_entropies,
            "needs the entropy at each token, which no server of verl's gives",
        ),
        (bool(built.judges), "asks another model, which verl does not load"),
        (
            any(loss.distillation is not None for loss in losses),
            "learns from a teacher, and verl scores a teacher for one row of a problem",
        ),
        (
            _overrides(built, "state_dict") and not isinstance(part, knows),
            "remembers problems between iterations, and a process of verl sees some of them",
        ),
        (bool(part.wrappers), "trains in a wrapper that remembers or changes episodes of its run"),
        (
            (_overrides(built, "prepare") or _overrides(built, "measure"))
            and not isinstance(part, knows),
            "chooses among the problems before it trains, and verl's data are fixed",
        ),
    )
    found = next((reason for holds, reason in reasons if holds), None)
    if isinstance(part, POPEConfig):
        found = found or _of_pope(part, is_alone=is_alone)
    if isinstance(part, ExPOConfig):
        found = found or _of_expo(part)
    return None if found is None else f"{part.kind} {found}"


def _of_pope(part: POPEConfig, *, is_alone: bool) -> str | None:
    if not is_alone:
        return "leaves problems out, which a composition cannot do for one problem"
    if part.search == "before":
        return "with search 'before' measures all problems before training; give 'first_draw'"
    return None


def _of_expo(part: ExPOConfig) -> str | None:
    if part.explanations != "self":
        return "with explanations 'expert' chooses the problems that have a solution"
    if part.refresh != "every_iteration":
        return "with refresh 'once' remembers explanations between iterations"
    if part.beta_iterations is not None:
        return "with beta_iterations counts iterations, which verl does not tell"
    return None


def _of_losses(losses: Sequence[LossConfig]) -> str | None:
    for loss in losses:
        if loss.kl_coefficient > 0:
            return "its loss has a KL term; leave it to verl's actor.use_kl_loss"
        if loss.entropy_coefficient > 0:
            return "its loss has an entropy term; leave it to verl's actor.entropy_coeff"
        if loss.separate_normaliser and loss.aggregation == "token_mean":
            return (
                "a role's tokens are averaged alone, and verl does not count them; use a shared "
                "normaliser"
            )
    return None


def _overrides(built: MethodBase, name: str) -> bool:
    return getattr(type(built), name) is not getattr(MethodBase, name)


def summed(loss: LossConfig) -> LossConfig:
    """The loss of rows whose advantages hold their share of the average."""
    return replace(loss, aggregation="token_mean", separate_normaliser=False)
