"""SPO-chain and SPO-tree: segments, values and masks by hand, and the same numbers as released."""

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import GRPOConfig, SPOConfig, SPOTreeConfig, build_method
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.methods.segment_tree import trees_of
from reason_env.agents.rollout import tree_segments
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade
from tests.agents.methods.toy import toy_env

ROOT = Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location(
    "released_credit", ROOT / "benchmarks" / "methods" / "released.py"
)
assert SPEC is not None
assert SPEC.loader is not None
released = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(released)
CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24")
PROMPT = "2*3*4=?\n>"
YES, NO = "#### 24$", "#### 20$"
UNSURE = math.log(0.5)
SURE = math.log(0.95)


class Hesitant(ScriptedPolicy):
    """Is unsure of "=" and "#", and sure of everything else."""

    def _completion(self, context, number, limit, stops):
        found = super()._completion(context, number, limit, stops)
        unsure = {CODEC.encode(char)[0] for char in "=#"}
        own = tuple(UNSURE if token in unsure else SURE for token in found.token_ids)
        return replace(found, log_probs=own)


def run(script, config, **changes):
    env = toy_env(PROBLEM, max_tokens=40, **changes)
    method = build_method(config)
    return method, dry_run(method, ["toy/train/0"], env=env, policy=Hesitant(script))


RIGHT, WRONG = "2*3=6\n6*4=24\n#### 24$", "2*3=6\n#### 20$"
# Unsure tokens of RIGHT: 3, 9, 13 to 16; with two a segment, segments begin at 3, 13 and 15. Those
# of WRONG: 3, 6 to 9; segments begin at 3, 7 and 9.
CHAIN = SPOConfig(group_size=2, value_samples=4, cut_interval=2)
SCRIPT = {
    PROMPT: [RIGHT, WRONG],
    PROMPT + "2*3": ["=6\n" + YES, "=5\n" + NO, "=7\n" + NO, "=9\n" + NO],
    PROMPT + "2*3=6\n6*4=24\n": [YES, YES, YES, NO],
    PROMPT + "2*3=6\n6*4=24\n##": ["## 24$", "## 24$", "## 20$", "## 20$"],
    PROMPT + "2*3=6\n#": ["### 24$", "### 20$", "### 20$", "### 24$"],
    PROMPT + "2*3=6\n###": ["# 20$", "# 20$", "# 20$", "# 20$"],
}


def placed(size, values):
    return tuple(values.get(place, 0.0) for place in range(size))


def test_uncertain_tokens_have_the_difference_of_the_values_around_their_segment():
    _, found = run(SCRIPT, CHAIN)
    right, wrong = found.samples
    # Values 1/4, 3/4, 1/2 and the return 1.
    assert right.advantages == placed(21, {3: 0.5, 9: 0.5, 13: -0.25, 14: -0.25, 15: 0.5, 16: 0.5})
    # Values 1/4, 1/2, 0 and the return 0: the last segment has no advantage, and is trained.
    assert wrong.advantages == placed(14, {3: 0.25, 6: 0.25, 7: -0.5, 8: -0.5})
    assert [place for place, own in enumerate(right.action_mask) if own] == [3, 9, 13, 14, 15, 16]
    assert [place for place, own in enumerate(wrong.action_mask) if own] == [3, 6, 7, 8, 9]
    assert right.behavior_log_probs == placed(21, dict.fromkeys([3, 9, 13, 14, 15, 16], UNSURE))
    assert (right.role, right.group) == ("stepwise", "0:toy/train/0")
    # The state that both episodes share is valued once.
    assert [start.state.text for start in found.batches[1]] == [
        "2*3",
        "2*3=6\n6*4=24\n",
        "2*3=6\n6*4=24\n##",
        "2*3=6\n#",
        "2*3=6\n###",
    ]
    assert {(start.role, start.num_samples) for start in found.batches[1]} == {("value", 4)}


def test_without_the_mask_all_tokens_of_a_segment_are_trained_and_none_before_the_first():
    _, found = run(SCRIPT, replace(CHAIN, probability_mask=False))
    right = found.samples[0]
    assert right.action_mask == (True,) * 21
    assert right.advantages == (0.0,) * 3 + (0.5,) * 10 + (-0.25,) * 2 + (0.5,) * 6


def test_the_threshold_and_the_size_of_a_segment_are_settings():
    script = {
        PROMPT: [RIGHT],
        PROMPT + "2*3": ["=6\n" + YES, "=5\n" + NO],
        PROMPT + "2*3=6\n6*4=24\n##": ["## 24$", "## 24$"],
    }
    _, found = run(script, SPOConfig(group_size=1, value_samples=2, cut_interval=4))
    # Values 1/2 and 1: segments of four uncertain tokens, 3, 9, 13, 14 and 15, 16.
    assert found.samples[0].advantages == placed(21, dict.fromkeys([3, 9, 13, 14], 0.5))
    # At a threshold of 0.5 nothing is uncertain, because 0.5 is not below it: nothing is trained.
    _, found = run(script | {PROMPT: [RIGHT]}, SPOConfig(group_size=1, cut_probability=0.5))
    assert (len(found.batches), found.samples) == (1, ())
    sure = SPOConfig(group_size=1, cut_probability=0.5, probability_mask=False)
    assert run(script | {PROMPT: [RIGHT]}, sure)[1].samples == ()
    everything = SPOConfig(group_size=1, value_samples=1, cut_probability=1.0, cut_interval=21)
    _, found = run({PROMPT: [RIGHT, NO]}, everything)
    assert found.samples[0].advantages == (1.0,) * 21


