import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.compare import CompareConfig, arms_of, shared_settings
from reason_env.agents.compare.sentence import has_collapsed, sentence, without_result

ARMS = arms_of(["grpo", "lte"], shared_settings())
CONFIG = CompareConfig(arms=ARMS, sources=("chain",), num_seeds=5)
ALONE = CompareConfig(arms=arms_of(["lte"], shared_settings()), sources=("chain",), num_seeds=5)


def estimate(mean, low, high, count=5):
    values = {str(seed): mean for seed in range(count)}
    is_clear = low is not None and not low <= 0 <= high
    return {"mean": mean, "low": low, "high": high, "values": values, "is_clear": is_clear}


def arm(
    difference,
    *,
    gain=(0.2, 0.1, 0.3),
    seeds=5,
    final=(0.5, 0.45, 0.55),
    best=0.5,
    collapsed=(),
    area=(0.1, -0.1, 0.3),
    p=0.0625,
):
    differences = None
    if difference is not None:
        count = difference[3] if len(difference) > 3 else 5
        differences = {
            "final_pass_at_1": estimate(*difference) | {"sign_flip_p": p},
            "area": estimate(*area, count),
        }
    return {
        "num_seeds": seeds,
        "first_pass_at_1": estimate(0.3, 0.2, 0.4, seeds),
        "final_pass_at_1": estimate(*final, seeds),
        "best_pass_at_1": estimate(best, best, best, seeds),
        "collapsed_seeds": list(collapsed),
        "gain": estimate(*gain, seeds),
        "differences": differences,
    }


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (
            arm((0.1, 0.05, 0.15)),
            "lte: pass@1 rose from 0.300 to 0.500, 0.100 above grpo (95 % interval 0.050 to 0.150, "
            "5 pairs, sign-flip p 0.062).",
        ),
        (
            arm((-0.1, -0.16, -0.05), gain=(-0.2, -0.3, -0.1), p=None),
            "lte: pass@1 fell from 0.300 to 0.500, 0.100 below grpo (95 % interval 0.050 to 0.160, "
            "5 pairs).",
        ),
        (
            arm((0.1, -0.05, 0.25), gain=(0.01, -0.1, 0.1)),
            "lte: pass@1 did not clearly change: it went from 0.300 to 0.500; no difference could "
            "be told from grpo (+0.100, 95 % interval -0.050 to +0.250, 5 pairs).",
        ),
        (
            arm((-0.0002, -0.05, 0.25), area=(-0.08, -0.1, -0.02)),
            "lte: pass@1 rose from 0.300 to 0.500; no difference could be told from grpo (0.000, "
            "95 % interval -0.050 to +0.250, 5 pairs), but it was lower along the way (area "
            "-0.080).",
        ),
        (
            arm((0.01, -0.05, 0.25, 4), area=(0.08, 0.02, 0.1), seeds=4),
            "lte: pass@1 rose from 0.300 to 0.500; no difference could be told from grpo (+0.010, "
            "95 % interval -0.050 to +0.250, 4 pairs); 1 of its 5 runs did not finish and is not "
            "counted.",
        ),
        (
            arm((0.1, 0.05, 0.15, 3), seeds=3),
            "lte: pass@1 rose from 0.300 to 0.500, 0.100 above grpo (95 % interval 0.050 to 0.150, "
            "3 pairs: too few to claim it); 2 of its 5 runs did not finish and are not counted.",
        ),
        (
            arm((0.1, None, None, 2), gain=(0.2, None, None)),
            "lte: pass@1 went from 0.300 to 0.500, 0.100 above grpo (2 pairs: too few for an "
            "interval, so nothing is claimed).",
        ),
        (
            arm((-0.1, None, None, 1)),
            "lte: pass@1 rose from 0.300 to 0.500, 0.100 below grpo (1 pair: too few for an "
            "interval, so nothing is claimed).",
        ),
        (
            arm((0.0, 0.0, 0.0), gain=(0.0, 0.0, 0.0), final=(0.0, 0.0, 0.0), best=0.0),
            "lte: pass@1 was 0 in every evaluation; equal to grpo in all 5 pairs.",
        ),
        (
            arm((0.0, None, None, 1)),
            "lte: pass@1 rose from 0.300 to 0.500; equal to grpo in its one pair.",
        ),
        (
            arm((0.0, None, None, 2)),
            "lte: pass@1 rose from 0.300 to 0.500; equal to grpo in both pairs.",
        ),
        (
            arm((0.1, 0.05, 0.15), best=0.9, collapsed=(1, 3)),
            "lte: pass@1 rose from 0.300 to 0.500, 0.100 above grpo (95 % interval 0.050 to 0.150, "
            "5 pairs, sign-flip p 0.062); it collapsed in 2 of 5 seeds, from 0.900 at its best to "
            "0.500 at the end.",
        ),
        (
            arm(None),
            "lte: pass@1 rose from 0.300 to 0.500 (95 % interval 0.450 to 0.550, 5 seeds); grpo, "
            "the baseline, has no finished run.",
        ),
    ],
)
def test_a_sentence_claims_what_the_interval_shows_and_no_more(own, text):
    assert sentence("lte", own, config=CONFIG) == text


