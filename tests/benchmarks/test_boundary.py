"""The map of methods: the sweep, its rules by hand, and what is published."""

import numpy as np
import pytest

from benchmarks.boundary import runs
from benchmarks.boundary.__main__ import main
from benchmarks.boundary.constants import cells_of, source, thresholds_of
from benchmarks.boundary.figure import draw
from benchmarks.boundary.numbers import kept, noise_share
from benchmarks.boundary.points import Point, points_of
from benchmarks.boundary.rule import best_step, boundaries
from benchmarks.boundary.sweep import ARMS, DESIGN, SWEEP, Cell, read_design
from benchmarks.boundary.table import agreement, base_table, rank_correlation, tables, twin_table
from benchmarks.boundary.twin import twin_row, worlds
from benchmarks.claims.evaluated import mean_pass
from benchmarks.claims.registry import check_older, has_history
from benchmarks.claims.rows import read_rows
from reason_env.agents.compare import losses_of
from reason_env.agents.probe import Figure, mean_figure
from reason_env.agents.probe import boundary as known
from reason_env.agents.probe.boundary import AXES, BASE
from reason_env.agents.statistics import student_interval
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problem import Problem
from reason_env.problems.families.family import first_wrong_step
from reason_env.state import ReasonState

ROOT = DESIGN.parents[2]


def test_the_committed_design_is_the_sweep_and_has_thirty_cells():
    assert read_design() == SWEEP
    assert len(SWEEP.cells) >= 30
    assert {cell.name.partition("-")[0] for cell in SWEEP.cells} >= {
        "chain", "equation", "inverse", "precedence", "unlock", "countdown", "opposed",
    }  # fmt: skip


def test_arms_of_a_cell_differ_in_the_method_alone():
    cell = next(cell for cell in SWEEP.cells if cell.name == "chain-4")
    found = SWEEP.comparison(cell, 2020)
    assert found.budget == 400 * 51
    first, *others = found.arms.values()
    for arm in others:
        assert arm.learner == first.learner
        assert arm.env == first.env
        assert arm.eval == first.eval
        assert losses_of(arm.method) == losses_of(first.method)
    assert list(found.arms) == ["grpo", "rrpo", "srpo", "pope", "lte", "expo"]
    assert found.arms["srpo"].method.localiser == "checker"
    assert found.arms["pope"].method.probe_samples == 1


def test_pope_searches_on_sealed_within_eight_budgets():
    cell = next(cell for cell in SWEEP.cells if cell.name == "sealed-4")
    found = SWEEP.comparison(cell, 2020)
    assert found.budget == 8 * 400 * 115
    assert {arm.eval.every for arm in found.arms.values()} == {40}
    pope = found.arms["pope"].method
    assert (pope.hard_samples, pope.probe_samples, pope.grid) == (4, 16, 0.125)
    assert losses_of(pope) == losses_of(found.arms["grpo"].method)


def test_a_seed_of_another_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"one of the sweep's \(2020, 2021\), got 7"):
        runs.run(SWEEP, tmp_path, [2021, 7])


@pytest.mark.parametrize(("flag", "name"), [("--figure", "map/map.png"), ("--out", "runs")])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_run(
    flag, name, tmp_path, monkeypatch
):
    monkeypatch.setattr("benchmarks.boundary.__main__.check_older", lambda *_: None)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=f"file/{name.partition('/')[0]}' must be a folder"):
        main([flag, str(tmp_path / "file" / name)])


def test_a_cell_without_its_baseline_is_refused():
    with pytest.raises(ConfigError, match="'grpo' and other arms"):
        Cell(name="x", source="chain", arms=("srpo",), response=3)
    with pytest.raises(UnknownNameError, match="did you mean 'srpo'"):
        Cell(name="x", source="chain", arms=("grpo", "srp"), response=3)
    with pytest.raises(ConfigError, match="times must be at least 1, got 0"):
        Cell(name="x", source="chain", arms=("grpo", "srpo"), response=3, times=0)


def row(cell="late-1", arm="grpo", seed=2020, tokens=100, updates=120, final=0.5):
    return {
        "design": SWEEP.content_hash, "cell": cell, "arm": arm, "seed": seed, "tokens": tokens,
        "planned_updates": updates, "pass_at_1": final, "first_pass_at_1": 0.25,
        "prepared_tokens": 0, "curve": [(0, 0, 0.25, 1.0), (5, tokens, final, 1.0)],
    }  # fmt: skip


