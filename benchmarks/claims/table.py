"""The findings of the claims and their table: gates, power, verdict and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Design
from benchmarks.claims.gates import Precondition
from benchmarks.claims.pilot import Contrasts
from benchmarks.claims.power import effect_seen, seeds_needed
from benchmarks.claims.rows import Row, whole_seeds
from benchmarks.claims.verdict import Contrast, Verdict, holm, p_of, verdict_of
from reason_env.errors import ConfigError

MOST_SEEDS = 2000
"""Of those that the table says a design would need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a claim."""

    claim: Claim
    gates: Precondition | None
    """None: not measured."""
    design: Design | None
    """None: no pilot has decided one."""
    contrasts: tuple[Contrast, ...]
    """Empty: nothing was run, or not every seed."""
    num_seeds: int = 0
    """Seeds whose rows are all there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table."""

    claim: Claim
    verdict: Verdict
    gates: str
    power: str
    measured: str


def contrasts_of(design: Design, rows: Sequence[Row], contrasts: Contrasts) -> tuple[Contrast, ...]:
    """Compute a claim's contrasts over its seeds; none before all have run.

    Raises:
        ConfigError: The contrasts are not those that the design gives effects for.
    """
    by_seed: dict[int, dict[str, Row]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], {})[row["arm"]] = row
    if len(whole_seeds(design, rows)) < max(2, len(design.seeds)):
        return ()
    found = [contrasts(by_seed[seed]) for seed in design.seeds]
    if set(found[0]) != set(design.effects):
        raise ConfigError(
            f"the contrasts of {design.claim!r} must be {sorted(design.effects)}, got "
            f"{sorted(found[0])}; make another design"
        )
    return tuple(
        Contrast(name=name, values=tuple(one[name] for one in found), effect=effect)
        for name, effect in design.effects.items()
    )


def findings(evidence: Mapping[str, Evidence]) -> dict[str, Finding]:
    """Judge all claims together, since Holm's correction runs over them."""
    corrected = holm({name: p_of(own.contrasts) for name, own in evidence.items() if _ran(own)})
    return {name: _finding(own, corrected.get(name, 1.0)) for name, own in evidence.items()}


def _ran(own: Evidence) -> bool:
    return bool(own.contrasts) and own.gates is not None and not own.gates.failed


def _finding(own: Evidence, corrected_p: float) -> Finding:
    verdict: Verdict = "not run"
    measured = "-"
    if own.gates is not None and own.gates.failed:
        verdict = "not testable here"
    elif _ran(own):
        verdict = verdict_of(own.contrasts, corrected_p)
        parts = [str(one) for one in own.contrasts]
        measured = "; ".join([*parts, f"p = {corrected_p:.3f} (Holm)"])
    elif own.num_seeds and own.design is not None:
        verdict = "unfinished"
        total = len(own.design.seeds)
        measured = "one seed decides nothing" if total == 1 else f"{own.num_seeds} of {total} seeds"
    return Finding(
        claim=own.claim,
        verdict=verdict,
        gates=_gates(own.gates),
        power=_power(own.design),
        measured=measured,
    )


def _gates(found: Precondition | None) -> str:
    """Show the figures of the gates that fail, or else of all."""
    if found is None:
        return "not measured"
    shown = found.failed or found.results
    return "; ".join(f"{own.evidence} ({own.status})" for own in shown)


def _power(design: Design | None) -> str:
    if design is None or not design.pilot_sd:
        return "no pilot"
    if len(design.seeds) == 1:
        return "one seed"
    parts = [
        _seen(sd, design.effects[name], len(design.seeds)) for name, sd in design.pilot_sd.items()
    ]
    return f"{len(design.seeds)} seeds see {', '.join(parts)}"


def _seen(sd: float, effect: float, num_seeds: int) -> str:
    """Show the effect that is seen, and the seeds that the smallest of interest would need.

    >>> _seen(0.1, 0.1, 9), _seen(0.1, 0.2, 9), _seen(1.0, 0.01, 9)
    ('0.106 of 0.1 (needs 10)', '0.106 of 0.2', '1.065 of 0.01 (needs over 2000)')
    """
    seen = effect_seen(sd, num_seeds)
    if seen <= effect:
        return f"{seen:.3f} of {effect:g}"
    needed = seeds_needed(sd, effect, most=MOST_SEEDS) or f"over {MOST_SEEDS}"
    return f"{seen:.3f} of {effect:g} (needs {needed})"


def table(found: Mapping[str, Finding]) -> str:
    """Format findings as a Markdown table, one line a claim."""
    lines = ["| claim | paper | gates | power | verdict | measured |", "|---|---|---|---|---|---|"]
    for own in found.values():
        cells = (own.claim.text, own.claim.paper, own.gates, own.power)
        lines.append(f"| {' | '.join(cells)} | **{own.verdict}** | {own.measured} |")
    return "\n".join(lines) + "\n"
