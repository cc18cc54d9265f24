"""The verifier's claims, as its benchmarks measure them, without timings."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks" / "verifier"


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_no_attack_is_accepted_or_executed_and_the_worker_pool_survives() -> None:
    attacks = benchmark("attacks")
    rows = attacks.run()
    figures = attacks.score(rows)

    assert [row for row in rows if row["outcome"] in ("correct", "error")] == []
    assert figures["attacks"] >= 200
    assert figures["executed"] == 0
    assert figures["pool alive"]


def test_twenty_rewrites_keep_every_verdict_and_twenty_change_it() -> None:
    metamorphic = benchmark("metamorphic")
    rows = metamorphic.run()

    assert [row for row in rows if not row["is_right"]] == []
    assert metamorphic.score(rows)["keeping rewrites"] >= 20
    assert metamorphic.score(rows)["changing rewrites"] >= 20


@pytest.mark.parametrize(
    ("suite", "least"),
    [
        ("math_verify_0.9.0", 0.975),
        ("hendrycks_math_equivalence", 1.0),
        ("nemo_skills_math_equal", 1.0),
        ("sympy_parse_latex", 0.85),
        ("tinyv_hardverify_math_half", 0.80),
    ],
)
def test_a_public_suite_reaches_its_claimed_accuracy(suite: str, least: float) -> None:
    cases = benchmark("cases")
    if not (cases.SHARED / "verifier_cases").exists():
        pytest.skip("needs ../shared/verifier_cases, which is not here")
    figures = cases.score(cases.run(cases.Setting(suite, least, "suite")))

    assert figures["accuracy"] >= least
    assert figures["false positives"] <= 1


@pytest.mark.slow
def test_every_gsm8k_reference_grades_itself_and_no_other_number() -> None:
    cases = benchmark("cases")
    if not (cases.SHARED / "data" / "gsm8k").exists():
        pytest.skip("needs ../shared/data/gsm8k, which is not here")
    counts = cases.gsm8k()

    assert counts["self"] == counts["references"] == 8792
    assert counts["off by one accepted"] == 0
    assert counts["agree"] == counts["marks"] > 20_000
