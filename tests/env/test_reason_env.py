import itertools
import json
import random
import re
import subprocess
import sys
import warnings
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import reason_env
from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.env.reward import RewardConfig
from reason_env.errors import (
    ActionError,
    CodecError,
    ConfigError,
    ReasonEnvError,
    StateError,
    UnknownNameError,
)
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.state import Guidance, PromptTemplate, ReasonState

GRANULARITIES = ("token", "step", "response")
FORMATS = ("text", "tokens")
LAYOUTS = [(granularity, form) for granularity in GRANULARITIES for form in FORMATS]
CODEC = ByteCodec()
EOS = CODEC.eos_id
INFO_TYPES = {
    "problem_id": str,
    "level": int,
    "outcome": str,
    "success": bool,
    "extracted": str,
    "reason": str,
    "num_tokens": int,
    "num_steps": int,
    "privileged_context": str,
}
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="12*3=?", answer="36", solution=("12*3=36",)),
        Problem(
            problem_id="toy/train/1", question="2√2²=?", answer="4", solution=("√2²=2", "2*2=4")
        ),
        Problem(problem_id="toy/train/2", question="{pieces}", answer="7", level=3),
    ),
)
REWARD = RewardConfig(correct=1.0, incorrect=-0.25, no_answer=-0.5, truncated=-0.75, ungraded=9.0)


def toy_env(granularity="step", form="text", **settings) -> ReasonEnv:
    return ReasonEnv(TOY, granularity=granularity, format=form, **({"reward": REWARD} | settings))


@cache
def shared_env(
    granularity: str, max_tokens: int, max_steps: int, stop: bool, stops: tuple[str, ...] = ()
) -> ReasonEnv:
    """Returns a tokens environment that property tests use again: a used one is as new."""
    return toy_env(
        granularity,
        "tokens",
        max_tokens=max_tokens,
        max_steps=max_steps,
        stop_at_answer=stop,
        template={"base": "ours", "stops": stops},
    )


def play(env: ReasonEnv, actions, **options) -> tuple[list, ReasonState]:
    """Resets, steps until the end or the last action, and returns every answer and the state."""
    record = [env.reset(options=options or None)]
    for action in actions:
        record.append(env.step(action))
        if record[-1][2] or record[-1][3]:
            break
    return record, env.state


def same(first, second) -> bool:
    """Compares observations, rewards, flags and infos, whatever they are nested in."""
    if isinstance(first, np.ndarray):
        return isinstance(second, np.ndarray) and np.array_equal(first, second)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


@pytest.mark.parametrize(("granularity", "form"), LAYOUTS)
def test_the_environment_checker_finds_nothing(granularity, form):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for problems in ("chain", "inverse", TOY):
            env = gym.make(
                "MathReason-v0",
                problems=problems,
                granularity=granularity,
                format=form,
                render_mode="ansi",
            )
            check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize(("granularity", "form"), LAYOUTS)
