import random
from itertools import product

import pytest

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reward_shaping import RewardShaping

TOY = ProblemSet(
    "toy",
    (Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b", "c")),),
)
STEPS = ("a\n", "b\n", "c\n", "#### 7\n", "#### 8\n")


def toy_env(**changes) -> ReasonEnv:
    return ReasonEnv(TOY, **({"max_steps": 4} | changes))


def play(env, steps) -> tuple[list[float], list[dict]]:
    env.reset(seed=0)
    rewards, infos = [], []
    for step in steps:
        _, reward, terminated, truncated, info = env.step(step)
        rewards.append(reward)
        infos.append(info)
        if terminated or truncated:
            break
    return rewards, infos


def discounted(rewards, discount) -> float:
    return sum(reward * discount**turn for turn, reward in enumerate(rewards))


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_progress_keeps_every_policys_advantage_on_all_chains(discount, prefix):
    """All 5^4 action sequences: the shaped return is the plain one minus Phi(start)."""
    shaped = PrefixRollin(RewardShaping(toy_env(), progress=0.6, discount=discount), steps=prefix)
    plain = PrefixRollin(toy_env(), steps=prefix)
    # Phi(start) = 0.6 * prefix / 3.
    for steps in product(STEPS, repeat=4):
        own, infos = play(shaped, steps)
        bare, _ = play(plain, steps)
        assert len(own) == len(bare)
        gap = discounted(own, discount) - discounted(bare, discount)
        assert gap == pytest.approx(-0.2 * prefix, abs=1e-12)
        assert [info["success"] for info in infos][-1] == (bare[-1] == 1.0)


def test_the_progress_reward_is_the_discounted_difference_of_potentials():
    rewards, infos = play(
        RewardShaping(toy_env(), progress=0.75, discount=0.5), ["a\n", "x\n", "c\n"]
    )
    # Phi: 0, 0.25, 0.25, 0.25; discount * Phi(next) - Phi(state).
    assert rewards == [0.125, -0.125, -0.125]
    assert [info["shaping"] for info in infos] == rewards


def test_format_bonus_and_token_and_step_penalties_add_up():
    env = RewardShaping(toy_env(), format_bonus=0.25, token_penalty=0.0625, step_penalty=0.5)
    rewards, _ = play(env, ["a\nb\n", "xy", "#### 9\n"])
    # 4 tokens, 2 steps; 2 tokens, none closed; 7 tokens, 1 step; the answer can be read.
    assert rewards == [-1.25, -0.125, 0.25 - 0.4375 - 0.5]
    rewards, _ = play(env, ["#### 7\n"])
    assert rewards == [1 + 0.25 - 0.4375 - 0.5]


def test_no_format_bonus_without_an_answer_or_after_a_budget_ended_the_episode():
    env = RewardShaping(toy_env(), format_bonus=0.25)
    assert play(env, ["no answer", ""])[0] == [0.0, 0.0]
    assert play(env, ["a\n"] * 4)[0] == [0.0] * 4


def test_the_same_tokens_cost_the_same_at_every_granularity():
    text = "a\nb\n#### 7\n"
    costs = []
    for granularity in ("token", "step", "response"):
        env = RewardShaping(
            toy_env(granularity=granularity, format="tokens"),
            token_penalty=0.0625, step_penalty=0.5, format_bonus=0.25, progress=0.75,
        )  # fmt: skip
        ids = env.unwrapped.codec.encode(text)
        actions = {"token": ids, "step": [ids[:2], ids[2:4], ids[4:]], "response": [ids]}
        costs.append(sum(play(env, actions[granularity])[0]))
    # 1 + 0.25 - 11 / 16 - 3 / 2.
    assert costs == [pytest.approx(-0.9375)] * 3


@pytest.mark.parametrize("granularity", ["token", "step", "response"])
@pytest.mark.parametrize(
    ("text", "extra"),
    [
        # The last quarter of 20 tokens begins after 15: 7 of them, 15, 17, 20.
        ("#### 7\n", 0.0),
        ("abcdefgh#### 8\n", 0.0),
        ("abcdefghij#### 8\n", -0.75 * 2 / 5),
        ("abcdefghijklm#### 7\n", -0.75),
        ("abcdefghijklmnopqrstuvwxyz", -0.75),
    ],
)
def test_an_overlong_response_loses_reward_linearly_at_its_end(granularity, text, extra):
    bare = toy_env(granularity=granularity, format="tokens", max_tokens=20, max_steps=30)
    env = RewardShaping(bare, overlong_penalty=0.75, overlong_share=0.25)
    ids = env.unwrapped.codec.encode(text)
    env.reset(seed=0)
    turns = ids if granularity == "token" else [ids]
    results = []
    for turn in turns:
        results.append(env.step(turn))
        if results[-1][2] or results[-1][3]:
            break
    info = results[-1][-1]
    assert [one[-1]["shaping"] for one in results[:-1]] == [0.0] * (len(results) - 1)
    assert info["shaping"] == pytest.approx(extra)
    assert sum(one[1] for one in results) == pytest.approx(float(info["success"]) + extra)


def test_the_penalty_of_long_responses_is_that_of_verl_s_release():
    env = RewardShaping(toy_env(max_tokens=40), overlong_penalty=0.5, overlong_share=0.3)
    env.reset(seed=0)
    start = env.unwrapped.state
    for length in range(41):
        state = start.extend((97,) * length)
        # min(-exceed / buffer * factor, 0), with the buffer of 12 tokens.
        expected = min(-(length - 28) / 12 * 0.5, 0)
        assert -0.5 * env._overlong(state) == pytest.approx(expected)


def test_specs_without_the_penalty_are_those_of_earlier_versions():
    names = set(RewardShaping(toy_env(), step_penalty=0.5)._saved_kwargs)
    assert names == {"format_bonus", "token_penalty", "step_penalty", "progress", "discount"}
    own = RewardShaping(toy_env(), overlong_penalty=0.5)._saved_kwargs
    assert (own["overlong_penalty"], own["overlong_share"]) == (0.5, 0.2)


def test_the_potential_starts_at_the_state_that_is_restored():
    env = RewardShaping(toy_env(), progress=0.75)
    rng = random.Random(0)
    env.reset(seed=0)
    env.step("a\n")
    state = env.unwrapped.state
    for _ in range(3):
        env.reset(options={"state": state})
        assert env.step("b\n")[1] == 0.25
        env.step(rng.choice(STEPS))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"progress": float("nan")}, "progress must be a finite number, got nan"),
        ({"format_bonus": "0.5"}, "format_bonus must be a finite number, got '0.5'"),
        ({"step_penalty": float("inf")}, "step_penalty must be a finite number, got inf"),
        ({"token_penalty": True}, "token_penalty must be a finite number, got True"),
        ({"discount": 1.5}, r"discount must lie in 0\.\.1, got 1\.5"),
        ({"overlong_penalty": -0.5}, "overlong_penalty must be at least 0, got -0.5"),
        ({"overlong_share": 1.5}, r"overlong_share must lie in 0\.\.1, got 1\.5"),
        (
            {"overlong_penalty": 0.5, "overlong_share": 0},
            "overlong_share must be above 0 with an overlong_penalty, got 0",
        ),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        RewardShaping(toy_env(), **settings)