def test_after_grpo_it_adds_its_term_and_shares_no_value_with_vineppo():
    config = ComposedConfig(methods=(GRPOConfig(group_size=2), CHAIN))
    method, found = run(SCRIPT, config)
    assert [sample.role for sample in found.samples] == ["base", "base", "stepwise", "stepwise"]
    assert method.role_losses == {"stepwise": CHAIN.loss}
    with pytest.raises(ConfigError, match="both own the episodes of stepwise"):
        ComposedConfig(methods=(GRPOConfig(), SPOTreeConfig(), CHAIN))


# Segments of eight tokens. Two episodes from the problem: the first branches after 8 tokens and,
# as each of its branches, after 16; the second is short.
LONG = "2*3=6\n6*4=24\n#### 24$"
TREE = SPOTreeConfig(branch_factors=(2, 3, 2), segment_tokens=8, cut_probability=1.0)
OTHER_LOSS = LossConfig(clip_high=0.28)
FIRST, SECOND = LONG[:8], LONG[8:16]
OTHER = "4=26\n###"
TREE_SCRIPT = {
    PROMPT: [LONG, "####9$"],
    PROMPT + FIRST: ["4=26\n#### 26$", "4=2$"],
    PROMPT + FIRST + SECOND: ["# 20$"],
    PROMPT + FIRST + OTHER: ["# 24$"],
}


def test_a_tree_s_segments_have_the_gain_of_the_mean_over_continuations():
    _, found = run(TREE_SCRIPT, TREE)
    assert [[(start.state.text, start.num_samples) for start in own] for own in found.batches] == [
        [("", 2)],
        [(FIRST, 2), (FIRST + SECOND, 1)],
        [(FIRST + OTHER, 1)],
    ]
    # Returns: LONG 1, short 0; branches at 8: 0 (26) and 0 (2); at 16: 0 after LONG, 1 after OTHER.
    # V after 16 tokens: (1 + 0) / 2 and (0 + 1) / 2. V after 8: (1/2 + 1/2 + 0) / 3 = 1/3.
    # V of the problem: (1/3 + 0) / 2 = 1/6.
    by_role = {role: found.of_role(role) for role in ("stepwise", "branch")}
    long, short = by_role["stepwise"]
    assert long.advantages == pytest.approx([1 / 6] * 8 + [1 / 6] * 8 + [0.5] * 5)
    assert short.advantages == pytest.approx([-1 / 6] * 6)
    wrong, bare, after_long, after_other = by_role["branch"]
    # 1/2 - 1/3, then 0 - 1/2; the prefix is masked.
    assert wrong.advantages == pytest.approx([0] * 8 + [1 / 6] * 8 + [-0.5] * 5)
    assert wrong.action_mask == (False,) * 8 + (True,) * 13
    assert bare.advantages == pytest.approx([0] * 8 + [-1 / 3] * 4)
    assert after_long.advantages == pytest.approx([0] * 16 + [-0.5] * 5)
    assert after_other.advantages == pytest.approx([0] * 16 + [0.5] * 5)
    assert found.num_sampled_tokens == 21 + 6 + 13 + 4 + 5 + 5
    both = build_method(ComposedConfig(methods=(GRPOConfig(loss=OTHER_LOSS), TREE)))
    assert both.role_losses == dict.fromkeys(("branch", "stepwise"), TREE.loss)


def test_a_tree_trains_uncertain_tokens_alone():
    _, found = run(TREE_SCRIPT, replace(TREE, cut_probability=0.9))
    masks = {
        sample.role: [place for place, own in enumerate(sample.action_mask) if own]
        for sample in found.samples[:1]
    }
    assert masks == {"stepwise": [3, 9, 13, 14, 15, 16]}
    # "4=2" after the prefix has one uncertain token, "####9" has four.
    assert [sum(sample.action_mask) for sample in found.samples] == [6, 4, 5, 1, 1, 1]


def test_an_episode_without_an_uncertain_token_is_not_trained():
    config = SPOTreeConfig(branch_factors=(2,), segment_tokens=8)
    _, found = run({PROMPT: [LONG, "24$"]}, config)
    (sample,) = found.samples
    assert sample.trajectory_id == found.groups[0].trajectories[0].trajectory_id


