from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import reason_env
from reason_env.agents.engines import Completion, SamplingConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.rollout import Start, collect, initial_states, merge_batches, training_sample
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet

CODEC = ByteCodec()
PROBLEMS = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="12*3=?", answer="36"),
        Problem(problem_id="toy/train/1", question="10-4=?", answer="6"),
    ),
)
RIGHT = "12*3=36\n#### 36"
WRONG = "12*3=35\n#### 35"


class ScriptedPolicy:
    """Answers each context with the next texts of its script; every token has its own number."""

    codec = CODEC
    policy_version = 3

    def __init__(self, script: dict[str, list[str]]) -> None:
        self.script = script
        self.contexts: list[str] = []

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        completions = []
        for context in contexts:
            text = CODEC.decode(context.token_ids)
            self.contexts.append(text)
            own = self.script[text][: context.num_samples]
            completions.append(tuple(completed(item, context.max_new_tokens) for item in own))
        return completions


def completed(text: str, limit: int) -> Completion:
    token_ids = tuple(CODEC.eos_id if char == "$" else CODEC.encode(char)[0] for char in text)
    token_ids = token_ids[:limit]
    log_probs = tuple(-(index + 1) / 8 for index in range(len(token_ids)))
    return Completion(
        token_ids=token_ids, log_probs=log_probs, is_finished=token_ids[-1] == CODEC.eos_id
    )


def make_env(**changes):
    arguments = {"problems": PROBLEMS, "format": "tokens", "granularity": "response"}
    return gym.make("MathReason-v0", disable_env_checker=True, **(arguments | changes))


def start_of(env, problem_id, num_samples, **changes):
    (state,) = initial_states(env, [problem_id], seed=0)
    arguments = {"state": state, "num_samples": num_samples, "learn_from": state}
    return Start(group=problem_id, **(arguments | changes))


