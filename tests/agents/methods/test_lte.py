import math
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from reason_env.agents.learning import AdvantageConfig, Learner, LearnerConfig, LossConfig
from reason_env.agents.methods.lte import LTE, LTEConfig, merged_group
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade

CODEC = ByteCodec()
PROBLEMS = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24"),
        Problem(problem_id="toy/train/1", question="1+1=?", answer="2"),
    ),
)
PROMPT, OTHER = "2*3*4=?\n>", "1+1=?\n>"
RIGHT = "#### 24$"
ENDLESS = "1\n2\n3\n" * 6
BASE = "0:toy/train/0"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def wrong(*numbers):
    return [f"#### {number}$" for number in numbers]


def run(script, *, problems=("toy/train/0",), seed=0, size=4, undecided="no_reward", **config):
    env = gym.make(
        "MathReason-v0",
        disable_env_checker=True,
        problems=PROBLEMS,
        format="tokens",
        granularity="response",
        max_tokens=20,
        reward={"undecided": undecided},
    )
    policy = ScriptedPolicy(script)
    config = {"group_size": size, "advantage": AdvantageConfig(kind="mean")} | config
    found = dry_run(LTE(LTEConfig(**config)), list(problems), env=env, policy=policy, seed=seed)
    return found, policy


def test_a_failed_group_is_sampled_again_with_its_distinct_wrong_answers_as_hint():
    hinted = "2*3*4=?\nNot: 20, 23\n>"
    found, policy = run(
        {PROMPT: wrong(20, 23, 20, 23), hinted: ["#### 20$", "2*12\n#### 24$", "$", "#### 25$"]}
    )
    assert [[(s.group, s.role, s.num_samples) for s in batch] for batch in found.batches] == [
        [(BASE, "base", 4)],
        [(BASE, "hinted", 4)],
    ]
    assert [asked.text for asked in policy.asked] == [PROMPT, hinted]
    # One of the four failures is replaced; the other hinted episodes are dropped.
    assert Counter(item.role for item in found.samples) == {"base": 3, "hinted": 1}
    assert [item.advantage for item in found.samples] == [-0.25, -0.25, -0.25, 0.75]
    (new,) = found.of_role("hinted")
    assert new.context_ids == ids(PROMPT)
    assert new.token_ids == ids("2*12\n#### 24$")
    assert new.action_mask == (True,) * 13
    assert new.behavior_log_probs == scripted_log_probs(1, 13)
    assert new.group == BASE
    assert found.num_sampled_tokens == 4 * 8 + 8 + 13 + 1 + 8


LONG = "7" * 70


@pytest.mark.parametrize(
    ("numbers", "num_cut"),
    [((20, 23, 20, 23), 0), ((20, LONG, LONG, "8" * 71), 2), ((LONG,) * 4, 1)],
)
def test_wrong_answers_that_a_hint_does_not_show_whole_are_counted(numbers, num_cut):
    env = gym.make(
        "MathReason-v0",
        disable_env_checker=True,
        problems=PROBLEMS,
        format="tokens",
        granularity="response",
        max_tokens=100,
    )
    method = LTE(LTEConfig(group_size=4))

    class AnyHint(ScriptedPolicy):
        def sample(self, contexts, sampling, **options):
            for context in contexts:
                text = CODEC.decode(context.token_ids)
                self.script.setdefault(text, tuple(wrong(1, 2, 3, 4)))
                self._used.setdefault(text, 0)
            return super().sample(contexts, sampling, **options)

    policy = AnyHint({PROMPT: [*wrong(*numbers), *wrong(1, 2, 3, 4)]})
    found = dry_run(method, ["toy/train/0"], env=env, policy=policy)
    assert method.metrics(found.groups) == {"rollout/cut_mistakes": num_cut}
    assert metric("rollout/cut_mistakes").unit == "answers"


def test_no_hint_cuts_no_answer():
    found, _ = run({PROMPT: [*wrong(20, LONG), RIGHT, "#### 20$"]})
    assert LTE(LTEConfig()).metrics(found.groups) == {"rollout/cut_mistakes": 0}
    assert LTE(LTEConfig(extra="unhinted")).metrics(found.groups) == {}


@pytest.mark.parametrize("normaliser", ["shared", "separate"])
def test_hinted_tokens_have_the_shared_or_their_own_normaliser(normaliser):
    method = LTE(LTEConfig(normaliser=normaliser))
    assert method.role_losses["hinted"].separate_normaliser is (normaliser == "separate")
    assert not method.loss.separate_normaliser


