"""Start wrappers under Stable-Baselines3: they act at automatic resets, and start whole groups."""

import gymnasium as gym
import numpy as np
import pytest

import reason_env  # noqa: F401 - registers the ids
from reason_env.errors import ConfigError
from reason_env.state import Guidance
from reason_env.wrappers import Curriculum, Hint, PrefixRollin, ResetToState, RewardShaping

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from reason_env.agents.sb3 import GRPO, TokenPolicy, TokenVecEnv, reset_groups

SETTINGS = {"problems": "chain", "max_tokens": 64, "max_prompt_tokens": 64}
END = 257


def make(levels=(3, 3), size=None):
    return gym.make(
        "MathReason-v0", granularity="token", format="tokens", levels=levels, size=size, **SETTINGS
    )


def token_envs(num_envs, wrap, levels=(3, 3), size=6):
    envs = TokenVecEnv.make(num_envs, wrap=wrap, levels=levels, size=size, **SETTINGS)
    envs.seed(0)
    envs.reset()
    return envs


def write(envs, *responses):
    """Step a response in each episode, "A" after its end."""
    for place in range(max(map(len, responses))):
        tokens = [own[place] if place < len(own) else 65 for own in responses]
        found = envs.step(np.array(tokens))
    return found


def rest_of(envs, index):
    """The reference response from an episode's state on."""
    (state,) = envs.get_attr("state", index)
    whole = envs.envs.env.reference_ids(state.problem)
    assert whole[: len(state.response)] == state.response
    return whole[len(state.response) :]


def steps_of(envs):
    return [len(state.step_ends) for state in envs.get_attr("state")]


def test_prefixes_begin_every_episode_of_several_environments():
    envs = DummyVecEnv([lambda: PrefixRollin(make(), steps=2)] * 2)
    envs.reset()
    for _ in range(3):
        for state in envs.get_attr("state"):
            assert [step.rstrip() for step in state.steps] == list(state.problem.solution[:2])
            assert set(state.sources) == {"reference"}
        envs.step(np.array([257, 257]))  # both episodes end: automatic resets


def test_the_policy_s_own_failures_become_starts():
    envs = DummyVecEnv([lambda: ResetToState(make(size=1), keep="failures", cut=1)] * 2)
    envs.reset()
    failure = b"A:0+0 x=0\nB:0+0 x=0\n#### 000\n"
    for token in failure:
        _, _, dones, infos = envs.step(np.array([token, 65]))
    assert dones.tolist() == [True, False]
    assert infos[0]["outcome"] == "incorrect"
    first, second = envs.get_attr("state")
    assert first.text == "A:0+0 x=0\n"
    assert second.text == "A" * len(failure)  # its own episode goes on: archives are not shared


@pytest.mark.parametrize("kind", ["prefix", "failures"])
def test_groups_start_where_the_wrapper_of_their_first_environment_starts(kind):
    def wrapped():
        if kind == "prefix":
            return PrefixRollin(make(), steps=(0, 2))
        return ResetToState(make(size=1), keep="failures", cut=1)

    envs = make_vec_env(wrapped, n_envs=4, seed=0)
    seen = set()
    for _ in range(6):
        ids = reset_groups(envs, 2)
        for one, other in ((0, 1), (2, 3)):
            assert np.array_equal(ids[one], ids[other])
            seen.add(envs.get_attr("state", indices=[one])[0].num_steps)
        for token in b"A:0+0 x=0\n#### 1\n":
            envs.step(np.full(4, token))
    assert seen == ({0, 1, 2} if kind == "prefix" else {0, 1})


def test_grpo_trains_on_groups_with_prefixes():
    envs = make_vec_env(lambda: PrefixRollin(make((2, 2)), steps=1), n_envs=4, seed=0)
    model = GRPO(TokenPolicy, envs, n_steps=40, group_size=4, n_epochs=1, device="cpu", seed=0)
    model.learn(100)
    assert len(model.ep_info_buffer) >= 4
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert max(lengths) < 30  # one of two steps is there already


def test_a_reverse_curriculum_moves_on_at_automatic_resets():
    schedule = {"kind": "reverse", "stages": 2, "window": 4, "pass_rate": 1.0}
    envs = token_envs(2, lambda env: PrefixRollin(env, steps=(0, 2), schedule=schedule), size=1)
    seen = []
    for _ in range(6):
        seen.append(steps_of(envs))
        rest = rest_of(envs, 0)
        infos = write(envs, rest, rest)[-1]
        assert [info["is_success"] for info in infos] == [True, True]
    # Four successes, two in each episode, end a stage.
    assert seen == [[2, 2], [2, 2], [1, 1], [1, 1], [0, 0], [0, 0]]


