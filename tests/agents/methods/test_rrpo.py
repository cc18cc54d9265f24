import math
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig, read_tries
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig, build_session
from reason_env.agents.train.iterate import iterate
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.state import ReasonState
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24")
PROMPT = "2*3*4=?\n>"
RIGHT = "#### 24$"
WRONG = "2*3=5\n5*4=20\n#### 20$"  # the seed: three steps
OTHER = "#### 23$"  # a failure of one step
FIRST_STEP, TWO_STEPS = "2*3=5\n", "2*3=5\n5*4=20\n"
RESET = ["#### 24$", "#### 20$", "#### 20$", "#### 20$"]


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def seed_of(kept, num_steps):
    return next(n for n in range(999) if int(np.random.default_rng(n).integers(num_steps)) == kept)


def run(script, *, seed=0, env=None, **config):
    env = env or toy_env(PROBLEM, max_tokens=30, reward={"undecided": "left_out"})
    policy = ScriptedPolicy(script)
    found = dry_run(RRPO(RRPOConfig(**config)), ["toy/train/0"], env=env, policy=policy, seed=seed)
    return found, policy


def shape(found):
    return [[(s.group, s.role, s.num_samples) for s in batch] for batch in found.batches]


BASE, RESETS = "0:toy/train/0", "0:toy/train/0/reset"


def test_the_first_failure_is_the_source_and_resets_form_a_separate_group():
    found, policy = run(
        {PROMPT: [RIGHT, WRONG, OTHER, RIGHT, RIGHT], PROMPT + FIRST_STEP: RESET},
        seed=seed_of(1, 3),
    )
    assert shape(found) == [[(BASE, "base", 5)], [(RESETS, "reset", 4)]]
    (reset,) = found.batches[1]
    assert reset.learn_from == reset.state
    assert reset.state.text == FIRST_STEP
    assert set(reset.state.sources) == {"reset"}
    # Base: right, wrong, right, right: mean 3/4, population std sqrt(3)/4. Reset: mean 1/4.
    root = math.sqrt(3)
    assert [item.advantage for item in found.of_role("base")] == pytest.approx(
        [1 / root, -root, 1 / root, 1 / root]
    )
    assert [item.advantage for item in found.of_role("reset")] == pytest.approx(
        [root, -1 / root, -1 / root, -1 / root]
    )
    assert len(found.samples) == 8
    assert [item.token_ids for item in found.of_role("base")] == [
        ids(text) for text in (RIGHT, OTHER, RIGHT, RIGHT)
    ]
    # Number 1 is the seed: its log-probabilities are in no sample.
    assert [item.behavior_log_probs for item in found.of_role("base")] == [
        scripted_log_probs(number, 8) for number in (0, 2, 3, 4)
    ]
    second = found.of_role("reset")[1]
    assert second.context_ids == ids(PROMPT)
    assert second.token_ids == ids(FIRST_STEP + "#### 20$")
    assert second.action_mask == (False,) * 6 + (True,) * 8
    assert second.behavior_log_probs == (0.0,) * 6 + scripted_log_probs(1, 8)
    assert found.num_sampled_tokens == 4 * 8 + 21 + 4 * 8
    assert policy.asked[1].max_new_tokens == 30 - 6


@pytest.mark.parametrize(
    ("kept", "prefix"), [(0, ""), (1, FIRST_STEP), (2, TWO_STEPS)], ids=["k=1", "k=2", "k=3"]
)
def test_a_reset_keeps_the_steps_before_step_k(kept, prefix):
    script = {PROMPT: [WRONG, *[RIGHT] * 4]}
    script[PROMPT + prefix] = [*script.get(PROMPT + prefix, []), *RESET]
    found, policy = run(script, seed=seed_of(kept, 3))
    assert [asked.text for asked in policy.asked] == [PROMPT, PROMPT + prefix]
    assert len(found.of_role("reset")) == 4
    for item in found.of_role("reset"):
        assert item.action_mask == (False,) * len(prefix) + (True,) * 8
    assert shape(found)[1] == [(RESETS, "reset", 4)]


def test_k_is_uniform_over_the_steps_of_the_source():
    found, _ = run({PROMPT: [WRONG, *[RIGHT] * 4], PROMPT + FIRST_STEP: RESET}, seed=seed_of(1, 3))
    seed = found.groups[0].trajectories[0]
    rng = np.random.default_rng(7)
    method = RRPO(RRPOConfig())
    counts = Counter(method.kept_steps(seed, {}, rng) for _ in range(3000))
    assert set(counts) == {0, 1, 2}
    # Four standard deviations of a share of 1/3: 4 sqrt(2/9 / 3000) = 0.034.
    assert all(abs(count / 3000 - 1 / 3) < 0.035 for count in counts.values())