def test_episodes_whose_verifier_failed_have_no_value_and_are_not_trained(monkeypatch):
    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, None, "")
        return failed if "#### 26" in response else grade(response, answer, options)

    monkeypatch.setattr("reason_env.env.reason_env.grade", failing)
    _, found = run(TREE_SCRIPT, TREE, reward={"undecided": "left_out"})
    # V after 16 tokens of the branch without a verdict: that of its own branch, 1. After 8: the
    # mean of 1/2, 1 and 0.
    by_role = {role: found.of_role(role) for role in ("stepwise", "branch")}
    assert by_role["stepwise"][0].advantages == pytest.approx([1 / 4] * 8 + [0] * 8 + [0.5] * 5)
    bare, after_long, after_other = by_role["branch"]
    assert bare.advantages == pytest.approx([0] * 8 + [-1 / 2] * 4)
    assert after_long.advantages == pytest.approx([0] * 16 + [-0.5] * 5)
    assert after_other.advantages == pytest.approx([0] * 21)


def test_a_tree_is_valued_by_what_directly_continues_a_segment():
    _, found = run(TREE_SCRIPT, TREE)
    (items,) = trees_of(found.groups)
    assert [item.start.parent_id for item in items] == [
        None,
        None,
        *[items[number].trajectory_id for number in (0, 0, 0, 2)],
    ]
    segments = tree_segments(items, by_child=True)
    assert [
        [(one.begin, one.end, one.num_leaves) for one in segments[item.trajectory_id]]
        for item in items
    ] == [
        [(0, 8, 5), (8, 16, 2), (16, 21, 1)],
        [(0, 6, 1)],
        [(8, 16, 2), (16, 21, 1)],
        [(8, 12, 1)],
        [(16, 21, 1)],
        [(16, 21, 1)],
    ]
    by_child, by_leaf = (
        [one.value for item in items for one in own[item.trajectory_id]]
        for own in (segments, tree_segments(items))
    )
    assert by_child == pytest.approx([1 / 3, 1 / 2, 1, 0, 1 / 2, 0, 0, 0, 1])
    assert by_leaf == pytest.approx([2 / 5, 1 / 2, 1, 0, 1 / 2, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (SPOConfig, {"cut_probability": 0.0}, "cut_probability must be above 0 and at most 1"),
        (SPOConfig, {"cut_probability": 1.5}, "cut_probability must be above 0 and at most 1"),
        (SPOConfig, {"cut_interval": 0}, "cut_interval must be at least 1, got 0"),
        (SPOConfig, {"value_samples": 0}, "value_samples must be at least 1, got 0"),
        (SPOTreeConfig, {"branch_factors": (6, 1)}, "branch_factors must be numbers of at lea"),
        (SPOTreeConfig, {"branch_factors": ()}, "branch_factors must be numbers of at least 2"),
        (SPOTreeConfig, {"segment_tokens": 0}, "segment_tokens must be at least 1, got 0"),
        (SPOTreeConfig, {"cut_probability": -1.0}, "cut_probability must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(build, changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


@pytest.mark.parametrize("release", sorted(released.OURS))
def test_segments_and_credit_equal_the_released_code(release):
    # Sums of a few numbers of size 1: rounding is below 1e-14.
    assert released.largest_difference(**released.run(release)) < 1e-14


def test_the_released_numbers_are_of_these_inputs():
    assert json.loads(released.FIXTURE.read_text())["inputs"] == released.make_inputs()


def config_of(method):
    return TrainConfig(
        method=method,
        env=EnvConfig(levels=(2, 3), max_tokens=48, size=6),
        eval=EvalConfig(num_problems=1, samples=1, k=1),
        checkpoint=CheckpointConfig(every=1),
        problems_per_iteration=2,
        iterations=3,
    )


def test_a_tree_s_resumed_run_is_bit_equal(cut_and_resumed):
    method = SPOTreeConfig(branch_factors=(2, 2), segment_tokens=12)
    _, _, rows = cut_and_resumed(config_of(method))
    assert rows[-1]["update/num_updates_total"] > 0


@pytest.mark.parametrize(
    ("method", "other"),
    [
        (SPOConfig(group_size=2, value_samples=2, cut_interval=8), "value"),
        (SPOTreeConfig(branch_factors=(2, 2), segment_tokens=12), "branch"),
    ],
    ids=["spo", "spo-tree"],
)
def test_the_tokens_of_a_run_add_up_and_it_learns(method, other):
    session = build_session(config_of(method))
    found = iterate(session)
    parts = [found.metrics[f"rollout/sampled_tokens/{role}"] for role in ("base", other)]
    assert found.metrics["rollout/sampled_tokens"] == session.sampled_tokens_total == sum(parts)
    if other == "value":
        assert found.metrics["rollout/discarded_tokens"] >= parts[1]
    assert found.metrics["update/num_updates_total"] == 1
    trained = [row for row in found.episodes if row["advantage"] is not None]
    assert all(len(row["advantages"]) == len(row["behavior_log_probs"]) for row in trained)
