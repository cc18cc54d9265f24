import numpy as np
import pytest

from reason_env.agents.curve import draw_curve, running_mean
from reason_env.errors import ConfigError


def pixels(path):
    from matplotlib.image import imread

    return (imread(path)[:, :, :3] * 255).round().astype(int)


def count(image, color) -> int:
    return int((np.abs(image - np.array(color)).sum(axis=2) < 60).sum())


TRAIN, EVAL = (0x44, 0x77, 0xAA), (0xCC, 0x33, 0x11)


def row(iteration: int, rate: float | None) -> dict:
    return {
        "iteration": iteration,
        "rollout/pass_rate": rate,
        "rollout/sampled_tokens_total": 1000 * iteration,
    }


def evaluation(value: float, half: float) -> dict:
    return {
        "eval/pass_at_1": value,
        "eval/pass_at_1_low": value - half,
        "eval/pass_at_1_high": value + half,
    }


def test_the_picture_is_1200_by_700_and_shows_both_curves(tmp_path):
    rows = [{"iteration": 0, **evaluation(0.25, 0.0)}]
    rows += [row(i, 0.1 + 0.02 * i) for i in range(1, 11)]
    rows[-1] |= evaluation(0.75, 0.0)
    draw_curve(rows, tmp_path / "a.png", title="GRPO on chain")
    image = pixels(tmp_path / "a.png")
    assert image.shape == (700, 1200, 3)
    assert count(image, TRAIN) > 1000
    assert count(image, EVAL) > 100


def test_wider_intervals_are_drawn_as_longer_bars(tmp_path):
    sizes = []
    for half in (0.05, 0.2):
        rows = [row(i, None) | evaluation(0.5, half) for i in range(1, 4)]
        draw_curve(rows, tmp_path / "a.png", title="t")
        sizes.append(count(pixels(tmp_path / "a.png"), EVAL))
    assert sizes[1] > sizes[0] + 3 * 100  # three bars, each 0.3 of about 590 pixels longer


def test_a_higher_pass_rate_stands_higher(tmp_path):
    heights = []
    for rate in (0.2, 0.8):
        draw_curve([row(i, rate) for i in range(1, 5)], tmp_path / "a.png", title="t")
        is_line = np.abs(pixels(tmp_path / "a.png") - np.array(TRAIN)).sum(axis=2) < 12
        heights.append(np.nonzero(is_line[150:])[0].mean())  # below the legend
    assert heights[0] - heights[1] == pytest.approx(0.6 * 577, abs=20)


def test_where_episodes_had_help_the_curve_is_that_of_those_without(tmp_path):
    plain = [row(i, 0.2) for i in range(1, 5)]
    helped = [row(i, 0.6) | {"rollout/pass_rate/base": 0.2} for i in range(1, 5)]
    for name, rows in (("plain", plain), ("helped", helped)):
        draw_curve(rows, tmp_path / name, title="t")
    assert (pixels(tmp_path / "plain") == pixels(tmp_path / "helped")).all()


def test_an_evaluation_alone_and_a_single_iteration_can_be_drawn(tmp_path):
    draw_curve([{"iteration": 0, "eval/pass_at_1": 0.5}], tmp_path / "a.png", title="t")
    draw_curve([row(1, 0.5)], tmp_path / "b.png", title="t")
    assert count(pixels(tmp_path / "a.png"), EVAL) > 20
    assert count(pixels(tmp_path / "b.png"), TRAIN) > 20


@pytest.mark.parametrize("rows", [[], [row(1, None)]])
def test_nothing_to_draw_is_refused(tmp_path, rows):
    with pytest.raises(
        ConfigError, match=f"a pass rate to draw, got {len(rows)} rows without; run"
    ):
        draw_curve(rows, tmp_path / "a.png", title="t")


def test_the_running_mean_is_the_hand_computed_one():
    # Windows of 1, 3, 5, 3, 1: the ends have no neighbours on one side.
    values = np.array([3.0, 0.0, 6.0, 1.0, 5.0])
    assert running_mean(values, half_width=2).tolist() == pytest.approx([3, 3, 3, 4, 5])