def test_a_reset_has_the_start_s_prompt_and_the_source_s_steps():
    found, _ = run({PROMPT: [WRONG, *[RIGHT] * 4], PROMPT + FIRST_STEP: RESET}, seed=seed_of(1, 3))
    (reset,) = found.batches[1]
    assert reset.state == ReasonState(problem=PROBLEM, codec=CODEC).extend(ids(FIRST_STEP), "reset")


def test_without_a_failure_in_twelve_tries_the_base_group_is_topped_up_to_eight():
    found, _ = run({PROMPT: [RIGHT] * 12 + [RIGHT, WRONG, RIGHT, RIGHT]})
    assert shape(found) == [
        [(BASE, "base", 5)],
        [(BASE, "base", 4)],
        [(BASE, "base", 3)],
        [(BASE, "top_up", 4)],
    ]
    assert [item.role for item in found.samples] == ["base"] * 4 + ["top_up"] * 4
    # Tries 5 to 12 are discarded: counted, and not trained.
    numbers = [0, 1, 2, 3, 12, 13, 14, 15]
    lengths = [8, 8, 8, 8, 8, 21, 8, 8]
    assert [item.behavior_log_probs for item in found.samples] == [
        scripted_log_probs(number, length) for number, length in zip(numbers, lengths, strict=True)
    ]
    # One group of eight: seven of eight are right, population std sqrt(7)/8.
    root = math.sqrt(7)
    expected = [1 / root] * 5 + [-root] + [1 / root] * 2
    assert [item.advantage for item in found.samples] == pytest.approx(expected)
    assert found.num_sampled_tokens == 15 * 8 + 21


def test_a_failure_in_a_later_round_ends_the_tries_and_discards_the_rest_of_the_round():
    tries = [RIGHT] * 6 + [WRONG, OTHER, RIGHT]
    found, _ = run({PROMPT: tries, PROMPT + FIRST_STEP: RESET}, seed=seed_of(1, 3))
    assert shape(found) == [[(BASE, "base", 5)], [(BASE, "base", 4)], [(RESETS, "reset", 4)]]
    assert [item.behavior_log_probs for item in found.of_role("base")] == [
        scripted_log_probs(number, 8) for number in range(4)
    ]
    assert all(item.advantage == 0 for item in found.of_role("base"))
    assert len(found.samples) == 8
    assert found.num_sampled_tokens == 8 * 8 + 21 + 4 * 8


def test_reading_tries_stops_where_the_paper_s_loop_stops_sampling():
    script = {PROMPT: [RIGHT] * 6 + [WRONG, OTHER, RIGHT], PROMPT + FIRST_STEP: RESET}
    found, _ = run(script, seed=seed_of(1, 3))
    tries = found.groups[0].trajectories
    tries_read = read_tries(tries, RRPOConfig())
    assert (tries_read.base, tries_read.source, tries_read.num_read) == (tries[:4], tries[6], 7)
    assert read_tries(tries[:6], RRPOConfig()).num_read == 6
    early = read_tries(tries[6:] + tries, RRPOConfig())
    assert (early.base, early.source, early.num_read) == ((*tries[7:9], *tries[:2]), tries[6], 5)
    short = read_tries(tries, RRPOConfig(max_tries=6))
    assert (short.source, short.num_read) == (None, 6)


def test_the_size_of_further_rounds_is_a_setting_and_never_exceeds_the_tries():
    found, _ = run({PROMPT: [RIGHT] * 15}, tries_per_round=3, max_tries=7, num_base=3, num_reset=2)
    assert [batch[0].num_samples for batch in found.batches] == [4, 3, 2]
    assert found.batches[-1][0].role == "top_up"
    assert len(found.samples) == 5


def test_the_two_groups_have_their_own_sizes():
    script = {PROMPT: [WRONG, RIGHT, RIGHT], PROMPT + FIRST_STEP: RESET}
    found, _ = run(script, seed=seed_of(1, 3), num_base=2, num_reset=3)
    assert shape(found) == [[(BASE, "base", 3)], [(RESETS, "reset", 3)]]
    assert [item.role for item in found.samples] == ["base"] * 2 + ["reset"] * 3


def test_source_choice_extra_keeps_failures_in_the_base_group():
    tries = [OTHER, RIGHT, OTHER, RIGHT, RIGHT, RIGHT, WRONG, RIGHT, RIGHT]
    script = {PROMPT: tries, PROMPT + FIRST_STEP: RESET}
    found, _ = run(script, seed=seed_of(1, 3), source_choice="extra")
    assert shape(found) == [[(BASE, "base", 5)], [(BASE, "base", 4)], [(RESETS, "reset", 4)]]
    assert [item.behavior_log_probs for item in found.of_role("base")] == [
        scripted_log_probs(number, 8) for number in range(4)
    ]
    # Two of four are right: plus and minus one standard deviation.
    assert [item.advantage for item in found.of_role("base")] == [-1.0, 1.0, -1.0, 1.0]
    assert found.batches[2][0].state.text == FIRST_STEP