def rows_of_late(**changes):
    return [row(arm="grpo"), row(arm="rrpo"), row(arm="srpo", **changes)]


def test_rows_are_whole_have_their_updates_and_equal_budgets():
    runs.check_rows(SWEEP, rows_of_late(tokens=110, updates=100))
    with pytest.raises(ConfigError, match="each of its arms once"):
        runs.check_rows(SWEEP, rows_of_late()[:2])
    with pytest.raises(ConfigError, match="at least 100 updates, got 99 of 'srpo'"):
        runs.check_rows(SWEEP, rows_of_late(updates=99))
    with pytest.raises(ConfigError, match="budgets within 10%"):
        runs.check_rows(SWEEP, rows_of_late(tokens=111))
    with pytest.raises(ConfigError, match="must be of design"):
        runs.check_rows(SWEEP, [{**row(), "design": "00000000"}])
    broken = [*rows_of_late(), row(cell="late-2")]
    assert runs.whole(SWEEP, broken) == rows_of_late()
    # An arm with too few updates on one seed takes its cell out on all of them.
    short = [*rows_of_late(), *({**one, "seed": 2021} for one in rows_of_late(updates=99))]
    assert runs.whole(SWEEP, short) == []
    assert runs.whole(SWEEP, rows_of_late(updates=100)) == rows_of_late(updates=100)
    assert runs.left_out(short) == {"late-1": "99 updates of srpo, seed 2021"}


def test_families_take_turns():
    names = [cell.name for cell in runs.in_turn(SWEEP.cells)]
    assert names[:3] == ["chain-2", "equation-2", "inverse-2"]
    assert names.index("unlock-1") < names.index("chain-3") < names.index("equation-3")
    assert sorted(names) == sorted(cell.name for cell in SWEEP.cells)


def test_points_pair_each_method_with_grpo_of_the_same_seed():
    rows = [
        *rows_of_late(final=0.75),
        *({**one, "seed": 2021} for one in rows_of_late(final=0.25)),
    ]
    numbers = [{"cell": "late-1", "noise": 0.5, "figures": {BASE: [0.25, 0.2, 0.3]}}]
    found = {point.method: point for point in points_of(numbers, rows)}
    assert set(found) == {"rrpo", "srpo"}
    # Means (0.25 + 0.75) / 2 and (0.25 + 0.25) / 2, GRPO's (0.25 + 0.5) / 2.
    assert found["srpo"].differences == (0.125, -0.125)
    assert found["rrpo"].difference == 0
    assert found["rrpo"].gained == 0.25
    assert found["srpo"].value(BASE) == 0.25
    assert found["srpo"].value("localisation/clean") is None


def point(value, difference, method="srpo", base=0.1, cell="chain-2"):
    numbers = {BASE: (base, 0.0, 1.0), AXES[method]: (value, value, value)}
    return Point(
        cell=cell, method=method, numbers=numbers, noise=0.5, differences=(difference,), gained=0.1
    )


def test_means_by_base_success_count_the_cells_where_a_method_leads():
    points = [
        point(0.5, 0.25, base=0.05),
        point(0.5, -0.125, base=0.19),
        point(0.5, 0.125, base=0.2),
        point(0.5, 0.0, method="expo", base=0.0),
    ]
    assert base_table(points).splitlines() == [
        "| pass@1 before | rrpo | srpo | pope | lte | expo |",
        "|---|---|---|---|---|---|",
        "| 0 to 0.01 | - | - | - | - | +0.000 (0 of 1) |",
        "| 0.01 to 0.05 | - | - | - | - | - |",
        "| 0.05 to 0.2 | - | +0.062 (1 of 2) | - | - | - |",
        "| 0.2 to 1 | - | +0.125 (1 of 1) | - | - | - |",
    ]


