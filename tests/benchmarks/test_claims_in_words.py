"""What docs/results.md says in words of the designs' runs is what the published rows say."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.claims import cpi_monotone, registry
from benchmarks.claims.__main__ import CLAIMS
from benchmarks.claims.evaluated import mean_pass
from benchmarks.claims.table import contrasts_of
from benchmarks.claims.verdict import holm, p_of
from benchmarks.families import hosts
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.statistics import student_interval, student_p


@pytest.fixture(scope="module")
def page():
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    return " ".join(text.split())


def published(claim):
    number, design = registry.current(claim)
    return design, registry.published(claim, number)


def of_arm(rows, label, what):
    return np.array([what(row) for row in rows if row["arm"] == label])


def mean_at(rows, label, tokens):
    """Average the runs' pass@1, each interpolated between its evaluations."""
    return of_arm(
        rows,
        label,
        lambda row: np.interp(
            tokens, [place[1] for place in row["curve"]], [place[2] for place in row["curve"]]
        ),
    ).mean()


def test_localisation(page):
    _, rows = published("localisation_accuracy")
    found = [
        mean_at(rows, label, tokens)
        for tokens in (15_000, 25_000, 40_000)
        for label in ("exact", "random")
    ]
    words = "at 15,000 tokens the arms are at pass@1 {:.2f} and {:.2f}, at 25,000 at {:.2f} and "
    words += "{:.2f}, and at 40,000 at {:.2f} and {:.2f}"
    assert words.format(*found) in page
    means = [of_arm(rows, label, mean_pass).mean() for label in ("random", "half", "exact")]
    assert "over the budget of {:.3f}, {:.3f} and {:.3f}".format(*means) in page


def test_the_share_of_energy_of_a_chain_s_products(page):
    base = LanguageModelPolicy.load("base")
    found = hosts.late(hosts.subject_of(base, "mix:chain@8-10", num_problems=48))
    # Samples differ a little from one processor to the next.
    assert found["critical share of energy"] == pytest.approx(0.24, abs=0.03)
    assert "the products, have 0.24 of the score-function energy" in page


def test_remedies(page):
    design, rows = published("pope_alternatives")
    ends = of_arm(rows, "pope", lambda row: row["pass_at_k"]).mean()
    assert f"POPE solves {ends:.3f} of the problems at least once in eight" in page
    others = [label for label in design.arms if label != "pope"]
    assert len(others) == 3
    assert {row["pass_at_k"] for row in rows if row["arm"] in others} == {0.0}
    last, *came = sorted(of_arm(rows, "pope", lambda row: row["pass_at_1"]))
    words = f"seven of these eight seeds (pass@1 {came[0]:.2f} to {came[-1]:.2f})"
    assert f"{words} and not in one ({last:.2f})" in page


def test_expo(page):
    design, rows = published("expo_gain")
    ends = [of_arm(rows, label, lambda row: row["pass_at_1"]).mean() for label in design.arms]
    words = "ends at pass@1 {:.3f}, the same training on experts at 0, 0.5, 1 and 2 nats at "
    words += "{:.3f}, {:.3f}, {:.3f} and {:.3f}; before training it was "
    assert words.format(*ends) in page


def test_acceptance(page):
    design, rows = published("cpi_monotone")
    falls = of_arm(rows, "plain", cpi_monotone.drawdown)
    assert f"by {min(falls):.2f} to {max(falls):.2f} of pass@1" in page
    assert set(of_arm(rows, "accepted", cpi_monotone.drawdown)) == {0.0}
    own = [row for row in rows if row["arm"] == "accepted"]
    total = {name: sum(row[name] for row in own) for name in ("accepted", "tested", "rejected")}
    assert "{accepted} of {tested} steps are taken".format(**total) in page
    assert f"of the {total['rejected']} steps" in page
    assert f"{sum(row['rejected_losses'] for row in own)} lose on fresh problems" in page
    gain = sum(row["rejected_gain"] * row["rejected"] for row in own) / total["rejected"]
    assert f"mean gain is {gain:.3f}" in page
    for words, tokens in (("at 100,000 tokens", 100_000), ("at the end", 400_000)):
        plain, accepted = (mean_at(rows, label, tokens) for label in design.arms)
        assert f"{words} {plain:.2f} and {accepted:.2f}" in page


def test_falls_by_sampling(page):
    design, rows = published("cpi_monotone")
    samples = design.eval_size * design.eval_samples
    falls = of_arm(rows, "plain", cpi_monotone.drawdown)
    noise = of_arm(rows, "plain", lambda row: cpi_monotone.fall_of_sampling(row, samples))
    assert f"is {noise.mean():.3f} of the {falls.mean():.3f}" in page
    left = (falls - noise).tolist()
    interval = student_interval(left)
    assert f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]" in page
    p_values = {}
    for name in CLAIMS:
        if (known := registry.current(name)) is not None:
            contrasts = importlib.import_module(f"benchmarks.claims.{name}").contrasts
            # Empty until every seed of a design is published.
            if found := contrasts_of(known[1], registry.published(name, known[0]), contrasts):
                p_values[name] = p_of(found)
    corrected = holm(p_values | {"cpi_monotone": student_p(left)})["cpi_monotone"]
    assert f"p = {corrected:.3f} with Holm's correction" in page


def test_sampling_alone_shows_falls_where_there_are_none():
    flat = {"curve": [(at, at, 0.5, 1.0) for at in range(2)]}
    # The mean of max(0, a - b), where a - b has variance 2 * 0.25 / 200.
    assert cpi_monotone.fall_of_sampling(flat, 200) == pytest.approx(
        np.sqrt(2 * 0.25 / 200) / np.sqrt(2 * np.pi), rel=0.05
    )
    sure = {"curve": [(0, 0, 0.0, 1.0), (1, 1, 1.0, 1.0)]}
    assert cpi_monotone.fall_of_sampling(sure, 4) == 0.0
