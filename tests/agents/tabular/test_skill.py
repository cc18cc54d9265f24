"""The softmax policy on the abstract problem: its numbers by hand, and what each method samples."""

import numpy as np
import pytest

from reason_env.agents.tabular.worlds import skill
from reason_env.agents.tabular.worlds.skill import Policy, Responses, World, collected, trained
from reason_env.errors import ConfigError

WORLD = World(steps=4, critical=(1, 3), right=0.5, free=0.25)


def test_the_numbers_of_a_world():
    assert WORLD.base == 0.25
    # 1/2 and 1/4 of all responses go wrong first at each: 2/3 and 1/3 of the failed ones.
    assert WORLD.first_errors.tolist() == pytest.approx([2 / 3, 1 / 3])
    # Cuts before steps 1..5 (the answer is one); clean up to the wrong one, number 2 or 4.
    assert WORLD.clean == pytest.approx((2 / 3 * 2 + 1 / 3 * 4) / 5)
    assert WORLD.over_start == pytest.approx(2 / 3 * 0.25 + 1 / 3 * 0.5 - 0.25)
    # A quarter is the first step, which cannot go wrong.
    assert WORLD.guided_gain == 0
    early = World(steps=4, critical=(0, 3), right=0.5, free=0.25)
    assert early.guided_gain == 0.25
    # Energy of a choice of two: 1 - 1/4 - 1/4; of the free tokens 4 * 0.25.
    assert WORLD.noise == pytest.approx(1 / (1 + 2 * 0.5))


def test_the_untrained_policy_has_the_worlds_probabilities():
    policy = Policy(WORLD, np.random.default_rng(0))
    assert policy.rights(0).tolist() == pytest.approx([0.5, 0.5])
    assert policy.success == pytest.approx(0.25)
    assert np.linalg.norm(policy.phi_MCD[3, 1]) == pytest.approx(1, abs=0.5)


class Drawn:
    """A generator whose uniform numbers are given."""

    def __init__(self, numbers, step=0):
        self.numbers = list(numbers)
        self.step = step

    def random(self, shape):
        count = int(np.prod(shape))
        taken, self.numbers = self.numbers[:count], self.numbers[count:]
        return np.array(taken).reshape(shape)

    def integers(self, end):
        assert end == 5
        return self.step


def test_srpo_resets_to_the_first_wrong_step_and_rrpo_to_any():
    policy = Policy(WORLD, np.random.default_rng(0))
    # Five from the start: the second is right, then wrong; the others are right.
    base = [0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    suffixes = [0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9]
    (kept, reset), spent = collected(policy, "srpo", 0, Drawn(base + suffixes))
    assert kept.returns.tolist() == [1, 1, 1, 1]
    # Step 3 alone is sampled again; step 1 stays right as it was.
    assert reset.begin == 3
    assert reset.is_right_NC[:, 0].all()
    assert reset.returns.tolist() == [1, 0, 1, 0]
    assert spent == 5 * 4 + 4 * 1
    # A uniform cut behind the error keeps it: no suffix can succeed.
    (_, reset), spent = collected(policy, "rrpo", 0, Drawn(base + suffixes, step=4))
    assert reset.returns.tolist() == [0, 0, 0, 0]
    assert spent == 5 * 4
    # Without a failure there is no reset.
    groups, spent = collected(policy, "srpo", 0, Drawn([0.1] * 10))
    assert (len(groups), spent) == (1, 20)


def test_pope_takes_the_first_quarter_as_right():
    early = World(steps=8, critical=(1, 5), right=0.5, free=0.0)
    policy = Policy(early, np.random.default_rng(0))
    (own, guided), spent = collected(policy, "pope", 0, Drawn([0.9, 0.1] * 16))
    assert guided.begin == 2
    assert guided.is_right_NC.tolist() == [[True, True]] * 8
    assert own.returns.sum() == 0
    assert spent == 8 * 8 + 8 * 6


def test_a_gradient_is_the_advantage_times_the_score_of_what_was_sampled():
    quiet = World(steps=4, critical=(1, 3), right=0.5, free=0.0)
    policy = Policy(quiet, np.random.default_rng(0))
    group = Responses(0, np.array([[True, True], [True, False]]), begin=2)
    rows = skill.gradients(policy, [group], np.random.default_rng(0))
    # Returns 1 and 0: advantages 1 and -1. Step 1 lies before the start and is not trained.
    expected = 0.5 * policy.phi_MCD[0, 1]
    assert rows == pytest.approx(np.array([expected, expected]))
    alike = Responses(0, np.array([[True, True], [True, True]]), begin=2)
    assert not skill.gradients(policy, [alike], np.random.default_rng(0)).any()


def test_free_tokens_add_noise_of_their_energy():
    loud = World(steps=4, critical=(3,), right=0.5, free=2.0)
    policy = Policy(loud, np.random.default_rng(0))
    group = Responses(0, np.array([[True], [False]] * 500), begin=1)
    rows = skill.gradients(policy, [group], np.random.default_rng(0))
    # Scores are 0.5 and -0.5, advantages 1 and -1.
    score = 0.5 * policy.phi_MCD[0, 0]
    # Three steps of energy 2; the standard error over 1,000 rows is about 0.05.
    assert ((rows - score) ** 2).sum(1).mean() == pytest.approx(6.0, abs=0.25)


def test_training_raises_success_and_repeats():
    easy = World(steps=4, critical=(3,), right=0.35, free=0.05)
    first = trained(easy, "grpo", 0)
    assert first > 0.6
    assert trained(easy, "grpo", 0) == first
    assert trained(easy, "grpo", 1) != first


def test_what_is_no_world_is_refused():
    with pytest.raises(ConfigError, match="steps in order"):
        World(steps=4, critical=(3, 1), right=0.5, free=0.0)
    with pytest.raises(ConfigError, match=r"must lie in 0\.\.3, got 4"):
        World(steps=4, critical=(4,), right=0.5, free=0.0)
    with pytest.raises(ConfigError, match="free at least 0"):
        World(steps=4, critical=(3,), right=0.5, free=-1.0)
    with pytest.raises(ConfigError, match="method must be one of grpo, rrpo, srpo, pope"):
        trained(WORLD, "lte", 0)