def test_the_best_step_has_three_cells_on_either_side():
    x = np.arange(8.0)
    assert best_step(x, np.array([0, 0, 0, 0, 0, 1, 1, 1.0])) == (4.5, 1.0)
    # The last cell alone would explain all; the best step with three explains a part.
    threshold, explained = best_step(x, np.array([0, 0, 0, 0, 0, 0, 0, 1.0]))
    # Means 0 and 1/3, of all 1/8: (5/64 + 3 (5/24)^2) / (7/8).
    assert threshold == 4.5
    assert explained == pytest.approx((5 / 64 + 3 * (5 / 24) ** 2) / (7 / 8))
    # Equal numbers are not divided.
    assert best_step(np.array([1, 1, 1, 1, 1, 1, 1.0]), np.arange(7.0)) == (1.0, 0.0)


def test_a_number_that_decides_is_told_from_one_that_does_not():
    rng = np.random.default_rng(1)
    points = [
        point(
            value,
            (0.2 if value > 0.55 else -0.1) + rng.normal(scale=0.02),
            base=base,
            cell=f"{('chain', 'unlock')[at % 2]}-{at}",
        )
        for at, (value, base) in enumerate(
            zip(np.arange(16) / 15, rng.permutation(16) / 16, strict=True)
        )
    ]
    axis, base = sorted(boundaries(points), key=lambda one: one.p)
    assert (axis.figure, base.figure) == (AXES["srpo"], BASE)
    assert axis.decides
    assert axis.threshold == pytest.approx((8 / 15 + 9 / 15) / 2, abs=1e-4)
    assert axis.low <= axis.threshold <= axis.high
    assert axis.below.estimate == pytest.approx(-0.1, abs=0.02)
    assert axis.above.estimate == pytest.approx(0.2, abs=0.02)
    assert axis.least_gap == pytest.approx(0.3, abs=0.03)
    assert not base.decides
    # Ten tests are corrected for; the smallest p of 2,000 draws is 1/2001.
    assert axis.p == pytest.approx(10 / 2001, abs=1e-4)
    assert boundaries(points[:6]) == []


def test_a_number_that_one_family_makes_does_not_decide():
    """Every cell above the threshold with a difference is of `unlock`."""
    families = ["unlock" if at > 8 else ("chain", "opposed")[at % 2] for at in range(16)]
    points = [
        point(at / 15, 0.3 * (name == "unlock"), base=(at * 7 % 16) / 16, cell=f"{name}-{at}")
        for at, name in enumerate(families)
    ]
    axis = min(boundaries(points), key=lambda one: one.p)
    assert axis.p == pytest.approx(10 / 2001, abs=1e-4)
    assert axis.above.estimate - axis.below.estimate == pytest.approx(0.3)
    assert (axis.least_gap, axis.decides) == (0.0, False)
    # With a cell of another family above, the gap without `unlock` is that cell's.
    for value, decides in ((0.03, True), (0.01, False)):
        axis = min(
            boundaries([*points, point(0.99, value, base=0.5, cell="late-1")]),
            key=lambda one: one.p,
        )
        assert (axis.least_gap, axis.decides) == (pytest.approx(value), decides)
    # The same the other way round: the method is below GRPO above the threshold.
    mirrored = [
        point(one.value(AXES["srpo"]), -one.difference, base=one.value(BASE), cell=one.cell)
        for one in [*points, point(0.99, 0.03, base=0.5, cell="late-1")]
    ]
    axis = min(boundaries(mirrored), key=lambda one: one.p)
    assert (axis.least_gap, axis.decides) == (pytest.approx(-0.03), True)
    # A gap that turns without a family is none, however wide.
    turned = [*points, point(0.99, -0.2, base=0.5, cell="late-1")]
    axis = min(boundaries(turned), key=lambda one: one.p)
    assert (axis.least_gap, axis.decides) == (pytest.approx(-0.2), False)


def test_the_rules_become_the_constants_of_the_probe():
    points = [
        point(at / 10, float(at > 6), cell=f"{('chain', 'unlock')[at % 2]}-{at}", base=at / 20)
        for at in range(14)
    ]
    cells = cells_of(points)
    assert cells["srpo"][1] == known.Cell("unlock-1", 0.05, 0.1, 0.0)
    found = thresholds_of(boundaries(points))
    assert {one.figure for one in found["srpo"]} == {BASE, AXES["srpo"]}
    scope = {name: getattr(known, name) for name in ("Cell", "Threshold", "MappingProxyType")}
    text = source(points, boundaries(points)).replace(": Mapping[str, tuple[Cell, ...]]", "")
    exec(text.replace(": Mapping[str, tuple[Threshold, ...]]", ""), scope)
    assert dict(scope["CELLS"]) == cells
    assert dict(scope["THRESHOLDS"]) == found


