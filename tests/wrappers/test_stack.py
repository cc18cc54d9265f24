import inspect
import json
from itertools import permutations

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_match import check_environments_match

from reason_env import wrappers
from reason_env.env import WRAPPERS
from reason_env.errors import ConfigError
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.stack import (
    stack_from_file,
    stack_from_json,
    stack_to_json,
)

ON_TEXT = tuple(name for name in WRAPPERS if not name.startswith("Tabular"))
SETTINGS = {"problems": "chain", "split": "test", "size": 3, "levels": (2, 2)}


def with_reset(env):
    state = env.unwrapped.initial_state(env.unwrapped.problems[0])
    chain = state.extend(env.unwrapped.codec.encode("A\nB\n"))
    return ResetToState(env, [chain], probability=0.5, keep="failures")


@pytest.fixture
def wrap(tmp_path):
    path = tmp_path / "episodes.jsonl"
    return {
        "Curriculum": lambda env: Curriculum(env, by="level", measured={"2": 0.25}),
        "Hint": lambda env: Hint(env, "partial_solution", trigger=0.5, strength=0.5),
        "PrefixRollin": lambda env: PrefixRollin(
            env, fraction=(0.0, 0.5), probability=0.5, schedule="cosine"
        ),
        "RecordEpisodes": lambda env: RecordEpisodes(env, path),
        "ResetToState": with_reset,
        "RewardShaping": lambda env: RewardShaping(env, progress=0.5, step_penalty=0.25),
    }


def made(names, wrap, **changes):
    env = gym.make("MathReason-v0", **(SETTINGS | changes))
    for name in names:
        env = wrap[name](env)
    return env


def test_a_spec_may_use_exactly_our_exported_wrappers():
    exported = {name: getattr(wrappers, name) for name in wrappers.__all__}
    ours = {name: kind for name, kind in exported.items() if inspect.isclass(kind)}
    del ours["StartWrapper"]
    assert {f"{kind.__module__}:{name}" for name, kind in ours.items()} == set(WRAPPERS.values())
    assert set(ours) == set(WRAPPERS)


@pytest.mark.parametrize("names", [*permutations(ON_TEXT, 2), ON_TEXT, ON_TEXT[::-1]])
def test_the_spec_of_any_stack_makes_an_equal_one(names, wrap):
    env = made(names, wrap)
    text = env.spec.to_json()
    assert stack_to_json(env) == text
    for again in (gym.make(EnvSpec.from_json(text)), stack_from_json(text)):
        assert again.spec.to_json() == text
        layers = str(env).split("<")
        assert str(again).split("<") == layers
        check_environments_match(env, again, 8, seed=2)
        env = made(names, wrap)


def test_states_in_a_spec_are_json(wrap):
    spec = json.loads(made(["ResetToState"], wrap).spec.to_json())
    kwargs = spec["additional_wrappers"][-1]["kwargs"]
    assert kwargs["states"][0]["response"] == [65, 10, 66, 10]
    assert kwargs["capacity"] == 1024


def test_a_spec_file_makes_the_stack_and_arguments_may_be_replaced(wrap, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(stack_to_json(made(["Hint", "PrefixRollin"], wrap)))
    env = stack_from_file(path, granularity="response", format="tokens")
    assert env.unwrapped.layout.granularity == "response"
    assert [spec.name for spec in env.spec.additional_wrappers][-2:] == ["Hint", "PrefixRollin"]


def test_stock_wrappers_are_part_of_the_stack(wrap):
    env = gym.wrappers.TimeLimit(made(["Hint"], wrap), 5)
    assert stack_from_json(stack_to_json(env)).spec.to_json() == env.spec.to_json()


def test_a_stack_with_a_function_cannot_be_written_as_json(wrap):
    env = PrefixRollin(made([], wrap), lambda state, rng: ())
    with pytest.raises(ConfigError, match="every argument of the stack must be JSON-able"):
        stack_to_json(env)


def test_an_environment_not_built_by_gym_make_has_no_spec():
    from reason_env.env import ReasonEnv

    with pytest.raises(
        ConfigError, match=r"env must be made by gym\.make to have a spec, got none"
    ):
        stack_to_json(Hint(ReasonEnv("chain", size=2)))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"id": "MathReason-v0"}', "null", '{"additional_wrappers": [3]}']
)
def test_a_malformed_spec_is_refused(text):
    with pytest.raises(
        ConfigError, match=r"a spec must be JSON as env\.spec\.to_json\(\) writes it"
    ):
        stack_from_json(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a spec file must be readable text, got .*nowhere"):
        stack_from_file(tmp_path / "nowhere.json")


def test_a_spec_with_a_foreign_entry_point_or_wrapper_is_refused(wrap):
    good = json.loads(stack_to_json(made(["Hint"], wrap)))
    foreign = good | {"entry_point": "os:system"}
    with pytest.raises(ConfigError, match="a spec must be of a registered environment, got 'MathR"):
        stack_from_json(json.dumps(foreign))
    unknown = good | {"id": "MathReson-v0"}
    with pytest.raises(ConfigError, match=r"got 'MathReson-v0' .*did you mean 'MathReason-v0'"):
        stack_from_json(json.dumps(unknown))
    for wrapper in (
        {"name": "Hint", "entry_point": "subprocess:call", "kwargs": {}},
        {"name": "call", "entry_point": "subprocess:call", "kwargs": {}},
        {"name": "Hnt", "entry_point": "reason_env.wrappers.hint:Hint", "kwargs": {}},
    ):
        bad = good | {"additional_wrappers": [wrapper]}
        with pytest.raises(
            ConfigError, match=r"a spec's wrappers must be ours or Gymnasium's, got"
        ):
            stack_from_json(json.dumps(bad))
