"""Several episodes begin at one start of a stack, and count for its wrappers as their own."""

import json
from itertools import permutations

import gymnasium as gym
import pytest

from reason_env.env import start_memories
from reason_env.errors import ConfigError
from reason_env.wrappers import Hint, PrefixRollin, ResetToState, StartWrapper, TabularPrefixRollin

LINEAR = {"kind": "linear", "begin": 1.0, "end": 0.0, "episodes": 10}
LAYERS = {
    "rollin": lambda env: PrefixRollin(env, schedule=LINEAR, probability=0.5),
    "reset": lambda env: ResetToState(env, keep="failures", probability=0.5),
    "hint": lambda env: Hint(env, trigger=0.5),
}


def bare():
    return gym.make("MathReason-v0", problems="chain", levels=(4, 4), size=3)


def stack(names):
    env = bare()
    for name in names:
        env = LAYERS[name](env)
    return env


def drawn(env, **options):
    obs, info = env.reset(**options)
    # As JSON, so that a start outlives the process.
    return obs, info, env.unwrapped.state, json.loads(json.dumps(start_memories(env)))


@pytest.mark.parametrize("names", list(permutations(LAYERS)))
def test_an_episode_at_a_drawn_start_is_as_if_the_start_was_just_made(names):
    env, seen = stack(names), set()
    starts = [drawn(env, seed=seed) for seed in range(12)]
    for obs, info, state, memories in starts:
        found = env.reset(options={"state": state, "start_memories": memories})
        assert found == (obs, info)
        assert env.unwrapped.state is state
        assert list(start_memories(env)) == memories
        seen.add(tuple(one["has_acted"] for one in memories))
        # A state alone is no start of the stack.
        env.reset(options={"state": state})
        assert not any(any(one.values()) for one in start_memories(env))
    assert len(seen) > 2


def test_a_schedule_counts_each_episode_at_its_start_and_no_other_equal_state():
    env = PrefixRollin(bare(), schedule=LINEAR | {"begin": 0.0, "end": 1.0})
    *_, state, memories = drawn(env, seed=0)
    assert state.response == ()
    for _ in range(5):
        env.reset(options={"state": state, "start_memories": memories})
        env.step("#### 0\n")
        env.reset(options={"state": state})
        env.step("#### 0\n")
    assert env.memory()["schedule"] == {"episodes": 5}
    # Half of the four steps.
    assert env.reset()[1]["num_steps"] == 2


class Arms(StartWrapper):
    """Counts the outcomes of each number of reference steps to begin with, drawn uniformly."""

    def __init__(self, env):
        super().__init__(env)
        self.arm, self.counts = 0, [0, 0, 0]

    def start(self, state, rng):
        self.arm = int(rng.integers(3))
        return state

    def ended(self, state):
        self.counts[self.arm] += 1

    def start_memory(self):
        return super().start_memory() | {"arm": self.arm}

    def read_start_memory(self, data):
        commit_base, arm = super().read_start_memory(data), int(data["arm"])

        def commit():
            commit_base()
            self.arm = arm

        return commit


def test_a_wrapper_of_ones_own_remembers_what_it_needs_of_a_start():
    env = Arms(bare())
    starts = [drawn(env, seed=seed)[2:] for seed in range(9)]
    arms = [memories[0]["arm"] for _, memories in starts]
    assert set(arms) == {0, 1, 2}
    for state, memories in starts:
        env.reset(options={"state": state, "start_memories": memories})
        env.step("#### 0\n")
    assert env.counts == [arms.count(arm) for arm in range(3)]


def test_a_start_of_a_small_mdp_is_begun_again_too():
    env = TabularPrefixRollin(gym.make("ReasonTree-v0", num_steps=3), steps=2)
    env.reset(seed=0)
    state, memories = env.unwrapped.state, start_memories(env)
    assert memories == ({"has_acted": True},)
    env.reset(options={"state": 0})
    assert not env.has_acted
    env.reset(options={"state": state, "start_memories": memories})
    assert env.has_acted


@pytest.mark.parametrize("memories", [[], [{}], [{"has_acted": True}], [{}, {}, {}], [3, 4], None])
def test_memories_of_another_stack_are_refused(memories):
    env = stack(["hint", "rollin"])
    _, _, state, _ = drawn(env, seed=0)
    with pytest.raises(
        ConfigError, match=r"start_memories must .* be those of the stack's 2 start wrappers, got "
    ):
        env.reset(options={"state": state, "start_memories": memories})


def test_memories_without_their_state_or_without_wrappers_are_refused():
    env = stack(["hint"])
    _, _, state, memories = drawn(env, seed=0)
    with pytest.raises(ConfigError, match="start_memories must come with a state"):
        env.reset(options={"start_memories": memories})
    with pytest.raises(ConfigError, match="among problem, state, got 'start_memories'"):
        bare().reset(options={"state": state, "start_memories": memories})