def test_noise_is_what_comes_after_the_first_error_asides_and_letters():
    problem = Problem(
        problem_id="toy/test/0", question="q", answer="7", solution=("ab", "cd", "ef")
    )
    codec = ByteCodec()

    def chain(*steps):
        text = "".join(f"{step}\n" for step in steps)
        return ReasonState(problem=problem, codec=codec).extend(codec.encode(text))

    # Three tokens a step. Wrong at step 2: the third is beside the point, 3 of 9.
    state = chain("ab", "cx", "ef")
    assert noise_share([state], [[1.0] * 9], first_wrong_step) == pytest.approx(1 / 3)
    # An aside of four tokens, of 10; nothing is wrong.
    state = chain("ab", "~hm", "cd")
    assert noise_share([state], [[1.0] * 10], first_wrong_step) == pytest.approx(0.4)


def test_ranks_with_ties():
    assert rank_correlation([1, 1, 2], [3, 3, 5]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation([1, 1], [1, 2]))


def test_the_published_twin_is_what_its_worlds_give():
    published = read_rows(runs.TWIN)
    assert len(published) == len(worlds()) >= 200
    at = next(at for at, world in enumerate(worlds()) if world.base > 0.25 and world.steps == 4)
    again = twin_row(worlds()[at])
    assert again["figures"] == published[at]["figures"]
    # Sums differ in their last bits from one processor to the next.
    for method, difference in again["differences"].items():
        assert difference == pytest.approx(published[at]["differences"][method], abs=0.02)


def test_the_twin_foresees_cells_that_it_equals():
    published = read_rows(runs.TWIN)
    axis = AXES["srpo"]
    own = [
        Point(
            cell=f"chain-{at}",
            method="srpo",
            numbers={name: (value, value, value) for name, value in one["figures"].items()},
            noise=one["noise"],
            differences=(one["differences"]["srpo"],),
            gained=0.0,
        )
        for at, one in enumerate(published[::9])
    ]
    assert all(one.value(axis) is not None for one in own)
    # Several worlds share their numbers, so their nearest one is not always themselves.
    assert agreement(own, published)["srpo"] > 0.7


@pytest.fixture(scope="module")
def measured():
    return read_rows(runs.NUMBERS), read_rows(runs.ROWS)


def test_published_rows_are_those_of_the_committed_design(measured):
    numbers, rows = measured
    runs.check_rows(SWEEP, rows)
    assert {row["cell"] for row in rows} == {row["cell"] for row in numbers}
    assert {row["design"] for row in numbers} <= {SWEEP.content_hash}
    if has_history():
        check_older(DESIGN, [row["started"] for row in (*rows, *numbers)])


def test_the_probe_knows_the_published_map(measured):
    points = points_of(*measured)
    found = boundaries(points)
    assert dict(known.CELLS) == cells_of(points)
    assert dict(known.THRESHOLDS) == thresholds_of(found)


def test_the_page_has_the_published_tables(measured):
    page = (ROOT / "docs" / "boundary.md").read_text(encoding="utf-8")
    points = points_of(*measured)
    for table in tables(points, boundaries(points)).split("\n\n"):
        assert table in page