def test_truncated_chains_are_failures_and_can_be_the_source():
    endless = "1\n2\n3" * 10
    script = {PROMPT: [endless] * 5 + [RIGHT, OTHER, OTHER, OTHER]}
    found, policy = run(script, seed=seed_of(0, 13))  # 12 closed steps in 30 tokens, one open
    assert {item.outcome for item in found.groups[0].trajectories} == {"truncated"}
    assert policy.asked[1].text == PROMPT
    assert all(item.advantage == 0 for item in found.of_role("base"))
    assert [len(item.token_ids) for item in found.of_role("base")] == [30] * 4
    assert found.of_role("reset")[0].advantage == pytest.approx(math.sqrt(3))


def test_a_try_without_a_step_joins_the_base_group_and_is_no_source():
    tries = ["$", WRONG, "$", RIGHT, RIGHT]
    found, _ = run({PROMPT: tries, PROMPT + FIRST_STEP: RESET}, seed=seed_of(1, 3))
    assert shape(found) == [[(BASE, "base", 5)], [(RESETS, "reset", 4)]]
    assert found.batches[1][0].state.text == FIRST_STEP
    assert [item.token_ids for item in found.of_role("base")] == [
        ids(text) for text in ("$", "$", RIGHT, RIGHT)
    ]
    # Returns 0, 0, 1, 1: mean 1/2, population std 1/2.
    assert [item.advantage for item in found.of_role("base")] == [-1.0, -1.0, 1.0, 1.0]


def test_a_problem_whose_failures_are_all_empty_has_no_source():
    found, _ = run({PROMPT: ["$"] * 12 + [RIGHT] * 4})
    assert shape(found)[-1] == [(BASE, "top_up", 4)]
    assert len(found.samples) == 8


def test_without_a_base_group_the_resets_alone_are_trained():
    script = {PROMPT: [RIGHT, RIGHT, WRONG, OTHER, RIGHT], PROMPT + FIRST_STEP: [*RESET, *RESET]}
    found, _ = run(script, seed=seed_of(1, 3), num_base=0, num_reset=8)
    assert shape(found) == [
        [(BASE, "base", 1)],
        [(BASE, "base", 4)],
        [(RESETS, "reset", 8)],
    ]
    assert [item.role for item in found.samples] == ["reset"] * 8
    # Two of eight are right: mean 1/4, population std sqrt(3)/4.
    root = math.sqrt(3)
    assert [item.advantage for item in found.samples[:2]] == pytest.approx([root, -1 / root])
    # The tries before the failure are discarded, and count.
    assert found.num_sampled_tokens == 4 * 8 + 21 + 8 * 8


def test_without_a_base_group_and_a_failure_the_first_tries_are_trained():
    tries = ["$", *[RIGHT] * 11]
    found, _ = run({PROMPT: tries}, num_base=0, num_reset=8)
    assert shape(found) == [[(BASE, "base", 1)], *[[(BASE, "base", 4)]] * 2, [(BASE, "base", 3)]]
    assert [item.token_ids for item in found.samples] == [ids("$"), *[ids(RIGHT)] * 7]
    # Seven of eight are right: mean 7/8, population std sqrt(7)/8.
    root = math.sqrt(7)
    assert [item.advantage for item in found.samples] == pytest.approx([-root] + [1 / root] * 7)
    short, _ = run({PROMPT: [RIGHT] * 5 + [OTHER] * 3}, num_base=0, num_reset=8, max_tries=5)
    assert shape(short)[-1] == [(BASE, "top_up", 3)]
    assert [item.role for item in short.samples] == ["base"] * 5 + ["top_up"] * 3


def test_an_unmasked_prefix_is_trained_with_the_suffix_s_advantage():
    script = {PROMPT: [RIGHT, WRONG, OTHER, RIGHT, RIGHT], PROMPT + FIRST_STEP: RESET}
    masked, _ = run(script, seed=seed_of(1, 3))
    found, _ = run(script, seed=seed_of(1, 3), mask_prefix=False)
    assert found.of_role("base") == masked.of_role("base")
    assert len(found.of_role("reset")) == 4
    for own, other in zip(found.of_role("reset"), masked.of_role("reset"), strict=True):
        assert (own.token_ids, own.advantage) == (other.token_ids, other.advantage)
        assert own.action_mask == (True,) * (6 + 8)
        # The prefix has the log-probabilities with which the source, number 1, was sampled.
        assert own.behavior_log_probs[:6] == scripted_log_probs(1, 21)[:6]
        assert own.behavior_log_probs[6:] == other.behavior_log_probs[6:]


