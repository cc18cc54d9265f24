"""Where a probed model lies on the map of methods."""

from reason_env.agents.probe.boundary import AXES, Cell, Threshold, place_on_map
from reason_env.agents.probe.figure import Figure

CELLS = {
    "srpo": (
        Cell("chain-2", 0.5, 0.0, -0.05),
        Cell("chain-6", 0.1, 0.1, 0.08),
        Cell("chain-8", 0.01, 0.02, 0.0),
        Cell("late-2", 0.12, 0.2, 0.1),
    )
}
GAIN = AXES["srpo"]
THRESHOLDS = {"srpo": (Threshold(GAIN, 0.05, 0.03, 0.07, -0.02, 0.09),)}


def figures(gain, low, high):
    return {
        "success/pass_at_1": Figure(
            name="success/pass_at_1", label="pass@1", estimate=0.1, low=0.05, high=0.15
        ),
        GAIN: Figure(
            name=GAIN, label="gain over the start", estimate=gain, low=low, high=high
        ),
    }  # fmt: skip


def place(gain, low, high, method="srpo"):
    return place_on_map(method, figures(gain, low, high), cells=CELLS, thresholds=THRESHOLDS)


def test_the_nearest_cells_are_named_with_how_far_the_method_was_above_grpo():
    # Base success spans 0.01..0.5 (1.7 decades), the gain 0..0.2. From (0.1, 0.12): chain-6 at 0.1,
    # late-2 at 0.4, chain-2 at 0.73 and chain-8 at 0.77 of the spans.
    found = place(0.12, 0.1, 0.14)
    assert found == (
        "gain over the start 0.120, pass@1 0.100; srpo - GRPO in the nearest cells, each +-0.05: "
        "+0.080 (chain-6), +0.100 (late-2), -0.050 (chain-2); above the boundary of gain over the "
        "start, 0.050 [0.030, 0.070], where it was +0.090"
    )


def test_a_side_needs_both_intervals_apart():
    below = place(0.0, -0.02, 0.02)
    assert below is not None
    assert "below the boundary of gain over the start" in below
    assert below.endswith("where it was -0.020")
    between = place(0.1, 0.06, 0.14)
    assert between is not None
    assert between.endswith("0.070]: -0.020 below, +0.090 above")
    assert "within the limits" in between


def test_a_model_or_a_method_off_the_map_has_no_place():
    assert place(0.1, 0.0, 0.2, method="grpo") is None
    assert place(0.1, 0.0, 0.2, method="pope") is None
    known = figures(0.1, 0.0, 0.2)
    del known[GAIN]
    assert place_on_map("srpo", known, cells=CELLS, thresholds=THRESHOLDS) is None
    few = {"srpo": CELLS["srpo"][:2]}
    assert place_on_map("srpo", figures(0.1, 0.0, 0.2), cells=few, thresholds={}) is None
