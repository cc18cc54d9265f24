import gymnasium as gym
import numpy as np
import pytest

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.learning import AdvantageConfig
from reason_env.agents.methods import GRPOConfig, build_method, method_config, method_names
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.methods.pipeline import samples_of
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import (
    TrainingSample,
    collect,
    initial_states,
    role_metrics,
    rollout_metrics,
    signal_metrics,
)
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problem import Problem, ProblemSet
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade

CODEC = ByteCodec()
PROBLEMS = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24"),
        Problem(problem_id="toy/train/1", question="10-4=?", answer="6"),
    ),
)
FIRST, SECOND = "2*3*4=?\n>", "10-4=?\n>"
RIGHT, WRONG = "2*3=6\n#### 24$", "#### 20$"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def make_env(**changes):
    arguments = {"problems": PROBLEMS, "format": "tokens", "granularity": "response"}
    return gym.make("MathReason-v0", disable_env_checker=True, **(arguments | changes))


def sample(advantage, group="g"):
    return TrainingSample(
        context_ids=(5,),
        token_ids=(7,),
        action_mask=(True,),
        behavior_log_probs=(-0.5,),
        advantage=advantage,
        role="base",
        group=group,
    )


def test_each_problem_is_a_group_and_every_token_is_trained_as_it_was_sampled():
    policy = ScriptedPolicy({FIRST: [WRONG, RIGHT, WRONG], SECOND: ["#### 6$"] * 3})
    method = GRPO(GRPOConfig(group_size=3, advantage=AdvantageConfig(kind="rloo")))
    found = dry_run(method, ["toy/train/0", "toy/train/1"], env=make_env(), policy=policy)
    assert [[(s.group, s.num_samples, s.role) for s in batch] for batch in found.batches] == [
        [("0:toy/train/0", 3, "base"), ("1:toy/train/1", 3, "base")]
    ]
    assert all(start.learn_from is start.state for start in found.batches[0])
    # Leave one out: 1 - (0 + 0)/2, and 0 - (1 + 0)/2; the second group is all equal.
    assert [item.advantage for item in found.samples] == [-0.5, 1.0, -0.5, 0, 0, 0]
    second = found.samples[1]
    assert second.context_ids == ids(FIRST)
    assert second.token_ids == ids(RIGHT)
    assert second.action_mask == (True,) * 14
    assert second.behavior_log_probs == scripted_log_probs(1, 14)
    assert found.num_sampled_tokens == 2 * 8 + 14 + 3 * 7


def test_a_problem_that_occurs_twice_in_an_iteration_has_two_groups():
    policy = ScriptedPolicy({SECOND: ["#### 6$", "#### 7$", "#### 6$", "#### 6$"]})
    method = GRPO(GRPOConfig(group_size=2, advantage=AdvantageConfig(kind="mean")))
    found = dry_run(method, ["toy/train/1", "toy/train/1"], env=make_env(), policy=policy)
    assert [group.key for group in found.groups] == ["0:toy/train/1", "1:toy/train/1"]
    assert [item.advantage for item in found.samples] == [0.5, -0.5, 0, 0]


def test_an_episode_whose_verifier_failed_is_in_no_baseline(monkeypatch):
    from reason_env.env import reason_env as env_module

    def failing(response, answer, options):
        failed = Verdict(Outcome.ERROR, None, "no")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    policy = ScriptedPolicy({FIRST: [WRONG, "?$", RIGHT], SECOND: ["?$", "#### 6$", "?$"]})
    method = GRPO(GRPOConfig(group_size=3, advantage=AdvantageConfig(kind="mean")))
    env = make_env(reward={"undecided": "left_out"})
    found = dry_run(method, ["toy/train/0", "toy/train/1"], env=env, policy=policy)
    assert [item.advantage for item in found.samples] == [-0.5, 0.5]
    assert {item.group for item in found.samples} == {"0:toy/train/0"}


def test_a_group_of_one_graded_episode_gives_no_samples():
    policy = ScriptedPolicy({SECOND: ["#### 6$"]})
    method = GRPO(GRPOConfig(group_size=2))
    start = method.plan(
        initial_states(make_env(), ["toy/train/1"], seed=0), np.random.default_rng(0)
    )
    from dataclasses import replace

    batch = collect(
        [replace(start[0], num_samples=1)],
        env=make_env(),
        policy=policy,
        sampling=SamplingConfig(),
        seed=0,
    )
    assert samples_of(batch.trajectories, AdvantageConfig(kind="none")) == []


