r"""SRPO: resets to the step before the first error, which the policy locates in its own chain.

    k     = N of the reply's last `\boxed{N}`, else of its last "Step N", else 1; N in 1..T
    reply ~ pi(. | x, source steps numbered 1..T, question) at temperature 0.3, not trained
    reset = 4 suffixes ~ pi(. | x, source steps 1..k-1)
    A = (r - mean) / population std, each group on its own;  L = - mean_i A_i mean_t log pi

Everything except k is RRPO's (`rrpo.py`). The prompt of the localisation says that the chain is
wrong, but not what the right answer is.

Control arms: the family's step checker instead of the policy ("checker"), for all resets or a share
of them, a random step ("random"), an offset in steps, and showing the reference answer to the
localiser.

Source: arXiv 2605.25507, "Credit Assignment with Resets in Language Model Reasoning", section on
SRPO and the released code (github.com/Ankur-Samanta/SRPO, commit 67f4a26). The question's words
are the template's: those of the release for models that read prose.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.localiser import (
    Localiser,
    check_localiser,
    check_step_checker,
    checked_step,
    localisation_start,
    replied_step,
)
from reason_env.agents.methods.reset_metrics import (
    NamedStep,
    localisation_metrics,
    prefix_metrics,
)
from reason_env.agents.methods.row import UNSAID
from reason_env.agents.methods.rrpo import (
    RRPO,
    RRPOConfig,
    paper_advantage,
    paper_loss,
)
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import answer_guidance, checked_fraction, last_cut, uniform_cut

LOCALISE = "/localise"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SRPOConfig(RRPOConfig):
    """SRPO's numbers; the defaults are the released code's."""

    kind: Annotated[Literal["srpo"], tyro.conf.Suppress] = "srpo"  # pyright: ignore[reportIncompatibleVariableOverride]
    localiser: Localiser = "self"
    """What names the first wrong step: the policy, the family's step checker, or a random draw."""
    checker_share: float = 1.0
    """localiser "checker": fraction of the resets at the checker's step, 0..1; the others are at a
    random step, as RRPO's. It sets how accurate the localisation is."""
    offset: int = 0
    """Steps that a reset keeps beyond those before the named step; below 0: it keeps fewer."""
    localiser_temperature: float = 0.3
    """Sampling temperature of the reply."""
    max_localiser_tokens: int = 224
    """Most tokens of the reply, which may go through the steps one by one before it names one."""
    show_answer: bool = False
    """Show the reference answer to the localiser (the paper's oracle variant)."""
    question: str | None = None
    """Asked after the numbered steps; None: the template's wording of a localisation."""
    advantage: AdvantageConfig = field(default_factory=paper_advantage)
    loss: LossConfig = field(default_factory=paper_loss)

    def __post_init__(self) -> None:
        RRPOConfig.__post_init__(self)
        check_localiser(self, get_args(Localiser))
        share = checked_fraction(self.checker_share, "checker_share")
        if share < 1 and self.localiser != "checker":
            raise ConfigError(
                f"checker_share must be 1 without the localiser 'checker', got {share!r} with "
                f"{self.localiser!r}; give localiser='checker'"
            )


class SRPO(RRPO):
    """Resets to the step before the first error, which the policy names."""

    config: SRPOConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    row = replace(
        RRPO.row,
        starts="the problem; then before the step of the first failed chain that the policy itself "
        "calls wrong",
        numbers={
            **RRPO.row.numbers,
            "localiser": "self",
            "localiser_temperature": 0.3,
            "max_localiser_tokens": UNSAID,
        },
        result="Average of ten benchmarks (Qwen2.5-14B): 46.3, where GRPO has 42.8 and RRPO 44.3; "
        "their final values 2.3 to 2.7 times sooner.",
        differences=(
            *RRPO.row.differences,
            "A reply is read as the release reads it: its last box, if that holds a step of the "
            'chain, else its last "Step N", else the first step; a step out of range is not '
            "clipped to the last one.",
            "A chain that is too long for the localiser's prompt (question, chain, four tokens a "
            "step) is reset to its beginning, as after a reply that names no step, with a warning.",
            "The question's words are the template's; the paper does not print the prompt, the "
            "release does. `--localiser checker | random`, `--checker-share`, `--offset` and "
            "`--show-answer` are control arms.",
        ),
    )
    roles = frozenset({"reset", "top_up", "localise"})

    def __init__(self, config: SRPOConfig, checker: StepChecker | None = None) -> None:
        """Check that `localiser="checker"` has a step checker.

        Raises:
            ConfigError: The problems have no step checker.
        """
        check_step_checker(config, checker)
        super().__init__(config, checker)

    def _next(self, group: Group, known: dict[str, Group], rng: np.random.Generator) -> list[Start]:
        starts = super()._next(group, known, rng)
        is_reset = bool(starts) and starts[0].role == "reset"
        if self.config.localiser != "self" or not is_reset or group.key + LOCALISE in known:
            return starts
        start = self._localisation(group)
        if self.fits(start.state):
            return [start]
        _log.warning("a failed chain is too long for the localiser's prompt: %s", group.key)
        return starts

    def _localisation(self, group: Group) -> Start:
        source = self.read(group.trajectories).source
        assert source is not None, "a localisation needs a failed chain"
        state = source.start.learn_from.cut(0).without_guidance()
        if self.config.show_answer:
            answer = answer_guidance(state.problem)
            assert answer is not None, "a problem has an answer"
            state = state.with_guidance(answer)
        return localisation_start(
            source, self.config, asking=state, group=group.key + LOCALISE, role="localise"
        )

    def kept_steps(
        self, source: Trajectory, groups: dict[str, Group], rng: np.random.Generator
    ) -> int:
        """Return k - 1 for the step k that the localiser names, moved by the offset."""
        chain = source.final_state
        if self.config.localiser == "random" or self._is_at_random(rng):
            return uniform_cut(chain, rng)
        if self.config.localiser == "checker":
            assert self.checker is not None, "checked at construction"
            named = checked_step(chain, self.checker)
        else:
            reply = groups.get(source.start.group + LOCALISE)
            if reply is None:
                return 0
            named = replied_step(chain, reply)
        return min(max(0, named - 1 + self.config.offset), last_cut(chain))

    def _is_at_random(self, rng: np.random.Generator) -> bool:
        """Decide whether a reset ignores the checker; draws nothing if none does."""
        share = self.config.checker_share
        return share < 1 and not rng.random() < share

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Measure RRPO's prefixes, and how often the policy names the first wrong step."""
        if self.checker is None:
            return {}
        known = {group.key: group for group in groups}
        resets = self.resets(groups)
        named: list[NamedStep] = []
        for source, _ in resets:
            reply = known.get(source.start.group + LOCALISE)
            if reply is not None:
                chain = source.final_state
                named.append((chain, replied_step(chain, reply)))
        found = prefix_metrics(resets, self.checker)
        return found | localisation_metrics(named, self.checker) if named else found
