"""What docs/results.md says in words of the designs' runs is what the published rows say."""

import importlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.claims import cpi_monotone, registry
from benchmarks.claims.__main__ import CLAIMS
from benchmarks.claims.evaluated import mean_pass
from benchmarks.claims.rows import read_rows
from benchmarks.claims.table import contrasts_of
from benchmarks.claims.verdict import holm, p_of
from benchmarks.families import hosts
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.statistics import student_interval, student_p

ROOT = Path(__file__).parents[2]
PASS_AT_1, PASS_AT_K = 2, 3
"""Places in a row's curve, after iteration and tokens."""
WORDS = "no one two three four five six seven eight nine ten eleven twelve thirteen".split()


def read(name):
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def page():
    return read("docs/results.md")


def published(claim):
    number, design = registry.current(claim)
    return design, registry.published(claim, number)


def of_arm(rows, label, what):
    return np.array([what(row) for row in rows if row["arm"] == label])


def at(row, tokens, figure):
    """Interpolate a run's figure between its evaluations."""
    return np.interp(
        tokens, [place[1] for place in row["curve"]], [place[figure] for place in row["curve"]]
    )


def mean_at(rows, label, tokens):
    """Average the runs' pass@1, each interpolated between its evaluations."""
    return of_arm(rows, label, lambda row: at(row, tokens, PASS_AT_1)).mean()


def test_readme_counts_the_verdicts_of_the_table(page):
    own, _, _ = page.partition("## First designs")
    found = Counter(re.findall(r"\| \*\*([a-z ]+)\*\* \|", own))
    assert found.total() == len(CLAIMS)
    words = {"reproduced": "reproduce", "opposite": "is opposite", "absent": "is absent"}
    words["inconclusive"] = "are inconclusive"
    first, *others = (f"{WORDS[found.pop(name)]} {said}" for name, said in words.items())
    assert found.total() == 0
    said = f"{first}, {', '.join(others[:-1])} and {others[-1]}"
    assert said.capitalize() in read("README.md")


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


def test_grpo_s_updates_on_sealed(page):
    first, second = (registry.published("pope_lifts", number) for number in (1, 2))
    taken = [row["updates"] for row in first if row["arm"] == "grpo"]
    assert sorted(taken) == [0, 0, 0, 0, 0, 4, 4]
    assert "GRPO had 4 updates in each of two of the seven seeds, none in the others" in page
    taken = [row["updates"] for row in second if row["arm"] == "grpo"]
    assert ([own for own in taken if own], len(taken)) == ([3, 8, 4], 8)
    assert {row["planned_updates"] for row in second if row["arm"] == "grpo"} == {332}
    assert "In three of the eight GRPO met a success or two (3, 8 and 4 of 332 updates" in page
    ends = [row["pass_at_k"] for row in (*first, *second) if row["arm"] == "grpo"]
    assert set(ends) == {0.0}


def test_interference(page):
    design, rows = published("pope_mixing")
    ends = {label: of_arm(rows, label, lambda row: row["pass_at_k"]) for label in design.arms}
    words = "POPE on the mixture solves {pope:.3f} of the hard problems at least once in eight, "
    words += "GRPO on the mixture {grpo:.3f}, and GRPO on the hard ones alone {hard alone:.3f}"
    assert words.format(**{label: found.mean() for label, found in ends.items()}) in page
    loss, lead = (ends[label] - ends["grpo"] for label in ("hard alone", "pope"))
    p_values = f"has p = {student_p(lead.tolist()):.3f} by itself; GRPO's loss has p = "
    assert f"{p_values}{student_p(loss.tolist()):.3f}, and 0.087 after the correction" in page
    assert re.search(r"POPE is robust to easy problems.* p = 0\.087 \(Holm\) \|", page)
    spent = design.budget * 15 / 22
    earlier = of_arm(rows, "hard alone", lambda row: at(row, spent, PASS_AT_K))
    left = student_interval((earlier - ends["grpo"]).tolist())
    assert f"it solved {earlier.mean():.3f}" in page
    assert f"{left.estimate:.3f} [{left.low:.3f}, {left.high:.3f}] are left" in page
    words = (
        "less than a quarter in {grpo} seeds, on the hard ones alone in {hard alone}, and POPE in "
    )
    low = {label: (found < 0.25).sum() for label, found in ends.items()}
    assert words.format(**low) + "none" in page
    assert low["pope"] == 0


def test_order_of_resets(page):
    design, rows = published("srpo_order")
    ends = {label: of_arm(rows, label, lambda row: row["pass_at_1"]) for label in design.arms}
    words = "GRPO is at pass@1 {grpo:.3f}, RRPO at {rrpo:.3f} and SRPO at {srpo:.3f}"
    assert words.format(**{label: found.mean() for label, found in ends.items()}) in page
    lead, other = ends["srpo"] - ends["rrpo"], ends["rrpo"] - ends["grpo"]
    found = student_interval(lead.tolist())
    words = f"SRPO is above RRPO by {found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}], in "
    assert f"{words}{(lead > 0).sum()} of {len(lead)}, and not above GRPO" in page
    assert (ends["srpo"] - ends["grpo"]).mean() < 0
    found = student_interval((-other).tolist())
    words = f"RRPO is below GRPO in {(other < 0).sum()} of {len(other)} seeds, by "
    assert f"{words}{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]" in page
    assert f"GRPO is at {min(ends['grpo']):.2f} to {max(ends['grpo']):.2f}" in page
    rates = {label: own.learning_rate for label, own in design.arms.items()}
    assert rates == {"grpo": 5e-5, "rrpo": 5e-5, "srpo": 1e-4}


def test_hours(page):
    def hours(folder, names):
        # Claims share runs.
        runs = {
            (row["started"], row["seed"], row["seconds"])
            for name in names
            for row in read_rows(folder / f"{name}_{registry.current(name)[0]}.jsonl")
        }
        return sum(seconds for _, _, seconds in runs) / 3600

    assert f"took {hours(registry.PUBLISHED, CLAIMS):.1f} core-hours, a little over four" in page
    assert f"`srpo_order` {hours(registry.PUBLISHED, ['srpo_order']):.1f} of them" in page
    assert f"took {hours(registry.PILOTS, CLAIMS):.1f} core-hours more" in page


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
    assert "{accepted} of {tested} steps of six updates are taken".format(**total) in page
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
