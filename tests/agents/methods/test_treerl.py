"""TreeRL: where trees branch, the rewards of segments and what is trained, by hand."""

import math
from dataclasses import replace

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import GRPOConfig, TreeRLConfig, build_method, method_config
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
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
LOG_PROBS = {"=": -2.0, "6": -1.5}
SURE = -0.125
LONG, SHORT = "2*3=6\n#### 24$", "#### 20$"
SCRIPT = {
    # The two trunks, then a branch of the second one's first token.
    PROMPT: [LONG, SHORT, "#### 24$"],
    PROMPT + "2*3": ["=5\n#### 20$"],
    PROMPT + "2*3=": ["6\n#### 24$"],
    PROMPT + "#": ["### 20$"],
}
CONFIG = TreeRLConfig(group_size=2, branches=1)


class Surprised(ScriptedPolicy):
    """Is surprised by "=", less by "6", and by nothing else."""

    def _completion(self, context, number, limit, stops):
        found = super()._completion(context, number, limit, stops)
        known = {CODEC.encode(char)[0]: value for char, value in LOG_PROBS.items()}
        own = tuple(known.get(token, SURE) for token in found.token_ids)
        return replace(found, log_probs=own)


def run(config, script=SCRIPT, policy=Surprised, **changes):
    method = build_method(config)
    env = toy_env(PROBLEM, max_tokens=40, **changes)
    return method, dry_run(method, ["toy/train/0"], env=env, policy=policy(script))


def starts_of(found):
    return [[(one.state.text, one.num_samples, one.role) for one in own] for own in found.batches]


def test_each_tree_branches_before_its_most_uncertain_tokens():
    _, found = run(CONFIG)
    # In the short trunk all tokens are equal: the first ones.
    assert starts_of(found) == [
        [("", 2, "base")],
        [("2*3", 1, "branch"), ("2*3=", 1, "branch"), ("", 1, "branch"), ("#", 1, "branch")],
    ]
    assert {one.group for one in found.batches[1]} == {"0:toy/train/0"}
    assert found.num_sampled_tokens == 14 + 8 + 11 + 10 + 8 + 7


def test_a_segment_has_its_gain_on_the_problem_and_on_its_parent():
    _, found = run(CONFIG)
    long, short, five, six, whole, rest = found.samples
    # Returns 1, 0, 0, 1, 1, 0; V of the problem 1/2. "2*3" leads to three episodes, two right:
    # (2/3 - 1/2) twice, by the root of 3. "=" leads to two right ones: (1 - 1/2) + (1 - 2/3).
    first, second = (1 / 3) / math.sqrt(3), (5 / 6) / math.sqrt(2)
    assert long.advantages == pytest.approx([first] * 3 + [second] + [0.5] * 10)
    assert five.advantages == pytest.approx([first] * 3 + [-1 / 2 - 2 / 3] * 11)
    assert six.advantages == pytest.approx([first] * 3 + [second] + [0.5] * 10)
    # "#" of the short trunk leads to two wrong ones; another first token is a sibling.
    assert short.advantages == pytest.approx([-1 / math.sqrt(2)] + [-0.5] * 7)
    assert rest.advantages == pytest.approx([-1 / math.sqrt(2)] + [-0.5] * 7)
    assert whole.advantages == pytest.approx([1.0] * 8)
    assert [sample.role for sample in found.samples] == ["stepwise"] * 2 + ["branch"] * 4


def test_every_episode_is_trained_from_the_problem_on():
    _, found = run(CONFIG)
    six = found.samples[3]
    assert six.action_mask == (True,) * 14
    # "2*3=" is the trunk's, "6" and what follows are the branch's.
    assert six.behavior_log_probs == (*[SURE] * 3, -2.0, -1.5, *[SURE] * 9)
    assert six.token_ids == (*CODEC.encode("2*3=6\n#### 24"), CODEC.eos_id)


