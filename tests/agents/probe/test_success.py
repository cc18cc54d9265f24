import itertools
import math
from dataclasses import replace

import pytest

from reason_env.agents.methods.protocol import plain_reference_ids
from reason_env.agents.probe.success import (
    failed_chain,
    reference_findings,
    resolution,
    signal_probability,
    success_findings,
)
from reason_env.agents.rollout import Group
from reason_env.errors import ConfigError
from reason_env.problem import Problem


@pytest.fixture
def group(build):
    """Returns (number, texts, level) -> a group; a text "702" is correct, "" ends in no answer."""

    def one(number, texts, level=3):
        state = build["problem_state"](number)
        state = replace(state, problem=replace(state.problem, level=level))

        def episode(text, index):
            outcome = {"702": "correct", "": "no_answer", "x": "error"}.get(text, "incorrect")
            return build["trajectory"](
                state, f"A:1+1\n{text}", outcome=outcome, answer=text or None, index=index,
                group=f"0:{number}",
            )  # fmt: skip

        return Group(
            key=f"0:{number}",
            trajectories=tuple(episode(text, index) for index, text in enumerate(texts)),
        )

    return one


def figures(found):
    return {figure.name: figure for figure in found.figures}


@pytest.mark.parametrize(("correct", "size"), [*itertools.product(range(6), range(1, 6))])
def test_the_probability_of_signal_is_the_share_of_subsets_that_disagree(correct, size):
    marks = [True] * correct + [False] * (5 - correct)
    subsets = list(itertools.combinations(marks, size))
    mixed = sum(len(set(own)) == 2 for own in subsets)
    assert signal_probability(correct, 5, size) == pytest.approx(mixed / len(subsets))


def test_a_group_size_above_the_samples_is_refused():
    with pytest.raises(ConfigError, match="size and num_correct must lie within num_samples"):
        signal_probability(1, 4, 5)


def test_pass_rates_signal_and_endings_are_means_over_problems(group):
    groups = [
        group(0, ["702", "1", "2", ""]),  # 1 of 4
        group(1, ["702", "702", "702", "702"]),
        group(2, ["1", "1", "", ""], level=7),
        group(3, ["702", "702", "1", "1"], level=7),
    ]
    found = figures(success_findings(groups, 4))
    assert found["success/pass_at_1"].estimate == (1 / 4 + 1 + 0 + 2 / 4) / 4
    assert found["success/pass_at_k"].estimate == 3 / 4
    assert found["success/signal"].estimate == 2 / 4
    # Pairs of 4 that disagree: 3 of 6 with one success, 4 of 6 with two.
    assert found["success/signal_at_2"].estimate == pytest.approx((3 / 6 + 0 + 0 + 4 / 6) / 4)
    assert found["success/unsolved"].estimate == 1 / 4
    assert found["success/no_answer"].estimate == (1 / 4 + 2 / 4) / 4
    assert found["success/level_7/pass_at_1"].estimate == 1 / 4
    assert found["success/level_3/pass_at_4"].estimate == 1.0
    assert found["success/failed_chain"].estimate == 3 / 4
    assert found["success/pass_at_1"].num_problems == 4


def test_levels_have_figures_only_if_there_are_several(group):
    found = figures(success_findings([group(0, ["702", "1"]), group(1, ["1", "1"])], 2))
    assert not any("level" in name for name in found)


def test_a_problem_that_the_verifier_failed_on_is_left_out_of_the_rates(group):
    found = figures(success_findings([group(0, ["702", "x"]), group(1, ["702", "1"])], 2))
    assert found["success/pass_at_1"].estimate == 0.5
    assert found["success/pass_at_1"].num_problems == 1
    assert found["success/ungraded"].estimate == 1 / 4
    only = success_findings([group(0, ["702", "x"])], 2)
    assert "success" in only.missing


def test_a_failed_chain_is_the_first_failure_and_has_several_steps(group, build):
    own = group(0, ["702", "1", "2"])
    assert failed_chain(own) is own.trajectories[1]
    assert failed_chain(group(1, ["702", "702"])) is None
    single = build["trajectory"](build["problem_state"](0), "35")
    assert failed_chain(Group(key="a", trajectories=(single,))) is None


def test_the_resolution_is_the_half_width_of_a_mean_over_restarts():
    # All variance between problems: half of them always succeed.
    always = resolution([(4, 4), (0, 4)], 64, 2)
    assert always == pytest.approx(1.959964 * math.sqrt(0.25 / 64))
    # All within: E[q (1 - q)] = 2 * 2 / (4 * 3) = 1/3 exceeds p (1 - p) = 1/4 by chance of n = 4.
    one, three = resolution([(2, 4), (2, 4)], 64, 1), resolution([(2, 4), (2, 4)], 64, 3)
    assert one == pytest.approx(1.959964 * math.sqrt(0.25 / 64))
    assert three == pytest.approx(1.959964 * math.sqrt((0.25 - 2 / 9) / 64))


def test_references_that_do_not_fit_a_response_do_not_count(build):
    def measured(max_tokens, *states):
        return reference_findings(states, plain_reference_ids, max_tokens)

    short, long = build["problem_state"](1, steps=1), build["problem_state"](2, steps=5)
    bare = replace(short, problem=Problem(problem_id="toy/train/9", question="1+1=?", answer="2"))
    # "A:1+0\n#### 702" and the end token are 15 tokens; five steps of 6 are 39.
    found = figures(measured(15, short, long, bare))
    assert found["success/solution_tokens"].estimate == (15 + 39) / 2
    assert found["success/solutions"].estimate == pytest.approx(1 / 3)
    assert figures(measured(14, short, long, bare))["success/solutions"].estimate == 0
    # The first problem without a solution must not hide the second one's.
    found = figures(measured(39, bare, long))
    assert found["success/solutions"].estimate == 0.5
    assert "no reference solutions" in measured(99, bare).missing["success/solutions"]