def test_the_spec_as_json_makes_the_same_environment(granularity, form):
    env = gym.make(
        "MathReason-v0",
        problems="inverse",
        split="test",
        size=7,
        levels=(2, 3),
        problem_seed=5,
        granularity=granularity,
        format=form,
        prompt={"ending": "!"},
        reward={"correct": 2.0, "truncated": -1.0},
        max_tokens=40,
        max_steps=3,
        max_prompt_tokens=99,
        stop_at_answer=False,
    )
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    first, second = env.unwrapped, again.unwrapped
    assert first.problems.content_hash == second.problems.content_hash
    assert (first.rules, first.layout, first.prompt) == (second.rules, second.layout, second.prompt)
    assert first.reward_config == second.reward_config
    assert first.observation_space == second.observation_space
    assert first.action_space == second.action_space
    assert same(env.reset(seed=3), again.reset(seed=3))
    assert again.spec.to_json() == env.spec.to_json()


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_vector_of_environments_returns_what_each_returns_alone(mode, form):
    kwargs = {"problems": "chain", "split": "test", "size": 9, "granularity": "response"}
    kwargs |= {"format": form, "prompt": {"ending": "√2>"}, "max_prompt_tokens": 160}
    envs = gym.make_vec("MathReason-v0", num_envs=2, vectorization_mode=mode, **kwargs)
    try:
        singles = [gym.make("MathReason-v0", **kwargs) for _ in range(2)]
        seen, _ = envs.reset(seed=11)
        alone = [env.reset(seed=11 + row) for row, env in enumerate(singles)]
        assert all(same(seen[row], alone[row][0]) for row in range(2))
        answers = [reference_response(env.unwrapped.state.problem) for env in singles]
        answers[1] = "√2 #### 1"
        encoded = [CODEC.encode(answer) for answer in answers]
        actions = tuple(answers if form == "text" else encoded)
        seen, rewards, terminated, truncated, infos = envs.step(actions)
        for row, env in enumerate(singles):
            single = env.step(actions[row])
            assert same(seen[row], single[0])
            assert (rewards[row], terminated[row], truncated[row]) == single[1:4]
            assert infos["outcome"][row] == single[4]["outcome"]
        assert rewards.tolist() == [1.0, 0.0]
    finally:
        envs.close()


def test_the_example_of_the_design_runs():
    env = gym.make("MathReason-v0", problems="chain", split="train")
    env.reset(seed=0)
    _, reward, terminated, truncated, _ = env.step("12*3=36\n")
    assert (reward, terminated, truncated) == (0.0, False, False)
    saved = env.unwrapped.state
    assert {saved: 1}[ReasonState.from_json(saved.to_json())] == 1
    obs, info = env.reset(options={"state": saved})
    assert obs.endswith(">12*3=36\n")
    assert info["num_steps"] == 1


def test_state_step_and_render_need_a_reset_first():
    env = toy_env()
    for act in (lambda: env.state, lambda: env.step("a"), lambda: env.render() or env.state):
        with pytest.raises(ResetNeeded, match=r"^call reset\(\) before asking for the state$"):
            act()


@pytest.mark.parametrize(("granularity", "form"), LAYOUTS)
def test_infos_and_flags_have_the_same_keys_and_plain_types_at_every_turn(granularity, form):
    env = toy_env(granularity, form, max_tokens=12)
    env.reset(seed=1)
    for _ in range(40):
        _, info = env.reset()
        over = False
        while not over:
            assert {key: type(value) for key, value in info.items()} == INFO_TYPES
            obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]
            assert obs in env.observation_space
            over = terminated or truncated
        assert {key: type(value) for key, value in info.items()} == INFO_TYPES


def test_infos_are_new_objects_and_token_observations_are_never_shared():
    env = toy_env(form="tokens")
    first, first_info = env.reset(options={"problem": "toy/train/0"})
    before = first.copy()
    second, _, _, _, second_info = env.step(CODEC.encode("a"))
    assert np.array_equal(first, before)
    assert not np.shares_memory(first, second)
    assert first_info["num_tokens"] == 0
    assert second_info["num_tokens"] == 1
    second[:] = 7
    third, *_ = env.step(CODEC.encode("b"))
    assert third.tolist()[: len("12*3=?\n>ab")] == list(b"12*3=?\n>ab")


def test_text_observations_are_prompt_and_response():
    env = toy_env()
    obs, info = env.reset(options={"problem": "toy/train/1"})
    assert obs == "2√2²=?\n>"
    assert info == {
        "problem_id": "toy/train/1",
        "level": 0,
        "outcome": "open",
        "success": False,
        "extracted": "",
        "reason": "",
        "num_tokens": 0,
        "num_steps": 0,
        "privileged_context": "",
    }
    obs, *_, info = env.step("√2²=2\n2")
    assert obs == "2√2²=?\n>√2²=2\n2"
    assert (info["num_tokens"], info["num_steps"]) == (len("√2²=2\n2".encode()), 2)
    obs, reward, terminated, truncated, info = env.step("*2=4\n#### 4\n")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert (info["outcome"], info["success"], info["extracted"]) == ("correct", True, "4")
    assert obs.endswith("#### 4\n")