def test_later_rounds_branch_off_branches_but_not_at_their_first_token():
    config = TreeRLConfig(group_size=1, branch_points=1, branches=2, rounds=3)
    script = {
        PROMPT: ["2*3=6\n#### 20$"],
        PROMPT + "2*3": ["=5=\n#### 20$", "=\n#### 24$"],
        PROMPT + "2*3=5": ["\n#### 24$", "6\n#### 24$"],
        PROMPT + "2*3=": ["\n#### 20$", "\n#### 20$"],
    }
    _, found = run(config, script)
    # The first branch's second "=" is next; then "6" of the trunk, before the branch's.
    assert starts_of(found)[1:] == [
        [("2*3", 2, "branch")],
        [("2*3=5", 2, "branch")],
        [("2*3=", 2, "branch")],
    ]
    # Seven episodes, two of them right after "2*3=5" and one after "2*3".
    by_start = found.samples[0].advantages[:3]
    assert by_start == pytest.approx([0.0] * 3)  # V of all that follows is V of the problem
    deep = found.samples[3]
    # V("2*3") = 3/7; "=5" leads to three episodes, two right; then one right.
    expected = [0.0] * 3 + [2 * (2 / 3 - 3 / 7) / math.sqrt(3)] * 2 + [1 - 3 / 7 + 1 / 3] * 9
    assert deep.advantages == pytest.approx(expected)
    assert deep.action_mask == (True,) * 14


def test_of_equally_uncertain_tokens_the_earlier_episode_s_earlier_one_is_taken():
    config = TreeRLConfig(group_size=1, branch_points=1, branches=1, rounds=2)
    script = {
        PROMPT: ["2=3=5\n#### 20$"],
        PROMPT + "2": ["=4=6\n#### 24$"],
        PROMPT + "2=3": ["\n#### 20$"],
    }
    _, found = run(config, script)
    assert starts_of(found)[1:] == [[("2", 1, "branch")], [("2=3", 1, "branch")]]


def test_entropy_may_measure_the_uncertainty():
    def policy(script):
        own = {LONG: [0.1] * 6 + [0.9, 0.8] + [0.2] * 6}
        return ScriptedPolicy(script, entropies=own)

    config = TreeRLConfig(group_size=1, branches=1, uncertainty="entropy")
    script = {PROMPT: [LONG], PROMPT + "2*3=6\n": [SHORT], PROMPT + "2*3=6\n#": ["### 20$"]}
    method, found = run(config, script, policy)
    assert starts_of(found)[1] == [("2*3=6\n", 1, "branch"), ("2*3=6\n#", 1, "branch")]
    assert method.needs_entropies
    assert not build_method(CONFIG).needs_entropies


def test_episodes_whose_verifier_failed_are_no_leaves_and_not_trained(monkeypatch):
    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, None, "")
        return failed if "=5" in response else grade(response, answer, options)

    monkeypatch.setattr("reason_env.env.reason_env.grade", failing)
    _, found = run(CONFIG, reward={"undecided": "left_out"})
    # Returns 1, 0, 1, 1, 0: V of the problem 3/5; "2*3" leads to two right ones.
    long = found.samples[0]
    assert len(found.samples) == 5
    assert long.advantages[:3] == pytest.approx([0.8 / math.sqrt(2)] * 3)


def test_after_grpo_it_adds_its_term():
    other = LossConfig(clip_high=0.28)
    config = ComposedConfig(methods=(GRPOConfig(group_size=2, loss=other), CONFIG))
    method, found = run(config)
    roles = ["base"] * 2 + ["stepwise"] * 2 + ["branch"] * 4
    assert [sample.role for sample in found.samples] == roles
    assert method.role_losses == dict.fromkeys(("branch", "stepwise"), CONFIG.loss)
    assert found.samples[2].advantages[13] == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="treerl must come after another method, got treerl"):
        method_config("treerl+lte")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
        ({"branch_points": 0}, "branch_points must be at least 1, got 0"),
        ({"branches": 0}, "branches must be at least 1, got 0"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"uncertainty": "entropie"}, "uncertainty must be one of surprisal, entropy, got 'entro"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TreeRLConfig(**changes)


@pytest.mark.parametrize("uncertainty", ["surprisal", "entropy"])
def test_the_tokens_of_a_run_add_up_and_it_learns(uncertainty):
    session = build_session(
        TrainConfig(
            method=TreeRLConfig(group_size=2, branches=1, uncertainty=uncertainty),
            env=EnvConfig(levels=(2, 3), max_tokens=48, size=4),
            eval=EvalConfig(num_problems=1, samples=1, k=1),
            problems_per_iteration=2,
            iterations=1,
        )
    )
    found = iterate(session)
    parts = [found.metrics[f"rollout/sampled_tokens/{role}"] for role in ("base", "branch")]
    assert found.metrics["rollout/sampled_tokens"] == session.sampled_tokens_total == sum(parts)
    assert found.metrics["rollout/discarded_tokens"] == 0
    assert found.metrics["update/num_updates_total"] == 1
    branches = [row for row in found.episodes if row["role"] == "branch"]
    assert branches
    assert all(len(row["advantages"]) == len(row["behavior_log_probs"]) for row in branches)