def test_the_paper_s_two_sums_are_averaged_over_their_own_tokens(uniform_policy):
    # Advantages 1 on 2 unhinted tokens, 2 on 6 hinted ones; on-policy, ratio = 1 and f = 1 / 1.1.
    def total(normaliser):
        method = LTE(LTEConfig(normaliser=normaliser))
        samples = [of(2, "base", 1.0), of(6, "hinted", 2.0)]
        learner = Learner(
            uniform_policy(), LearnerConfig(), loss=method.loss, role_losses=method.role_losses
        )
        return learner.update(samples, np.random.default_rng(0)).metrics["loss/policy"]

    assert total("separate") == pytest.approx(-(1.0 + 2.0 / 1.1))
    assert total("shared") == pytest.approx(-(2 * 1.0 + 6 * 2.0 / 1.1) / 8)


def of(num_tokens, role, advantage):
    return TrainingSample(
        context_ids=(5,),
        token_ids=(6,) * num_tokens,
        action_mask=(True,) * num_tokens,
        behavior_log_probs=(-math.log(258),) * num_tokens,
        advantage=advantage,
        role=role,
        group="g",
    )


def test_a_random_failure_is_replaced_and_the_rest_are_kept():
    hinted = "2*3*4=?\nNot: 20, 21, 22, 23\n>"
    script = {PROMPT: wrong(20, 21, 22, 23), hinted: [RIGHT, *wrong(1, 2, 3)]}
    gone = Counter()
    for seed in range(200):
        found, _ = run(script, seed=seed)
        kept = {CODEC.decode(item.token_ids)[-2:] for item in found.of_role("base")}
        assert len(kept) == 3
        (missing,) = {"20", "21", "22", "23"} - kept
        gone[missing] += 1
    # 50 each; four standard deviations of a count of 200 at 1/4 are 24.5.
    assert all(26 <= gone[number] <= 74 for number in ("20", "21", "22", "23"))


def test_a_group_with_one_success_gets_no_hint():
    found, policy = run({PROMPT: [*wrong(20, 23), RIGHT, "#### 20$"]})
    assert len(found.batches) == len(policy.asked) == 1
    assert [item.advantage for item in found.samples] == [-0.25, -0.25, 0.75, -0.25]
    assert [item.behavior_log_probs for item in found.samples] == [
        scripted_log_probs(number, 8) for number in range(4)
    ]


def test_hints_that_do_not_help_do_not_change_the_group():
    hinted = "2*3*4=?\nNot: 20\n>"
    found, _ = run({PROMPT: wrong(20, 20, 20, 20), hinted: wrong(1, 2, 3, 4)})
    assert [item.role for item in found.samples] == ["base"] * 4
    assert [item.advantage for item in found.samples] == [0] * 4
    assert [item.behavior_log_probs for item in found.samples] == [
        scripted_log_probs(number, 8) for number in range(4)
    ]


def test_only_the_problems_that_failed_are_tried_again():
    hinted = "1+1=?\nNot: 3\n>"
    script = {
        PROMPT: [RIGHT, *wrong(20, 20, 20)],
        OTHER: wrong(3, 3, 3, 3),
        hinted: ["#### 2$", "#### 2$", *wrong(3, 3)],
    }
    found, _ = run(script, problems=("toy/train/0", "toy/train/1"))
    assert [[start.group for start in batch] for batch in found.batches] == [
        [BASE, "1:toy/train/1"],
        ["1:toy/train/1"],
    ]
    second = [item for item in found.samples if item.group == "1:toy/train/1"]
    assert [item.role for item in second] == ["base", "base", "hinted", "hinted"]
    assert [item.advantage for item in second] == [-0.5, -0.5, 0.5, 0.5]


def test_if_all_hinted_episodes_are_right_one_failure_is_kept():
    hinted = "2*3*4=?\nNot: 20\n>"
    found, _ = run({PROMPT: wrong(20, 20, 20, 20), hinted: [RIGHT] * 4})
    assert [item.role for item in found.samples] == ["base", "hinted", "hinted", "hinted"]
    assert [item.advantage for item in found.samples] == [-0.75, 0.25, 0.25, 0.25]


def test_a_group_with_only_truncated_episodes_gets_the_concise_hint_alone():
    hinted = "2*3*4=?\nBe concise.\n>"
    found, policy = run({PROMPT: [ENDLESS] * 4, hinted: [RIGHT, ENDLESS, ENDLESS, ENDLESS]})
    assert [item.outcome for item in found.groups[0].trajectories[:4]] == ["truncated"] * 4
    assert policy.asked[1].text == hinted
    (new,) = found.of_role("hinted")
    assert new.context_ids == ids(PROMPT)
    assert new.advantage == 0.75


