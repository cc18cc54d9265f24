"""The claims scored again, on fresh seeds and on problems for which the theory predicts more.

The settings of the claims were chosen on single seeds, and some claims were not reproduced. So they
are scored again on ten seeds that chose nothing, and on problems that differ in what the theory
depends on: `unlock` at its hardest level, whose right chains are so rare that GRPO starts without a
success; easy problems of another skill (`chain`) mixed with hard ones (`precedence`), for which the
easy ones teach nothing; chains with more critical steps, for which resets promise more; every
offset of the localiser; and reference solutions in words that the policy does not use.

    python -m benchmarks.claims.first --variations
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.claims.first import (
    expo_gain,
    grpo_sharpening,
    localisation_accuracy,
    lte_gain,
    pope_alternatives,
    pope_lifts,
    pope_mixing,
    srpo_order,
)
from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

FRESH, CHAIN = "precedence, fresh seeds", "chain, fresh seeds"
OFFSETS, LONGER = "chain, offsets", "chain, longer"
FOREIGN = {name: f"{name}, foreign experts" for name in ("precedence", "inverse")}
MIXED, UNLOCK = "precedence, another skill mixed in", "unlock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """A claim scored with the rows of another experiment."""

    claim: Claim
    experiment: str
    finding: Callable[[Claim, Sequence[Row]], Finding]
    """(claim, rows of `experiment`) -> finding."""
    also: tuple[str, tuple[str, ...]] | None = None
    """Another experiment with the same questions, evaluation, budget and seeds, and those of its
    arms whose rows are added."""

    @property
    def USES(self) -> tuple[str, ...]:  # noqa: N802 (as the claims' modules have it)
        """The experiments whose rows are scored."""
        return (self.experiment,) if self.also is None else (self.experiment, self.also[0])

    def score(self, rows: Mapping[str, Sequence[Row]]) -> Finding:
        """Score the claim; the finding's text names the experiment."""
        text = f"{self.claim.text}: on {self.experiment}"
        own = list(rows[self.experiment])
        if self.also is not None:
            name, arms = self.also
            own += [row for row in rows[name] if row["arm"] in arms]
        return self.finding(replace(self.claim, text=text), own)


def _sharpening(claim: Claim, rows: Sequence[Row]) -> Finding:
    return replace(grpo_sharpening.score({grpo_sharpening.USES[0]: rows}), claim=claim)


_LEADS = partial(paired_finding, pairs=[("pope", "grpo", figure) for figure in pope_lifts.FIGURES])
_PREFIXED = partial(
    paired_finding,
    pairs=[("pope, hard prefix", "grpo", figure) for figure in pope_lifts.FIGURES],
)
_REMEDIES = partial(
    paired_finding,
    pairs=[("pope", arm, pope_alternatives.FIGURE) for arm in pope_alternatives.REMEDIES],
)
_EXPLAINED = partial(paired_finding, pairs=expo_gain.PAIRS)
_ALL_REMEDIES = partial(paired_finding, pairs=pope_alternatives.PAIRS)
_ORDER = partial(
    paired_finding,
    pairs=[("srpo", "rrpo", "pass_at_1"), ("rrpo", "grpo", "pass_at_1")],
    slack={"rrpo": srpo_order.SLACK},
)
_LOCALISED = partial(paired_finding, pairs=localisation_accuracy.PAIRS[:1])
_OFFSET = partial(
    paired_finding,
    pairs=[
        ("srpo, checker", arm, "pass_at_1")
        for arm in ("rrpo", *(f"srpo, checker {k:+d}" for k in (-4, -2, -1, 1, 2, 4)))
    ],
)
_HINTED = partial(paired_finding, pairs=lte_gain.PAIRS)
PREFIX_CLAIM = Claim(
    text="starting after a reference prefix solves problems that GRPO cannot",
    paper=pope_lifts.CLAIM.paper,
)
_GRPO, _REMEDY = grpo_sharpening.CLAIM, pope_alternatives.CLAIM
_SRPO, _BETTER = srpo_order.CLAIM, localisation_accuracy.CLAIM


def _variation(
    claim: Claim,
    experiment: str,
    finding: Callable[[Claim, Sequence[Row]], Finding],
    also: tuple[str, tuple[str, ...]] | None = None,
) -> Variation:
    return Variation(claim=claim, experiment=experiment, finding=finding, also=also)


VARIATIONS: dict[str, Variation] = {
    f"{name}, {own.experiment}": own
    for name, own in (
        ("grpo_sharpening", _variation(_GRPO, FRESH, _sharpening)),
        ("grpo_sharpening", _variation(_GRPO, UNLOCK, _sharpening)),
        ("pope_lifts", _variation(pope_lifts.CLAIM, FRESH, _LEADS)),
        ("pope_lifts", _variation(pope_lifts.CLAIM, UNLOCK, _LEADS)),
        ("prefix_lifts", _variation(PREFIX_CLAIM, UNLOCK, _PREFIXED)),
        ("pope_mixing", _variation(pope_mixing.CLAIM, MIXED, _LEADS)),
        ("pope_alternatives", _variation(_REMEDY, FRESH, _REMEDIES)),
        (
            "pope_alternatives",
            _variation(
                _REMEDY,
                FOREIGN["precedence"],
                _ALL_REMEDIES,
                ("precedence", ("pope", *pope_alternatives.REMEDIES)),
            ),
        ),
        (
            "expo_gain",
            _variation(
                expo_gain.CLAIM, FOREIGN["inverse"], _EXPLAINED, ("inverse", ("expo", "grpo"))
            ),
        ),
        ("lte_gain", _variation(lte_gain.CLAIM, FRESH, _HINTED)),
        ("srpo_order", _variation(_SRPO, CHAIN, _ORDER)),
        ("srpo_order", _variation(_SRPO, LONGER, _ORDER)),
        ("localisation_accuracy", _variation(_BETTER, CHAIN, _LOCALISED)),
        (
            "localisation_accuracy",
            _variation(_BETTER, OFFSETS, _OFFSET, (CHAIN, ("rrpo", "srpo, checker"))),
        ),
        ("localisation_accuracy", _variation(_BETTER, LONGER, _LOCALISED)),
    )
}
"""Name -> variation. Each is scored by the claim's pairs whose arms its experiment has."""
