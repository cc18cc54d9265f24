"""What docs/boundary.md says in words of the sweep is what the published rows say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.boundary import runs
from benchmarks.boundary.points import points_of
from benchmarks.boundary.rule import best_step, boundaries
from benchmarks.boundary.sweep import ARMS, SWEEP
from benchmarks.boundary.table import agreement, rank_correlation
from benchmarks.claims.evaluated import mean_pass
from benchmarks.claims.rows import read_rows
from reason_env.agents.probe.boundary import AXES, BASE, CELL_ERROR
from reason_env.agents.statistics import student_interval

CELLS = 30
"""Of a method with the base model."""


@pytest.fixture(scope="module")
def page():
    file = Path(__file__).parents[2] / "docs" / "boundary.md"
    return " ".join(file.read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def numbers():
    return read_rows(runs.NUMBERS)


@pytest.fixture(scope="module")
def rows():
    return read_rows(runs.ROWS)


@pytest.fixture(scope="module")
def points(numbers, rows):
    """(method, cell) -> its point."""
    return {(one.method, one.cell): one for one in points_of(numbers, rows)}


def of(points, method):
    return [one for (name, _), one in points.items() if name == method]


def differences(points, method):
    return [one.difference for one in of(points, method)]


def leads(points):
    return sum(one.difference > 0 for one in points)


def test_the_runs(page, rows):
    assert f"all {len(SWEEP.cells)} cells are published ({len(rows)} runs)" in page
    seconds = sum(row["seconds"] for row in rows)
    words = f"took {seconds / 3600:.1f} core-hours, {seconds / len(rows):.0f} seconds a run"
    assert words in page
    spent = {}
    for row in rows:
        spent.setdefault((row["cell"], row["seed"]), []).append(row["tokens"])
    gap = max(max(own) / min(own) - 1 for own in spent.values())
    assert f"within {100 * gap:.1f} % of each other" in page
    medians = {
        label: np.median([row["updates"] for row in rows if row["arm"] == label]) for label in ARMS
    }
    words = "GRPO's runs took {grpo:.0f} (median), RRPO's {rrpo:.0f}, SRPO's {srpo:.0f}, ExPO's "
    assert (words + "{expo:.0f}, POPE's {pope:.0f} and LTE's {lte:.0f}").format(**medians) in page


def test_no_number_decides(page, points):
    found = boundaries(list(points.values()))
    assert not any(own.decides for own in found)
    near = sorted(found, key=lambda own: own.p)[:3]
    own = [("pope", BASE), ("expo", BASE), ("lte", AXES["lte"])]
    assert [(one.method, one.figure) for one in near] == own
    words = "base success for POPE (p = {:.2f}) and for ExPO ({:.2f}), and LTE's own number "
    assert (words + "({:.2f})").format(*(one.p for one in near)) in page


def test_seeds_agree_little(page, points):
    seeds = {method: np.array([one.differences for one in of(points, method)]) for method in AXES}
    # The standard error of a mean of two is half of their distance.
    errors = [np.sqrt(np.mean((two[:, 0] - two[:, 1]) ** 2 / 4)) for two in seeds.values()]
    assert f"standard error of {min(errors):.2f} to {max(errors):.2f}" in page
    assert min(errors) < CELL_ERROR < max(errors)
    again = {method: rank_correlation(*two.T) for method, two in seeds.items()}
    words = "{srpo:.2f} for SRPO, {expo:.2f} for ExPO, {rrpo:.2f} for RRPO and {lte:.2f} for LTE. "
    assert (words + "For POPE it is {pope:.2f}").format(**again) in page


def test_numbers_are_measured_roughly(page, numbers):
    widths, spreads = {}, {}
    for method in ("pope", "lte", "srpo"):
        found = [row["figures"].get(AXES[method]) for row in numbers]
        limits = np.array([own for own in found if own is not None])
        widths[method] = np.median(limits[:, 2] - limits[:, 1]) / 2
        spreads[method] = limits[:, 0].std(ddof=1)
    words = "half-width of {pope:.2f} and {lte:.2f}, as wide as their standard deviation over the "
    assert words.format(**widths) in page
    assert "the cells ({pope:.2f} and {lte:.2f})".format(**spreads) in page
    assert f"SRPO's has {widths['srpo']:.2f} ({spreads['srpo']:.2f})" in page


@pytest.mark.parametrize(
    ("methods", "step"), [(("rrpo", "srpo", "expo"), 0.1), (("lte",), 0.15), (("pope",), 0.2)]
)
def test_the_steps_that_such_a_sweep_sees(points, methods, step):
    """The whole spread of a method's cells counts as noise, so that more is seen if some is not."""
    spreads = [np.std(differences(points, method), ddof=1) for method in methods]
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(100):
        y = rng.normal(scale=np.mean(spreads), size=CELLS)
        y[CELLS // 2 :] += step
        by_chance = explained([rng.permutation(y) for _ in range(1000)]) >= explained([y])
        # Holm's first step over ten numbers.
        seen.append((1 + by_chance.sum()) / 1001 <= 0.05 / 10)
    assert 0.6 < np.mean(seen) < 0.95


def explained(rows):
    """Share of variance that each row's best step explains, all rows at once."""
    y = np.asarray(rows) - np.mean(rows, axis=1, keepdims=True)
    size = y.shape[1]
    left = np.arange(3, size - 2)
    sums = y.cumsum(axis=1)[:, left - 1]
    return (sums**2 * (1 / left + 1 / (size - left))).max(axis=1) / (y**2).sum(axis=1)


def test_the_steps_of_many_rows_are_those_of_one():
    y = np.random.default_rng(3).normal(size=(4, 12))
    one_by_one = [best_step(np.arange(12.0), row)[1] for row in y]
    assert explained(y).tolist() == pytest.approx(one_by_one)


def test_methods_on_the_whole(page, points):
    wholes = {method: student_interval(differences(points, method)) for method in AXES}
    words = "ExPO is above GRPO by {expo.estimate:.3f} [{expo.low:.3f}, {expo.high:.3f}], and RRPO "
    words += "below it, {rrpo.estimate:.3f} [{rrpo.low:.3f}, {rrpo.high:.3f}]"
    assert words.format(**wholes) in page
    neither = {name for name, whole in wholes.items() if whole.low < 0 < whole.high}
    assert neither == {"srpo", "pope", "lte"}
    families = {}
    for one in of(points, "expo"):
        families.setdefault(one.cell.partition("-")[0], []).append(one.difference)
    means = {family: float(np.mean(own)) for family, own in families.items()}
    over = student_interval(list(means.values()))
    assert f"lead is {over.estimate:.3f} [{over.low:.3f}, {over.high:.3f}]: it comes" in page
    assert {family for family, mean in means.items() if mean > 0.015} == {"precedence", "unlock"}


def test_where_success_is_rare(page, points):
    rare = [one for one in points.values() if (one.value(BASE) or 0.0) < 0.025]
    assert {one.cell for one in rare} == {"sealed-4", "precedence-5", "precedence-7", "inverse-8"}
    assert f"GRPO gains {max(one.gained for one in rare):.3f} at most, and methods are" in page
    assert f"above it in {leads(rare)} of {len(rare)} pairs" in page
    assert f"POPE by {points['pope', 'sealed-4'].difference:.3f} on `sealed-4`" in page
    expo = sorted(one.difference for one in rare if one.method == "expo")
    assert f"ExPO by {expo[0]:.3f} to {expo[-1]:.3f}" in page
    lte = [points["lte", cell] for cell in ("precedence-5", "precedence-7", "inverse-8")]
    one, two, three = (own.difference for own in lte)
    first, second, third = (own.value(AXES["lte"]) for own in lte)
    words = "LTE by {:.3f} and {:.3f} on `precedence`, where being told its wrong answers adds "
    words += "{:.2f} and {:.2f}, and by {:.3f} on `inverse-8`, where it adds {:.2f}"
    assert words.format(one, two, first, second, three, third) in page

    beside = [points[method, "inverse-5"] for method in AXES]
    assert leads(beside) == 0
    words = f"on `inverse-5`, at {beside[0].value(BASE):.3f}, GRPO gains {beside[0].gained:.3f} and"
    assert words in page
    small = [own for own in points.values() if own.cell.startswith(("countdown", "equation"))]
    words = f"it gains {max(own.gained for own in small):.3f} at most, and methods are above it in "
    assert f"{words}{leads(small)} of {len(small)} pairs" in page


def test_where_grpo_learns_by_itself(page, points, rows):
    easy = [one for one in of(points, "pope") if one.gained >= 0.4]
    below = -np.mean([one.difference for one in easy])
    words = f"above it in {leads(easy)} of {len(easy)} cells where GRPO alone gains 0.4 or more, "
    assert f"{words}and on average {below:.3f} below" in page
    gained = {
        (row["cell"], row["seed"]): mean_pass(row) - row["first_pass_at_1"]
        for row in rows
        if row["arm"] == "grpo"
    }
    first, second = SWEEP.seeds
    bases, gains, changes = [], [], []
    for one in of(points, "pope"):
        for other, difference in zip((second, first), one.differences, strict=True):
            bases.append(one.value(BASE))
            gains.append(gained[one.cell, other])
            changes.append(difference)
    again, before = (rank_correlation(own, changes) for own in (gains, bases))
    words = f"rank correlation of {again:.2f}, base success and that difference one of {before:.2f}"
    assert words in page


def test_twins(page, points, numbers):
    foreseen = agreement(list(points.values()), read_rows(runs.TWIN))
    words = "{rrpo:.2f} for RRPO, {srpo:.2f} for SRPO and {pope:.2f} for POPE"
    assert words.format(**foreseen) in page

    signals = {row["cell"]: row["twin"] for row in numbers if row["twin"] is not None}
    assert list(signals) == ["chain-2", "chain-3"]
    two, three = signals.values()
    names = {"GRPO": "GRPO", "SRPO": "SRPO, exact", "RRPO": "RRPO", "POPE": "POPE"}
    words = [f"{two[key]:.3f} and {three[key]:.3f} for {name}" for name, key in names.items()]
    assert ", ".join(words) in page
    own = [one.difference for (_, cell), one in points.items() if cell in signals]
    assert (len(own), max(map(abs, own)) < 0.05) == (10, True)
