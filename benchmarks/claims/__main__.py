"""`python -m benchmarks.claims`: measure gates, run what is missing, score it, print the table."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from benchmarks.claims import registry
from benchmarks.claims.design import Design, Plan
from benchmarks.claims.gates import Precondition
from benchmarks.claims.pilot import from_pilot, pilot_of
from benchmarks.claims.rows import Row, whole_seeds
from benchmarks.claims.runs import (
    OUT,
    expected_hours,
    make_folder,
    measure,
    planned,
    precondition,
    rows,
    run,
    unfinished,
)
from benchmarks.claims.table import Evidence, contrasts_of, findings, table
from reason_env.agents.compare import num_cores
from reason_env.errors import ConfigError, ReasonEnvError

CLAIMS = (
    "grpo_sharpening",
    "pope_lifts",
    "pope_mixing",
    "pope_alternatives",
    "pope_restating",
    "expo_gain",
    "expo_properties",
    "lte_gain",
    "lte_never_solved",
    "srpo_order",
    "suffix_success",
    "localisation_accuracy",
    "cpi_monotone",
)
QUICK_SHARE = 0.1
QUICK_PROBLEMS = 32


def main(words: Sequence[str]) -> None:
    """Run and score the named claims, or all."""
    given = _parsed(words)
    chosen = {name: _module(name) for name in given.claims or CLAIMS}
    try:
        if not given.published:
            make_folder(given.out)
        if given.design:
            _write_designs(chosen, given)
        elif given.publish:
            _publish(chosen, given)
        elif given.published:
            _print(chosen, {name: _published(name, _module(name)) for name in CLAIMS})
        else:
            _run(chosen, given)
    except ReasonEnvError as error:
        raise SystemExit(f"error: {error}") from error


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=", ".join(CLAIMS))
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--workers", type=int, default=num_cores(), help="default: every core")
    parser.add_argument("--out", type=Path, default=OUT)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--gates", action="store_true", help="measure the gates and run nothing")
    kinds.add_argument("--pilot", action="store_true", help="run the pilots")
    kinds.add_argument("--design", action="store_true", help="write the designs of the pilots")
    kinds.add_argument(
        "--publish", action="store_true", help="add the gates and the whole seeds to the published"
    )
    kinds.add_argument("--published", action="store_true", help="score the published rows")
    given = parser.parse_args(words)
    unknown = sorted(set(given.claims) - set(CLAIMS))
    if unknown:
        parser.error(f"no claim {unknown[0]!r} among {', '.join(CLAIMS)}")
    kinds_of_full = (given.pilot, given.design, given.publish, given.published)
    if given.preset != "full" and any(kinds_of_full):
        parser.error("--preset quick is for gates and runs; leave it out")
    if given.workers < 1:
        parser.error(f"--workers must be at least 1, got {given.workers}")
    return given


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.{name}")


def _plan(module: ModuleType) -> Plan:
    return module.PLAN


def _run(chosen: dict[str, ModuleType], given: argparse.Namespace) -> None:
    """Measure gates; run the pilots or the designs of the claims whose gates hold."""
    gates: dict[str, Precondition] = {}
    for name, module in chosen.items():
        gates[name] = _gates(module, given)
        for own in gates[name].results:
            print(f"{name}: {own.rule}: {own.status}: {own.evidence}", flush=True)
    testable = {name: module for name, module in chosen.items() if not gates[name].failed}
    designs = {} if given.gates else _designs(testable, given)
    known = _known(designs, given)
    for name, design in designs.items():
        if not design.arms:
            measure(design, chosen[name].measure, given.out)
    left = unfinished(
        [own for name, design in designs.items() for own in planned(design, given.out, known[name])]
    )
    if left:
        share = QUICK_SHARE if given.preset == "quick" else 1.0
        hours = share * expected_hours(left, given.out, workers=given.workers)
        print(
            f"{len(left)} runs are left: about {hours:.2f} hours on {given.workers} cores",
            flush=True,
        )
        run(left, given.out, workers=given.workers)
    if given.pilot:
        return
    found = {name: rows(design, given.out, known[name]) for name, design in designs.items()}
    evidence = {name: _published(name, _module(name)) for name in CLAIMS}
    for name, module in chosen.items():
        evidence[name] = replace(evidence[name], gates=gates[name])
        if name in designs:
            evidence[name] = _evidence(module, gates[name], designs[name], found[name])
    _print(chosen, evidence)


def _known(designs: dict[str, Design], given: argparse.Namespace) -> dict[str, list[Row]]:
    """Return the published rows of each design: those of other seeds are run."""
    found: dict[str, list[Row]] = {name: [] for name in designs}
    for name, design in designs.items():
        own = registry.current(name)
        if own is not None and own[1] == design and not given.pilot:
            found[name] = registry.published(name, own[0])
    return found


def _publish(chosen: dict[str, ModuleType], given: argparse.Namespace) -> None:
    """Write the gates that are measured and the rows of the seeds that are whole; run nothing."""
    for name, module in chosen.items():
        registry.publish_gates(name, _gates(module, given))
        own = registry.current(name)
        if own is not None:
            known = registry.published(name, own[0])
            registry.publish(own[1], own[0], rows(own[1], given.out, known))


def _gates(module: ModuleType, given: argparse.Namespace) -> Precondition:
    plan = _plan(module)
    if given.preset == "quick":
        plan = replace(plan, gate_problems=min(QUICK_PROBLEMS, plan.gate_problems))
    return precondition(plan, getattr(module, "figures", None), given.out)


def _designs(testable: dict[str, ModuleType], given: argparse.Namespace) -> dict[str, Design]:
    """Return what is to be run: pilots, or the current designs."""
    if given.pilot:
        return {name: pilot_of(name, _plan(module)) for name, module in testable.items()}
    found: dict[str, Design] = {}
    for name, module in testable.items():
        known = registry.current(name)
        if known is None:
            print(f"{name}: no design yet; run --pilot {name}, then --design {name}", flush=True)
        elif known[1].plan != _plan(module).content_hash:
            raise ConfigError(
                f"the design of {name!r} must complete the claim's plan, got one of plan "
                f"{known[1].plan}; make another design from a pilot of this plan"
            )
        elif given.preset == "quick":
            found[name] = known[1].quick(QUICK_SHARE)
        else:
            own = rows(known[1], given.out, registry.published(name, known[0]))
            file = registry.design_file(name, known[0])
            registry.check_older(file, [row["started"] for row in own])
            found[name] = known[1]
    return found


def _write_designs(chosen: dict[str, ModuleType], given: argparse.Namespace) -> None:
    for name, module in chosen.items():
        plan = _plan(module)
        found = rows(pilot_of(name, plan), given.out)
        design = from_pilot(name, plan, found, module.contrasts)
        file = registry.add_design(design, found)
        print(
            f"{file}: {len(design.seeds)} seeds, {len(design.arms)} arms, about "
            f"{design.core_hours:.1f} core-hours; commit it before its runs"
        )


def _published(name: str, module: ModuleType) -> Evidence:
    known = registry.current(name)
    found = [] if known is None else registry.published(name, known[0])
    design = None if known is None else known[1]
    return _evidence(module, registry.published_gates(name), design, found)


def _evidence(
    module: ModuleType,
    gates: Precondition | None,
    design: Design | None,
    found: Sequence[Row],
) -> Evidence:
    contrasts = () if design is None else contrasts_of(design, found, module.contrasts)
    return Evidence(
        claim=module.CLAIM,
        gates=gates,
        design=design,
        contrasts=contrasts,
        num_seeds=0 if design is None else len(whole_seeds(design, found)),
    )


def _print(chosen: dict[str, ModuleType], evidence: dict[str, Evidence]) -> None:
    found = findings(evidence)
    print(f"\n{table({name: found[name] for name in chosen})}")


if __name__ == "__main__":
    main(sys.argv[1:])