def test_token_observations_are_the_same_ids_padded_on_the_right():
    env = toy_env(form="tokens", max_prompt_tokens=20, max_tokens=10)
    obs, _ = env.reset(options={"problem": "toy/train/0"})
    prompt = list(b"12*3=?\n>")
    assert obs.dtype == np.int32
    assert obs.tolist() == prompt + [256] * 22
    obs, *_ = env.step((97, 255))
    assert obs.tolist() == [*prompt, 97, 255] + [256] * 20
    obs, *_ = env.step(())
    assert obs.tolist() == [*prompt, 97, 255, EOS] + [256] * 19
    obs, _ = env.reset(options={"problem": "toy/train/2"})
    assert obs.tolist() == list(b"{pieces}\n>") + [256] * 20


def test_tokens_after_the_end_are_not_observed():
    env = toy_env("response", "tokens", max_prompt_tokens=11, max_tokens=12)
    env.reset(options={"problem": "toy/train/0"})
    obs, *_ = env.step((97, EOS, 98, 99))
    assert obs.tolist() == [*b"12*3=?\n>", 97, EOS] + [256] * 13


@pytest.mark.parametrize(
    ("response", "reward", "outcome"),
    [
        ("#### 36", 1.0, "correct"),
        ("#### 37", -0.25, "incorrect"),
        ("36", -0.5, "no_answer"),
        ("", -0.5, "no_answer"),
        ("so it goes on and on", -0.75, "truncated"),
    ],
)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_each_end_has_its_own_reward_and_flags(granularity, response, reward, outcome):
    env = toy_env(granularity, max_tokens=15)
    env.reset(options={"problem": "toy/train/0"})
    _, got, terminated, truncated, info = env.step(response)
    if not (terminated or truncated):
        assert got == 0.0
        _, got, terminated, truncated, info = env.step("")
    assert (got, info["outcome"]) == (reward, outcome)
    assert (terminated, truncated) == (outcome != "truncated", outcome == "truncated")
    assert info["success"] == (outcome == "correct")


def test_success_does_not_depend_on_the_reward():
    env = toy_env("response", reward={"correct": -3.0, "incorrect": 5.0})
    env.reset(options={"problem": "toy/train/0"})
    _, reward, *_, info = env.step("#### 36")
    assert (reward, info["success"]) == (-3.0, True)
    env.reset(options={"problem": "toy/train/0"})
    _, reward, *_, info = env.step("#### 35")
    assert (reward, info["success"]) == (5.0, False)


def test_guidance_of_a_state_is_in_the_prompt_and_in_the_info():
    env = toy_env()
    state = env.initial_state(TOY[0]).with_guidance(Guidance("answer", ("36",)))
    obs, info = env.reset(options={"state": state})
    assert obs == "12*3=?\nAnswer: 36\n>"
    assert info["privileged_context"] == "Answer: 36\n"
    obs, *_, info = env.step("a")
    assert (obs, info["privileged_context"]) == ("12*3=?\nAnswer: 36\n>a", "Answer: 36\n")
    _, info = env.reset(options={"problem": "toy/train/0"})
    assert info["privileged_context"] == ""


def test_a_final_answer_phrase_is_graded_at_the_end_but_does_not_end_the_episode():
    env = toy_env()
    env.reset(options={"problem": "toy/train/0"})
    _, _, terminated, _, _ = env.step("The final answer is 36\n")
    assert not terminated
    _, reward, terminated, _, _ = env.step("")
    assert (reward, terminated) == (1.0, True)


