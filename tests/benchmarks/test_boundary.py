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
from benchmarks.boundary.sweep import DESIGN, SWEEP, Cell, read_design
from benchmarks.boundary.table import agreement, base_table, rank_correlation, tables, twin_table
from benchmarks.boundary.twin import twin_row, worlds
from benchmarks.claims.registry import check_older, has_history
from benchmarks.claims.rows import read_rows
from reason_env.agents.compare import losses_of
from reason_env.agents.probe import Figure, mean_figure
from reason_env.agents.probe import boundary as known
from reason_env.agents.probe.boundary import AXES, BASE
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


@pytest.mark.parametrize(
    ("words", "flag", "name"),
    [([], "--figure", "map/map.png"), ([], "--out", "runs"), (["--seed", "2021"], "--out", "runs")],
)
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_run(
    words, flag, name, tmp_path, monkeypatch
):
    monkeypatch.setattr("benchmarks.boundary.__main__.check_older", lambda *_: None)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=f"file/{name.partition('/')[0]}' must be a folder"):
        main([*words, flag, str(tmp_path / "file" / name)])


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


@pytest.fixture(scope="module")
def points(measured):
    return points_of(*measured)


@pytest.fixture(scope="module")
def found(points):
    return boundaries(points)


def test_published_rows_are_those_of_the_committed_design(measured):
    numbers, rows = measured
    runs.check_rows(SWEEP, rows)
    assert {row["cell"] for row in rows} == {row["cell"] for row in numbers}
    assert {row["design"] for row in numbers} <= {SWEEP.content_hash}
    if has_history():
        check_older(DESIGN, [row["started"] for row in (*rows, *numbers)])


def test_the_probe_knows_the_published_map(points, found):
    assert dict(known.CELLS) == cells_of(points)
    assert dict(known.THRESHOLDS) == thresholds_of(found)


def test_the_page_has_the_published_tables(points, found):
    page = (ROOT / "docs" / "boundary.md").read_text(encoding="utf-8")
    for table in tables(points, found).split("\n\n"):
        assert table in page


def test_a_figure_of_a_single_problem_has_no_limits_and_is_not_kept():
    one = Figure(name="mistakes/gain", label="x", estimate=0.5, num_problems=1)
    several = mean_figure("success/signal", "x", [0.0, 1.0, 1.0], unit="fraction")
    found = kept({own.name: own for own in (one, several)})
    assert list(found) == ["success/signal"]
    estimate, low, high = found["success/signal"]
    assert (estimate, low < estimate < high) == (0.6667, True)


def test_the_map_is_drawn(points, found, tmp_path):
    draw(points, found, tmp_path / "map.png", read_rows(runs.TWIN))
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
