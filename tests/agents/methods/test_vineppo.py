"""VinePPO: advantages of steps, by hand, against the exact twin, and through a run."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reason_env.agents.engines import Completion
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig, VinePPOConfig, build_method, method_config
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.methods.vineppo import step_advantages, value_states
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import ReasonState
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24")
PROMPT, FIRST, TWO = "2*3*4=?\n>", "2*3=6\n", "2*3=6\n6*4=24\n"
RIGHT, WRONG, BARE = TWO + "#### 24$", FIRST + "6*4=20\n#### 20$", "#### 24$"
YES, NO = "#### 24$", "#### 20$"


def env_of():
    return toy_env(PROBLEM, max_tokens=40)


def run(script, config, env=None):
    policy = ScriptedPolicy(script)
    method = build_method(config)
    return method, dry_run(method, ["toy/train/0"], env=env or env_of(), policy=policy)


SCRIPT = {
    # Two episodes, then the problem's own value: 1/4.
    PROMPT: [RIGHT, WRONG, YES, NO, NO, NO],
    PROMPT + FIRST: [YES, YES, NO, NO],
    PROMPT + TWO: [YES, YES, YES, NO],
    PROMPT + FIRST + "6*4=20\n": [NO, NO, NO, NO],
}
CONFIG = VinePPOConfig(group_size=2, value_samples=4)


def test_each_step_has_the_difference_of_the_values_at_its_ends():
    _, found = run(SCRIPT, CONFIG)
    # Values: problem 1/4, first step 1/2, then 3/4 (right) or 0 (wrong).
    right, wrong = found.samples
    assert (right.role, right.group) == ("stepwise", "0:toy/train/0")
    sizes = [len("2*3=6\n"), len("6*4=24\n"), len("#### 24") + 1]
    assert right.advantages == tuple(np.repeat([0.25, 0.25, 0.25], sizes))
    sizes = [len("2*3=6\n"), len("6*4=20\n"), len("#### 20") + 1]
    assert wrong.advantages == tuple(np.repeat([0.25, -0.5, 0.0], sizes))
    assert right.trajectory_id == found.groups[0].trajectories[0].trajectory_id
    # Sum over steps: return less the problem's value.
    assert all(sample.action_mask == (True,) * len(sample.token_ids) for sample in found.samples)


def test_states_that_episodes_share_are_valued_once_and_counted():
    _, found = run(SCRIPT, CONFIG)
    assert [[start.role for start in batch] for batch in found.batches] == [
        ["base"],
        ["value"] * 4,
    ]
    assert [start.state.text for start in found.batches[1]] == [
        "",
        FIRST,
        TWO,
        FIRST + "6*4=20\n",
    ]
    assert all(start.num_samples == 4 for start in found.batches[1])
    sampled = sum(len(text) for text in (RIGHT, WRONG)) + 16 * len(YES)
    assert found.num_sampled_tokens == sampled


def test_an_episode_of_one_step_has_the_return_less_the_problem_s_value():
    script = {PROMPT: [BARE, YES, NO, NO, NO]}
    _, found = run(script, VinePPOConfig(group_size=1, value_samples=4))
    assert found.samples[0].advantages == (0.75,) * 8


def test_only_sampled_tokens_have_an_advantage_after_a_start_with_a_prefix():
    state = build_state(FIRST)
    _, found = run(SCRIPT, CONFIG)
    item = found.groups[0].trajectories[0]
    assert [one.text for one in value_states(item)] == ["", FIRST, TWO]
    start = replace(item.start, state=state, learn_from=state)
    later = replace(item, start=start, final_state=state.extend(CODEC.encode("6*4=24\n#### 24")))
    assert [one.text for one in value_states(later)] == [FIRST, TWO]
    assert step_advantages(later, [0.5, 0.75]) == [0.25] * 14


def build_state(text):
    return ReasonState(problem=PROBLEM, codec=CODEC).extend(CODEC.encode(text), "reset")


def test_after_grpo_it_adds_its_term():
    config = ComposedConfig(methods=(GRPOConfig(group_size=2), CONFIG))
    method, found = run(SCRIPT, config)
    assert [sample.role for sample in found.samples] == ["base", "base", "stepwise", "stepwise"]
    assert method.role_losses == {"stepwise": CONFIG.loss}
    with pytest.raises(ConfigError, match="vineppo must come after another method, got vineppo"):
        method_config("vineppo+lte")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
        ({"value_samples": 0}, "value_samples must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        VinePPOConfig(**changes)


class Coins:
    """Writes two steps and an answer: each step is right with a probability of its own."""

    codec, policy_version = CODEC, 0
    steps = (("2*3=6\n", "2*3=5\n", 0.7), ("6*4=24\n", "6*4=20\n", 0.4))

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        rng = np.random.default_rng(seed)
        return [
            tuple(self._one(context, rng) for _ in range(context.num_samples))
            for context in contexts
        ]

    def _one(self, context, rng):
        text = CODEC.decode(context.token_ids).removeprefix(PROMPT)
        for right, wrong, chance in self.steps[text.count("\n") :]:
            text += right if rng.random() < chance else wrong
        is_right = "2*3=6" in text and "6*4=24" in text
        text += "#### 24" if is_right else "#### 20"
        whole = CODEC.decode(context.token_ids).removeprefix(PROMPT)
        ids = (*CODEC.encode(text.removeprefix(whole)), CODEC.eos_id)
        return Completion(token_ids=ids, log_probs=(-0.5,) * len(ids), is_finished=True)


def exact_value(text):
    """The twin's value: the product of what is still to come, 0 after a wrong step."""
    if "2*3=5" in text or "6*4=20" in text:
        return 0.0
    return math.prod(chance for _, _, chance in Coins.steps[text.count("\n") :])


def test_the_error_of_the_advantages_falls_as_the_root_of_the_value_samples():
    sizes = (4, 16, 64)
    errors = []
    for size in sizes:
        method = build_method(VinePPOConfig(group_size=4, value_samples=size))
        squares = []
        for seed in range(40):
            found = dry_run(method, ["toy/train/0"], env=env_of(), policy=Coins(), seed=seed)
            for item, sample in zip(found.groups[0].trajectories, found.samples, strict=True):
                values = [exact_value(state.text) for state in value_states(item)]
                exact = step_advantages(item, values)
                squares += [(a - b) ** 2 for a, b in zip(sample.advantages, exact, strict=True)]
        errors.append(math.sqrt(np.mean(squares)))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # The standard error of the slope over 40 seeds is about 0.06.
    assert slope == pytest.approx(-0.5, abs=0.1)
    # A = V' - V, both with variance p (1 - p) / K: at the first step 0.28 and 0.4.
    assert errors[-1] < 0.12


def test_a_resumed_run_is_bit_equal_and_its_tokens_add_up(cut_and_resumed):
    config = TrainConfig(
        method=VinePPOConfig(group_size=2, value_samples=2),
        env=EnvConfig(levels=(2, 3), max_tokens=48, size=6),
        eval=EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
        checkpoint=CheckpointConfig(every=1),
        problems_per_iteration=2,
        iterations=3,
    )
    _, _, rows = cut_and_resumed(config)
    rows = [row for row in rows if row["iteration"]]
    for row in rows:
        parts = [row[f"rollout/sampled_tokens/{role}"] for role in ("base", "value")]
        assert row["rollout/sampled_tokens"] == sum(parts)
        assert row["rollout/discarded_tokens"] == parts[1]
    totals = [row["rollout/sampled_tokens_total"] for row in rows]
    assert totals == np.cumsum([row["rollout/sampled_tokens"] for row in rows]).tolist()