def test_rendering_numbers_the_steps_and_says_how_it_ended():
    env = toy_env(render_mode="ansi")
    state = env.initial_state(TOY[0]).with_guidance(Guidance("mistakes", ("35", "37")))
    env.reset(options={"state": state})
    env.step("12*3=36\n#### 3")
    assert env.render() == (
        "[toy/train/0] 12*3=?\n  (mistakes) 35, 37\n  1  12*3=36\n  2  #### 3\n     open"
    )
    env.step("6\n")
    last = env.render().splitlines()[-1]
    assert last.startswith("     correct")
    silent = toy_env()
    silent.reset(seed=0)
    assert silent.render() is None


@st.composite
def token_strings(draw) -> tuple[int, ...]:
    """Reference steps, garbage, end tokens and answers, in any order."""
    pieces = st.sampled_from(
        [
            "12*3=36\n",
            "√2²=2\n",
            "\n",
            "#### 36\n",
            "#### 35\n",
            "#### 36",
            "\\boxed{36}",
            "\\boxed{",
            "so ",
            "final answer is 36.\n",
            "<think>",
            "</think>\n",
        ]
    ).map(CODEC.encode)
    garbage = st.lists(st.integers(0, 257), max_size=4).map(tuple)
    parts = draw(st.lists(pieces | garbage | st.just((EOS,)), max_size=7))
    return tuple(token for part in parts for token in part)


@given(
    token_strings(),
    st.lists(st.integers(0, 60), max_size=5),
    st.sampled_from([4, 12, 30, 200]),
    st.sampled_from([1, 3, 20]),
    st.booleans(),
    st.sampled_from([problem.problem_id for problem in TOY]),
    st.sampled_from([(), ("####",), ("\n\n", "3\n1")]),
)
@settings(deadline=None, max_examples=250)
def test_the_same_tokens_give_the_same_return_end_and_state_at_every_granularity(
    tokens, cuts, max_tokens, max_steps, stop, problem_id, stops
):
    bounds = [0, *sorted({min(cut, len(tokens)) for cut in cuts} - {0, len(tokens)}), len(tokens)]
    chunks = [tokens[a:b] for a, b in itertools.pairwise(bounds) if b > a]
    said = (*tokens, EOS)
    ways = {
        "token": said,
        "step": [*chunks, (EOS,)],
        "response": [said],
    }
    found = {}
    for granularity, actions in ways.items():
        env = shared_env(granularity, max_tokens, max_steps, stop, stops)
        record, state = play(env, actions, problem=problem_id)
        episode_return = sum(turn[1] for turn in record[1:])
        found[granularity] = (episode_return, *record[-1][2:4], state, record[-1][4])
        assert found[granularity][1] != found[granularity][2]
        assert [turn[1] for turn in record[1:-1]] == [0.0] * (len(record) - 2)
    assert found["token"] == found["step"] == found["response"]


@given(token_strings(), st.sampled_from([4, 12, 200]))
@settings(deadline=None, max_examples=100)
def test_an_empty_action_ends_a_response_as_response_granularity_does(tokens, max_tokens):
    whole, closed = play(shared_env("response", max_tokens, 20, True), [tokens])
    pieces, stepped = play(
        shared_env("step", max_tokens, 20, True), [tokens, ()], problem=closed.problem.problem_id
    )
    assert stepped == closed
    assert same(whole[-1], pieces[-1])


