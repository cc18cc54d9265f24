"""VPPO: pieces of failed chains and their advantages, by hand."""

import math
from dataclasses import replace

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig
from reason_env.agents.methods import GRPOConfig, VPPOConfig, build_method, method_config
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.scripted import Asked, ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24")
PROMPT = "2*3*4=?\n>"
RIGHT = "#### 24$"
LATE = "2*3=6\n6*4=20\n#### 20$"  # wrong in its second step of three
EARLY = "2*3=5\n#### 20$"  # wrong in its first step
BARE = "#### 23$"  # one step
ASK_LATE = "2*3*4=?\n1 2*3=6\n2 6*4=20\n3 #### 20\nFirst wrong step?\n>"
ASK_EARLY = "2*3*4=?\n1 2*3=5\n2 #### 20\nFirst wrong step?\n>"
SCRIPT = {
    PROMPT: [RIGHT, LATE, EARLY, BARE],
    ASK_LATE: [r"\boxed{2}$"],
    ASK_EARLY: [r"\boxed{1}$"],
}
MEAN = AdvantageConfig(kind="mean")
CONFIG = VPPOConfig(group_size=4, prefix_reward=0.7, advantage=MEAN)


def run(config, script=SCRIPT, checker=None, **changes):
    env = toy_env(PROBLEM, max_tokens=40, **changes)
    policy = ScriptedPolicy(script)
    method = build_method(config, checker)
    return method, dry_run(method, ["toy/train/0"], env=env, policy=policy), policy


def test_the_steps_before_the_named_one_are_rewarded_and_the_rest_is_penalised():
    method, found, policy = run(CONFIG)
    # Pieces: 1 (right), 0.7 and 0 (late), 0 (early), 0 (bare): mean 0.34.
    right, late, early, bare = found.samples
    assert right.advantages == pytest.approx([0.66] * 8)
    assert late.advantages == pytest.approx([0.36] * 6 + [-0.34] * 15)
    assert early.advantages == pytest.approx([-0.34] * 14)
    assert bare.advantages == pytest.approx([-0.34] * 8)
    assert {sample.role for sample in found.samples} == {"stepwise"}
    assert all(all(sample.action_mask) for sample in found.samples)
    # A chain of one step is not asked about: it is wrong there.
    assert [start.role for start in found.batches[1]] == ["verify", "verify"]
    assert policy.asked[1] == Asked(
        text=ASK_LATE, num_samples=1, max_new_tokens=40, temperature=0.3
    )
    assert found.num_sampled_tokens == 8 + 21 + 14 + 8 + 10 + 10
    assert method.role_losses == {}


def test_a_prefix_is_never_penalised():
    script = {PROMPT: [RIGHT, RIGHT, RIGHT, LATE], ASK_LATE: [r"\boxed{2}$"]}
    _, found, _ = run(replace(CONFIG, prefix_reward=0.5), script)
    # Pieces 1, 1, 1, 0.5 and 0: mean 0.7, so the prefix would have -0.2.
    assert found.samples[3].advantages == pytest.approx([0.0] * 6 + [-0.7] * 15)
    assert found.samples[0].advantages == pytest.approx([0.3] * 8)


def test_a_group_of_failures_has_a_signal_if_one_begins_well():
    script = {PROMPT: [LATE, BARE], ASK_LATE: [r"\boxed{3}$"]}
    config = replace(CONFIG, group_size=2, advantage=AdvantageConfig(std="population", eps=0.0))
    _, found, _ = run(config, script)
    # Pieces 0.7, 0 and 0: mean 0.7 / 3, population std 0.7 sqrt(2) / 3.
    root = math.sqrt(2)
    late, bare = found.samples
    assert late.advantages == pytest.approx([root] * 13 + [-1 / root] * 8)
    assert bare.advantages == pytest.approx([-1 / root] * 8)
    # Without a reward for prefixes it is GRPO, which has no signal here.
    _, found, _ = run(replace(config, prefix_reward=0.0), script)
    assert not any(sample.has_signal for sample in found.samples)


@pytest.mark.parametrize(("reply", "good"), [("Step 9.$", 0), ("no idea$", 0), ("Step 3$", 13)])
def test_a_reply_is_read_as_srpo_s(reply, good):
    _, found, _ = run(CONFIG, SCRIPT | {ASK_LATE: [reply]})
    late = found.samples[1].advantages
    assert [value > 0 for value in late] == [True] * good + [False] * (21 - good)