def test_what_the_page_says_in_words_of_the_cells(measured):
    page = " ".join((ROOT / "docs" / "boundary.md").read_text(encoding="utf-8").split())
    _, rows = measured
    points = points_of(*measured)
    found = boundaries(points)
    assert f"all {len(SWEEP.cells)} cells are published ({len(rows)} runs)" in page
    assert f"{sum(row['seconds'] for row in rows) / 3600:.1f} core-hours" in page
    assert not any(own.decides for own in found)
    near = {own.p: own for own in sorted(found, key=lambda own: own.p)[:3]}
    assert [(own.method, own.figure == BASE) for own in near.values()] == [
        ("pope", True), ("expo", True), ("lte", False),
    ]  # fmt: skip
    words = (
        "base success for POPE (p = {:.2f}) and for ExPO ({:.2f}), and LTE's own number ({:.2f})"
    )
    assert words.format(*near) in page

    own = {method: [one for one in points if one.method == method] for method in AXES}
    seeds = {method: np.array([one.differences for one in found]) for method, found in own.items()}
    # The standard error of a mean of two is half of their distance.
    errors = [np.sqrt(np.mean((two[:, 0] - two[:, 1]) ** 2 / 4)) for two in seeds.values()]
    assert f"{min(errors):.2f} to {max(errors):.2f}" in page
    assert min(errors) < known.CELL_ERROR < max(errors)
    again = {method: rank_correlation(*two.T) for method, two in seeds.items()}
    words = "{srpo:.2f} for SRPO, {expo:.2f} for ExPO, {rrpo:.2f} for RRPO and {lte:.2f} for LTE. "
    assert (words + "For POPE it is {pope:.2f}").format(**again) in page

    wholes = {
        method: student_interval([one.difference for one in found]) for method, found in own.items()
    }
    words = "ExPO is above GRPO by {expo.estimate:.3f} [{expo.low:.3f}, {expo.high:.3f}], and RRPO "
    words += "below it, {rrpo.estimate:.3f} [{rrpo.low:.3f}, {rrpo.high:.3f}]"
    assert words.format(**wholes) in page
    assert {name for name, whole in wholes.items() if whole.low < 0 < whole.high} == {
        "srpo", "pope", "lte",
    }  # fmt: skip

    rare = [one for one in points if (one.value(BASE) or 0.0) < 0.025]
    assert {one.cell for one in rare} == {"sealed-4", "precedence-5", "precedence-7", "inverse-8"}
    assert max(one.gained for one in rare) == pytest.approx(0.023, abs=5e-4)
    leads = sum(one.difference > 0 for one in rare)
    assert f"above it in {leads} of {len(rare)}" in page
    by = {(one.method, one.cell): one for one in points}
    assert f"POPE by {by['pope', 'sealed-4'].difference:.3f} on `sealed-4`" in page
    expo = sorted(one.difference for one in rare if one.method == "expo")
    assert f"ExPO by {expo[0]:.3f} to {expo[-1]:.3f}" in page
    pairs = [by["lte", cell] for cell in ("precedence-5", "precedence-7", "inverse-8")]
    words = "LTE by {:.3f} and {:.3f} on `precedence`, where being told its wrong answers adds "
    words += "{:.2f} and {:.2f}, and by {:.3f} on `inverse-8`, where it adds {:.2f}"
    (one, first), (two, second), (three, third) = (
        (pair.difference, pair.value(AXES["lte"])) for pair in pairs
    )
    assert words.format(one, two, first, second, three, third) in page

    easy = [one.difference for one in own["pope"] if one.gained >= 0.4]
    words = f"above it in {sum(value > 0 for value in easy)} of {len(easy)} cells where GRPO alone "
    assert f"{words}gains 0.4 or more, and on average {-np.mean(easy):.3f} below" in page
    gained = grpo_gained(rows)
    others = {2020: 2021, 2021: 2020}
    pairs = [
        (gained[one.cell, others[seed]], difference)
        for one in own["pope"]
        for seed, difference in zip(others, one.differences, strict=True)
    ]
    again = rank_correlation(*zip(*pairs, strict=True))
    bases = [one.value(BASE) or 0.0 for one in own["pope"] for _ in others]
    found = rank_correlation(bases, [difference for _, difference in pairs])
    words = f"rank correlation of {again:.2f}, base success and that difference one of {found:.2f}"
    assert words in page

    foreseen = agreement(points, read_rows(runs.TWIN))
    words = "{rrpo:.2f} for RRPO, {srpo:.2f} for SRPO and {pope:.2f} for POPE"
    assert words.format(**foreseen) in page
    assert [by[method, "inverse-5"].difference < 0 for method in AXES] == [True] * 5
    assert f"at 0.026, GRPO gains {by['srpo', 'inverse-5'].gained:.3f} and every" in page
    assert round(by["srpo", "inverse-5"].value(BASE) or 0.0, 3) == 0.026
    small = [one for one in points if one.cell.startswith(("countdown", "equation"))]
    leads = sum(one.difference > 0 for one in small)
    words = f"it gains {max(one.gained for one in small):.3f} at most, and methods are above it in "
    assert f"{words}{leads} of {len(small)} pairs" in page
    families = [name.partition("-")[0] for _, name in by]
    means = [
        np.mean([one.difference for one in own["expo"] if one.cell.startswith(f"{family}-")])
        for family in sorted(set(families) - {"late", "sealed"})
    ]
    over = student_interval([float(mean) for mean in means])
    assert f"lead is {over.estimate:.3f} [{over.low:.3f}, {over.high:.3f}]: it comes" in page
    medians = {
        label: np.median([row["updates"] for row in rows if row["arm"] == label]) for label in ARMS
    }
    words = "GRPO's runs took {grpo:.0f} (median), RRPO's {rrpo:.0f}, SRPO's {srpo:.0f}, ExPO's "
    assert (words + "{expo:.0f}, POPE's {pope:.0f} and LTE's {lte:.0f}").format(**medians) in page