@given(st.text("12*3=6#√\n ", max_size=30), st.lists(st.integers(0, 30), max_size=4))
@settings(deadline=None, max_examples=100)
def test_text_in_any_pieces_is_the_same_episode_as_its_tokens(text, cuts):
    env = toy_env("step", "text", max_tokens=25)
    bounds = [0, *sorted({min(cut, len(text)) for cut in cuts} - {0, len(text)}), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds) if b > a]
    record, state = play(env, [*pieces, ""], problem="toy/train/0")
    other, expected = play(
        shared_env("response", 25, 64, True), [CODEC.encode(text)], problem="toy/train/0"
    )
    assert state == expected
    assert record[-1][1:] == other[-1][1:]


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_random_actions_end_in_exactly_one_way(seed):
    rng = random.Random(seed)
    env = shared_env(rng.choice(GRANULARITIES), 12, 3, True)
    env.reset()
    env.action_space.seed(seed)
    for _ in range(13):
        obs, _, terminated, truncated, info = env.step(env.action_space.sample())
        assert not (terminated and truncated)
        assert obs in env.observation_space
        assert (info["outcome"] == "open") == (not terminated and not truncated)
        if terminated or truncated:
            break
    else:
        raise AssertionError("a budget of 12 tokens did not end 13 turns")


@given(token_strings(), st.integers(0, 60), st.booleans(), st.sampled_from(GRANULARITIES))
@settings(deadline=None, max_examples=150)
def test_a_restored_state_continues_identically_in_this_and_another_environment(
    tokens, cut, guided, granularity
):
    env, other = (shared_env(granularity, limit, 6, True) for limit in (40, 40))
    other = toy_env(granularity, "tokens", max_tokens=40, max_steps=6)
    start = env.initial_state(TOY[1])
    if guided:
        start = start.with_guidance(Guidance("mistakes", ("3", "√5")))
    cut = min(cut, len(tokens))
    step_env = shared_env("step", 40, 6, True)
    head, state = play(step_env, [tokens[:cut]] if cut else [], state=start)
    if head[-1][2:4] != (False, False) and len(head) > 1:
        return
    tail = (*tokens[cut:], EOS)
    actions = tail if granularity == "token" else [tail]
    first, end = play(env, actions, state=state)
    for saved in (state, state.to_json(), state.to_dict(), json.loads(state.to_json())):
        again, reached = play(other, actions, state=saved)
        assert same(first, again)
        assert reached == end


def test_a_used_environment_equals_a_new_one_after_a_seeded_reset():
    used, new = toy_env(), toy_env()
    used.reset(seed=9)
    used.step("#### 1\n")
    used.reset(options={"problem": "toy/train/1"})
    used.step("a")
    assert same(used.reset(seed=4), new.reset(seed=4))
    assert [used.reset()[1]["problem_id"] for _ in range(20)] == [
        new.reset()[1]["problem_id"] for _ in range(20)
    ]


def test_an_explicit_state_or_problem_draws_nothing_from_the_generator():
    plain, chosen = toy_env(), toy_env()
    plain.reset(seed=6)
    chosen.reset(seed=6)
    chosen.reset(options={"problem": "toy/train/2"})
    chosen.reset(options={"state": chosen.state})
    assert [plain.reset()[1]["problem_id"] for _ in range(20)] == [
        chosen.reset()[1]["problem_id"] for _ in range(20)
    ]


def test_an_explicit_state_overrides_the_seed_and_its_prefix_counts_in_the_budget():
    env = toy_env(max_tokens=10)
    state = env.initial_state(TOY[2]).extend(CODEC.encode("12345\n78"), "reference")
    for seed in range(5):
        _, info = env.reset(seed=seed, options={"state": state})
        assert info["problem_id"] == "toy/train/2"
        assert (info["num_tokens"], info["num_steps"]) == (8, 2)
    assert env.step("abc")[3] is True
    assert env.state.sources == ("reference",) * 8 + ("policy",) * 2


def test_the_seed_chooses_the_problem_uniformly():
    env = toy_env()
    first = [env.reset(seed=seed)[1]["problem_id"] for seed in range(60)]
    assert first == [env.reset(seed=seed)[1]["problem_id"] for seed in range(60)]
    env.reset(seed=0)
    drawn = [env.reset()[1]["problem_id"] for _ in range(600)]
    # Binomial(600, 1/3): mean 200, standard deviation 11.5; 5 of them each way.
    assert all(142 < drawn.count(problem.problem_id) < 258 for problem in TOY)