def test_a_partly_truncated_group_gets_both_hints():
    hinted = "2*3*4=?\nNot: 20\nBrief!\n>"
    _, policy = run(
        {PROMPT: [ENDLESS, "#### 20$", "no idea$", ENDLESS], hinted: [RIGHT] * 4}, concise="Brief!"
    )
    assert policy.asked[1].text == hinted


def test_a_group_of_truncated_and_unanswered_episodes_gets_the_concise_hint():
    hinted = "2*3*4=?\nBe concise.\n>"
    found, policy = run({PROMPT: [ENDLESS, "no$", "no$", "no$"], hinted: [RIGHT] * 4})
    assert policy.asked[1].text == hinted
    assert found.batches[1][0].role == "hinted"


def test_a_group_without_any_answer_is_sampled_again_without_a_hint():
    found, policy = run({PROMPT: ["no$"] * 4 + [RIGHT, "no$", "no$", "no$"]})
    assert [asked.text for asked in policy.asked] == [PROMPT, PROMPT]
    assert found.batches[1][0].role == "extra"
    assert [item.role for item in found.samples] == ["base"] * 3 + ["extra"]


def test_the_unhinted_control_samples_as_many_extra_episodes_from_the_plain_prompt():
    found, policy = run(
        {PROMPT: [*wrong(20, 21, 22, 23), RIGHT, *wrong(5, 6), RIGHT]}, extra="unhinted"
    )
    assert [asked.text for asked in policy.asked] == [PROMPT, PROMPT]
    assert [item.role for item in found.samples] == ["base", "base", "extra", "extra"]
    assert [item.advantage for item in found.samples] == [-0.5, -0.5, 0.5, 0.5]
    assert [item.behavior_log_probs for item in found.of_role("extra")] == [
        scripted_log_probs(4, 8),
        scripted_log_probs(7, 8),
    ]
    assert "extra" not in LTE(LTEConfig(extra="unhinted")).role_losses


def test_failed_verifiers_are_neither_failures_nor_successes(monkeypatch):
    from reason_env.env import reason_env as env_module

    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, "99", "")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    hinted = "2*3*4=?\nNot: 20\n>"
    script = {PROMPT: ["?#### 99$", *wrong(20, 20, 20)], hinted: ["?$", RIGHT, RIGHT, RIGHT]}
    found, policy = run(script, undecided="left_out")
    assert policy.asked[1].text == hinted  # what was not graded is no wrong answer
    assert [item.role for item in found.samples] == ["base", "hinted", "hinted"]
    assert [item.advantage for item in found.samples] == pytest.approx([-2 / 3, 1 / 3, 1 / 3])
    found, policy = run({PROMPT: ["?$"] * 4}, undecided="left_out")
    assert len(policy.asked) == 1
    assert found.samples == ()
    # Without reward in its group, and still no wrong answer to be listed.
    found, policy = run(script)
    assert policy.asked[1].text == hinted
    assert len(found.groups[0].graded) == 8


def test_merging_without_new_successes_draws_no_random_number():
    found, _ = run({PROMPT: [RIGHT, *wrong(1, 2, 3)]})
    rng = np.random.default_rng(0)
    assert merged_group(found.groups[0].trajectories, (), rng) == found.groups[0].trajectories
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(
    ("denominator", "against"),
    [("hinted_old", "behavior"), ("one", "one"), ("unhinted_old", "old")],
)
def test_hinted_tokens_have_the_shaped_loss_in_the_same_denominators(denominator, against):
    loss = LossConfig(clip_high=0.28, dual_clip=3.0, kl_coefficient=0.5)
    method = LTE(LTEConfig(denominator=denominator, gamma=0.2, loss=loss))
    assert method.loss == loss
    assert method.role_losses == {
        "hinted": LossConfig(
            surrogate="shaped",
            ratio_denominator=against,
            shape_gamma=0.2,
            clip_high=0.28,
            importance_weight_cap=None,
            kl_coefficient=0.5,
        )
    }
    assert not method.role_losses["hinted"].separate_normaliser


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"gamma": 0.0}, "gamma must be above 0, got 0.0"),
        ({"gamma": float("nan")}, "gamma must be above 0, got nan"),
        (
            {"denominator": "hinted"},
            "denominator must be one of hinted_old, one, unhinted_old, got 'hinted'; "
            "did you mean 'hinted_old'",
        ),
        ({"extra": "hint"}, "extra must be one of hinted, unhinted, got 'hint'; did you mean"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        LTEConfig(**changes)