def test_grpo_has_no_preparation_no_role_losses_and_no_state():
    method = GRPO(GRPOConfig())
    states = initial_states(make_env(), ["toy/train/0"], seed=0)
    assert method.prepare(states, lambda starts: ()) is states
    assert method.role_losses == {}
    assert method.state_dict() == {}
    method.load_state_dict({})
    assert method.loss is method.config.loss


@pytest.mark.parametrize("name", sorted(method_names()))
def test_every_method_is_built_from_its_config_and_is_named_by_its_kind(name):
    config = method_config(name)
    method = build_method(config)
    assert config.kind == name
    assert name.replace("-", "") == type(method).__name__.lower()
    assert getattr(config, "loss", method.loss) == (method.pair_loss or method.loss)


def test_a_scripted_policy_refuses_a_context_without_a_script():
    with pytest.raises(UnknownNameError, match=r"no script for context '10-4=\?\\n>' among 1;"):
        dry_run(
            GRPO(GRPOConfig()),
            ["toy/train/1"],
            env=make_env(),
            policy=ScriptedPolicy({FIRST: [WRONG]}),
        )


def test_a_script_that_is_used_up_is_an_error():
    with pytest.raises(ConfigError, match="must hold 2 completions, got 1; write more"):
        dry_run(
            GRPO(GRPOConfig(group_size=2)),
            ["toy/train/0"],
            env=make_env(),
            policy=ScriptedPolicy({FIRST: [WRONG]}),
        )


def test_a_scripted_completion_is_cut_at_its_limit_and_is_then_not_finished():
    policy = ScriptedPolicy({"?": ["ab$", "abc$"]}, policy_version=4)
    context = Context(token_ids=CODEC.encode("?"), num_samples=2, max_new_tokens=3)
    ((whole, cut),) = policy.sample([context], SamplingConfig(temperature=0.5), seed=0)
    assert whole.token_ids == ids("ab$")
    assert whole.is_finished
    assert cut.token_ids == ids("abc")
    assert not cut.is_finished
    assert cut.log_probs == (-0.1259765625, -0.2509765625, -0.3759765625)
    (asked,) = policy.asked
    assert (asked.text, asked.num_samples, asked.max_new_tokens, asked.temperature) == (
        "?",
        2,
        3,
        0.5,
    )
    assert policy.policy_version == 4


def test_groups_without_signal_are_counted_as_trained_not_as_collected():
    equal = [sample(0.0, "a"), sample(0.0, "a")]
    lone = [sample(0.0, "c")]
    assert signal_metrics([*equal, sample(1.0, "b"), sample(0.0, "b"), *lone]) == {
        "advantage/trained_groups_without_signal_fraction": 0.5
    }
    assert signal_metrics(lone) == {"advantage/trained_groups_without_signal_fraction": None}


def test_update_metrics_are_split_by_role_only_if_a_role_other_than_base_occurs():
    base, hinted = {"update/ratio_mean": 1.0}, {"update/ratio_mean": 0.5, "update/chi_square": 2.0}
    assert role_metrics({"base": base}) == {}
    both = role_metrics({"hinted": hinted, "base": base})
    assert both == {
        "update/ratio_mean/base": 1.0,
        "update/ratio_mean/hinted": 0.5,
        "update/chi_square/hinted": 2.0,
    }
    assert role_metrics({"reset": base}) == {"update/ratio_mean/reset": 1.0}
    for name in both:
        metric(name)


def test_discarded_help_does_not_give_a_trained_group_signal():
    from reason_env.agents.methods.rrpo import RRPO, RRPOConfig

    script = {FIRST: ["#### 20$", *[RIGHT] * 4]}
    script[FIRST] += [WRONG, RIGHT, WRONG, RIGHT]
    found = dry_run(
        RRPO(RRPOConfig()), ["toy/train/0"], env=make_env(), policy=ScriptedPolicy(script)
    )
    # The base group has four successes, since its failure is the source. The resets have both.
    assert signal_metrics(found.samples)["advantage/trained_groups_without_signal_fraction"] == 0.5
    collected = rollout_metrics(found.groups)["advantage/groups_without_signal_fraction"]
    assert collected == 0.0