def test_the_same_seed_gives_the_same_problem_in_every_process():
    program = (
        "import gymnasium as gym, reason_env\n"
        "env = gym.make('MathReason-v0', problems='inverse', size=50)\n"
        "print([env.reset(seed=seed)[1]['problem_id'] for seed in (1, 2, 3)], env.reset()[0])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "77")
    }
    env = gym.make("MathReason-v0", problems="inverse", size=50)
    ids = [env.reset(seed=seed)[1]["problem_id"] for seed in (1, 2, 3)]
    assert found == {f"{ids} {env.reset()[0]}\n"}


def test_global_generators_are_neither_read_nor_written():
    def episode():
        env = gym.make("MathReason-v0", size=30, format="tokens", granularity="token")
        seen = [env.reset(seed=5)]
        seen += [env.step(token) for token in (65, 10, EOS)]
        return [*seen, env.reset()]

    random.seed(1)
    np.random.seed(1)
    before = (random.getstate(), repr(np.random.get_state()))
    first = episode()
    assert (random.getstate(), repr(np.random.get_state())) == before
    random.seed(2)
    np.random.seed(2)
    assert same(first, episode())


def test_two_environments_share_no_state():
    first, second = toy_env(form="tokens"), toy_env(form="tokens")
    first.reset(seed=0, options={"problem": "toy/train/0"})
    second.reset(seed=0, options={"problem": "toy/train/1"})
    first.step(CODEC.encode("abc"))
    obs, *_, info = second.step(CODEC.encode("d"))
    assert info["num_tokens"] == 1
    assert obs.tolist()[: len("2√2²=?\n>d".encode())] == list("2√2²=?\n>d".encode())
    assert first.state.text == "abc"
    assert second.state.text == "d"


def refused_states() -> dict[str, tuple[object, type[ReasonEnvError], str]]:
    own = ReasonState(problem=TOY[0], codec=CODEC)
    other_codec = ReasonState(problem=TOY[0], codec=ByteCodec(";"))
    foreign = Problem(problem_id="toy/train/0", question="12*4=?", answer="48")
    unknown = Problem(problem_id="toy/train/9", question="?", answer="1")
    graded = toy_env()
    graded.reset(options={"problem": "toy/train/0"})
    graded.step("#### 1\n")
    long_hint = own.with_guidance(Guidance("text", ("a" * 2000,)))
    return {
        "other codec": (
            other_codec,
            StateError,
            r"^state must be of codec .*make it with this env",
        ),
        "other codec in JSON": (other_codec.to_json(), StateError, r"^state must be of codec "),
        "same id, other content": (
            ReasonState(problem=foreign, codec=CODEC),
            StateError,
            r"^state must hold this set's problem 'toy/train/0', got one with the same id and oth",
        ),
        "unknown problem": (
            ReasonState(problem=unknown, codec=CODEC),
            UnknownNameError,
            r"^no problem 'toy/train/9' among 3; did you mean 'toy/train/[0-2]'\?$",
        ),
        "graded": (
            graded.state,
            StateError,
            r"^state must be open, got one that is over \(incorrect, 7 of 40 tokens\); cut\(\) it",
        ),
        "budget used up": (
            own.extend([97] * 40),
            StateError,
            r"^state must be open, got one that is over \(truncated, 40 of 40 tokens\); cut\(\) it",
        ),
        "end token inside": (
            own.extend((97, EOS, 98)),
            StateError,
            r"^an open state must not hold the end token 257, got one that does; cut\(\) it first$",
        ),
        "prompt too long": (
            long_hint,
            StateError,
            r"^prompt of 'toy/train/0' must have at most 1024 tokens, got 2009; raise max_prompt",
        ),
        "no state": (7, StateError, r"^options\['state'\] must be a ReasonState, its dict or its"),
        "broken JSON": (
            "{",
            StateError,
            r"^a state must be JSON as to_json\(\) writes it, got '\{'",
        ),
        "broken dict": (
            {"format": 1},
            StateError,
            r"^a state must be a dict as to_dict\(\) writes",
        ),
    }


