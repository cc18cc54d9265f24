"""PrefixRL: hard problems are also sampled after prefixes of successes from an archive.

    archive  the first success of each problem among `attempts` samples of the policy
    hard     0 < pass rate <= hard_pass_rate; other problems are left out
    train    x, and x followed by the first share * T steps of its success, 1:1
    share ~ uniform(fraction), once for each group; the prefix is masked; each start its own group

The prefix is off-policy data, but no token of it is trained, so that no ratio to its sampler occurs
and the update is on-policy. The paper shows that training on prefixed problems alone carries over
to the problems themselves; `copies="prefixed_only"` is that arm.

Source: arXiv 2601.18795, "Reuse your FLOPs: Scaling RL on Hard Problems by Conditioning on Very
Off-Policy Prefixes": traces by rejection sampling from the base model, prefixes of several lengths.
No released code was found, and the text that could be read has no numbers: all of them, and the
mixture 1:1, are our choice. The paper fills the archive before training; here a problem is sampled
when an iteration first draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.own_chains import (
    Copies,
    OwnChains,
    can_be_cut,
    pass_rate,
    steps_kept,
)
from reason_env.agents.methods.protocol import MethodConfig, check_names
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Trajectory
from reason_env.errors import ConfigError
from reason_env.state import ReasonState, checked_fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRLConfig(MethodConfig):
    """PrefixRL's numbers."""

    kind: Annotated[Literal["prefixrl"], tyro.conf.Suppress] = "prefixrl"
    group_size: int = 8
    """Episodes of each start."""
    attempts: int = 16
    """Samples of a problem in search of a success, when it is first drawn [not known]."""
    hard_pass_rate: float = 0.5
    """Problems with a success and at most this pass rate are trained, 0..1 [not known]."""
    fraction: tuple[float, float] = (0.4, 0.8)
    """Smallest and largest share of a success that a prefix keeps, in steps [not known]."""
    copies: Copies = "both"
    """both: the problem and its prefixed copy. prefixed_only: the copy alone."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        check_names(self, {"copies": get_args(Copies)})
        self.advantage.check_size(self.group_size, "group_size")
        if self.attempts < 1:
            raise ConfigError(f"attempts must be at least 1, got {self.attempts!r}")
        checked_fraction(self.hard_pass_rate, "hard_pass_rate")
        low, high = (checked_fraction(item, "fraction") for item in self.fraction)
        if low > high:
            raise ConfigError(
                f"fraction must be (low, high) with low <= high, got {self.fraction!r}"
            )


class PrefixRL(OwnChains):
    """Train on hard problems with and without prefixes of own successes."""

    config: PrefixRLConfig
    wanted = "a success and a low pass rate"
    row = Row(
        starts="the problem; and after a prefix of its success in an archive",
        context="the same; the prefix is masked",
        paper='arXiv 2601.18795, "Reuse your FLOPs: Scaling RL on Hard Problems by Conditioning on '
        'Very Off-Policy Prefixes"',
        numbers={
            "group_size": UNSAID,
            "attempts": UNSAID,
            "hard_pass_rate": UNSAID,
            "fraction": UNSAID,
        },
        result="The training reward of SFT-then-RL in half of the compute, the rejection sampling "
        "included; three times its final reward.",
        differences=(
            "The archive holds one success of a problem, sampled when an iteration first draws it; "
            "the paper fills it before training, and takes several lengths of each trace.",
            "Problems that are never solved, or solved too often, are left out, and further ones "
            "are drawn in their place, in four rounds an iteration at most. A success of a single "
            "step has no prefix.",
            "No released code was found; numbers and the mixture 1:1 are our choice. "
            "`--copies prefixed_only` trains prefixed problems alone.",
        ),
    )

    def choose(self, episodes: Sequence[Trajectory]) -> Trajectory | None:
        """Choose the first success that can be cut, of a hard problem."""
        rate = pass_rate(episodes)
        if rate is None or rate > self.config.hard_pass_rate:
            return None
        return next((item for item in episodes if item.is_success and can_be_cut(item)), None)

    def steps(self, name: str, chain: ReasonState, rng: np.random.Generator) -> int:
        """Draw a share of the success, uniformly."""
        return steps_kept(float(rng.uniform(*self.config.fraction)), chain)
