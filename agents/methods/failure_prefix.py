"""Failure-prefix conditioning: saturated problems are sampled after a prefix of a rare failure.

    saturated  saturated_pass_rate <= pass rate < 1 among `attempts` samples of the policy
    failure    the first wrong one of them, T steps
    k          the number of its steps, among shares of T, after which the pass rate of
               `probe_samples` episodes is nearest to the target; the shorter one of two
    train      G episodes after the first k steps, one group; the prefix is masked

On a problem that is nearly always solved, a group tells nothing. After the beginning of a failure
about half of it is solved, and the policy learns to recover.

Source: arXiv 2601.20829, "Training Reasoning Models on Saturated Problems via Failure-Prefix
Conditioning", and the released training code and data (github.com/minwukim/
training-on-saturated-problems, commit 121a277: GRPO on prefixed problems alone, 16 episodes a
problem, target 0.5 in the main setting, clip range 0.2 and 0.4, two updates a batch). The code that
builds the prefixes is not in the release: attempts, grid and samples are our choice. The paper
builds them before training, and again later; here a problem is measured when an iteration first
draws it, by the policy of that time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.own_chains import (
    Copies,
    OwnChains,
    attempt,
    can_be_cut,
    chain_of,
    pass_rate,
    steps_kept,
)
from reason_env.agents.methods.protocol import Collect, MethodConfig, check_names
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState, checked_fraction, with_response_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePrefixConfig(MethodConfig):
    """The numbers of failure-prefix conditioning."""

    kind: Annotated[Literal["failure-prefix"], tyro.conf.Suppress] = "failure-prefix"
    group_size: int = 8
    """Episodes of each start (the release: 16)."""
    attempts: int = 16
    """Samples of a problem in search of a failure, when it is first drawn [not released]."""
    saturated_pass_rate: float = 0.75
    """Problems with a failure and at least this pass rate are trained, 0..1 [not released]."""
    shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """Shares of the failure's steps that are measured as prefixes [not released]."""
    probe_samples: int = 8
    """Episodes after each measured prefix [not released]."""
    target: float = 0.5
    """Wanted pass rate after the prefix, 0..1."""
    copies: Copies = "prefixed_only"
    """prefixed_only: the copy after the prefix alone (the release). both: the problem, too."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(clip_high=0.4))

    def __post_init__(self) -> None:
        check_names(self, {"copies": get_args(Copies)})
        self.advantage.check_size(self.group_size, "group_size")
        for name in ("attempts", "probe_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        for name in ("saturated_pass_rate", "target"):
            checked_fraction(getattr(self, name), name)
        if not self.shares:
            raise ConfigError("shares must hold a share to measure, got none")
        for share in self.shares:
            checked_fraction(share, "shares")


class FailurePrefix(OwnChains):
    """Train on saturated problems after the beginning of a rare failure."""

    config: FailurePrefixConfig
    wanted = "a failure and a high pass rate"
    row = Row(
        starts="after a prefix of a rare failure on a saturated problem",
        context="the same; the prefix is masked",
        paper='arXiv 2601.20829, "Training Reasoning Models on Saturated Problems via '
        'Failure-Prefix Conditioning"',
        numbers={
            "group_size": 16,
            "target": 0.5,
            "loss.clip_high": 0.4,
            "copies": "prefixed_only",
            "attempts": UNSAID,
            "saturated_pass_rate": UNSAID,
            "shares": UNSAID,
            "probe_samples": UNSAID,
        },
        run_numbers={"learner.updates_per_iteration": 2, "learner.learning_rate": 1e-6},
        result="The gains of training on new problems of medium difficulty, where RL on the "
        "saturated problems stalls.",
        differences=(
            "A problem is measured when an iteration first draws it, once, by the policy of that "
            "time; the paper builds prefixes before training, and refreshes them. What is not "
            "saturated is left out, and further problems are drawn in its place, in four rounds "
            "an iteration at most.",
            "With the shipped model none of 384 `chain` problems of the default levels was "
            "saturated, and such a run trains nothing: take easier ones (`--levels 3 5`), or a "
            "lower `--saturated-pass-rate`.",
            "The code that builds the prefixes is not in the release; attempts, grid and samples "
            "are our choice. Prefixes are whole steps, the paper's tokens.",
        ),
    )

    def __init__(self, config: FailurePrefixConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.kept: dict[str, int] = {}
        """Problem id -> steps of its failure that its episodes begin after."""

    def choose(self, episodes: Sequence[Trajectory]) -> Trajectory | None:
        """Choose the first failure that can be cut, of a saturated problem."""
        rate = pass_rate(episodes)
        if rate is None or rate < self.config.saturated_pass_rate:
            return None
        return next((item for item in episodes if not item.is_success and can_be_cut(item)), None)

    def note(self, unknown: Mapping[str, ReasonState], collect: Collect) -> None:
        """Keep the failures of problems, and measure how much of each to keep."""
        super().note(unknown, collect)
        probes: list[Start] = []
        places: dict[str, tuple[str, int]] = {}
        for name, state in unknown.items():
            if not self.chains[name]:
                continue
            chain = chain_of(state, self.chains[name])
            for kept in sorted({steps_kept(share, chain) for share in self.config.shares}):
                key = f"{name}/{kept}"
                places[key] = name, kept
                prefixed = with_response_of(state, chain, kept)
                probes.append(attempt(prefixed, key, self.config.probe_samples))
        rates: dict[str, dict[int, float]] = {}
        for group in collect(probes) if probes else ():
            name, kept = places[group.key]
            rate = pass_rate(group)
            if rate is not None:
                rates.setdefault(name, {})[kept] = rate
        for name in unknown:
            lengths = rates.get(name, {})
            if not lengths:
                self.chains[name] = ()
                continue
            distances = {kept: abs(rate - self.config.target) for kept, rate in lengths.items()}
            # The shortest of equals: their order is that of their lengths.
            self.kept[name] = min(distances, key=distances.__getitem__)

    def steps(self, name: str, chain: ReasonState, rng: np.random.Generator) -> int:
        """Return the measured length."""
        return self.kept[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the failures, and how much of each is kept."""
        return super().state_dict() | {"kept": dict(self.kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.kept = {str(name): int(kept) for name, kept in state["kept"].items()}