def test_exact_signals_of_restarts(measured):
    page = " ".join((ROOT / "docs" / "boundary.md").read_text(encoding="utf-8").split())
    signals = [row["twin"] for row in measured[0] if row["twin"] is not None]
    assert [row["cell"] for row in measured[0] if row["twin"] is not None] == ["chain-2", "chain-3"]
    names = {"GRPO": "GRPO", "SRPO": "SRPO, exact", "RRPO": "RRPO", "POPE": "POPE"}
    words = ", ".join(
        f"{signals[0][key]:.3f} and {signals[1][key]:.3f} for {name}" for name, key in names.items()
    )
    assert words in page
    points = points_of(*measured)
    assert all(abs(one.difference) < 0.05 for one in points if one.cell in ("chain-2", "chain-3"))


def test_what_the_page_says_of_the_width_of_the_numbers(measured):
    page = " ".join((ROOT / "docs" / "boundary.md").read_text(encoding="utf-8").split())
    widths, spreads = {}, {}
    for method in ("pope", "lte", "srpo"):
        found = [row["figures"].get(AXES[method]) for row in measured[0]]
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
def test_the_steps_that_such_a_sweep_sees(measured, methods, step):
    """The whole spread of a method's cells counts as noise, so that more is seen if some is not."""
    points = points_of(*measured)
    spreads = [
        np.std([one.difference for one in points if one.method == method], ddof=1)
        for method in methods
    ]
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(100):
        y = rng.normal(scale=np.mean(spreads), size=30) + step * (np.arange(30) >= 15)
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


def grpo_gained(rows):
    """What GRPO gained on average over the budget, by cell and seed."""
    return {
        (row["cell"], row["seed"]): mean_pass(row) - row["first_pass_at_1"]
        for row in rows
        if row["arm"] == "grpo"
    }


def test_a_figure_of_a_single_problem_has_no_limits_and_is_not_kept():
    one = Figure(name="mistakes/gain", label="x", estimate=0.5, num_problems=1)
    several = mean_figure("success/signal", "x", [0.0, 1.0, 1.0], unit="fraction")
    found = kept({own.name: own for own in (one, several)})
    assert list(found) == ["success/signal"]
    estimate, low, high = found["success/signal"]
    assert (estimate, low < estimate < high) == (0.6667, True)


def test_the_map_is_drawn(measured, tmp_path):
    points = points_of(*measured)
    draw(points, boundaries(points), tmp_path / "map.png", read_rows(runs.TWIN))
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_the_page_has_the_table_of_the_published_twin():
    page = (ROOT / "docs" / "boundary.md").read_text(encoding="utf-8")
    published = read_rows(runs.TWIN)
    assert twin_table(published) in page
    # What the page says in words: shares of worlds beyond two standard errors.
    for method, above, below in (("rrpo", 0, 47), ("srpo", 15, 24), ("pope", 48, 10)):
        ratios = [one["differences"][method] - 2 * one["errors"][method] for one in published]
        losses = [one["differences"][method] + 2 * one["errors"][method] for one in published]
        assert round(100 * np.mean([own > 0 for own in ratios])) == above
        assert round(100 * np.mean([own < 0 for own in losses])) == below
