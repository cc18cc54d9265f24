"""The verifier's claims, as its benchmarks measure them, without timings."""

import importlib.util
import json
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
        ("math_verify_0.9.0", 0.98),
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


def test_the_audited_labels_are_rows_whose_own_label_differs() -> None:
    cases = benchmark("cases")
    if not (cases.SHARED / "verifier_cases").exists():
        pytest.skip("needs ../shared/verifier_cases, which is not here")
    paths = (cases.SHARED / "verifier_cases").glob("*.jsonl")
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    own = {row["id"]: row["truth"] for row in rows if row["id"] in cases.AUDITED}

    assert own == {name: not label for name, (label, _) in cases.AUDITED.items()}
    assert len(own) == 2


WRONG_MUTANTS = [
    ("50", r"50\%"),
    ("0!", "-0!"),
    ("0,111", "-0,111"),
    ("x=0,1", "-x=0,1"),
    ("x^2+C", "2x^2+C"),
    (r"\lim_{x\to 3} x", r"\lim_{x\to 7} x"),
    (r"\sum_{k=1}^{3} k", r"\sum_{w=1}^{3} k"),
    (r"\gcd(m,n)", r"\gcd(m,k)"),
    (r"\max(a,b)", r"\max(a,c)"),
    (r"\pm 3", r"\pm 8"),
    ("f(x) = x^2", "f(w) = x^2"),
    (r"\begin{bmatrix}0 & 1\end{bmatrix}", r"-\begin{bmatrix}0 & 1\end{bmatrix}"),
    ("We have $x=3$. The answer is $7$.", "We have $x=3$. The answer is $8$."),
    ("$z = 1 + 1 = 2$", "$z = 1 + 1 = 3$"),
    (r"n=3 \text{ where } k>1", r"n=3 \text{ where } k>7"),
    ("90^2\n", "90^2\n+1"),
    ("\u2460\u2462", "\u2461\u2462"),
]
HARMLESS_MUTANTS = [
    ("$0$", "$-0$", "zero"),
    (r"x \ge 0", r"x \ge 0\%", "zero"),
    ("x^2+C", "x^2+C+1", "constant absorbed"),
    (r"\lim_{x\to 3} a", r"\lim_{x\to 7} a", "same value"),
    (r"\binom{10}{3}", r"\binom{10}{7}", "same value"),
    (r"\sum_{k=1}^{3} c", r"\sum_{w=1}^{3} c", "name"),
    (r"\gcd(m,n)", r"\gcd(n, m)", "symmetric"),
    ("$z = 1 + 1 = 2$", "$z = 1 + 5 = 2$", "steps"),
]


@pytest.mark.parametrize(("answer", "mutant"), WRONG_MUTANTS)
def test_a_wrong_mutant_is_not_excused(answer: str, mutant: str) -> None:
    assert benchmark("mutants").harmless(answer, mutant) == ""


@pytest.mark.parametrize(("answer", "mutant", "argument"), HARMLESS_MUTANTS)
def test_a_harmless_mutant_is_excused_by_its_argument(
    answer: str, mutant: str, argument: str
) -> None:
    mutants = benchmark("mutants")

    assert mutants.harmless(answer, mutant) == argument
    assert argument in mutants.HARMLESS