def test_an_episode_counts_for_the_schedule_only_if_the_schedule_began_it():
    schedule = {"kind": "linear", "begin": 1.0, "end": 0.0, "episodes": 4}
    envs = token_envs(3, lambda env: PrefixRollin(env, steps=(0, 2), schedule=schedule))
    # The wrapper makes the start of episode 2 after the given one of episode 1.
    given = envs.get_attr("state", 0)[0].cut(1)
    envs.set_options([{}, {"state": given}, {}])
    envs.reset()
    assert steps_of(envs) == [2, 1, 2]
    envs.step(np.array([65, END, 65]))
    assert steps_of(envs)[1] == 2  # no episode of the schedule is over
    envs.step(np.array([END, 65, END]))
    # Two are over, and both starts come after them: the share is 1 - 2/4.
    assert steps_of(envs) == [1, 2, 1]


def test_a_failure_of_one_episode_is_a_start_of_another():
    envs = token_envs(2, lambda env: ResetToState(env, keep="failures", cut=1), size=1)
    success, failure = rest_of(envs, 0), b"A:0+0 x=0\n" * 5 + b"#### 000\n"
    size = len(success)
    infos = write(envs, success, failure[:size])[-1]
    assert infos[0]["is_success"]
    assert envs.get_attr("state", 0)[0].response == ()  # successes are not kept
    infos = write(envs, success[: len(failure) - size], failure[size:])[-1]
    assert infos[1]["outcome"] == "incorrect"
    assert envs.get_attr("state", 1)[0].text == "A:0+0 x=0\n"
    infos = write(envs, success[len(failure) - size :], b"C")[-1]
    assert infos[0]["is_success"]
    (state,) = envs.get_attr("state", 0)
    assert state.text == "A:0+0 x=0\n"
    assert set(state.sources) == {"reset"}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: PrefixRollin(env, steps=(0, 2), probability=0.7),
        lambda env: ResetToState(PrefixRollin(env, steps=(0, 2)), keep="failures"),
        lambda env: Curriculum(Hint(env, kind="answer", trigger=0.5), by="level"),
    ],
    ids=["prefix", "own failures after prefixes", "curriculum"],
)
def test_one_episode_goes_as_one_of_the_wrapped_environment(wrap):
    own = token_envs(1, wrap, levels=(1, 3))
    peer = DummyVecEnv([lambda: wrap(make(levels=(1, 3), size=6))])
    peer.seed(0)
    peer.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        (state,) = peer.get_attr("state")
        assert own.get_attr("state") == [state]
        token = rest_of(own, 0)[0] if rng.random() < 0.8 and _is_right(own) else 65
        pairs = zip(own.step(np.array([token])), peer.step(np.array([token])), strict=True)
        for one, other in list(pairs)[:3]:
            assert np.array_equal(one, other)


def _is_right(envs):
    (state,) = envs.get_attr("state")
    return envs.envs.env.reference_ids(state.problem)[: len(state.response)] == state.response


@pytest.mark.parametrize(
    ("wrap", "num_steps"), [(lambda env: PrefixRollin(env, steps=1), 1), (None, 0)]
)
def test_a_given_problem_lets_starts_act_and_a_given_state_wins(wrap, num_steps):
    def marked(state):
        return state.with_guidance(Guidance("instruction", (f"{len(state.response)} given\n",)))

    envs = TokenVecEnv.make(3, wrap=wrap, starts=[marked], levels=(3, 3), size=6, **SETTINGS)
    problem = envs.envs.env.problems[5]
    given = envs.envs.env.initial_state(problem)
    envs.set_options([{"problem": problem.problem_id}, {"state": given}, {}])
    envs.reset()
    first, second, third = envs.get_attr("state")
    assert (first.problem, first.num_steps) == (problem, num_steps)
    assert second == given
    # `starts` come after the wrappers.
    for state in (first, third):
        assert state.guidance[0].pieces == (f"{len(state.response)} given\n",)
        assert bool(state.response) == (wrap is not None)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda env: PrefixRollin(RewardShaping(env)),
            "wrap must add .*, got RewardShaping, .*Dum",
        ),
        (lambda env: gym.wrappers.TimeLimit(env, 3), "wrap must add .*, got TimeLimit, which"),
        (lambda env: PrefixRollin(make()), "wrap must return its argument .*, got another env"),
    ],
)
def test_what_the_episodes_would_not_go_through_is_refused(wrap, message):
    with pytest.raises(ConfigError, match=message):
        TokenVecEnv.make(2, wrap=wrap, size=3, **SETTINGS)