@pytest.mark.parametrize("name", refused_states())
def test_a_state_that_does_not_fit_is_refused_and_the_episode_continues(name):
    state, error, message = refused_states()[name]
    env = toy_env(max_tokens=40)
    env.reset(seed=0, options={"problem": "toy/train/0"})
    env.step("12*3=36\n")
    with pytest.raises(error, match=message):
        env.reset(options={"state": state})
    obs, reward, terminated, _, _ = env.step("#### 36\n")
    assert (obs, reward, terminated) == ("12*3=?\n>12*3=36\n#### 36\n", 1.0, True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"stat": 1},
            ConfigError,
            r"^reset options must be among problem, state, got 'stat'; did y",
        ),
        (
            {"problem": "toy/train/0", "state": {}},
            ConfigError,
            r"^reset options must be a problem or a state, got both; a state holds its problem$",
        ),
        ({"problem": "toy/tran/1"}, UnknownNameError, r"^no problem 'toy/tran/1' among 3; did you"),
    ],
)
def test_wrong_reset_options_are_refused_and_the_episode_continues(options, error, message):
    env = toy_env()
    env.reset(options={"problem": "toy/train/0"})
    before = env.state
    with pytest.raises(error, match=message):
        env.reset(options=options)
    assert env.state is before
    assert env.step("#### 36\n")[1] == 1.0


@pytest.mark.parametrize(
    ("granularity", "form", "action", "error", "message"),
    [
        (
            "step",
            "text",
            (97,),
            ActionError,
            r"^action must be a str in format 'text', got \(97,\)",
        ),
        ("token", "text", 97, ActionError, r"^action must be a str in format 'text', got 97$"),
        (
            "step",
            "tokens",
            "a",
            ActionError,
            r"^action must be token ids in format 'tokens', got '",
        ),
        ("step", "tokens", 97, ActionError, r"^action must be ids in format 'tokens', got 97$"),
        ("step", "tokens", [97.0], ActionError, r"^action must be ids in format 'tokens', got \[9"),
        ("step", "tokens", ["97"], ActionError, r"^action must be ids in format 'tokens', got \['"),
        ("token", "tokens", (97,), ActionError, r"^action must be one id in format 'tokens', got "),
        (
            "token",
            "tokens",
            97.5,
            ActionError,
            r"^action must be one id in format 'tokens', got 97",
        ),
        (
            "token",
            "tokens",
            None,
            ActionError,
            r"^action must be one id in format 'tokens', got No",
        ),
        (
            "token",
            "tokens",
            258,
            CodecError,
            r"^token ids must lie in 0\.\.257, got 258; encode th",
        ),
        ("step", "tokens", (97, -1), CodecError, r"^token ids must lie in 0\.\.257, got -1; encod"),
    ],
)
def test_an_action_of_the_wrong_form_is_refused_and_changes_nothing(
    granularity, form, action, error, message
):
    env = toy_env(granularity, form)
    env.reset(options={"problem": "toy/train/0"})
    before = env.state
    with pytest.raises(error, match=message):
        env.step(action)
    assert env.state is before
    end = "" if form == "text" else EOS if granularity == "token" else ()
    _, _, terminated, _, info = env.step(end)
    assert (terminated, info["outcome"]) == (True, "no_answer")


def test_numpy_integers_and_arrays_are_actions():
    env = toy_env("token", "tokens")
    env.reset(seed=0)
    env.step(np.int64(97))
    env.step(np.array(98, dtype=np.int32))
    assert env.state.response == (97, 98)
    env = toy_env("step", "tokens")
    env.reset(seed=0)
    env.step(np.array([97, 98], dtype=np.int32))
    assert env.state.response == (97, 98)
    assert [type(token) for token in env.state.response] == [int, int]


