import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Text, flatten, flatten_space, unflatten
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.env.spaces import UnicodeText

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)


class Echo(gym.Env):
    """Shows the last action and the number of characters seen so far."""

    observation_space = UnicodeText(20)
    action_space = UnicodeText(20)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "√2 ∈ ℝ", {}

    def step(self, action):
        return action[::-1], 0.0, False, False, {}


@given(ANY_TEXT)
@settings(deadline=None)
def test_every_text_that_is_short_enough_is_contained(text):
    assert text in UnicodeText(12)
    assert (text in UnicodeText(5)) == (len(text) <= 5)


@pytest.mark.parametrize("value", [b"a", 7, None, ["a"], np.array([97])])
def test_values_that_are_not_strings_are_not_contained(value):
    assert value not in UnicodeText(5)


@given(ANY_TEXT)
@settings(deadline=None)
def test_flattening_round_trips_every_text(text):
    space = UnicodeText(12)
    flat = flatten(space, text)
    assert flat in flatten_space(space)
    assert unflatten(space, flat) == text


def test_flat_characters_are_their_own_code_points():
    flat = flatten(UnicodeText(4), "a√\U0010ffff")
    assert flat.tolist() == [97, 0x221A, 0x10FFFF, 0x110000]


def test_samples_are_contained_short_and_the_same_for_the_same_seed():
    space, again = UnicodeText(100, seed=3), UnicodeText(100, seed=3)
    samples = [space.sample() for _ in range(200)]
    assert samples == [again.sample() for _ in range(200)]
    assert {len(sample) for sample in samples} == set(range(33))
    assert all(sample in space for sample in samples)
    assert max(len(UnicodeText(2, seed=1).sample()) for _ in range(20)) <= 2
    assert len(set(samples)) > 150


def test_sampling_with_a_mask_is_refused():
    for name in ("mask", "probability"):
        with pytest.raises(NotImplementedError, match="supports no mask and no probability"):
            UnicodeText(5).sample(**{name: (1, None)})


def test_spaces_are_equal_by_their_length_alone_and_survive_pickle_and_copy():
    space = UnicodeText(7, seed=1)
    assert space == UnicodeText(7)
    assert space != UnicodeText(8)
    assert space != Text(7, min_length=0)
    assert pickle.loads(pickle.dumps(space)) == space
    assert copy.deepcopy(space) == space
    assert repr(space) == "UnicodeText(7)"


@pytest.mark.parametrize("shared_memory", [True, False])
def test_any_character_passes_through_an_async_vector_env(shared_memory):
    envs = gym.vector.AsyncVectorEnv([Echo, Echo], shared_memory=shared_memory)
    try:
        first, _ = envs.reset(seed=0)
        assert tuple(first) == ("√2 ∈ ℝ", "√2 ∈ ℝ")
        observations, *_ = envs.step(("2√\n", "\U0001f600\ud800"))
        assert tuple(observations) == ("\n√2", "\ud800\U0001f600")
        observations, *_ = envs.step(("", "x" * 20))
        assert tuple(observations) == ("", "x" * 20)
        assert tuple(first) == ("√2 ∈ ℝ", "√2 ∈ ℝ")
    finally:
        envs.close()