@pytest.mark.parametrize(("wrong", "good"), [(1, 0), (2, 6), (3, 13), (None, 13)])
def test_the_step_checker_answers_without_a_reply(wrong, good):
    config = replace(CONFIG, localiser="checker")
    method, found, policy = run(config, {PROMPT: SCRIPT[PROMPT]}, lambda problem, steps: wrong)
    late = found.samples[1].advantages
    assert [value > 0 for value in late] == [True] * good + [False] * (21 - good)
    assert [asked.text for asked in policy.asked] == [PROMPT]
    assert method.metrics(found.groups) == {}
    with pytest.raises(ConfigError, match="localiser 'checker' must have problems with a step che"):
        build_method(config)


def test_the_named_steps_are_measured_against_the_step_checker():
    method, found, _ = run(CONFIG, checker=lambda problem, steps: 2)
    assert method.metrics(found.groups) == {
        "rollout/localisation_accuracy": 0.5,
        "rollout/localisation_chance": pytest.approx((1 / 3 + 1 / 2) / 2),
        "rollout/localisation_offset_mean": -0.5,
    }


def test_a_chain_too_long_to_ask_about_has_no_prefix():
    method = build_method(CONFIG, fits=lambda state: len(state.guidance) == 0)
    env = toy_env(PROBLEM, max_tokens=40)
    policy = ScriptedPolicy({PROMPT: SCRIPT[PROMPT]})
    found = dry_run(method, ["toy/train/0"], env=env, policy=policy)
    assert found.samples[1].advantages == pytest.approx([-0.25] * 21)


def test_a_failure_alone_is_compared_with_its_own_prefix(monkeypatch):
    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, None, "")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr("reason_env.env.reason_env.grade", failing)
    config = replace(CONFIG, group_size=2)
    script = {PROMPT: ["?$", LATE], ASK_LATE: [r"\boxed{2}$"]}
    _, found, _ = run(config, script, reward={"undecided": "left_out"})
    # Pieces 0.7 and 0; the other episode has no verdict.
    (late,) = found.samples
    assert late.advantages == pytest.approx([0.35] * 6 + [-0.35] * 15)
    _, found, _ = run(config, {PROMPT: ["?$", "?$"]}, reward={"undecided": "left_out"})
    assert found.samples == ()


def test_after_grpo_it_adds_its_term():
    config = ComposedConfig(methods=(GRPOConfig(group_size=4), CONFIG))
    _, found, _ = run(config)
    assert [sample.role for sample in found.samples] == ["base"] * 4 + ["stepwise"] * 4
    assert found.samples[5].advantages == pytest.approx([0.36] * 6 + [-0.34] * 15)
    with pytest.raises(ConfigError, match="vppo must come after another method, got vppo"):
        method_config("vppo+lte")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"prefix_reward": -0.1}, "prefix_reward must be finite and at least 0, got -0.1"),
        ({"prefix_reward": math.nan}, "prefix_reward must be finite and at least 0, got nan"),
        ({"localiser": "random"}, "localiser must be one of self, checker, got 'random'"),
        ({"max_localiser_tokens": 0}, "max_localiser_tokens must be at least 1, got 0"),
        ({"localiser_temperature": -1.0}, "localiser_temperature must be at least 0, got -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        VPPOConfig(**changes)


def test_the_tokens_of_a_run_add_up_and_it_learns():
    session = build_session(
        TrainConfig(
            method=VPPOConfig(group_size=2),
            env=EnvConfig(levels=(3, 5), max_tokens=48, size=4),
            eval=EvalConfig(num_problems=1, samples=1, k=1),
            problems_per_iteration=3,
            iterations=1,
        )
    )
    found = iterate(session)
    parts = [found.metrics[f"rollout/sampled_tokens/{role}"] for role in ("base", "verify")]
    assert found.metrics["rollout/sampled_tokens"] == session.sampled_tokens_total == sum(parts)
    assert found.metrics["rollout/discarded_tokens"] == 0
    assert found.metrics["update/num_updates_total"] == 1
    written = [row for row in found.episodes if row["role"] == "base"]
    assert all(len(row["advantages"]) == len(row["behavior_log_probs"]) for row in written)