def test_an_episode_that_is_over_cannot_be_stepped_until_reset():
    env = toy_env()
    env.reset(options={"problem": "toy/train/0"})
    env.step("")
    with pytest.raises(StateError, match=r"^an episode that is over must not be stepped; reset"):
        env.step("a")
    assert env.reset(options={"problem": "toy/train/0"})[1]["outcome"] == "open"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"granularity": "stpe"},
            r"^granularity must be one of token, step, response, got 'stpe'; d",
        ),
        (
            {"form": "txt"},
            r"^format must be one of text, tokens, got 'txt'; did you mean 'text'\?$",
        ),
        ({"render_mode": "human"}, r"^render_mode must be 'ansi' or None, got 'human'$"),
        ({"max_prompt_tokens": 0}, r"^max_prompt_tokens must be at least 1, got 0$"),
        ({"max_tokens": 0}, r"^max_tokens must be at least 1, got 0; raise the budget$"),
        ({"max_steps": -1}, r"^max_steps must be at least 1, got -1; raise the budget$"),
        (
            {"reward": {"corect": 1.0}},
            r"^RewardConfig has no field 'corect'; did you mean 'correct'",
        ),
        (
            {"prompt": {"knd": "chat"}},
            r"^PromptTemplate has no field 'knd'; did you mean 'kind'",
        ),
        ({"grading": {"strct": True}}, r"^GradeOptions has no field 'strct'; choose one of "),
        ({"prompt": 3}, r"^PromptTemplate must be given by its fields, got 3; "),
        ({"max_token": 9}, r"^ReasonEnv has no argument 'max_token'; did you mean 'max_tokens'\?$"),
        (
            {"prompt": {"kind": "chat"}},
            r"^a chat prompt must have a tokenizer with a chat template",
        ),
        (
            {"size": 2},
            r"^size, levels, .* must be left out for a ProblemSet, got size=2; choose when",
        ),
        ({"levels": (1, 2)}, r"^size, levels, .* must be left out for a ProblemSet"),
        ({"problem_seed": 1}, r"^size, levels, .* must be left out for a ProblemSet"),
        (
            {"codec": ByteCodec(";"), "step_delimiter": "|"},
            r"^step_delimiter must be the codec's ';', got '\|'; make the codec with it$",
        ),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        toy_env(**settings)


@pytest.mark.parametrize("levels", [(1, 2, 3), [4], 3])
def test_levels_of_a_family_are_a_pair(levels):
    message = rf"^levels must be \(lowest, highest\), got {re.escape(repr(levels))}; for one "
    with pytest.raises(ConfigError, match=message):
        ReasonEnv("chain", levels=levels)


def test_a_question_that_does_not_fit_is_refused_at_construction():
    message = r"^prompt of 'toy/train/1' must have at most 10 tokens, got 11; raise max_prompt_tok"
    with pytest.raises(StateError, match=message):
        toy_env(max_prompt_tokens=10)
    toy_env(max_prompt_tokens=11)


def test_the_codec_and_its_delimiter_can_be_given_by_name_or_as_an_object():
    by_name = ReasonEnv(TOY, step_delimiter=";")
    as_object = ReasonEnv(TOY, codec=ByteCodec(";"))
    for env in (by_name, as_object):
        env.reset(options={"problem": "toy/train/0"})
        env.step("a;b\nc;d")
        assert env.state.steps == ("a;", "b\nc;", "d")


def test_a_prompt_template_can_be_given_as_an_object_or_by_its_fields():
    template = PromptTemplate(ending="!")
    for prompt in (template, {"ending": "!"}):
        obs, _ = toy_env(prompt=prompt).reset(options={"problem": "toy/train/0"})
        assert obs == "12*3=?\n!"


def test_the_public_names_are_importable():
    assert all(hasattr(reason_env, name) for name in reason_env.__all__)