@pytest.mark.parametrize("granularity", ["token", "step", "response"])
def test_every_granularity_collects_the_same_episodes(granularity):
    env = make_env(granularity=granularity, max_tokens=20)
    policy = ScriptedPolicy({"12*3=?\n>": [f"{RIGHT}$", f"{WRONG}$", "no idea$", "12*3=36\n" * 4]})
    batch = collect(
        [start_of(env, "toy/train/0", 4)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    (group,) = batch.groups
    assert [item.outcome for item in group.trajectories] == [
        "correct",
        "incorrect",
        "no_answer",
        "truncated",
    ]
    assert [item.episode_return for item in group.trajectories] == [1.0, 0.0, 0.0, 0.0]
    assert [len(item.behavior_log_probs) for item in group.trajectories] == [16, 16, 8, 20]
    assert group.trajectories[0].final_state.text == RIGHT
    assert all(item.policy_version == 3 for item in group.trajectories)


class Turns(gym.Wrapper):
    """Records what a wrapper sees of each turn."""

    def __init__(self, env):
        super().__init__(env)
        self.seen = []

    def step(self, action):
        found = self.env.step(action)
        text = CODEC.decode(action if isinstance(action, tuple) else (action,))
        self.seen.append((text, found[2], found[3]))
        return found


@pytest.mark.parametrize(
    ("text", "seen", "outcome"),
    [
        # Left open by the sampler: the empty action ends the response, and it is graded.
        (
            RIGHT,
            [("12*3=36\n", False, False), ("#### 36", False, False), ("", True, False)],
            "correct",
        ),
        ("12*3=36\n", [("12*3=36\n", False, False), ("", True, False)], "no_answer"),
        (f"{RIGHT}$", [("12*3=36\n", False, False), ("#### 36", True, False)], "correct"),
    ],
)
def test_an_open_step_level_episode_is_closed_by_an_empty_action(text, seen, outcome):
    env = Turns(make_env(granularity="step"))
    batch = collect(
        [start_of(env, "toy/train/0", 1)],
        env=env,
        policy=ScriptedPolicy({"12*3=?\n>": [text]}),
        sampling=SamplingConfig(),
        seed=0,
    )
    assert env.seen == seen
    assert [item.outcome for item in batch.trajectories] == [outcome]


def test_an_open_token_level_episode_is_closed_by_the_end_token_which_has_no_log_prob():
    env = Turns(make_env(granularity="token"))
    policy = ScriptedPolicy({"12*3=?\n>": ["#### 36"]})
    starts = [start_of(env, "toy/train/0", 1)]
    with pytest.raises(ConfigError, match="must get completions with an end token, got one of 7 t"):
        collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    end = CODEC.decode((CODEC.eos_id,))
    assert env.seen == [*((char, False, False) for char in "#### 36"), (end, True, False)]


def test_trajectories_are_named_by_the_seed_and_their_number():
    env = make_env()
    script = {"12*3=?\n>": [f"{RIGHT}$", f"{RIGHT}$"], "10-4=?\n>": ["#### 6$"]}
    starts = [start_of(env, "toy/train/0", 2), start_of(env, "toy/train/1", 1)]
    batches = [
        collect(
            starts, env=env, policy=ScriptedPolicy(script), sampling=SamplingConfig(), seed=seed
        )
        for seed in (7, 8)
    ]
    ids = [item.trajectory_id for item in merge_batches(batches).trajectories]
    assert ids == ["7/0", "7/1", "8/0", "8/1", "7/2", "8/2"]


def test_tokens_that_the_environment_drops_are_counted_but_not_trained():
    env = make_env()
    text = "#### 36\nand so on$"
    policy = ScriptedPolicy({"12*3=?\n>": [text]})
    batch = collect(
        [start_of(env, "toy/train/0", 1)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    (trajectory,) = batch.trajectories
    assert trajectory.is_success
    assert trajectory.num_sampled_tokens == len(text)
    assert len(trajectory.behavior_log_probs) == len("#### 36\n")
    sample = training_sample(trajectory, 0.5)
    assert CODEC.decode(sample.token_ids) == "#### 36\n"
    assert sample.behavior_log_probs == tuple(-(index + 1) / 8 for index in range(8))


def test_an_end_token_that_the_environment_adds_is_not_trained():
    env = make_env()
    policy = ScriptedPolicy({"12*3=?\n>": ["#### 36"]})
    batch = collect(
        [start_of(env, "toy/train/0", 1)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    (trajectory,) = batch.trajectories
    sample = training_sample(trajectory, 0.5)
    assert trajectory.is_success
    assert sample.token_ids[-1] == CODEC.eos_id
    assert sample.action_mask == (True,) * 7 + (False,)
    assert sample.behavior_log_probs[-1] == 0.0


def test_a_prefix_is_context_and_never_an_action():
    env = make_env()
    (state,) = initial_states(env, ["toy/train/0"], seed=0)
    prefix = state.extend(CODEC.encode("12*3=36\n"), "reset")
    policy = ScriptedPolicy({"12*3=?\n>12*3=36\n": ["#### 36$"]})
    start = Start(state=prefix, num_samples=1, learn_from=prefix, group="g", role="reset")
    batch = collect([start], env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    (trajectory,) = batch.trajectories
    sample = training_sample(trajectory, -1.0)
    assert trajectory.prefix_length == 8
    assert sample.action_mask == (False,) * 8 + (True,) * 8
    assert sample.behavior_log_probs[:9] == (0.0,) * 8 + (-1 / 8,)
    assert sample.role == "reset"


def test_guidance_is_in_the_sampling_prompt_and_not_in_the_training_context():
    env = make_env()
    (state,) = initial_states(env, ["toy/train/0"], seed=0)
    hinted = state.with_guidance(reason_env.Guidance("answer", ("36",)))
    policy = ScriptedPolicy({"12*3=?\nAnswer: 36\n>": ["#### 36$"]})
    start = Start(state=hinted, num_samples=1, learn_from=state, group="g", role="hinted")
    batch = collect([start], env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    (trajectory,) = batch.trajectories
    assert CODEC.decode(trajectory.prompt_ids) == "12*3=?\nAnswer: 36\n>"
    sample = training_sample(trajectory, 1.0)
    assert CODEC.decode(sample.context_ids) == "12*3=?\n>"


def test_reward_wrappers_of_the_stack_act_on_the_return():
    env = gym.wrappers.TransformReward(make_env(), lambda reward: 10 * reward - 1)
    policy = ScriptedPolicy({"12*3=?\n>": [f"{RIGHT}$", f"{WRONG}$"]})
    batch = collect(
        [start_of(env, "toy/train/0", 2)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    assert [item.episode_return for item in batch.trajectories] == [9.0, -1.0]


def test_groups_keep_the_order_of_their_keys_and_merge_by_key():
    env = make_env()
    script = {"12*3=?\n>": [f"{RIGHT}$"], "10-4=?\n>": ["#### 6$"]}
    starts = [start_of(env, "toy/train/1", 1), start_of(env, "toy/train/0", 1)]
    batches = [
        collect(starts, env=env, policy=ScriptedPolicy(script), sampling=SamplingConfig(), seed=0)
        for _ in range(2)
    ]
    assert [group.key for group in batches[0].groups] == ["toy/train/1", "toy/train/0"]
    both = merge_batches(batches)
    assert [len(group.trajectories) for group in both.groups] == [2, 2]
    assert both.sampling_s == pytest.approx(sum(batch.sampling_s for batch in batches))


def test_grpo_gives_each_episode_its_advantage_within_its_own_group():
    env = make_env()
    policy = ScriptedPolicy(
        {
            "12*3=?\n>": [f"{RIGHT}$", f"{WRONG}$", f"{WRONG}$", f"{WRONG}$"],
            "10-4=?\n>": ["#### 6$"] * 4,
        }
    )
    method = GRPO(GRPOConfig(group_size=4))
    states = initial_states(env, ["toy/train/0", "toy/train/1"], seed=0)
    starts = method.plan(states, np.random.default_rng(0))
    batch = collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    samples = method.training_samples(batch.groups, np.random.default_rng(0))
    # mean 1/4, unbiased variance ((3/4)^2 + 3 (1/4)^2) / 3 = 1/4, so std 1/2, eps 1e-4.
    expected = [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, 0, 0, 0, 0]
    assert [sample.advantage for sample in samples] == pytest.approx(expected)
    assert method.follow_up(batch.groups, np.random.default_rng(0)) == []


@pytest.mark.parametrize(("undecided", "num_trained"), [("left_out", 0), ("no_reward", 2)])
def test_an_undecided_response_counts_without_reward_unless_it_is_left_out(
    monkeypatch, undecided, num_trained
):
    from reason_env.env import reason_env as env_module
    from reason_env.verdict import Outcome, Verdict
    from reason_env.verify import grade

    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, WRONG, "")
        return failed if WRONG in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    env = make_env(reward={"undecided": undecided})
    policy = ScriptedPolicy({"12*3=?\n>": [f"{RIGHT}$", f"{WRONG}$"]})
    batch = collect(
        [start_of(env, "toy/train/0", 2)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    right, undecided_one = batch.trajectories
    assert (right.episode_return, undecided_one.episode_return) == (1.0, 0.0)
    assert undecided_one.is_undecided
    assert undecided_one.is_graded == (undecided == "no_reward")
    method = GRPO(GRPOConfig(group_size=2))
    samples = method.training_samples(batch.groups, np.random.default_rng(0))
    assert len(samples) == num_trained


def test_an_episode_that_is_left_out_is_in_no_group():
    env = make_env()
    policy = ScriptedPolicy({"12*3=?\n>": [f"{RIGHT}$", f"{WRONG}$", f"{WRONG}$"]})
    verdicts = iter([("timeout", 0.0), ("incorrect", 0.0), ("incorrect", 0.0)])
    batch = collect(
        [start_of(env, "toy/train/0", 3)], env=env, policy=policy, sampling=SamplingConfig(), seed=0
    )
    from dataclasses import replace

    from reason_env.agents.rollout import Group

    failed = tuple(
        replace(item, outcome=outcome, episode_return=value, is_left_out=outcome == "timeout")
        for item, (outcome, value) in zip(batch.trajectories, verdicts, strict=True)
    )
    group = Group(key="g", trajectories=failed)
    short = Group(key="g", trajectories=failed[:2])
    method = GRPO(GRPOConfig(group_size=3))
    assert len(method.training_samples([group], np.random.default_rng(0))) == 2
    assert method.training_samples([short], np.random.default_rng(0)) == []


def test_an_environment_in_text_format_is_refused():
    env = gym.make("MathReason-v0", problems=PROBLEMS, format="text")
    with pytest.raises(ConfigError, match="format 'tokens', got 'text'"):
        collect([], env=env, policy=ScriptedPolicy({}), sampling=SamplingConfig(), seed=0)


def test_an_environment_that_is_not_a_reason_env_is_refused():
    env = gym.make("CartPole-v1")
    with pytest.raises(ConfigError, match="stack on ReasonEnv, got CartPoleEnv"):
        collect([], env=env, policy=ScriptedPolicy({}), sampling=SamplingConfig(), seed=0)


def test_a_policy_of_another_codec_is_refused():
    env = make_env(codec=ByteCodec(";"))
    with pytest.raises(ConfigError, match="must share a codec"):
        collect([], env=env, policy=ScriptedPolicy({}), sampling=SamplingConfig(), seed=0)


def test_a_group_size_of_one_is_refused():
    with pytest.raises(ConfigError, match="group_size must be at least 2, got 1"):
        GRPOConfig(group_size=1)


class SeedRecorder(ScriptedPolicy):
    def __init__(self):
        super().__init__({"12*3=?\n>": [RIGHT] * 4})
        self.calls = []

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        self.calls.append((sampling.temperature, len(contexts), seed))
        return super().sample(contexts, sampling, seed=seed, stop_ids=stop_ids)


def seeds_of(temperatures, *, seed=11):
    env, policy = make_env(), SeedRecorder()
    starts = [
        replace(start_of(env, "toy/train/0", 1, temperature=temperature), group=str(number))
        for number, temperature in enumerate(temperatures)
    ]
    collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=seed)
    return policy.calls


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_starts_of_one_temperature_have_the_batch_s_own_seed(temperature):
    assert seeds_of([temperature] * 2) == [(temperature or 1.0, 2, 11)]


def test_starts_of_different_temperatures_share_no_random_stream():
    calls = seeds_of([0.3, None, 1.0, 0.3])
    assert [(temperature, size) for temperature, size, _ in calls] == [(1.0, 1), (0.3, 2), (1.0, 1)]
    seeds = [seed for _, _, seed in calls]
    assert seeds[0] == 11  # the run's temperature, whatever the order of the starts
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds_of([0.3, None, 1.0, 0.3]) == calls
    assert {seed for _, _, seed in seeds_of([0.3, None, 1.0], seed=12)}.isdisjoint(seeds)