def test_a_difference_whose_student_s_interval_contains_0_is_not_claimed():
    own = arm((0.1, 0.02, 0.2))
    own["differences"]["final_pass_at_1"]["is_clear"] = False
    own["gain"]["is_clear"] = False
    assert sentence("lte", own, config=CONFIG) == (
        "lte: pass@1 did not clearly change: it went from 0.300 to 0.500, 0.100 above grpo (95 % "
        "interval 0.020 to 0.200, 5 pairs: Student's interval contains 0, so nothing is claimed)."
    )


def test_a_sentence_marks_the_baseline_only_in_a_comparison_of_several_arms():
    own = arm(None, seeds=1, final=(0.5, None, None), collapsed=(0,), best=0.8)
    text = (
        "pass@1 rose from 0.300 to 0.500 (1 seed: too few for an interval); it collapsed, from "
        "0.800 at its best to 0.500 at the end; 4 of its 5 runs did not finish and are not counted."
    )
    assert sentence("grpo", own, config=CONFIG) == f"grpo (the baseline): {text}"
    assert sentence("lte", own, config=ALONE) == f"lte: {text}"


def test_arms_that_share_no_seed_are_not_compared():
    own = arm((0.1, 0.05, 0.15)) | {"differences": {}}
    assert sentence("lte", own, config=CONFIG) == (
        "lte: pass@1 rose from 0.300 to 0.500; no seed of both it and grpo has finished, so there "
        "is no comparison."
    )


def test_the_sentence_of_an_arm_without_a_finished_run_counts_its_failures():
    assert without_result("lte", ["failed", "unfinished", "failed"], config=CONFIG) == (
        "lte: none of its 3 runs has finished (2 failed), so nothing can be said about it."
    )
    assert without_result("grpo", ["unfinished"], config=CONFIG) == (
        "grpo: its one run has not finished, so nothing can be said about it, and no other arm can "
        "be compared with it."
    )


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        ([0.2, 0.3, 0.2], True),  # by 0.1, which is a third of 0.3
        ([0.2, 0.25, 0.16], False),  # a third, but by less than 0.1
        ([0.9, 0.9, 0.61], False),  # by 0.29, less than a third
        ([0.9, 0.1, 0.59], True),
        ([0.6, 0.1, 0.6], False),  # it came back
        ([0.6], False),
        ([0.0, 0.0], False),
    ],
)
def test_a_last_evaluation_far_below_the_best_counts_as_a_collapse(values, is_one):
    assert has_collapsed(values) == is_one


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_a_curve_that_only_rises_has_not_collapsed(values):
    assert not has_collapsed(sorted(values))