def test_four_optimizer_steps_a_batch_are_a_setting_of_the_learner():
    config = TrainConfig(
        method=RRPOConfig(num_base=2, num_reset=2, max_tries=3, mask_prefix=False),
        learner=LearnerConfig(updates_per_iteration=4, learning_rate=1e-4),
        env=EnvConfig(levels=(4, 5), size=6, max_tokens=96),
        eval=EvalConfig(num_problems=1),
        problems_per_iteration=6,
    )
    session = build_session(config)
    found = iterate(session)
    assert found.metrics["update/num_updates_total"] == 4
    unmasked = [row for row in found.episodes if row["role"] == "reset" and row["old_log_probs"]]
    assert unmasked
    assert all(len(row["old_log_probs"]) == len(row["behavior_log_probs"]) for row in unmasked)


def test_an_ungraded_episode_counts_as_a_try_but_is_neither_base_nor_source(monkeypatch):
    from reason_env.env import reason_env as env_module

    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, None, "")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    tries = ["?$", RIGHT, RIGHT, "?$", RIGHT, RIGHT, WRONG, OTHER, OTHER]
    found, _ = run({PROMPT: tries, PROMPT + FIRST_STEP: RESET}, seed=seed_of(1, 3))
    assert shape(found) == [[(BASE, "base", 5)], [(BASE, "base", 4)], [(RESETS, "reset", 4)]]
    numbers = [1, 2, 4, 5]
    assert [item.behavior_log_probs for item in found.of_role("base")] == [
        scripted_log_probs(number, 8) for number in numbers
    ]
    # Twelve tries, of which two are graded, both right: topped up to eight, no more tries.
    found, _ = run({PROMPT: [RIGHT, RIGHT] + ["?$"] * 10 + [OTHER] * 6})
    assert shape(found)[-1] == [(BASE, "top_up", 6)]
    assert len(found.samples) == 8


def test_a_reset_that_the_verifier_could_not_grade_is_left_out_of_its_group(monkeypatch):
    from reason_env.env import reason_env as env_module

    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, None, "")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    suffixes = ["?$", "#### 24$", "#### 20$", "#### 20$"]
    found, _ = run(
        {PROMPT: [WRONG, *[RIGHT] * 4], PROMPT + FIRST_STEP: suffixes}, seed=seed_of(1, 3)
    )
    root = math.sqrt(2)
    expected = [root, -1 / root, -1 / root]
    assert [item.advantage for item in found.of_role("reset")] == pytest.approx(expected)


def test_problems_in_different_rounds_do_not_mix():
    problems = ProblemSet(
        "toy", (PROBLEM, Problem(problem_id="toy/train/1", question="1+1=?", answer="2"))
    )
    env = gym.make(
        "MathReason-v0",
        disable_env_checker=True,
        problems=problems,
        format="tokens",
        granularity="response",
    )
    script = {
        PROMPT: [OTHER, *[RIGHT] * 4, *RESET],
        "1+1=?\n>": ["#### 2$"] * 8 + ["#### 3$"] + ["#### 2$"] * 4,
    }
    found = dry_run(
        RRPO(RRPOConfig()),
        ["toy/train/0", "toy/train/1"],
        env=env,
        policy=ScriptedPolicy(script),
    )
    other = "1:toy/train/1"
    assert shape(found) == [
        [(BASE, "base", 5), (other, "base", 5)],
        [(RESETS, "reset", 4), (other, "base", 4)],
        [(other + "/reset", "reset", 4)],
    ]
    assert Counter(item.group for item in found.samples) == {
        BASE: 4,
        RESETS: 4,
        other: 4,
        other + "/reset": 4,
    }


def test_the_paper_s_numbers_are_the_defaults():
    config = RRPOConfig()
    assert (config.num_base, config.num_reset, config.max_tries) == (4, 4, 12)
    assert (config.advantage.kind, config.advantage.std, config.advantage.eps) == (
        "grpo",
        "population",
        0.0,
    )
    assert (config.loss.surrogate, config.loss.aggregation) == (
        "reinforce",
        "seq_mean_token_mean",
    )
    assert config.loss.kl_coefficient == 0
    assert config.loss.importance_weight_cap is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_base": 1}, "num_base must be at least 2, got 1; a single episode"),
        ({"num_reset": 1}, "num_reset must be at least 2, got 1; a single episode"),
        ({"max_tries": 4}, "max_tries must be above num_base, got 4 and 4; one more try"),
        ({"tries_per_round": 0}, "tries_per_round must be at least 1, got 0"),
        (
            {"source_choice": "first"},
            "source_choice must be one of first_failure, extra, got 'first'; choose",
        ),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        RRPOConfig(**changes)
